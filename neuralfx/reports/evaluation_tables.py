"""What an evaluation found, as tables: means, by setting of the knobs, by kind of sound, by take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from neuralfx.evaluation.rows import Evaluation, Interval, Row, collect, mean_interval
from neuralfx.evaluation.run import PAPER_1_METRICS, PAPER_2_METRICS
from neuralfx.reports.tables import Cell, Column, Line, Table, format_value, render_latex, render_markdown


def means_table(evaluation: Evaluation, metrics: Sequence[str] | None = None, spread: bool = True) -> Table:
    """Mean over takes of each metric, a line per model: paper 2's layout.

    Args:
        evaluation: What was measured.
        metrics: Names of the metrics that are shown; None for all.
        spread: Whether the 95 % confidence stands behind each value.
    """
    lines = []
    for candidate in evaluation.candidates:
        means = [evaluation.mean(candidate["name"], metric) for metric in metrics or evaluation.metrics]
        cells = [Cell(mean.value, describe_interval(mean) if spread else "") for mean in means]
        lines.append(Line((candidate["name"],), (*cells, Cell(candidate.get("parameters")))))
    takes = len({row.take for row in evaluation.rows})
    title = f"Mean over {takes} take{'s' * (takes != 1)} of {_device(evaluation)}, {evaluation.part}."
    columns = (*_columns(evaluation, metrics), Column("parameters", best=None))
    return Table(title, ("model",), columns, tuple(lines))


def settings_table(evaluation: Evaluation, metrics: Sequence[str] | None = None) -> Table:
    """Mean over the takes at each setting of the knobs, a group per setting: paper 1's layout."""
    title = f"By setting of the knobs of {_device(evaluation)}."
    return _grouped_table(evaluation, evaluation.rows, lambda row: row.setting, "setting", title, metrics)


def sounds_table(evaluation: Evaluation, metrics: Sequence[str] | None = None) -> Table | None:
    """Mean over takes for each kind of sound, a group per kind; None where none are known."""
    if not evaluation.sounds:
        return None
    title = f"By kind of sound, {_device(evaluation)}."
    return _grouped_table(evaluation, evaluation.sounds, lambda row: row.sound, "sound", title, metrics)


def takes_table(evaluation: Evaluation, metrics: Sequence[str] | None = None) -> Table:
    """Every take, a group per take; the confidence behind the error-to-signal ratio is that of the take's moments."""
    lines = []
    for row in evaluation.rows:
        cells = [
            Cell(
                row.values[metric],
                describe_interval(evaluation.take_esr(row.model, row.take)) if metric == "esr" else "",
            )
            for metric in metrics or evaluation.metrics
        ]
        lines.append(Line((row.take, row.model), tuple(cells)))
    title = f"By take of {_device(evaluation)}."
    return Table(title, ("take", "model"), _columns(evaluation, metrics), tuple(lines), grouped=True)


def write_markdown(evaluation: Evaluation) -> str:
    """All tables in Markdown, with what the metrics are."""
    parts = [f"# Evaluation of {', '.join(evaluation.names)}"]
    for table in _all_tables(evaluation, spread=True):
        parts += [f"## {table.title}", render_markdown(table)]
    parts += ["Best values are bold, second best underlined. In brackets: 95 % confidence by bootstrap.", "## Metrics"]
    parts.append("\n".join(f"- `{name}`: {what['explanation']}" for name, what in evaluation.metrics.items()))
    return "\n\n".join([*parts, *evaluation.notes]) + "\n"


def write_latex(evaluation: Evaluation) -> str:
    """All tables in LaTeX, for the package booktabs; the means without their confidence, as papers have them."""
    tables = map(render_latex, _all_tables(evaluation, spread=False))
    return "\n\n".join(["% needs \\usepackage{booktabs}", *tables]) + "\n"


def csv_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row per take, model and kind of sound; the kind is empty for the whole take."""
    return [
        {
            "device": evaluation.effect.slug,
            "split": evaluation.split,
            "model": row.model,
            "take": row.take,
            "sound": row.sound,
            "seconds": round(row.seconds, 6),
            **{f"knob {name}": value for name, value in row.knobs.items()},
            **row.values,
        }
        for row in (*evaluation.rows, *evaluation.sounds)
    ]


def describe_interval(interval: Interval) -> str:
    """``[low, high]``; empty where it is not known.

    Example:
        >>> describe_interval(Interval(0.5, 0.4, 0.61, 9))
        '[0.400, 0.610]'
    """
    if math.isnan(interval.low):
        return ""
    return f"[{format_value(interval.low)}, {format_value(interval.high)}]"


def _all_tables(evaluation: Evaluation, spread: bool) -> Iterator[Table]:
    """Every table, once with the metrics of each paper and once with the others: no page takes all columns."""
    known = (*PAPER_1_METRICS, *PAPER_2_METRICS)
    sets = (PAPER_1_METRICS, PAPER_2_METRICS, [name for name in evaluation.metrics if name not in known])
    shown = [found for names in sets if (found := [name for name in names if name in evaluation.metrics])]
    yield from (means_table(evaluation, metrics, spread) for metrics in shown)
    if len({row.setting for row in evaluation.rows}) > 1:
        yield from (settings_table(evaluation, metrics) for metrics in shown)
    for metrics in shown:
        table = sounds_table(evaluation, metrics)
        if table is not None:
            yield table
    yield from (takes_table(evaluation, metrics) for metrics in shown)


def _grouped_table(
    evaluation: Evaluation,
    rows: Iterable[Row],
    key: Callable[[Row], str],
    label: str,
    title: str,
    metrics: Sequence[str] | None,
) -> Table:
    found = collect(rows, key)
    lines = [
        Line(
            (group, model),
            tuple(Cell(mean_interval(found[group, model][metric]).value) for metric in metrics or evaluation.metrics),
        )
        for group in dict.fromkeys(group for group, _ in found)
        for model in evaluation.names
        if (group, model) in found
    ]
    return Table(title, (label, "model"), _columns(evaluation, metrics), tuple(lines), grouped=True)


def _columns(evaluation: Evaluation, metrics: Sequence[str] | None) -> tuple[Column, ...]:
    return tuple(
        Column(name, "highest" if evaluation.metrics[name]["higher_is_better"] else "lowest")
        for name in metrics or evaluation.metrics
    )


def _device(evaluation: Evaluation) -> str:
    return evaluation.effect.device or evaluation.effect.slug
