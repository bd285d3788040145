"""Tones whose folded harmonics are apart from their harmonics, and errors of processors."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from neuralfx.errors import AudioError, ConfigError, ShapeError
from neuralfx.metrics.device.signals import FFT_SIZE, GUARD_BINS, plain, run, to_db, tone_bin


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("frequency_hz", [1000.0, 2000.0, 4500.0, 9000.0, 12_500.0])
def test_folded_harmonics_stay_clear_of_harmonics(frequency_hz: float, sample_rate: int) -> None:
    k = tone_bin(frequency_hz, sample_rate)
    assert abs(k * sample_rate / FFT_SIZE / frequency_hz - 1.0) <= 0.03
    assert math.gcd(k, FFT_SIZE) == 1
    harmonics = np.arange(1, 4 * FFT_SIZE // k) * k  # up to four times the sample rate
    folded = harmonics[harmonics > FFT_SIZE // 2] % FFT_SIZE
    folded = np.minimum(folded, FFT_SIZE - folded)
    assert np.abs(folded - k * np.rint(folded / k)).min() > GUARD_BINS + 1


@pytest.mark.parametrize("frequency_hz", [20.0, 23_999.0])
def test_frequencies_at_the_ends_have_a_tone(frequency_hz: float) -> None:
    assert 5 <= tone_bin(frequency_hz, 48_000) < FFT_SIZE // 2


@pytest.mark.parametrize("frequency_hz", [-1.0, 0.0, 24_000.0, math.nan])
def test_frequencies_out_of_range_are_refused(frequency_hz: float) -> None:
    with pytest.raises(ConfigError, match="below 24000 Hz"):
        tone_bin(frequency_hz, 48_000)


def test_a_processor_gets_float32_and_has_to_keep_the_length() -> None:
    assert run(lambda x: np.full(len(x), x.dtype == np.float32), np.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ShapeError, match=r"\(4,\).*\(3,\)"):
        run(lambda x: x[1:], np.zeros(4))


def test_an_output_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(AudioError, match="NaN or infinity"):
        run(lambda x: x * np.float32(np.nan), np.ones(4))


def test_results_become_what_json_knows() -> None:
    values = {"a": plain(np.array([[1.0, math.nan]])), "b": plain((math.inf, None, 3, "x"))}
    assert json.loads(json.dumps(values, allow_nan=False)) == {"a": [[1.0, None]], "b": [None, None, 3, "x"]}


def test_silence_is_at_minus_200_db() -> None:
    assert to_db([0.0, 1.0]).tolist() == [-200.0, 0.0]
