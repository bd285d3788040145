"""Plays candidates over recordings and measures them: streamed from disk, so that length does not matter."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from neuralfx.datasets.lanes import AlignedTake, Span
from neuralfx.errors import ConfigError, ShapeError, closest, join_words
from neuralfx.evaluation.candidates import Array, Candidate, Model, Player
from neuralfx.evaluation.material import Material
from neuralfx.evaluation.nam import NAM
from neuralfx.evaluation.rows import Evaluation, Moment, Row
from neuralfx.metrics import METRICS, TakeMetric

BLOCK_SAMPLES = 65_536
MOMENTS = 8  # of a take at least, if they are not too short; else they last a second
LEAST_MOMENT_S = 0.05
LEAST_SOUND_S = 0.1  # shorter ends of a kind of sound tell nothing

Metrics = Mapping[str, type[TakeMetric]]

PAPER_1_METRICS = ("mse", "esr", "rms_envelope", "spectral_flux", "mrstft", "mfcc")
PAPER_2_METRICS = ("mae", "mrstft_auraloss", "lufs", "crest_factor", "rms", "transient")
DEFAULT_METRICS = ("esr", "esr_preemphasis", "mse", *PAPER_1_METRICS[2:], *PAPER_2_METRICS)


def evaluate(
    material: Material,
    candidates: Sequence[Candidate],
    metrics: Metrics,
    progress: Callable[[int], object] | None = None,
    block_samples: int = BLOCK_SAMPLES,
) -> Evaluation:
    """Measure candidates on every take of the material.

    Every candidate hears what lies before a scored range first, as far as the range's warm-up goes, and then the range
    without a gap; ranges of one take are measured as if they followed each other.

    Args:
        material: The recordings.
        candidates: Models and baselines, with distinct names.
        metrics: Metrics by name.
        progress: Called with the number of samples that were scored since the last call.
        block_samples: Samples that are in memory at once.

    Raises:
        ConfigError: If a model does not fit the recordings.
        KnobError: If a take was recorded at a value that a model's knob cannot take.
        AudioFileError: If a file cannot be read.
        AudioError: If an input holds NaN or infinity.
    """
    scored = [index for index, spans in enumerate(material.spans) if spans]
    for candidate in candidates:
        if isinstance(candidate, (Model, NAM)):
            candidate.require_fit(material.effect, [material.recorded[index] for index in scored])
    rows: list[Row] = []
    sounds: list[Row] = []
    moments: list[Moment] = []
    absent: dict[str, list[str]] = {}
    for index in scored:
        for candidate in candidates:
            meter = _TakeMeter(material, index, candidate.name, metrics)
            for span in material.spans[index]:
                player = candidate.begin(material, index)
                if player is None:
                    absent.setdefault(candidate.name, []).append(material.names[index])
                    break
                for start, target, estimate in play(player, material.aligned[index], span, block_samples):
                    meter.add(start, target, estimate)
                    if progress is not None:
                        progress(target.shape[-1])
            else:
                rows.append(meter.row())
                sounds += meter.sound_rows()
                moments += meter.moments()
    return Evaluation(
        effect=material.effect,
        folder=material.folder,
        split=material.split,
        takes=material.names,
        candidates=tuple(candidate.describe() for candidate in candidates),
        metrics={
            name: {"explanation": _explain(metric), "higher_is_better": bool(metric.higher_is_better)}
            for name, metric in metrics.items()
        },
        rows=tuple(rows),
        sounds=tuple(sounds),
        moments=tuple(moments),
        notes=tuple(_note(name, takes, len(scored)) for name, takes in absent.items()),
    )


def play(
    player: Player, take: AlignedTake, span: Span, block_samples: int = BLOCK_SAMPLES
) -> Iterator[tuple[int, Array, Array]]:
    """Play a range of a take after its warm-up.

    Args:
        player: Fresh from :meth:`Candidate.begin`.
        take: The take.
        span: The range.
        block_samples: Samples that are played at once.

    Yields:
        Pieces of the range in order: first position, target and estimate, each of shape (channels, time). The
        latency of the player is taken out; behind the end of the take it hears silence.
    """
    late = player.latency_samples
    end = span.stop + late
    for start in range(span.start - span.warmup, end, block_samples):
        stop = min(start + block_samples, end)
        dry = take.read_dry(min(start, take.samples), min(stop, take.samples))
        estimate = player.process(np.pad(dry, ((0, 0), (0, stop - start - dry.shape[-1]))))
        first = max(start - late, span.start)
        if first < stop - late:
            yield first, take.read_wet(first, stop - late), estimate[:, first + late - start :]


def choose_metrics(names: Sequence[str] | None = None) -> dict[str, type[TakeMetric]]:
    """Metrics by their names.

    Args:
        names: Names among :data:`neuralfx.metrics.METRICS`; None takes ``DEFAULT_METRICS``, ``["all"]`` all.

    Raises:
        ConfigError: If there is no such metric.
    """
    wanted = DEFAULT_METRICS if names is None else tuple(METRICS) if list(names) == ["all"] else names
    for name in wanted:
        if name not in METRICS:
            close = closest(name, METRICS)
            hint = f"did you mean {join_words(close, last='or')}?" if close else f"expected {', '.join(METRICS)}."
            raise ConfigError(f"no metric {name!r}; {hint}")
    return {name: METRICS[name] for name in wanted}


class _TakeMeter:
    """Everything that is measured of one candidate on one take."""

    def __init__(self, material: Material, index: int, model: str, metrics: Metrics) -> None:
        self._material, self._index, self._model, self._metrics = material, index, model, metrics
        self._rate = material.effect.sample_rate
        self._whole = _Meter(metrics, self._rate)
        self._sounds: dict[str, _Meter] = {}
        samples = sum(span.stop - span.start for span in material.spans[index])
        self._length = max(min(samples // MOMENTS, self._rate), round(LEAST_MOMENT_S * self._rate))
        self._begin = self._end = 0  # of the range that is being measured, so far
        self._moments: dict[int, list[float]] = {}  # energies of error and target, samples and stop, by start

    def add(self, start: int, target: Array, estimate: Array) -> None:
        """Measure a piece from position ``start`` on."""
        self._whole.add(target, estimate)
        stop = start + target.shape[-1]
        if start != self._end:
            self._begin = start
        self._end = stop
        for sound in self._material.sounds[self._index]:
            first, last = max(sound.start, start), min(sound.stop, stop)
            if first < last:
                meter = self._sounds.setdefault(sound.name, _Meter(self._metrics, self._rate))
                meter.add(target[:, first - start : last - start], estimate[:, first - start : last - start])
        for begin in range(start - (start - self._begin) % self._length, stop, self._length):
            first, last = max(begin, start), min(begin + self._length, stop)
            part = slice(first - start, last - start)
            moment = self._moments.setdefault(begin, [0.0, 0.0, 0, last])
            moment[0] += np.square(target[:, part] - estimate[:, part], dtype=np.float64).sum()
            moment[1] += np.square(target[:, part], dtype=np.float64).sum()
            moment[2] += target[:, part].size
            moment[3] = last

    def row(self) -> Row:
        return self._row("", self._whole)

    def sound_rows(self) -> list[Row]:
        return [
            self._row(name, meter)
            for name, meter in self._sounds.items()
            if meter.samples >= LEAST_SOUND_S * self._rate
        ]

    def moments(self) -> list[Moment]:
        return [
            Moment(
                self._model,
                self._index,
                start / self._rate,
                stop / self._rate,
                float(error / samples),
                float(power / samples),
                int(samples),
            )
            for start, (error, power, samples, stop) in self._moments.items()
        ]

    def _row(self, sound: str, meter: _Meter) -> Row:
        return Row(
            model=self._model,
            take=self._material.names[self._index],
            knobs=dict(self._material.recorded[self._index].values),
            sound=sound,
            seconds=meter.samples / self._rate,
            values=meter.values(),
        )


class _Meter:
    """All metrics of consecutive pieces."""

    def __init__(self, metrics: Metrics, sample_rate: int) -> None:
        self._metrics = {name: metric(sample_rate) for name, metric in metrics.items()}
        self.samples = 0

    def add(self, target: Array, estimate: Array) -> None:
        pair = torch.from_numpy(np.ascontiguousarray(estimate)), torch.from_numpy(np.ascontiguousarray(target))
        for metric in self._metrics.values():
            metric.update(*pair)
        self.samples += target.shape[-1]

    def values(self) -> dict[str, float]:
        return {name: _value(metric) for name, metric in self._metrics.items()}


def _note(candidate: str, absent: Sequence[str], takes: int) -> str:
    """What a reader of means should know about a candidate without a part in some of the takes."""
    which = join_words(absent) if len(absent) < 4 else f"{len(absent)} of {takes} takes"
    return f"{candidate} has no part in {which}: compare its mean with means of the same takes only."


def _value(metric: TakeMetric) -> float:
    """The value of a metric; not a number where the take is too short for it."""
    try:
        return float(metric.compute())
    except ShapeError:
        return math.nan


def _explain(metric: type[TakeMetric]) -> str:
    """The first sentence of the documentation: that of the function of which the class speaks, if it does."""
    module, documented = sys.modules[metric.__module__], metric
    named = re.match(r":func:`(\w+)`", inspect.getdoc(metric) or "")
    if named:
        documented = getattr(module, named[1], metric)
    text = (inspect.getdoc(documented) or metric.__name__).split("\n\n")[0]
    return " ".join(re.sub(r":\w+:|`", "", text).split())
