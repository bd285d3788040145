"""Spectral distances against auraloss, torch.stft and NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from neuralfx.losses import MultiResolutionSTFTLoss
from neuralfx.metrics import (
    multi_resolution_stft,
    multi_resolution_stft_auraloss,
    multi_resolution_stft_published,
    multi_resolution_stft_relative,
)
from tests.checks import noise


def pair(samples: int = 8192) -> tuple[Tensor, Tensor]:
    target = noise(samples, dtype=torch.float64)
    return torch.tanh(3 * target) / 2, target


def spectrogram(signal: Tensor, size: int) -> np.ndarray:
    """Magnitudes by a loop over windows that fit into the signal."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    starts = range(0, len(signal) - size + 1, size // 4)
    return np.array([np.abs(np.fft.rfft(window * signal[start : start + size].numpy())) for start in starts])


def test_papers_equation_by_numpy() -> None:
    estimate, target = pair()
    expected = 0.0
    for size in (256, 512, 1024):
        found, wanted = spectrogram(estimate, size), spectrogram(target, size)
        expected += (np.abs(wanted - found).sum() + np.abs(np.log(wanted) - np.log(found)).sum()) / len(target)
    assert float(multi_resolution_stft(estimate, target)) == pytest.approx(expected, rel=1e-9)


def test_relative_distance_by_numpy() -> None:
    estimate, target = pair()
    expected = []
    for size in (256, 512, 1024):
        found, wanted = spectrogram(estimate, size), spectrogram(target, size)
        expected.append(np.abs(wanted - found).sum() / wanted.sum() + np.abs(np.log(wanted / found)).mean())
    assert float(multi_resolution_stft_relative(estimate, target)) == pytest.approx(np.mean(expected), rel=1e-7)


@pytest.mark.parametrize("samples", [8192, 8000, 700])
def test_published_distance_by_torchs_transform(samples: int) -> None:
    estimate, target = pair(samples)
    expected = []
    for size in (256, 512, 1024):
        window = torch.hann_window(size, dtype=torch.float64)
        found, wanted = (
            torch.stft(
                signal, size, size // 4, window=window, center=True, pad_mode="constant", return_complex=True
            ).abs()
            ** 2
            for signal in (estimate, target)
        )
        expected.append((found - wanted).abs().sum() / (wanted.sum() + 1e-5))
    torch.testing.assert_close(multi_resolution_stft_published(estimate, target), torch.stack(expected).mean())


@pytest.mark.parametrize("samples", [8192, 8000, 1025])
def test_auralosss_distance_and_our_loss(samples: int) -> None:
    auraloss = pytest.importorskip("auraloss")
    estimate, target = pair(samples)
    sizes = [128, 512, 2048]
    loss = auraloss.freq.MultiResolutionSTFTLoss(sizes, [size // 4 for size in sizes], sizes)
    found = multi_resolution_stft_auraloss(estimate, target).float()
    single = estimate.float().view(1, 1, -1), target.float().view(1, 1, -1)
    torch.testing.assert_close(found, loss(*single), rtol=1e-4, atol=0)
    torch.testing.assert_close(found, MultiResolutionSTFTLoss()(*single), rtol=1e-4, atol=0)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_gain_changes_relative_distances_as_theory_says(gain: float) -> None:
    target = pair()[1]
    expected = abs(1 - gain) + abs(math.log(gain))
    assert float(multi_resolution_stft_relative(gain * target, target)) == pytest.approx(expected, rel=1e-6)
    assert float(multi_resolution_stft_auraloss(gain * target, target)) == pytest.approx(expected, rel=1e-4)
    assert float(multi_resolution_stft_published(gain * target, target)) == pytest.approx(abs(1 - gain**2), rel=1e-6)


def test_the_papers_distance_grows_with_the_level_and_the_relative_one_does_not() -> None:
    estimate, target = pair()
    assert multi_resolution_stft(10 * estimate, 10 * target) > 2 * multi_resolution_stft(estimate, target)
    found = multi_resolution_stft_relative(10 * estimate, 10 * target)
    torch.testing.assert_close(found, multi_resolution_stft_relative(estimate, target), rtol=1e-6, atol=0)


def test_the_shift_of_a_steady_tone_is_hardly_heard() -> None:
    tone = torch.sin(2 * math.pi / 64 * torch.arange(8192 + 16, dtype=torch.float64))
    quarter = (tone[16:] - tone[:-16]).abs().mean() / tone.abs().mean()
    assert quarter > 1
    assert multi_resolution_stft_published(tone[16:], tone[:-16]) < 0.02


def test_silence_is_off_by_1_in_power() -> None:
    target = pair()[1]
    torch.testing.assert_close(
        multi_resolution_stft_published(torch.zeros_like(target), target), torch.tensor(1.0).double()
    )
