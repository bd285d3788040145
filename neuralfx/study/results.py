"""What the cells of a study found: rows by take, means of runs, and how the models compare."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from neuralfx.errors import ConfigError
from neuralfx.study.plan import Cell, Study
from neuralfx.study.statistics import average_ranks, holm, permutation_test

MEASURES = "measures.json"
MODEL = "model"  # the candidate that is no baseline
CAPTURE = "nam"  # the model of NAM, of one setting

Speeds = Mapping[tuple[str, int], float]  # seconds of audio per second over a whole file, by pair and parameters
NO_SPEEDS: Speeds = {}


class Row(NamedTuple):
    """The measures of a take.

    Attributes:
        model: Name of the model, of a baseline, or ``nam``.
        effect: Name of the effect.
        seed: Seed of the run; None for what is not trained in the study.
        take: Name of the take.
        knobs: Value of every knob, in its unit or as a position.
        parameters: Of a model; None for baselines.
        values: Value by name of the metric; not a number where it is not defined.
    """

    model: str
    effect: str
    seed: int | None
    take: str
    knobs: dict[str, Any]
    parameters: int | None
    values: dict[str, float]


class Score(NamedTuple):
    """Mean over runs of the mean over takes.

    Attributes:
        mean: The mean; not a number if a run gave none.
        deviation: Sample standard deviation over runs; not a number for one run.
        runs: The mean over takes of each run, by seed.
    """

    mean: float
    deviation: float
    runs: dict[int | None, float]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The models of a study by one metric.

    Attributes:
        metric: Name of the metric.
        higher_is_better: Whether large values are good.
        effects: Names of the effects with results.
        models: Names of the models with results, in the order of the study.
        baselines: Names of the baselines with results.
        scores: By model or baseline, and effect.
        ranks: Average rank of each model that has results on all effects.
        best: The model with the least average rank; empty if none has one.
        p_values: Of the other models against the best one, adjusted for being several.
        pairs: Number of runs that were compared for it.
    """

    metric: str
    higher_is_better: bool
    effects: tuple[str, ...]
    models: tuple[str, ...]
    baselines: tuple[str, ...]
    scores: dict[tuple[str, str], Score]
    ranks: dict[str, float]
    best: str
    p_values: dict[str, float]
    pairs: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Results:
    """All results of a study so far.

    Attributes:
        study: The study.
        rows: A row for each take of each run, then of each baseline.
        missing: Names of the cells without results.
        higher_is_better: Names of the metrics of which large values are good.
        parameters: Smallest and largest number of parameters of each model, over the effects.
        multiply_adds: The same of multiply-adds per sample with knobs that rest, as far as they are counted.
        speeds: Seconds of audio per second over a whole file, of the models that a benchmark has measured.
    """

    study: Study
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    higher_is_better: frozenset[str]
    parameters: dict[str, tuple[int, int]]
    multiply_adds: dict[str, tuple[int, int]]
    speeds: dict[str, float]

    def at_captures(self) -> Results:
        """Only the rows of takes that a model of NAM was measured on."""
        heard = {(row.effect, row.take) for row in self.rows if row.model == CAPTURE}
        rows = tuple(row for row in self.rows if (row.effect, row.take) in heard)
        return dataclasses.replace(self, rows=rows)

    def compare(self, metric: str) -> Comparison:
        """Means, ranks and significance by a metric of the study."""
        scores = _scores(self.rows, metric)
        effects = tuple(effect for effect in self.study.data if any(key[1] == effect for key in scores))
        models = tuple(model for model in self.study.models if any(key[0] == model for key in scores))
        sign = -1 if metric in self.higher_is_better else 1
        complete = [model for model in models if all((model, effect) in scores for effect in effects)]
        means = np.array([[sign * scores[model, effect].mean for effect in effects] for model in complete])
        ranks = dict(zip(complete, average_ranks(means).tolist())) if complete else {}
        best = min(ranks, key=ranks.__getitem__) if ranks else ""
        p_values, pairs = {}, {}
        for other in complete:
            if other != best:
                first, second = _paired(scores, best, other, effects)
                p_values[other], pairs[other] = permutation_test(first, second), len(first)
        return Comparison(
            metric=metric,
            higher_is_better=metric in self.higher_is_better,
            effects=effects,
            models=models,
            baselines=tuple(name for name in self.study.baselines if any(key[0] == name for key in scores)),
            scores=scores,
            ranks=ranks,
            best=best,
            p_values=dict(zip(p_values, holm(list(p_values.values())))),
            pairs=pairs,
        )

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows with a field for every knob and metric, for a table."""
        return [
            {
                **{name: value for name, value in row._asdict().items() if name not in ("knobs", "values")},
                **{f"knob_{name}": value for name, value in row.knobs.items()},
                **row.values,
            }
            for row in self.rows
        ]


def read_measures(cell: Cell, metrics: Iterable[str]) -> dict[str, Any] | None:
    """What was measured of a cell, as ``neuralfx.study.measure`` writes it; None if it is not all there."""
    try:
        found: dict[str, Any] = json.loads((cell.folder / MEASURES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {MODEL, *cell.baselines, *([CAPTURE] if cell.capture else [])}
    is_complete = set(metrics) <= set(found["metrics"]) and wanted <= set(found.get("candidates", ()))
    return found if is_complete else None


def read_speeds(path: Path) -> Speeds:
    """Speeds of pairs that were measured.

    Args:
        path: ``benchmark.json`` of ``neuralfx benchmark``.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))["pairs"]
        return {(name, pair["parameters"]): float(pair["file_still"]["median"]) for name, pair in pairs.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not a benchmark.json of 'neuralfx benchmark': {error!r}") from None


def read_results(study: Study, cells: Sequence[Cell], speeds: Speeds = NO_SPEEDS) -> Results:
    """Collect what the cells of a study found with its present settings.

    Args:
        study: The study.
        cells: Its cells.
        speeds: From :func:`read_speeds`, for the models of these pairs with as many parameters on all effects.
    """
    rows: list[Row] = []
    others: list[Row] = []
    missing: list[str] = []
    higher: set[str] = set()
    parameters: dict[str, tuple[int, int]] = {}
    multiply_adds: dict[str, tuple[int, int]] = {}
    for cell in cells:
        found = None if cell.has_other_settings else read_measures(cell, study.metrics)
        if found is None:
            missing.append(cell.name)
            continue
        higher |= {name for name in study.metrics if found["metrics"][name]["higher_is_better"]}
        for name, count in found["parameters"].items():
            _widen(parameters, cell.model if name == MODEL else name, count)
        if found["multiply_adds"] is not None:
            _widen(multiply_adds, cell.model, found["multiply_adds"])
        for entry in found["rows"]:
            of_take = (entry["take"], entry["knobs"])
            values = {name: float(entry["values"][name]) for name in study.metrics}
            if entry["candidate"] == MODEL:
                rows.append(Row(cell.model, cell.effect, cell.seed, *of_take, found["parameters"][MODEL], values))
            elif entry["candidate"] in (*cell.baselines, CAPTURE):
                name = entry["candidate"]
                others.append(Row(name, cell.effect, None, *of_take, found["parameters"].get(name), values))
    order = {name: number for number, name in enumerate((*study.models, *study.baselines, CAPTURE))}
    places = {name: number for number, name in enumerate(study.data)}
    rows.sort(key=lambda row: (order[row.model], places[row.effect]))  # seeds are in order
    others.sort(key=lambda row: (order[row.model], places[row.effect]))
    of_models = {}
    for model, (least, most) in parameters.items():
        if model in study.models and least == most and (study.pair(model), least) in speeds:
            of_models[model] = speeds[study.pair(model), least]
    return Results(study, (*rows, *others), tuple(missing), frozenset(higher), parameters, multiply_adds, of_models)


def _widen(ranges: dict[str, tuple[int, int]], name: str, value: int) -> None:
    """Make a range hold a value."""
    least, most = ranges.get(name, (value, value))
    ranges[name] = min(least, value), max(most, value)


def _scores(rows: Iterable[Row], metric: str) -> dict[tuple[str, str], Score]:
    """Means by model and effect. Takes on which the metric is defined for nobody are left out."""
    rows = list(rows)
    defined = {(row.effect, row.take) for row in rows if not math.isnan(row.values[metric])}
    takes: dict[tuple[str, str], dict[int | None, list[float]]] = {}
    for row in rows:
        if (row.effect, row.take) in defined:
            runs = takes.setdefault((row.model, row.effect), {})
            runs.setdefault(row.seed, []).append(row.values[metric])
    scores = {}
    for key, by_seed in takes.items():
        runs_ = {seed: float(np.mean(values)) for seed, values in by_seed.items()}
        means = list(runs_.values())
        deviation = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
        scores[key] = Score(float(np.mean(means)), deviation, runs_)
    return scores


def _paired(
    scores: dict[tuple[str, str], Score], first: str, second: str, effects: Iterable[str]
) -> tuple[list[float], list[float]]:
    """Means of the runs that two models have in common: the same effect, the same seed."""
    pairs = [
        (value, scores[second, effect].runs[seed])
        for effect in effects
        for seed, value in scores[first, effect].runs.items()
        if seed in scores[second, effect].runs
    ]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
