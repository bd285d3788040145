"""What an evaluation found, as plain data: rows by take and kind of sound, moments, means and their confidence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from neuralfx import __version__
from neuralfx.datasets.manifest import KnobValue
from neuralfx.effect import Effect
from neuralfx.text import describe_knobs

RESAMPLES = 2000
LEVEL = 0.95


class Interval(NamedTuple):
    """A value with the range in which it lies with a confidence of 95 %.

    Attributes:
        value: The value itself; not a number where nothing was measured.
        low: Lower end; not a number where one observation tells nothing about the spread.
        high: Upper end, likewise.
        observations: Their number.
    """

    value: float
    low: float
    high: float
    observations: int


@dataclasses.dataclass(frozen=True)
class Row:
    """The measures of a model or baseline on a take, or on what it has of one kind of sound.

    Attributes:
        model: Name of the model or baseline.
        take: Name of the take.
        knobs: Value of every knob, in its unit or as a position.
        sound: Kind of sound; empty for all that is scored of the take.
        seconds: How much was measured.
        values: Value by name of the metric; not a number where it is not defined.
    """

    model: str
    take: str
    knobs: dict[str, KnobValue]
    sound: str
    seconds: float
    values: dict[str, float]

    @property
    def setting(self) -> str:
        """The knobs as people write them: ``peak_reduction 40, mode limit``; a dash without knobs."""
        return describe_knobs(self.knobs)


class Moment(NamedTuple):
    """About a second of a take, or less of a short one.

    Attributes:
        model: Name of the model or baseline.
        take: Index of the take.
        start_s: Where it begins in the aligned take, in seconds.
        stop_s: Where it ends.
        error: Mean square of the error.
        power: Mean square of the target.
        samples: Samples that were measured, of all channels.
    """

    model: str
    take: int
    start_s: float
    stop_s: float
    error: float
    power: float
    samples: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """All results of an evaluation.

    Attributes:
        effect: The recorded device.
        folder: Folder of the recordings.
        split: Split that was measured.
        takes: Names of all takes of the recordings.
        candidates: What each model and baseline is, in the order of the tables.
        metrics: What each metric is, by its name: ``explanation`` and ``higher_is_better``.
        rows: A row for each take and candidate.
        sounds: A row for each take, candidate and kind of sound.
        moments: All that was measured, cut into about seconds, for each take and candidate.
        notes: What a reader should know, in sentences.
    """

    effect: Effect
    folder: str
    split: str
    takes: tuple[str, ...]
    candidates: tuple[dict[str, Any], ...]
    metrics: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]
    sounds: tuple[Row, ...]
    moments: tuple[Moment, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of models and baselines, in the order of the tables."""
        return tuple(candidate["name"] for candidate in self.candidates)

    @property
    def first_model(self) -> str:
        """The model that examples are chosen for: the first one, or the first baseline."""
        models = [candidate["name"] for candidate in self.candidates if candidate["kind"] == "model"]
        return str((models or self.names)[0])

    @property
    def part(self) -> str:
        """What was measured, in words: ``test part`` or ``whole takes``."""
        return "whole takes" if self.split == "all" else f"{self.split} part"

    def mean(self, model: str, metric: str) -> Interval:
        """Mean over takes."""
        return mean_interval([row.values[metric] for row in self.rows if row.model == model])

    def take_esr(self, model: str, take: str) -> Interval:
        """Error-to-signal ratio of a take, with the confidence that its moments give."""
        index = self.takes.index(take)
        return ratio_interval([moment for moment in self.moments if (moment.model, moment.take) == (model, index)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as strings, numbers, lists and dicts; what is not a number becomes None."""

        def means(rows: Iterable[Row], key: Callable[[Row], Hashable], name: str) -> list[dict[str, Any]]:
            return [
                {
                    name: label,
                    "model": model,
                    "values": {metric: mean_interval(values)._asdict() for metric, values in found.items()},
                }
                for (label, model), found in collect(rows, key).items()
            ]

        content = {
            "format": 1,
            "neuralfx": __version__,
            "effect": self.effect.to_dict(),
            "folder": self.folder,
            "split": self.split,
            "candidates": list(self.candidates),
            "metrics": self.metrics,
            "notes": list(self.notes),
            "means": means(self.rows, lambda row: self.split, "split"),
            "settings": means(self.rows, lambda row: row.setting, "setting"),
            "kinds_of_sound": means(self.sounds, lambda row: row.sound, "sound"),
            "takes": [
                {**dataclasses.asdict(row), "esr_of_moments": self.take_esr(row.model, row.take)._asdict()}
                for row in self.rows
            ],
            "takes_by_sound": [dataclasses.asdict(row) for row in self.sounds],
            "moments": [{**moment._asdict(), "take": self.takes[moment.take]} for moment in self.moments],
        }
        return dict(_plain(content))


def collect(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[tuple[Any, str], dict[str, list[float]]]:
    """Values by metric of all rows that share a key and a model, in the order in which they first appear."""
    found: dict[tuple[Any, str], dict[str, list[float]]] = {}
    for row in rows:
        values = found.setdefault((key(row), row.model), {})
        for metric, value in row.values.items():
            values.setdefault(metric, []).append(value)
    return found


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with its 95 % confidence by bootstrap: the percentiles of the means of resampled values.

    Args:
        values: Observations, such as one per take; what is not a number is left out.

    Returns:
        The mean; its range is not a number for fewer than two observations. With a handful of them it is a rough
        guide.

    Example:
        >>> mean_interval([1.0, 2.0, 3.0]).value
        2.0

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    observed = np.asarray([value for value in values if math.isfinite(value)])
    if not len(observed):
        return Interval(math.nan, math.nan, math.nan, 0)
    return _bootstrap(observed, np.ones(len(observed)))


def ratio_interval(moments: Sequence[Moment]) -> Interval:
    """Energy of the error relative to that of the target, with its 95 % confidence by bootstrap over moments."""
    heard = [moment for moment in moments if moment.samples]
    if not sum(moment.power for moment in heard) > 0:
        return Interval(math.nan, math.nan, math.nan, len(heard))
    energies = np.asarray([(moment.error * moment.samples, moment.power * moment.samples) for moment in heard])
    return _bootstrap(energies[:, 0], energies[:, 1])


def _bootstrap(numerators: Any, denominators: Any) -> Interval:
    """Ratio of sums, and the percentiles that it has when the observations are drawn anew, with replacement."""
    count = len(numerators)
    value = float(numerators.sum() / denominators.sum())
    if count < 2:
        return Interval(value, math.nan, math.nan, count)
    generator = np.random.default_rng(0)
    rounds = max(min(RESAMPLES, 4_000_000 // count), 200)
    ratios = np.empty(rounds)
    for index in range(rounds):
        drawn = generator.integers(count, size=count)
        total = denominators[drawn].sum()
        ratios[index] = numerators[drawn].sum() / total if total > 0 else math.nan
    low, high = np.nanpercentile(ratios, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(value, float(low), float(high), count)


def _plain(value: Any) -> Any:
    """Data that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): _plain(content) for name, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(content) for content in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
