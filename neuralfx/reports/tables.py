r"""Tables of results in the layout of papers: the best value of each column bold, the second best underlined.

Needs no torch.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


class Column(NamedTuple):
    """A column of values.

    Attributes:
        title: Heading.
        best: ``lowest`` or ``highest`` value; None for a column that is not ranked, such as a number of parameters.
    """

    title: str
    best: str | None = "lowest"


class Cell(NamedTuple):
    """A value as a table shows it.

    Attributes:
        value: The value; None or not a number where there is none.
        spread: What is written behind it, such as ``± 0.01`` or ``[0.1, 0.2]``; empty for nothing.
    """

    value: float | None
    spread: str = ""


class Line(NamedTuple):
    """A row.

    Attributes:
        labels: What stands left of the values, such as data set and model.
        cells: The values, one per column.
    """

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Values by label and column.

    With ``grouped``, the first label names a group of lines, such as a data set, and values are ranked within their
    group (as in paper 1's tables); else in the whole table (as in paper 2's).

    Attributes:
        title: What it shows, in a sentence.
        labels: Headings of the labels.
        columns: Headings of the values.
        lines: The rows; those of a group follow each other.
        grouped: Whether the first label names a group.

    Example:
        >>> lines = [Line(("a",), (Cell(0.25),)), Line(("b",), (Cell(0.5),))]
        >>> print(render_markdown(Table("Errors.", ("model",), (Column("ESR"),), tuple(lines))))
        | model | ESR |
        | --- | ---: |
        | a | **0.250** |
        | b | <ins>0.500</ins> |
    """

    title: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    grouped: bool = False

    def ranks(self) -> list[tuple[int | None, ...]]:
        """Rank of each value among those it is compared with: 1 for the best, equal ones share; None is not ranked."""
        return [
            tuple(self._rank(line, index, column) for index, column in enumerate(self.columns)) for line in self.lines
        ]

    def starts_group(self, index: int) -> bool:
        """Whether the line of this index is the first of its group; always without groups."""
        return not (self.grouped and index and self.lines[index].labels[0] == self.lines[index - 1].labels[0])

    def _rank(self, line: Line, index: int, column: Column) -> int | None:
        if column.best is None:
            return None
        sign = -1.0 if column.best == "highest" else 1.0
        group = [other for other in self.lines if not self.grouped or other.labels[0] == line.labels[0]]
        rivals = [sign * value for other in group if (value := _number(other.cells[index])) is not None]
        own = _number(line.cells[index])
        return None if own is None or len(rivals) < 2 else 1 + sum(rival < sign * own for rival in set(rivals))


def format_value(value: float | None) -> str:
    """A value with three significant digits, a whole number as it is, a dash where there is none.

    Example:
        >>> [format_value(value) for value in (0.3, 0.02214, 25.565, 8.4e-05, 1473, None)]
        ['0.300', '0.0221', '25.6', '8.40e-05', '1473', '-']
    """
    if value is None or not math.isfinite(value):
        return "-"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:#.3g}".rstrip(".")


def render_markdown(table: Table) -> str:
    """The table in Markdown: best bold, second best underlined."""
    head = [*table.labels, *(column.title for column in table.columns)]
    rule = ["---"] * len(table.labels) + ["---:"] * len(table.columns)
    lines = [_markdown_line(map(_escape_markdown, head)), _markdown_line(rule)]
    for index, (line, ranks) in enumerate(zip(table.lines, table.ranks())):
        marked = []
        for cell, rank in zip(line.cells, ranks):
            text = format_value(cell.value)
            text = f"**{text}**" if rank == 1 else f"<ins>{text}</ins>" if rank == 2 else text
            marked.append(f"{text} {cell.spread}".strip())
        lines.append(_markdown_line([*map(_escape_markdown, _labels(table, index)), *marked]))
    return "\n".join(lines)


def render_latex(table: Table) -> str:
    r"""The table in LaTeX with the package booktabs: best ``\textbf``, second best ``\underline``."""
    head = [*table.labels, *(column.title for column in table.columns)]
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.title)} Best values are bold, second best underlined.}}",
        rf"  \begin{{tabular}}{{{'l' * len(table.labels)}{'r' * len(table.columns)}}}",
        r"    \toprule",
        f"    {' & '.join(map(escape_latex, head))} \\\\",
    ]
    for index, (line, ranks) in enumerate(zip(table.lines, table.ranks())):
        if not index or (table.grouped and table.starts_group(index)):
            lines.append(r"    \midrule")
        marked = []
        for cell, rank in zip(line.cells, ranks):
            text = _latex_number(cell.value)
            text = rf"\textbf{{{text}}}" if rank == 1 else rf"\underline{{{text}}}" if rank == 2 else text
            marked.append(f"{text} {_latex_spread(cell.spread)}".strip())
        lines.append(f"    {' & '.join([*map(escape_latex, _labels(table, index)), *marked])} \\\\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"])


def render_text(table: Table) -> list[list[str]]:
    """The table as rows of plain text for :func:`neuralfx.text.align`: best with ``*``, second best with ``+``."""
    head = [*table.labels, *(column.title for column in table.columns)]
    rows = [head]
    for index, (line, ranks) in enumerate(zip(table.lines, table.ranks())):
        marked = [
            f"{format_value(cell.value)}{'*' if rank == 1 else '+' if rank == 2 else ''} {cell.spread}".strip()
            for cell, rank in zip(line.cells, ranks)
        ]
        rows.append([*_labels(table, index), *marked])
    return rows


def render_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal or different fields as CSV with a heading; what is missing or not a number stays empty.

    Example:
        >>> print(render_csv([{"model": "a", "esr": 0.5}]), end="")
        model,esr
        a,0.5
    """
    fields = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        known = {name: value for name, value in row.items() if not (isinstance(value, float) and math.isnan(value))}
        writer.writerow(known)
    return text.getvalue()


def render_json(content: Any) -> str:
    """Plain data as JSON that every reader takes; there must be no NaN in it."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def escape_latex(text: str) -> str:
    r"""Text as LaTeX prints it.

    Example:
        >>> print(escape_latex("peak_reduction 40 %"))
        peak\_reduction 40 \%
    """
    return "".join(LATEX_SPECIAL.get(character, character) for character in text)


def _labels(table: Table, index: int) -> list[str]:
    """The labels of a line; the name of its group only in the first one."""
    first, *others = table.lines[index].labels
    return [first if table.starts_group(index) else "", *others]


def _number(cell: Cell) -> float | None:
    return cell.value if cell.value is not None and math.isfinite(cell.value) else None


def _markdown_line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\|*_<>`])", r"\\\1", text)


def _latex_number(value: float | None) -> str:
    text = format_value(value)
    if text == "-":
        return "--"
    number, _, exponent = text.partition("e")
    return rf"${number}\cdot10^{{{int(exponent)}}}$" if exponent else text


def _latex_spread(spread: str) -> str:
    return escape_latex(spread).replace("±", r"$\pm$")
