"""Measures a recording before anything is trained on it: every file, every take, and the takes of a device together.

Files are read piece by piece; offsets are measured on excerpts. Nothing here judges: numbers only.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from neuralfx.audio import info, read_span
from neuralfx.datasets.alignment import cross_correlation
from neuralfx.datasets.drift import Pair, Reader, Track, track_offset
from neuralfx.datasets.levels import Levels, measure_levels, measure_noise
from neuralfx.datasets.manifest import KnobValue, Recording, Take
from neuralfx.datasets.offsets import Offset, decide_offset
from neuralfx.effect import Effect
from neuralfx.errors import AudioFileError

Array = npt.NDArray[np.float64]
Item = TypeVar("Item")
Result = TypeVar("Result")

EXCERPT_S = 20
BLOCK_SAMPLES = 65_536
MOST_CORNERS = 64
MOST_CELLS = 100_000  # grids beyond are not listed cell by cell


@dataclasses.dataclass(frozen=True)
class TakeCheck:
    """What was measured on one take.

    Attributes:
        take: The take.
        dry: Levels of the input; None if it cannot be read.
        wet: Levels of the output; None if it cannot be read.
        problem: Why a file cannot be read; empty otherwise.
        offset: How the output lies to the input; None if the files do not allow that to be measured.
        track: The offset along the take; None where there is no offset.
        noise_rms: Level of the output where the input is silent; None if the input never is.
        best_esr: Error-to-signal ratio that a perfect model reaches, because that noise is in the output.
        copy_esr: Error-to-signal ratio between output and the input with the best gain; near 0 for a bypassed device.
    """

    take: Take
    dry: Levels | None = None
    wet: Levels | None = None
    problem: str = ""
    offset: Offset | None = None
    track: Track | None = None
    noise_rms: float | None = None
    best_esr: float | None = None
    copy_esr: float | None = None


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Which settings of the knobs were recorded.

    Attributes:
        values: Values of every knob in ascending order, in its unit.
        settings: Number of different settings.
        cells: Number of settings that a full grid of these values has.
        missing: Settings of that grid that were not recorded, if at least half of them were.
        missing_corners: Settings with every knob at its lowest or highest recorded value that were not recorded.
        tied: Knobs that were moved only together with others.
    """

    values: dict[str, tuple[KnobValue, ...]]
    settings: int
    cells: int
    missing: tuple[dict[str, KnobValue], ...]
    missing_corners: tuple[dict[str, KnobValue], ...]
    tied: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Two takes of one setting with the same input.

    Attributes:
        takes: Their indices.
        esr: Error-to-signal ratio of the second against the first, aligned; None if they could not be compared.
    """

    takes: tuple[int, int]
    esr: float | None


@dataclasses.dataclass(frozen=True)
class DeviceCheck:
    """What was measured on all takes of a device.

    Attributes:
        effect: The device.
        takes: One entry per take, in order.
        coverage: The settings.
        repeats: Pairs of takes at one setting.
        duplicates: Groups of takes with identical output although their settings or inputs differ, as indices.
    """

    effect: Effect
    takes: tuple[TakeCheck, ...]
    coverage: Coverage
    repeats: tuple[Repeat, ...]
    duplicates: tuple[tuple[int, ...], ...]


def check_recording(recording: Recording, done: Callable[[int], object] = lambda files: None) -> DeviceCheck:
    """Measure all takes of a device.

    Args:
        recording: The takes.
        done: Called with 1 whenever a file has been read through, for a progress bar.

    Returns:
        The measurements; files that cannot be read are told in them.
    """
    effect, takes = recording.effect, recording.takes
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:

        def measured(key: tuple[Path, int | None]) -> Levels | str:
            try:
                return measure_levels(*key)
            except AudioFileError as error:
                return str(error)
            finally:
                done(1)

        keys = list(dict.fromkeys(key for take in takes for key in _files(take)))
        levels = dict(zip(keys, _mapped(pool, measured, keys)))
        checks = tuple(_mapped(pool, lambda take: _check_take(take, *(levels[key] for key in _files(take))), takes))
    return DeviceCheck(
        effect=effect,
        takes=checks,
        coverage=measure_coverage(effect, takes),
        repeats=_find_repeats(checks),
        duplicates=_find_duplicates(checks),
    )


def count_files(recording: Recording) -> int:
    """Number of files that :func:`check_recording` reads through."""
    return len({key for take in recording.takes for key in _files(take)})


def measure_coverage(effect: Effect, takes: Sequence[Take]) -> Coverage:
    """Compare the recorded settings with the full grid of their values.

    Args:
        effect: The device and its knobs.
        takes: Its takes, at least one.
    """
    names = effect.knobs.names()
    values = {
        name: tuple(sorted({take.values[name] for take in takes}, key=effect.knobs[name].normalise)) for name in names
    }
    recorded = {tuple(take.values[name] for name in names) for take in takes}
    cells = math.prod(len(column) for column in values.values())
    missing: list[tuple[KnobValue, ...]] = []
    if cells <= MOST_CELLS and 2 * len(recorded) >= cells:
        missing = [cell for cell in itertools.product(*values.values()) if cell not in recorded]
    ends = [(column[0], column[-1]) if len(column) > 1 else column for column in values.values()]
    corners: Iterable[tuple[KnobValue, ...]] = ()
    if math.prod(len(pair) for pair in ends) <= MOST_CORNERS:
        corners = [corner for corner in itertools.product(*ends) if corner not in recorded]
    return Coverage(
        values=values,
        settings=len(recorded),
        cells=cells,
        missing=tuple(dict(zip(names, cell)) for cell in missing),
        missing_corners=tuple(dict(zip(names, corner)) for corner in corners),
        tied=effect.tied_knobs(take.values for take in takes),
    )


def reader(path: Path, channel: int | None = None) -> Reader:
    """A function that reads one channel of a file from a start to a stop, with zeros outside the file.

    Args:
        path: Audio file.
        channel: Channel from 0; None for the first.
    """
    length = info(path).samples

    def read(start: int, stop: int) -> Array:
        audio = np.zeros(stop - start)
        first, last = max(start, 0), min(stop, length)
        if first < last:
            audio[first - start : last - start] = read_span(path, first, last)[channel or 0]
        return np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0)

    return read


def _check_take(take: Take, dry: Levels | str, wet: Levels | str) -> TakeCheck:
    if isinstance(dry, str) or isinstance(wet, str):
        problems = [problem for problem in (dry, wet) if isinstance(problem, str)]
        return TakeCheck(
            take,
            dry=None if isinstance(dry, str) else dry,
            wet=None if isinstance(wet, str) else wet,
            problem=" ".join(dict.fromkeys(problems)),
        )
    rate = dry.sample_rate
    if rate != wet.sample_rate or not dry.rms or not wet.rms:
        return TakeCheck(take, dry, wet)
    read_dry, read_wet = reader(take.dry, _channel(take, dry)), reader(take.wet, _channel(take, wet))
    start = dry.silent[0][1] if dry.silent and dry.silent[0][0] == 0 else 0
    start = max(min(start - rate // 4, dry.samples - rate), 0)
    stop = min(start + EXCERPT_S * rate, dry.samples, wet.samples)
    if stop - start < 1024:
        return TakeCheck(take, dry, wet)
    excerpt, answer = read_dry(start, stop), read_wet(start, stop)
    offset = decide_offset(excerpt, answer, rate)
    if offset.samples is None:
        return TakeCheck(take, dry, wet, offset=offset)
    lag = offset.samples
    first = max(-lag, 0)
    samples = min(dry.samples - first, wet.samples - lag - first)
    pair = Pair(read_dry, read_wet, max(samples, 0), lag, rate, first)
    silent = [(begin + lag, end + lag) for begin, end in dry.silent]
    noise = measure_noise(take.wet, silent, _channel(take, wet))
    return TakeCheck(
        take,
        dry,
        wet,
        offset=offset,
        track=track_offset(pair, (start, stop)),
        noise_rms=noise,
        best_esr=None if noise is None else min((noise / wet.rms) ** 2, 1.0),
        copy_esr=_copy_error(excerpt, read_wet(start + lag, stop + lag)),
    )


def _files(take: Take) -> tuple[tuple[Path, int | None], tuple[Path, int | None]]:
    """Both files of a take with the channel that counts in each; mono files have but one."""

    def key(path: Path) -> tuple[Path, int | None]:
        try:
            return path, take.channel if take.channel is not None and info(path).channels > take.channel else None
        except AudioFileError:
            return path, None

    return key(take.dry), key(take.wet)


def _channel(take: Take, levels: Levels) -> int | None:
    return take.channel if take.channel is not None and levels.channels > take.channel else None


def _copy_error(dry: Array, wet: Array) -> float:
    """Part of the output's energy that the input at its best gain does not explain."""
    energy = float(dry @ dry) * float(wet @ wet)
    return 1.0 - float(dry @ wet) ** 2 / energy if energy > 0.0 else 1.0


def _find_repeats(checks: Sequence[TakeCheck]) -> tuple[Repeat, ...]:
    """Takes of one setting and one input, each with the one before it."""
    seen: dict[Any, int] = {}
    repeats = []
    for index, check in enumerate(checks):
        if check.dry is None or check.wet is None:
            continue
        key = (check.dry.digest, *sorted(check.take.values.items()))
        if key in seen:
            repeats.append(Repeat((seen[key], index), _repeat_error(checks[seen[key]], check)))
        seen[key] = index
    return tuple(repeats)


def _repeat_error(first: TakeCheck, second: TakeCheck) -> float | None:
    """Error-to-signal ratio between two outputs, aligned with each other."""
    offsets = [check.offset.samples if check.offset else None for check in (first, second)]
    if first.wet is None or second.wet is None or offsets[0] is None or offsets[1] is None:
        return None
    a = reader(first.take.wet, _channel(first.take, first.wet))
    b = reader(second.take.wet, _channel(second.take, second.wet))
    shift = offsets[1] - offsets[0]
    begin = max(-shift, 0)
    length = min(first.wet.samples - begin, second.wet.samples - begin - shift)
    stop = begin + min(length, EXCERPT_S * first.wet.sample_rate)
    if stop - begin < 1024:
        return None
    shift += cross_correlation(a(begin, stop), b(begin + shift, stop + shift), 64).lag
    error = energy = 0.0
    for start in range(begin, begin + length, BLOCK_SAMPLES):
        end = min(start + BLOCK_SAMPLES, begin + length)
        one, other = a(start, end), b(start + shift, end + shift)
        error += float(np.square(one - other).sum())
        energy += float(one @ one)
    return error / energy if energy else None


def _find_duplicates(checks: Sequence[TakeCheck]) -> tuple[tuple[int, ...], ...]:
    """Takes with the same output under other settings, or from another input."""
    groups: dict[str, list[int]] = {}
    for index, check in enumerate(checks):
        if check.wet is not None and check.wet.rms:
            groups.setdefault(check.wet.digest, []).append(index)

    def labels(index: int) -> tuple[Any, ...]:
        dry = checks[index].dry
        return (dry.digest if dry else "", *sorted(checks[index].take.values.items()))

    return tuple(tuple(group) for group in groups.values() if len({labels(index) for index in group}) > 1)


def _mapped(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Results in order; Ctrl-C stops what has not begun."""
    try:
        return list(pool.map(function, items))
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
