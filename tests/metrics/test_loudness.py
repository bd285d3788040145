"""Loudness against pyloudnorm, and by the standard's own example."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuralfx.metrics import loudness_difference
from tests.checks import noise


def swelling(rate: int, tenths: int) -> Tensor:
    """Noise that passes both gates."""
    samples = tenths * rate // 10
    return noise(samples, dtype=torch.float64) * torch.logspace(-5, 0, samples).double()


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_it_is_the_difference_of_pyloudnorms_loudness(rate: int) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    target = swelling(rate, 33)
    estimate = torch.tanh(4 * target)
    standard = pyloudnorm.Meter(rate, filter_class="DeMan")  # the filters of the standard's tables
    expected = abs(standard.integrated_loudness(estimate.numpy()) - standard.integrated_loudness(target.numpy()))
    assert float(loudness_difference(estimate, target, rate)) == pytest.approx(expected, abs=1e-4)
    default = pyloudnorm.Meter(rate)
    expected = abs(default.integrated_loudness(estimate.numpy()) - default.integrated_loudness(target.numpy()))
    assert float(loudness_difference(estimate, target, rate)) == pytest.approx(expected, abs=0.02)


def test_a_tone_of_full_scale_at_997_hz_measures_minus_3_01() -> None:
    tone = torch.sin(2 * math.pi * 997 / 48_000 * torch.arange(96_000, dtype=torch.float64))
    silence_counts_as_minus_70 = loudness_difference(tone, torch.zeros_like(tone), 48_000)
    assert float(silence_counts_as_minus_70) == pytest.approx(70 - 3.01, abs=0.01)


def test_a_gain_is_its_decibels() -> None:
    target = noise(48_000, dtype=torch.float64)
    assert float(loudness_difference(0.5 * target, target, 48_000)) == pytest.approx(20 * math.log10(2))


def test_silence_between_notes_does_not_count() -> None:
    note = noise(48_000, dtype=torch.float64)
    rests = torch.cat([note, torch.zeros(144_000).double()])
    same = torch.cat([note, note, note, note])
    assert float(loudness_difference(rests, same, 48_000)) < 0.7  # four seconds of rests would be 6 LU


def test_each_channel_is_heard_by_itself() -> None:
    target = noise(2, 24_000, dtype=torch.float64)
    estimate = target * torch.tensor([[0.5], [1.0]])
    found = loudness_difference(estimate, target, 48_000)
    torch.testing.assert_close(found, torch.tensor([20 * math.log10(2), 0.0]).double())
