"""Offset, noise and tails that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuralfx.errors import ConfigError
from neuralfx.metrics.device import measure_idle_noise
from tests.metrics.device.processors import RATE, delayed, one_pole


def test_offset_and_noise_are_found_apart() -> None:
    noise = 1e-3 * np.random.default_rng(1).standard_normal(10 * RATE)
    result = measure_idle_noise(lambda x: x - 0.25 + noise[: len(x)], RATE)
    assert result.dc == pytest.approx(-0.25, abs=1e-4)
    assert result.noise_db == pytest.approx(-60.0, abs=0.2)
    assert math.isnan(result.tail_ms)  # -60 dB of the burst are below the noise


def test_the_tail_of_a_pole_lasts_as_long_as_it_has_to() -> None:
    pole = math.exp(-1.0 / (0.02 * RATE))  # 20 ms per neper, 60 dB are 6.9
    result = measure_idle_noise(one_pole(pole), RATE)
    expected = 20.0 * math.log(10.0 ** ((result.level_db[0] + 60.0) / 20.0))  # from where the burst happens to end
    assert result.tail_ms == pytest.approx(expected, abs=0.1)
    assert np.diff(result.level_db[:80]) == pytest.approx(-20.0 / math.log(10.0) / 20.0, abs=0.01)


def test_a_delay_counts_as_tail() -> None:
    assert measure_idle_noise(delayed(480), RATE).tail_ms == pytest.approx(10.0, abs=0.1)
    assert measure_idle_noise(np.tanh, RATE).tail_ms == 0.0


def test_what_rings_on_has_an_endless_tail() -> None:
    assert measure_idle_noise(np.cumsum, RATE, burst_s=0.1, tail_s=0.2).tail_ms == math.inf


def test_a_transient_at_the_start_shows() -> None:
    start = measure_idle_noise(lambda x: x + 0.5 * 0.99 ** np.arange(len(x)), RATE)
    assert start.start_db == pytest.approx(20.0 * math.log10(0.5), abs=0.01)
    assert start.noise_db < -100.0


def test_silence_has_no_tail() -> None:
    result = measure_idle_noise(np.zeros_like, RATE)
    assert (result.dc, result.noise_db) == (0.0, -200.0)
    assert math.isnan(result.tail_ms)


def test_parts_without_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 and 1 s"):
        measure_idle_noise(np.tanh, RATE, burst_s=0.0)
