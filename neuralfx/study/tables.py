"""Tables and a figure of a study: rows are models, columns are effects, or metrics as in the papers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralfx.reports.tables import (
    Cell,
    Column,
    Line,
    Table,
    escape_latex,
    format_value,
    render_csv,
    render_latex,
    render_markdown,
)
from neuralfx.study.plan import Study
from neuralfx.study.published import Published, explain_published, find_published
from neuralfx.study.results import CAPTURE, Results, Score
from neuralfx.text import describe_knobs

WIDE = 20  # ratio of values from which an axis is logarithmic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tabulate_effects(results: Results, metric: str) -> Table:
    """Models by effects: the mean over takes and seeds, average rank, p-value and costs; baselines below.

    Behind an effect stand the values that papers published for it, if the study wants them.
    """
    found = results.compare(metric)
    best = "highest" if found.higher_is_better else "lowest"
    published = {effect: _published(results.study, found.models, effect, metric) for effect in found.effects}
    columns = []
    for effect in found.effects:
        columns += [Column(effect, best), *_published_column(effect, published[effect])]
    columns += [Column("rank"), Column(f"p against {found.best}", None), *_cost_columns(results)]
    lines = []
    for name in (*found.models, *found.baselines):
        cells = []
        for effect in found.effects:
            cells += [_cell(found.scores.get((name, effect))), *_published_cell(name, published[effect])]
        cells += [Cell(found.ranks.get(name)), Cell(found.p_values.get(name)), *_costs(results, name)]
        lines.append(Line((name,), tuple(cells)))
    title = f"{metric} on what tests, mean over takes and seeds."
    return Table(title, ("model",), tuple(columns), tuple(lines))


def tabulate_metrics(results: Results, effect: str) -> Table:
    """Models by metrics on one effect, and costs; baselines below."""
    by_metric = [results.compare(metric) for metric in results.study.metrics]
    models = by_metric[0].models
    published = {found.metric: _published(results.study, models, effect, found.metric) for found in by_metric}
    columns = []
    for found in by_metric:
        best = "highest" if found.higher_is_better else "lowest"
        columns += [Column(found.metric, best), *_published_column(found.metric, published[found.metric])]
    lines = []
    for name in (*models, *by_metric[0].baselines):
        cells = []
        for found in by_metric:
            cells += [_cell(found.scores.get((name, effect))), *_published_cell(name, published[found.metric])]
        lines.append(Line((name,), (*cells, *_costs(results, name))))
    title = f"{effect}: all metrics on what tests, mean over takes and seeds."
    return Table(title, ("model",), (*columns, *_cost_columns(results)), tuple(lines))


def tabulate_captures(results: Results, metric: str) -> Table:
    """Models by effects where a model of NAM was measured too: the mean over takes at its setting, and costs."""
    found = results.at_captures().compare(metric)
    best = "highest" if found.higher_is_better else "lowest"
    settings = {effect: describe_knobs(capture.knobs) for effect, capture in results.study.captures.items()}
    columns = [Column(f"{effect} at {settings[effect]}", best) for effect in found.effects]
    lines = [
        Line((name,), (*(_cell(found.scores.get((name, effect))) for effect in found.effects), *_costs(results, name)))
        for name in (*found.models, *found.baselines, CAPTURE)
    ]
    title = f"{metric} at the one setting that a model of NAM was trained at."
    return Table(title, ("model",), (*columns, *_cost_columns(results)), tuple(lines))


def tabulate(results: Results) -> list[Table]:
    """A table per metric, one with models of NAM where there are any, and, of several metrics, one per effect."""
    tables = [tabulate_effects(results, metric) for metric in results.study.metrics]
    if results.at_captures().rows:
        tables.insert(1, tabulate_captures(results, results.study.metrics[0]))
    if len(results.study.metrics) > 1:
        effects = results.compare(results.study.metrics[0]).effects
        tables += [tabulate_metrics(results, effect) for effect in effects]
    return tables


def explain(results: Results) -> list[str]:
    """What the numbers are, in sentences."""
    seeds = len(results.study.seeds)
    sentences = [
        f"Each value is the mean over takes and over {seeds} seed(s); ± is the sample standard deviation over seeds."
        if seeds > 1
        else "Each value is the mean over takes of one run: nothing is known about chance. Give several seeds.",
        "Rank is the average over effects of a model's rank among the models.",
        "Multiply-adds are those of a sample while the knobs rest"
        + (
            "; speed is seconds of audio per second over a whole file, as 'neuralfx benchmark' measured it."
            if results.speeds
            else "; how fast that runs, 'neuralfx benchmark' measures."
        ),
    ]
    found = results.compare(results.study.metrics[0])
    if found.pairs:
        pairs = min(found.pairs.values())
        sentences.append(
            "p: two-sided paired permutation test against the model of the least average rank, of the relative "
            f"differences of the {pairs} run(s) with the same effect and seed, adjusted after Holm for "
            f"{len(found.pairs)} comparison(s). So many runs cannot give less than {format_value(2.0 ** (1 - pairs))}."
        )
    shown = [
        value
        for metric in results.study.metrics
        for effect in found.effects
        for value in _published(results.study, found.models, effect, metric).values()
    ]
    sentences += explain_published(shown)
    if results.missing:
        sentences.append(f"Incomplete: there is nothing yet of {', '.join(results.missing)}.")
    return sentences


def plot(results: Results) -> Figure:
    """Every run as a point, their mean as a bar, baselines as dashed lines: a row per metric, a column per effect."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    comparisons = [results.compare(metric) for metric in results.study.metrics]
    effects, models = comparisons[0].effects, comparisons[0].models
    size = (3.0 + 3.0 * len(effects), (1.2 + 0.3 * len(models)) * len(comparisons))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(comparisons), len(effects), squeeze=False, sharey=True)
    for row, found in zip(grid, comparisons):
        for axes, effect in zip(row, effects):
            values: list[float] = []
            for place, model in enumerate(models):
                score = found.scores.get((model, effect))
                if score is not None:
                    runs = list(score.runs.values())
                    values += runs
                    axes.plot(runs, [place] * len(runs), "o", color="#d1495b", alpha=0.6, markersize=5)
                    axes.plot([score.mean], [place], "|", color="#222222", markersize=14)
            for number, name in enumerate(found.baselines):
                if (name, effect) in found.scores:
                    level = found.scores[name, effect].mean
                    values.append(level)
                    axes.axvline(level, color=f"C{number}", linestyle="--", linewidth=1, label=name)
            if values and max(values) > WIDE * min(values) > 0:
                axes.set_xscale("log")
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_yticks(range(len(models)), models)
            axes.set(xlabel=found.metric, title=effect)
            axes.grid(True, axis="x", which="both", alpha=0.2)
        row[0].set_ylim(len(models) - 0.5, -0.5)
    if comparisons[0].baselines:
        grid[0][-1].legend(fontsize="small")
    return figure


def write(results: Results, folder: Path) -> list[Path]:
    """Write results.csv, table.md, table.tex and figure.png.

    Several processes may do so at a time: each file is replaced as a whole.

    Args:
        results: At least one row.
        folder: Folder of the study.

    Returns:
        The files.
    """
    tables, sentences = tabulate(results), explain(results)
    markdown = [f"# {results.study.name}"]
    for table in tables:
        markdown += [f"## {table.title}", render_markdown(table)]
    latex = [f"% {sentence}" for sentence in ("needs the package booktabs", *map(escape_latex, sentences))]
    texts = {
        "results.csv": render_csv(_raw_rows(results)),
        "table.md": "\n\n".join([*markdown, "\n".join(f"- {sentence}" for sentence in sentences)]) + "\n",
        "table.tex": "\n\n".join(["\n".join(latex), *map(render_latex, tables)]) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in texts.items():
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        written.append(part.replace(folder / name))
    part = folder / "figure.png.part"
    plot(results).savefig(part, dpi=120, format="png")
    return [*written, part.replace(folder / "figure.png")]


def _cell(score: Score | None) -> Cell:
    if score is None:
        return Cell(None)
    return Cell(score.mean, "" if math.isnan(score.deviation) else f"± {format_value(score.deviation)}")


def _published(study: Study, models: Iterable[str], effect: str, metric: str) -> dict[str, Published]:
    """What papers have of the models' pairs on an effect by a metric, by model."""
    values = {
        model: find_published(study.published[effect], study.pair(model), metric)
        for model in models
        if effect in study.published
    }
    return {model: value for model, value in values.items() if value is not None}


def _published_column(title: str, published: Mapping[str, Published]) -> list[Column]:
    """No column where there is nothing."""
    return [Column(f"{title} in paper", None)] if published else []


def _published_cell(model: str, published: Mapping[str, Published]) -> list[Cell]:
    if not published:
        return []
    value = published.get(model)
    return [Cell(None) if value is None else Cell(value.value, "" if value.is_certain else "?")]


def _raw_rows(results: Results) -> list[dict[str, Any]]:
    """A row per take and run; behind the metrics what papers have of the model on the effect, if they do."""
    rows = results.to_dicts()
    for metric in results.study.metrics:
        for effect in results.study.data:
            published = _published(results.study, results.study.models, effect, metric)
            for row in rows:
                if row["effect"] == effect and row["model"] in published:
                    value = published[row["model"]]
                    row.update({f"{metric}_in_paper": value.value, f"{metric}_source": value.source})
    return rows


def _cost_columns(results: Results) -> tuple[Column, ...]:
    """Speeds only where a benchmark has some."""
    names = ("parameters", "multiply-adds", *(["speed"] if results.speeds else []))
    return tuple(Column(name, None) for name in names)


def _costs(results: Results, name: str) -> list[Cell]:
    """Cells for the columns of costs."""
    ranges = [ranges.get(name, (None, None)) for ranges in (results.parameters, results.multiply_adds)]
    counts = [Cell(least, "" if least == most else f"to {most}") for least, most in ranges]
    return [*counts, *([Cell(results.speeds.get(name))] if results.speeds else [])]
