"""Spectral flux against librosa's transform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from neuralfx.metrics import spectral_flux_error, spectral_flux_error_published, spectral_flux_error_relative
from tests.checks import noise

SAMPLES = 2048 + 20 * 512


def pair() -> tuple[Tensor, Tensor]:
    target = noise(SAMPLES, dtype=torch.float64)
    return torch.tanh(5 * target) / 2, target


def magnitudes(signal: Tensor) -> np.ndarray:
    librosa = pytest.importorskip("librosa")
    return np.abs(librosa.stft(signal.numpy(), n_fft=2048, hop_length=512, center=False, dtype=np.complex128))


def test_it_compares_changes_from_window_to_window() -> None:
    found, wanted = (np.diff(magnitudes(signal), axis=1) for signal in pair())
    error = np.abs(wanted - found).sum()
    assert float(spectral_flux_error(*pair())) == pytest.approx(error / SAMPLES, rel=1e-6)
    assert float(spectral_flux_error_relative(*pair())) == pytest.approx(error / np.abs(wanted).sum(), rel=1e-6)


def test_the_published_one_compares_changes_from_bin_to_bin() -> None:
    found, wanted = (np.diff(magnitudes(signal), axis=0) for signal in pair())
    expected = np.abs(wanted - found).sum() / np.abs(wanted).sum()
    assert float(spectral_flux_error_published(*pair())) == pytest.approx(expected, rel=1e-6)


def test_a_gain_is_its_distance_from_1() -> None:
    target = pair()[1]
    assert float(spectral_flux_error_relative(0.7 * target, target)) == pytest.approx(0.3)
    assert float(spectral_flux_error_relative(torch.zeros_like(target), target)) == pytest.approx(1)


def test_a_steady_error_is_no_flux() -> None:
    tone = torch.sin(2 * math.pi / 64 * torch.arange(SAMPLES, dtype=torch.float64))
    assert spectral_flux_error(tone, torch.zeros_like(tone)) < 1e-6


def test_a_late_onset_is() -> None:
    target = torch.zeros(SAMPLES, dtype=torch.float64)
    target[6000:] = noise(SAMPLES - 6000, dtype=torch.float64)
    assert spectral_flux_error_relative(target.roll(512), target) > 0.5
