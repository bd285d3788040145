"""The README states of every model that comes with neuralfx what its configuration says."""

from __future__ import annotations

from pathlib import Path

from neuralfx.hub.registry import bundled
from neuralfx.reports.gallery import read_entries
from neuralfx.reports.tables import format_value

README = Path(__file__).parents[2] / "README.md"
HEAD = "| device | model | parameters | ESR | best linear filter |\n| --- | --- | ---: | ---: | ---: |\n"


def test_the_table_of_models_is_up_to_date() -> None:
    table = HEAD
    for entry in read_entries(bundled()):
        metrics = entry.config.metrics
        values = " | ".join(format_value(metrics[key]) for key in ("esr", "linear_esr"))
        link = f"[`{entry.name}`](model_cards/{entry.name}.md)"
        table += f"| {entry.device} | {link} | {entry.config.parameters} | {values} |\n"
    assert table in README.read_text(encoding="utf-8"), table
