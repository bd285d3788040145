"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]]) -> str:
    """A table as text, its columns two spaces apart.

    Args:
        rows: Cells, the same number in every row.

    Example:
        >>> print(align([("name", "ESR"), ("la2a-s4d", "0.01")]))
        name      ESR
        la2a-s4d  0.01
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
