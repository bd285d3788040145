"""Short stretches of takes to hear and to look at: around the worst moments of the worst, median and best takes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from neuralfx.datasets.lanes import Span
from neuralfx.datasets.manifest import KnobValue
from neuralfx.evaluation.candidates import Candidate
from neuralfx.evaluation.material import Material
from neuralfx.evaluation.rows import Evaluation, Moment
from neuralfx.evaluation.run import play

WARMUP_S = 10.0

Signal = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A stretch of a take as the device and as each candidate plays it; the first channel.

    Attributes:
        title: Why it was chosen, such as ``worst take``.
        take: Name of the take.
        knobs: Its knob values.
        start_s: Where the stretch begins in the aligned take, in seconds.
        sample_rate: In Hz.
        dry: What went into the device, shape (time,).
        target: What came out, same shape.
        estimates: What each candidate makes of it, by name.
        moments: The moments in it that were worst for the first model, the worst first.
    """

    title: str
    take: str
    knobs: dict[str, KnobValue]
    start_s: float
    sample_rate: int
    dry: Signal
    target: Signal
    estimates: dict[str, Signal]
    moments: tuple[Moment, ...]

    @property
    def duration_s(self) -> float:
        """Length, in seconds."""
        return len(self.target) / self.sample_rate


def cut_excerpts(
    evaluation: Evaluation,
    material: Material,
    candidates: Sequence[Candidate],
    seconds: float = 8.0,
    moments: int = 8,
) -> list[Excerpt]:
    """Play what is worth hearing once more, and keep it.

    Args:
        evaluation: What was measured on this material; its first model decides what is worth hearing.
        material: The recordings.
        candidates: What was measured.
        seconds: Length of the stretches from the worst, median and best takes.
        moments: Worst moments of all takes that are to be heard, at most a quarter of all moments. Those outside of
            these stretches get short ones.

    Returns:
        The stretches, those with the worst moments of all first.
    """
    takes = _ranked_takes(evaluation)
    if not takes:
        return []
    roles = {takes[0]: "worst take", takes[len(takes) // 2]: "median take", takes[-1]: "best take"}
    if len(takes) == 1:
        roles = {takes[0]: "the take"}
    measured = sum(moment.model == evaluation.first_model for moment in evaluation.moments)
    worst = worst_moments(evaluation, min(moments, max(measured // 4, 1)))
    windows: list[tuple[str, int, int, int]] = []  # title, take, start, stop
    for take, title in roles.items():
        (peak,) = worst_moments(evaluation, 1, take)
        windows.append((title, take, *_window(material, take, peak, seconds)))
    rate = material.effect.sample_rate
    for moment in worst:
        if not any(_holds(moment, take, start / rate, stop / rate) for _, take, start, stop in windows):
            windows.append(("worst moment", moment.take, *_window(material, moment.take, moment, 3.0)))
    return [_cut(evaluation, material, candidates, worst, *window) for window in windows]


def worst_moments(evaluation: Evaluation, count: int, take: int | None = None) -> list[Moment]:
    """The moments with the most error of the first model, the worst first.

    The error is seen in relation to the level of its whole take, so that quiet takes and silence are told apart.

    Args:
        evaluation: What was measured.
        count: How many, at most.
        take: Index of a take; None for all.
    """
    own = [moment for moment in evaluation.moments if moment.model == evaluation.first_model]
    levels = take_powers(own)
    chosen = [moment for moment in own if take in (None, moment.take)]
    longest = max((moment.samples for moment in chosen), default=0)
    long = [moment for moment in chosen if 2 * moment.samples >= longest]  # less of the ends of ranges
    return sorted(long, key=lambda moment: moment.error / (levels[moment.take] or 1.0), reverse=True)[:count]


def take_powers(moments: Sequence[Moment]) -> dict[int, float]:
    """Mean square of the target of each take, by its index."""
    totals: dict[int, list[float]] = {}
    for moment in moments:
        total = totals.setdefault(moment.take, [0.0, 0.0])
        total[0] += moment.power * moment.samples
        total[1] += moment.samples
    return {take: power / samples for take, (power, samples) in totals.items()}


def _ranked_takes(evaluation: Evaluation) -> list[int]:
    """Takes by the error-to-signal ratio of the first model, the worst first."""
    own = [moment for moment in evaluation.moments if moment.model == evaluation.first_model]
    energies: dict[int, list[float]] = {}
    for moment in own:
        total = energies.setdefault(moment.take, [0.0, 0.0])
        total[0] += moment.error * moment.samples
        total[1] += moment.power * moment.samples
    ratios = {take: error / power if power > 0 else math.inf for take, (error, power) in energies.items()}
    return sorted(ratios, key=ratios.__getitem__, reverse=True)


def _window(material: Material, take: int, moment: Moment, seconds: float) -> tuple[int, int]:
    """Positions around a moment, inside of the range that was scored."""
    rate = material.effect.sample_rate
    middle = round(0.5 * (moment.start_s + moment.stop_s) * rate)
    span = next(span for span in material.spans[take] if span.start <= middle <= span.stop)
    length = min(round(seconds * rate), span.stop - span.start)
    start = min(max(middle - length // 2, span.start), span.stop - length)
    return start, start + length


def _holds(moment: Moment, take: int, start_s: float, stop_s: float) -> bool:
    return moment.take == take and start_s - 0.01 <= moment.start_s and moment.stop_s <= stop_s + 0.01


def _cut(
    evaluation: Evaluation,
    material: Material,
    candidates: Sequence[Candidate],
    worst: Sequence[Moment],
    title: str,
    take: int,
    start: int,
    stop: int,
) -> Excerpt:
    rate, aligned = material.effect.sample_rate, material.aligned[take]
    span = Span(take, start, stop, min(start, round(WARMUP_S * rate)))
    estimates = {}
    for candidate in candidates:
        player = candidate.begin(material, take)
        if player is not None:
            pieces = [estimate[0] for _, _, estimate in play(player, aligned, span)]
            estimates[candidate.name] = np.concatenate(pieces)
    dry, target = aligned.read(start, stop)
    heard = tuple(moment for moment in worst if _holds(moment, take, start / rate, stop / rate))
    return Excerpt(
        title=title,
        take=evaluation.takes[take],
        knobs=dict(material.recorded[take].values),
        start_s=start / rate,
        sample_rate=rate,
        dry=dry[0],
        target=target[0],
        estimates=estimates,
        moments=heard,
    )
