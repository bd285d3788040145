from __future__ import annotations

import csv
import io
import math

import pytest

from neuralfx.reports.tables import (
    Cell,
    Column,
    Line,
    Table,
    escape_latex,
    format_value,
    render_csv,
    render_json,
    render_latex,
    render_markdown,
    render_text,
)


def make_table(grouped: bool = True) -> Table:
    rows = [("a_1", "x", 0.5, 1.0), ("a_1", "y", 0.25, 3.0), ("b", "x", 9.0, 2.0), ("b", "y", math.nan, None)]
    lines = tuple(Line((group, model), (Cell(error, "± 1"), Cell(score))) for group, model, error, score in rows)
    return Table("Errors & scores.", ("data", "model"), (Column("ESR"), Column("score", "highest")), lines, grouped)


def test_values_are_ranked_within_their_group_in_the_direction_of_their_column() -> None:
    assert make_table().ranks() == [(2, 2), (1, 1), (None, None), (None, None)]


def test_values_are_ranked_in_the_whole_table_without_groups() -> None:
    assert make_table(grouped=False).ranks() == [(2, 3), (1, 1), (3, 2), (None, None)]


def test_equal_values_share_a_rank_and_unranked_columns_have_none() -> None:
    lines = tuple(Line((name,), (Cell(value), Cell(1.0))) for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)))
    table = Table("Ties.", ("model",), (Column("ESR"), Column("parameters", None)), lines)
    assert table.ranks() == [(1, None), (1, None), (2, None)]


def test_markdown_has_the_best_bold_the_second_underlined_and_groups_named_once() -> None:
    assert render_markdown(make_table()).splitlines() == [
        "| data | model | ESR | score |",
        "| --- | --- | ---: | ---: |",
        r"| a\_1 | x | <ins>0.500</ins> ± 1 | <ins>1.00</ins> |",
        "|  | y | **0.250** ± 1 | **3.00** |",
        "| b | x | 9.00 ± 1 | 2.00 |",
        "|  | y | - ± 1 | - |",
    ]


def test_latex_has_rules_between_groups_and_escapes_text() -> None:
    lines = render_latex(make_table()).splitlines()
    assert r"  \begin{tabular}{llrr}" in lines
    assert lines[2].startswith(r"  \caption{Errors \& scores.")
    assert r"    a\_1 & x & \underline{0.500} $\pm$ 1 & \underline{1.00} \\" in lines
    assert r"     & y & \textbf{0.250} $\pm$ 1 & \textbf{3.00} \\" in lines
    assert sum(line == r"    \midrule" for line in lines) == 2
    small = Table("Small.", ("m",), (Column("MSE"),), (Line(("a",), (Cell(2.5e-5),)), Line(("b",), (Cell(1.0),))))
    assert r"\textbf{$2.50\cdot10^{-5}$}" in render_latex(small)
    assert escape_latex(r"\{x}^~") == r"\textbackslash{}\{x\}\textasciicircum{}\textasciitilde{}"


def test_plain_text_marks_the_best_and_the_second_best() -> None:
    assert render_text(make_table())[1:3] == [
        ["a_1", "x", "0.500+ ± 1", "1.00+"],
        ["", "y", "0.250* ± 1", "3.00*"],
    ]


def test_csv_joins_rows_of_different_fields() -> None:
    rows = [{"model": "a, b", "esr": 0.1}, {"model": "c", "esr": math.nan, "knob gain": 3.0}]
    read = list(csv.DictReader(io.StringIO(render_csv(rows))))
    assert read == [
        {"model": "a, b", "esr": "0.1", "knob gain": ""},
        {"model": "c", "esr": "", "knob gain": "3.0"},
    ]


def test_json_refuses_what_other_readers_cannot_read() -> None:
    with pytest.raises(ValueError):
        render_json({"esr": math.nan})


def test_numbers_keep_three_digits() -> None:
    written = [format_value(value) for value in (0.0, 1.0, 12.345, 999.9, 12345.6, -0.0005, math.inf)]
    assert written == ["0.00", "1.00", "12.3", "1.00e+03", "12346", "-5.00e-04", "-"]
