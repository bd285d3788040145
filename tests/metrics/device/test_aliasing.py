"""Aliasing of nonlinearities with and without oversampling, and of what has none."""

from __future__ import annotations

import numpy as np
import pytest

from neuralfx.metrics.device import measure_aliasing
from tests.metrics.device.processors import RATE, compressor, delayed, one_pole, oversampled


def drive(x: np.ndarray) -> np.ndarray:
    return np.tanh(5.0 * x)


@pytest.mark.parametrize("processor", [lambda x: 0.5 * x, lambda x: 0.5 * x + 0.3, one_pole(0.9), delayed(100)])
def test_linear_processors_have_none(processor: object) -> None:
    result = measure_aliasing(processor, RATE)  # type: ignore[arg-type]
    assert result.ratio_db.max() < -120.0
    assert result.floor_db.max() < -130.0
    assert result.ratio_db.shape == (2, len(result.frequencies_hz))


def test_harmonics_below_nyquist_are_no_aliasing() -> None:
    result = measure_aliasing(lambda x: x + 0.5 * x**2 + 0.5 * x**3, RATE, frequencies_hz=[1000.0, 5000.0])
    assert result.ratio_db.max() < -120.0


def test_one_folded_harmonic_is_measured_exactly() -> None:
    result = measure_aliasing(lambda x: x + 0.4 * x**3, RATE, frequencies_hz=[11_000.0], levels_db=[0.0])
    # The third harmonic, 0.4 / 4, folds; the fundamental is 1 + 0.4 * 3 / 4.
    assert result.ratio_db[0, 0] == pytest.approx(20.0 * np.log10(0.1 / 1.3), abs=0.01)


def test_oversampling_lowers_it() -> None:
    naive, fine = measure_aliasing(drive, RATE), measure_aliasing(oversampled(drive), RATE)
    assert naive.ratio_db[1, 3] > -40.0
    assert np.all(fine.ratio_db[1, 2:] < naive.ratio_db[1, 2:] - 40.0)
    assert np.all(naive.ratio_db[1] > naive.ratio_db[0])


def test_a_compressor_that_is_still_settling_has_little() -> None:
    slow = measure_aliasing(compressor(attack_ms=60.0), RATE, frequencies_hz=[1000.0], levels_db=[-6.0])
    assert slow.ratio_db[0, 0] < -90.0


def test_frequencies_beyond_nyquist_are_left_out_and_silence_is_not_a_number() -> None:
    assert len(measure_aliasing(drive, 16_000).frequencies_hz) == 5
    assert np.isnan(measure_aliasing(np.zeros_like, RATE, [1000.0]).ratio_db).all()


def test_three_seconds_of_audio() -> None:
    assert measure_aliasing(drive, RATE).audio_s == pytest.approx(3.09, abs=0.01)
