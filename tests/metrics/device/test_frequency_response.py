"""Responses of filters, delays and nonlinearities that are known."""

from __future__ import annotations

import numpy as np
import pytest

from neuralfx.errors import ConfigError
from neuralfx.metrics.device import FrequencyResponse, measure_frequency_response
from tests.metrics.device.processors import RATE, delayed, one_pole, oversampled


def phase_error_deg(result: FrequencyResponse, expected: np.ndarray) -> float:
    difference = result.phase_deg - np.angle(expected, deg=True)
    return float(np.abs((difference + 180.0) % 360.0 - 180.0).max())


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
def test_a_one_pole_low_pass_is_found(sample_rate: int) -> None:
    result = measure_frequency_response(one_pole(0.95), sample_rate)
    turn = np.exp(-2j * np.pi * result.frequencies_hz / sample_rate)
    expected = 0.05 / (1.0 - 0.95 * turn)
    np.testing.assert_allclose(result.magnitude_db - 20.0 * np.log10(np.abs(expected)), 0.0, atol=0.01)
    assert phase_error_deg(result, expected) < 0.1
    delay_ms = 1000.0 / sample_rate * np.real(0.95 * turn / (1.0 - 0.95 * turn))
    np.testing.assert_allclose(result.group_delay_ms, np.broadcast_to(delay_ms, (3, len(turn))), atol=2e-3)
    assert result.frequencies_hz[[0, -1]] == pytest.approx([20.0, min(20_000.0, 0.45 * sample_rate)], rel=0.01)


def test_a_delay_is_a_constant_group_delay() -> None:
    result = measure_frequency_response(delayed(100, lambda x: -0.5 * x), RATE, levels_db=[-20.0])
    np.testing.assert_allclose(result.group_delay_ms, 100.0 / 48.0, atol=1e-4)
    np.testing.assert_allclose(result.magnitude_db, 20.0 * np.log10(0.5), atol=1e-3)
    assert phase_error_deg(result, -np.exp(-2j * np.pi * result.frequencies_hz * 100 / RATE)) < 0.01


def test_of_a_polynomial_the_fundamental_counts_and_depends_on_level() -> None:
    result = measure_frequency_response(oversampled(lambda x: x + 0.3 * x**2 + 0.4 * x**3), RATE)
    expected = 20.0 * np.log10(1.0 + 0.3 * 10.0 ** (result.levels_db / 10.0))
    middle = (result.frequencies_hz > 40.0) & (result.frequencies_hz < 18_000.0)
    np.testing.assert_allclose(result.magnitude_db[:, middle] - expected[:, None], 0.0, atol=0.05)


def test_aliasing_hardly_ripples_the_response() -> None:
    result = measure_frequency_response(lambda x: np.tanh(4.0 * x), RATE, levels_db=[-6.0])
    middle = (result.frequencies_hz > 40.0) & (result.frequencies_hz < 6000.0)
    assert np.ptp(result.magnitude_db[0, middle]) < 0.1


def test_an_offset_is_no_response() -> None:
    result = measure_frequency_response(lambda x: x + 0.1, RATE, levels_db=[-40.0])
    np.testing.assert_allclose(result.magnitude_db, 0.0, atol=0.01)


def test_silence_has_no_group_delay() -> None:
    result = measure_frequency_response(np.zeros_like, RATE)
    assert np.isnan(result.group_delay_ms).all()
    assert result.magnitude_db.max() == -200.0


def test_a_sweep_that_is_too_short_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.1 s"):
        measure_frequency_response(np.tanh, RATE, duration_s=0.1)
