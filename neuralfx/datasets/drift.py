"""Follows the offset between input and output along a take: clocks that run apart, blocks lost or doubled.

The device's linear response is estimated once, where it fits best, so that its delay does not count. In windows along
the take the filtered input is then compared with the output; where their cross-correlation peaks is how far the offset
has moved. A jump is located by the change from one offset to the other that leaves the least error in between.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neuralfx.datasets.alignment import linear_response

Array = npt.NDArray[np.float64]
Reader = Callable[[int, int], Array]

WINDOWS = 64  # along a take, whatever its length
SHORTEST_S, LONGEST_S = 0.25, 2.0  # length of a window
REACH = 4096  # largest movement that is looked for, in samples
LEAST_CORRELATION = 0.4  # below it a window says nothing
LEAST_LEAD = 1.05  # a tone correlates as well a period later
LEAST_PIECE = 4_096  # samples by which a response can be estimated
TRIED = 8  # windows by which responses are compared
BETTER = 0.02  # by which a piece has to fit better than the whole
JUMP_SAMPLES = 16.0  # smaller steps are the change of material, drift or noise


class Jump(NamedTuple):
    """A place where the offset changes at once.

    Attributes:
        time_s: Where, in seconds of the input.
        samples: By how much; positive where output was added or input lost.
    """

    time_s: float
    samples: int


@dataclasses.dataclass(frozen=True)
class Track:
    """The offset along a take.

    Attributes:
        times_s: Centres of the windows that say something, in seconds of the input.
        moved: Offset there less the offset of the take, in samples and fractions.
        windows: Number of windows that were looked at.
        drift_ppm: Slope in millionths, positive where the output gets later; None with fewer than three windows.
        uncertainty_ppm: Standard error of that slope.
        spread: Root mean square distance of the offsets from that line, in samples.
        jumps: Places where the offset changes at once; the slope is that between them.
    """

    times_s: tuple[float, ...] = ()
    moved: tuple[float, ...] = ()
    windows: int = 0
    drift_ppm: float | None = None
    uncertainty_ppm: float | None = None
    spread: float | None = None
    jumps: tuple[Jump, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pair:
    """An input and an output that are read piece by piece.

    Attributes:
        dry: Reads input samples from a start to a stop, shape (time,); zeros outside the file.
        wet: Reads output samples likewise.
        samples: Length of the input that has an output at the take's offset.
        offset: The take's offset in samples: ``wet(n + offset)`` belongs to ``dry(n)``.
        sample_rate: In Hz.
        start: First input sample that has an output.
    """

    dry: Reader
    wet: Reader
    samples: int
    offset: int
    sample_rate: int
    start: int = 0


def track_offset(pair: Pair, excerpt: tuple[int, int]) -> Track:
    """Measure the offset in windows along a take.

    Args:
        pair: The take.
        excerpt: Start and stop of the input samples by which the device's response is estimated, 20 s at most.

    Returns:
        The track; without windows if the signals are silent or the take is shorter than two windows.
    """
    rate = pair.sample_rate
    length = round(min(max(pair.samples / rate / 16, SHORTEST_S), LONGEST_S) * rate)
    count = min(pair.samples // length, WINDOWS)
    if count < 2:
        return Track(windows=count)
    follow = _best_follower(pair, excerpt, length, count)
    starts = [pair.start + round(index * (pair.samples - length) / (count - 1)) for index in range(count)]
    measured = [(start, moved) for start in starts if (moved := follow.moved(start)) is not None]
    if len(measured) < 3:
        return Track(_seconds(measured, length, rate), tuple(moved for _, moved in measured), count)
    begins = np.array([start for start, _ in measured])
    places = np.array([value for _, value in measured])
    jumps = []
    levelled = places.copy()
    for index in _steps(places):
        step = float(np.median(places[index : index + 3]) - np.median(places[max(index - 3, 0) : index]))
        sample = follow.locate(int(begins[index - 1]), int(begins[index]), places[index - 1], places[index])
        jumps.append(Jump(round(sample / rate, 4), round(step)))
        levelled[index:] -= step
    slope, error, spread = _line(begins / rate, levelled)
    return Track(
        times_s=_seconds(measured, length, rate),
        moved=tuple(round(float(value), 2) for value in places),
        windows=count,
        drift_ppm=1e6 * slope / rate,
        uncertainty_ppm=1e6 * error / rate,
        spread=spread,
        jumps=tuple(jumps),
    )


def _best_follower(pair: Pair, excerpt: tuple[int, int], length: int, count: int) -> _Follower:
    """The response that fits best along the take: that of the excerpt, or of a quarter of it without jump or drift."""
    start, stop = excerpt
    pieces = [excerpt]
    quarter = (stop - start) // 4
    if quarter >= LEAST_PIECE:
        pieces += [(start + index * quarter, start + (index + 1) * quarter) for index in range(4)]
    tried = range(0, count, max(count // TRIED, 1))
    places = [pair.start + round(index * (pair.samples - length) / (count - 1)) for index in tried]
    best, best_fit = None, -1.0
    for first, last in pieces:
        dry, wet = pair.dry(first, last), pair.wet(first + pair.offset, last + pair.offset)
        follow = _Follower(pair, *linear_response(dry, wet, 0), length)
        fit = float(np.mean([follow.best(place).fit for place in places]))
        if best is None or fit > best_fit + BETTER:
            best, best_fit = follow, fit
    assert best is not None
    return best


class _Best(NamedTuple):
    """Where the filtered input and the output of a window are most alike: the movement, how much, and how clearly."""

    moved: float
    fit: float
    clear: bool


class _Follower:
    """Measures the offset around a place, with the device's response as a filter on the input."""

    def __init__(self, pair: Pair, lags: npt.NDArray[np.signedinteger[Any]], response: Array, length: int) -> None:
        self.pair = pair
        self.first = int(lags[0])
        self.response = response
        self.length = length
        self.reach = min(REACH, length // 4)

    def predicted(self, start: int, samples: int) -> Array:
        """What the linear response makes of the input, at the take's offset from input sample ``start`` on."""
        taps = len(self.response)
        dry = np.diff(self.pair.dry(start - self.first - taps, start - self.first + samples))
        size = 1 << (len(dry) + taps).bit_length()
        filtered = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(self.response, size), size)
        return filtered[taps - 1 : taps - 1 + samples]

    def recorded(self, start: int, samples: int) -> Array:
        """The output from input sample ``start`` on, at the take's offset."""
        begin = start + self.pair.offset
        return np.diff(self.pair.wet(begin - 1, begin + samples))

    def moved(self, start: int) -> float | None:
        """By how much the offset has moved in the window from ``start`` on; None where that is not clear."""
        found = self.best(start)
        return found.moved if found.clear else None

    def best(self, start: int) -> _Best:
        """The best fit in the window from ``start`` on."""
        expected = self.predicted(start, self.length)
        found = self.recorded(start - self.reach, self.length + 2 * self.reach)
        energy = np.concatenate([[0.0], np.cumsum(np.square(found))])
        energy = energy[self.length :] - energy[: -self.length]
        reference = float(expected @ expected)
        if not reference or energy.max() <= 0.0:
            return _Best(0.0, 0.0, False)
        size = 1 << (len(found) + self.length).bit_length()
        product = np.fft.irfft(np.fft.rfft(expected, size).conj() * np.fft.rfft(found, size), size)
        fit = product[: 2 * self.reach + 1] / np.sqrt(reference * np.maximum(energy, 1e-3 * energy.max()))
        place = int(fit.argmax())
        others = fit.copy()
        others[max(place - 16, 0) : place + 17] = 0.0
        top = float(fit[place])
        if not 0 < place < len(fit) - 1:
            return _Best(float(place - self.reach), top, False)
        before, after = float(fit[place - 1]), float(fit[place + 1])
        moved = place - self.reach + 0.5 * (before - after) / (before - 2 * top + after)  # the peak of a parabola
        return _Best(moved, top, top >= LEAST_CORRELATION and top >= LEAST_LEAD * float(others.max()))

    def locate(self, begin: int, stop: int, before: float, after: float) -> int:
        """Input sample between two windows at which the offset changes from ``before`` to ``after``."""
        while stop - begin > 4 * self.length:  # halve the gap until it is short enough to look at every sample
            middle = (begin + stop) // 2
            moved = self.moved(middle)
            if moved is None:
                break
            begin, stop = (middle, stop) if abs(moved - before) < abs(moved - after) else (begin, middle)
        stop = min(stop + self.length, begin + 16 * self.length)
        expected = self.predicted(begin, stop - begin)
        early, late = (self.recorded(begin + round(moved), stop - begin) for moved in (before, after))
        worse_late = np.cumsum(np.square(early - expected) - np.square(late - expected))
        return begin + int(worse_late.argmin()) + 1


def _steps(moved: Array) -> list[int]:
    """Indices of windows from which on the offset is another one, for good."""
    change = np.diff(moved)
    usual = float(np.median(change))
    noise = float(np.median(np.abs(change - usual)))
    found: list[int] = []
    for index in np.flatnonzero(np.abs(change - usual) > max(JUMP_SAMPLES, 10 * noise)) + 1:
        before, after = moved[max(index - 3, 0) : index], moved[index : index + 3]
        step = abs(float(np.median(after) - np.median(before)))
        settled = min(len(before), len(after)) > 1 and max(np.ptp(before), np.ptp(after)) < 0.25 * step
        if settled:
            found.append(int(index))
    return found


def _line(times: Array, values: Array) -> tuple[float, float, float]:
    """Slope, its standard error, and the root mean square residual of a line that ignores outliers."""
    rise, run = np.subtract.outer(values, values), np.subtract.outer(times, times)
    slope = float(np.median(rise[run > 0] / run[run > 0]))  # Theil and Sen
    residual = values - slope * times
    residual -= np.median(residual)
    kept = np.abs(residual) <= max(4.0 * float(np.median(np.abs(residual))), 1.0)
    spread = float(np.sqrt(np.mean(np.square(residual[kept]))))
    width = float(np.sqrt(np.sum(np.square(times[kept] - times[kept].mean()))))
    return slope, spread / width if width > 0.0 else np.inf, spread


def _seconds(measured: list[tuple[int, float]], length: int, rate: int) -> tuple[float, ...]:
    return tuple(round((start + length / 2) / rate, 3) for start, _ in measured)
