"""Curves and times of a compressor that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuralfx.errors import ConfigError
from neuralfx.metrics.device import fit_knee, measure_attack_release, measure_gain_curve
from tests.metrics.device.processors import RATE, compressor, delayed, one_pole


def test_the_curve_of_a_compressor_gives_its_settings_back() -> None:
    curve = measure_gain_curve(compressor(-22.0, 3.0, knee_db=8.0, makeup_db=5.0), RATE)
    expected = np.array([5.0] * 5 + [4.9583, 3.5, 0.3333, -3.0, -6.3333, -9.6667])
    np.testing.assert_allclose(curve.gain_db[0], expected, atol=0.02)
    knee = curve.knees[0]
    assert knee is not None
    assert knee.threshold_db == pytest.approx(-22.0, abs=0.3)
    assert knee.ratio == pytest.approx(3.0, rel=0.02)
    assert knee.knee_db == pytest.approx(8.0, abs=1.0)
    assert knee.makeup_db == pytest.approx(5.0, abs=0.05)
    assert knee.deviation_db < 0.05
    assert np.abs(curve.drift_db).max() < 0.01


def test_a_limiter_has_an_infinite_ratio_and_none_in_json() -> None:
    knee = measure_gain_curve(compressor(-15.0, 1e9), RATE).knees[0]
    assert knee is not None
    assert knee.ratio == math.inf
    assert knee.threshold_db == pytest.approx(-15.0, abs=0.1)
    assert knee.to_dict()["ratio"] is None


def test_a_gain_has_no_knee_and_a_straight_curve_at_every_frequency() -> None:
    curve = measure_gain_curve(lambda x: 2.0 * x + 0.1, RATE, frequencies_hz=[104.0, 1000.0, 9000.0])
    np.testing.assert_allclose(curve.gain_db, 6.0206, atol=1e-3)
    assert curve.frequencies_hz.tolist() == [100.0, 1000.0, 9000.0]
    assert curve.knees == (None, None, None)


def test_a_curve_of_another_kind_has_no_knee() -> None:
    levels = np.arange(-50.0, 1.0, 5.0)
    assert fit_knee(levels, np.where(levels < -25.0, levels, levels - 10.0)) is None  # jumps
    assert fit_knee(levels, np.where(levels < -30.0, levels, 2.0 * levels + 30.0)) is None  # an expander
    assert fit_knee(levels[:5], levels[:5] / 2.0) is None


def test_a_slow_attack_shows_as_drift() -> None:
    curve = measure_gain_curve(compressor(attack_ms=200.0), RATE, levels_db=[-30.0, -5.0])
    assert curve.drift_db[0, 1] < -0.5


def test_levels_have_to_rise_and_frequencies_to_fit() -> None:
    with pytest.raises(ConfigError, match="rising"):
        measure_gain_curve(np.tanh, RATE, levels_db=[-10.0, -20.0])
    with pytest.raises(ConfigError, match="from 100 Hz"):
        measure_gain_curve(np.tanh, RATE, frequencies_hz=[30.0])


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
@pytest.mark.parametrize("delay", [0, 100])
@pytest.mark.parametrize(("attack_ms", "release_ms"), [(5.0, 50.0), (40.0, 200.0)])
def test_attack_and_release_are_the_time_constants(
    attack_ms: float, release_ms: float, delay: int, sample_rate: int
) -> None:
    processor = delayed(delay, compressor(attack_ms=attack_ms, release_ms=release_ms, sample_rate=sample_rate))
    result = measure_attack_release(processor, sample_rate)
    assert abs(result.delay_samples - delay) <= 12
    assert result.attack_ms == pytest.approx(attack_ms, abs=0.5)
    assert result.release_ms == pytest.approx(release_ms, rel=0.01, abs=0.5)
    assert result.attack_10_90_ms == pytest.approx(math.log(9.0) * attack_ms, rel=0.02)
    assert result.release_10_90_ms == pytest.approx(math.log(9.0) * release_ms, rel=0.02)
    assert result.release_gain_db[0] == pytest.approx(-0.75 * 17.0, abs=0.3)
    assert abs(result.attack_drift_db) < 0.01


def test_a_release_that_has_not_ended_shows_as_drift() -> None:
    result = measure_attack_release(compressor(release_ms=800.0), RATE)
    assert result.release_drift_db > 0.3
    assert result.release_ms < 700.0


def test_a_linear_processor_has_no_times() -> None:
    for processor in (lambda x: 0.5 * x, one_pole(0.9), delayed(300)):
        result = measure_attack_release(processor, RATE)
        assert math.isnan(result.attack_ms)
        assert math.isnan(result.release_10_90_ms)
        assert np.ptp(result.attack_gain_db[4:]) < 0.01  # from 2 ms on, when the filter has settled


def test_attack_of_silence_has_no_times() -> None:
    assert math.isnan(measure_attack_release(np.zeros_like, RATE).attack_ms)


def test_the_high_level_has_to_be_above_the_low_one() -> None:
    with pytest.raises(ConfigError, match="-40 and -3 dB"):
        measure_attack_release(np.tanh, RATE, low_db=-3.0, high_db=-40.0)
