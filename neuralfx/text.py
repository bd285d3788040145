"""Tables, sizes and settings as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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


def readable_size(size: int) -> str:
    """A size in bytes for people, in decimal units.

    Args:
        size: Number of bytes.

    Example:
        >>> readable_size(20_123_456_789)
        '20.1 GB'
    """
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.95 or unit == "GB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def describe_knobs(knobs: Mapping[str, float | str]) -> str:
    """Knob values as people write them: ``peak_reduction 40, mode limit``; a dash without knobs.

    Example:
        >>> describe_knobs({"peak_reduction": 40.0, "mode": "limit"})
        'peak_reduction 40, mode limit'
    """
    written = (f"{name} {value if isinstance(value, str) else format(value, 'g')}" for name, value in knobs.items())
    return ", ".join(written) or "-"
