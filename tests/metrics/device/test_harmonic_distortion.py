"""Distortion of polynomials and clippers of which the harmonics are known."""

from __future__ import annotations

import numpy as np
import pytest

from neuralfx.errors import ConfigError
from neuralfx.metrics.device import measure_harmonic_distortion
from tests.metrics.device.processors import RATE, one_pole


def test_harmonics_of_a_cubic_at_every_level_and_frequency() -> None:
    result = measure_harmonic_distortion(lambda x: x + 0.2 * x**2 + 0.4 * x**3, RATE)
    amplitude = 10.0 ** (result.levels_db / 20.0)
    first = amplitude + 0.3 * amplitude**3
    second, third = 0.1 * amplitude**2, 0.1 * amplitude**3
    for column in range(len(result.frequencies_hz)):
        found = 10.0 ** (result.harmonics_db[:, column] / 20.0)
        np.testing.assert_allclose(found[:, 0], first, rtol=1e-4)
        np.testing.assert_allclose(found[:, 1], second, rtol=1e-3)
        np.testing.assert_allclose(found[:, 2], third, rtol=1e-2)
        np.testing.assert_allclose(result.thd[:, column], np.hypot(second, third) / first, rtol=1e-3)


def test_harmonics_of_a_square_wave() -> None:
    result = measure_harmonic_distortion(np.sign, RATE, [100.0], [0.0], harmonics=7)
    np.testing.assert_allclose(
        10.0 ** (result.harmonics_db[0, 0, ::2] / 20.0), 4.0 / np.pi / np.array([1, 3, 5, 7]), rtol=0.02
    )
    assert result.harmonics_db[0, 0, 1::2].max() < -35.0  # an odd number of periods of samples is not quite symmetric


def test_linear_processors_have_no_distortion() -> None:
    for processor in (lambda x: 0.5 * x, lambda x: -x + 0.2, one_pole(0.99)):
        assert measure_harmonic_distortion(processor, RATE).thd.max() < 1e-6


def test_harmonics_beyond_nyquist_are_not_numbers() -> None:
    result = measure_harmonic_distortion(lambda x: x + x**2 + x**3, RATE, [9000.0, 15_000.0], [-6.0], harmonics=4)
    assert np.isfinite(result.harmonics_db[0]).tolist() == [[True, True, False, False], [True, False, False, False]]
    assert np.isfinite(result.thd[0]).tolist() == [True, False]


def test_silence_has_no_distortion_ratio() -> None:
    assert np.isnan(measure_harmonic_distortion(np.zeros_like, RATE, [1000.0], [0.0]).thd).all()


def test_a_frequency_beyond_nyquist_is_an_error() -> None:
    with pytest.raises(ConfigError, match="30000 Hz"):
        measure_harmonic_distortion(np.tanh, RATE, [30_000.0])
