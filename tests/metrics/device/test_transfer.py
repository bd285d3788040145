"""Transfer curves of functions, and loops of delays and hysteresis."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuralfx.errors import ConfigError
from neuralfx.metrics.device import measure_transfer_curve
from tests.metrics.device.processors import RATE, delayed, one_pole


@pytest.mark.parametrize(
    "function", [lambda x: 0.5 * x, np.tanh, lambda x: x + 0.3 * x**2, lambda x: np.clip(x, -0.4, 0.6)]
)
@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
def test_the_curve_of_a_function_is_the_function(function: object, sample_rate: int) -> None:
    curve = measure_transfer_curve(function, sample_rate)  # type: ignore[arg-type]
    expected = function(curve.input)  # type: ignore[operator]
    np.testing.assert_allclose(curve.up, expected, atol=2e-3)
    np.testing.assert_allclose(curve.down, expected, atol=2e-3)
    assert curve.hysteresis < 1e-5
    assert curve.input[[0, -1]] == pytest.approx([-1.0, 1.0])


def test_a_delay_opens_a_loop_of_known_width() -> None:
    curve = measure_transfer_curve(delayed(10), RATE, frequency_hz=50.0)
    assert curve.hysteresis == pytest.approx(math.sin(2.0 * math.pi * 50.0 * 10 / RATE), rel=0.01)
    assert curve.up[100] < curve.down[100]
    assert curve.phase_deg == pytest.approx(-360.0 * 50.0 * 10 / RATE, abs=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_aligned_curve_is_that_of_a_filter_before_a_function(sign: float) -> None:
    low_pass = one_pole(0.99)
    curve = measure_transfer_curve(lambda x: sign * np.tanh(3.0 * low_pass(x)), RATE)
    gain = abs(0.01 / (1.0 - 0.99 * np.exp(-2j * np.pi * 50.0 / RATE)))
    assert abs(curve.phase_deg) > 20.0
    np.testing.assert_allclose(curve.aligned, sign * np.tanh(3.0 * gain * curve.input), atol=2e-3)


def test_play_is_hysteresis() -> None:
    def play(x: np.ndarray, width: float = 0.2) -> np.ndarray:
        out, state = [], 0.0
        for value in x.tolist():
            state = min(max(state, value - width), value + width)
            out.append(state)
        return np.array(out)

    curve = measure_transfer_curve(play, RATE)
    np.testing.assert_allclose(curve.up[80:], curve.input[80:] - 0.2, atol=2e-3)
    np.testing.assert_allclose(curve.down[:120], curve.input[:120] + 0.2, atol=2e-3)
    assert curve.hysteresis == pytest.approx(0.4 / 1.6, abs=2e-3)


def test_level_and_offset() -> None:
    curve = measure_transfer_curve(lambda x: x + 1.0, RATE, level_db=-20.0)
    assert curve.up[[0, -1]] == pytest.approx([0.9, 1.1], abs=1e-3)
    assert math.isnan(measure_transfer_curve(np.zeros_like, RATE).hysteresis)


def test_a_fast_sine_is_refused() -> None:
    with pytest.raises(ConfigError, match="from 1 to 480 Hz"):
        measure_transfer_curve(np.tanh, RATE, frequency_hz=1000.0)
