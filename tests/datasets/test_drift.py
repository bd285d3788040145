from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from neuralfx.datasets.drift import Pair, Reader, Track, track_offset
from tests.data.generate import RATE, music

Array = npt.NDArray[np.float64]
SECONDS = 60
DRY = music(SECONDS * RATE)


def reader(audio: Array) -> Reader:
    def read(start: int, stop: int) -> Array:
        padded = np.zeros(stop - start)
        first, last = max(start, 0), min(stop, len(audio))
        if first < last:
            padded[first - start : last - start] = audio[first:last]
        return padded

    return read


def track(wet: Array, offset: int = 0) -> Track:
    samples = min(len(DRY), len(wet) - offset)
    return track_offset(Pair(reader(DRY), reader(wet), samples, offset, RATE), (0, 20 * RATE))


def test_a_constant_offset_neither_drifts_nor_jumps() -> None:
    found = track(np.concatenate([np.zeros(300), np.tanh(4 * DRY)]), 300)
    assert len(found.moved) > 0.8 * found.windows
    assert found.jumps == ()
    assert found.drift_ppm is not None and abs(found.drift_ppm) < 0.5


@pytest.mark.parametrize("ppm", [20.0, -20.0])
def test_clocks_that_run_apart_are_measured(ppm: float) -> None:
    time = np.arange(len(DRY))
    found = track(np.interp(time * (1 - ppm * 1e-6), time, np.tanh(4 * DRY)))
    assert found.drift_ppm == pytest.approx(ppm, abs=2.0)
    assert found.jumps == ()


@pytest.mark.parametrize("samples", [64, -64])
def test_an_inserted_or_dropped_block_is_located(samples: int) -> None:
    wet, place = np.tanh(4 * DRY), round(33.4 * RATE)
    parts = [wet[:place], np.zeros(samples), wet[place:]] if samples > 0 else [wet[:place], wet[place - samples :]]
    (jump,) = track(np.concatenate(parts)).jumps
    assert jump.samples == pytest.approx(samples, abs=1)
    assert jump.time_s == pytest.approx(33.4, abs=0.05)


def test_unrelated_signals_say_nothing() -> None:
    found = track(np.random.default_rng(0).standard_normal(len(DRY)))
    assert len(found.moved) < found.windows / 4
    assert found.jumps == ()


def test_silence_and_short_takes_say_nothing() -> None:
    assert track(np.zeros(len(DRY))).moved == ()
    assert track_offset(Pair(reader(DRY), reader(DRY), 2_100, 0, RATE), (0, 2_100)).moved == ()
