"""Cepstral coefficients against scipy and NumPy's interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neuralfx.metrics import mfcc_error, mfcc_error_published, mfcc_error_relative
from neuralfx.metrics.mfcc import mel_bands
from tests.checks import noise

RATE = 48_000
SAMPLES = 1024 + 12 * 256


def pair() -> tuple[Tensor, Tensor]:
    target = noise(SAMPLES, dtype=torch.float64)
    return torch.tanh(5 * target) / 2, target


def coefficients(signal: Tensor, lowest_hz: float, highest_hz: float) -> np.ndarray:
    fft = pytest.importorskip("scipy.fft")
    scipy_signal = pytest.importorskip("scipy.signal")
    window = scipy_signal.get_window("hann", 1024)
    starts = range(0, len(signal) - 1023, 256)
    spectra = np.array([np.abs(fft.rfft(window * signal[start : start + 1024].numpy())) for start in starts])
    edges = np.linspace(2595 * np.log10(1 + lowest_hz / 700), 2595 * np.log10(1 + highest_hz / 700), 82)
    mels = 2595 * np.log10(1 + fft.rfftfreq(1024, 1 / RATE)[1:] / 700)
    bands = [np.interp(mels, edges[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(80)]
    logarithms = np.log(spectra[:, 1:] @ np.array(bands).T + 1e-6)
    return fft.dct(logarithms, type=2, axis=1) / np.sqrt(2 * 80)


def test_the_papers_equation_by_scipy() -> None:
    found, wanted = (np.abs(coefficients(signal, 30, RATE / 2)) for signal in pair())
    expected = np.abs(wanted - found).sum() / SAMPLES
    assert float(mfcc_error(*pair(), RATE)) == pytest.approx(expected, rel=1e-3)  # 2595 log10 is 1127.01 ln


def test_relative_and_published_distance_by_scipy() -> None:
    for function, lowest, highest in ((mfcc_error_relative, 30, RATE / 2), (mfcc_error_published, 80, 20_000)):
        found, wanted = (coefficients(signal, lowest, highest) for signal in pair())
        expected = np.abs(wanted - found).sum() / np.abs(wanted).sum()
        assert float(function(*pair(), RATE)) == pytest.approx(expected, rel=1e-3)


def test_a_gain_changes_the_first_coefficient_alone() -> None:
    target = pair()[1]
    expected = np.sqrt(2 * 80) * np.log(2) * 13 / SAMPLES  # in 13 windows
    first = coefficients(target, 30, RATE / 2)[:, 0]
    assert (first > 10).all()  # so that doubling does not change its sign
    assert float(mfcc_error(2 * target, target, RATE)) == pytest.approx(expected, rel=1e-2)  # narrow bands are empty


def test_bands_overlap_to_1_and_leave_the_offset_out() -> None:
    bands = mel_bands(RATE, 30.0, RATE / 2)
    assert not bands[0].any()
    inside = slice(10, 440)  # between the centres of the first and the last band
    torch.testing.assert_close(bands[inside].sum(-1), torch.ones(430).double())


def test_low_sample_rates_end_the_published_bands_at_half_the_rate() -> None:
    assert mfcc_error_published(*pair(), 16_000).isfinite()
