"""Levels and crest factors of signals whose values are known."""

from __future__ import annotations

import math

import pytest
import torch

from neuralfx.metrics import (
    crest_factor_difference,
    crest_factor_difference_published,
    rms_difference,
    rms_difference_published,
)
from tests.checks import noise

TONE = torch.sin(2 * math.pi / 48 * torch.arange(4800, dtype=torch.float64))
SQUARE = torch.sign(TONE + 1e-6)


def test_a_gain_is_its_decibels() -> None:
    target = noise(1000, dtype=torch.float64)
    assert float(rms_difference(0.5 * target, target)) == pytest.approx(20 * math.log10(2))
    assert float(crest_factor_difference(0.5 * target, target)) == pytest.approx(0, abs=1e-9)


def test_a_tone_has_3_db_of_crest_and_a_square_wave_none() -> None:
    assert float(crest_factor_difference(SQUARE, TONE)) == pytest.approx(10 * math.log10(2))
    assert float(rms_difference(SQUARE, TONE)) == pytest.approx(10 * math.log10(2))


def test_numpys_levels_of_any_signal() -> None:
    target = noise(1000, dtype=torch.float64)
    estimate = torch.tanh(5 * target)
    peaks, means = zip(*[(signal.abs().max(), signal.square().mean().sqrt()) for signal in (estimate, target)])
    expected = 20 * abs(math.log10(peaks[0] / means[0]) - math.log10(peaks[1] / means[1]))
    assert float(crest_factor_difference(estimate, target)) == pytest.approx(expected)
    assert float(rms_difference(estimate, target)) == pytest.approx(20 * abs(math.log10(means[0] / means[1])))


def test_6_db_read_13_86_in_the_published_unit() -> None:
    target = noise(1000, dtype=torch.float64)
    assert float(rms_difference_published(0.5 * target, target)) == pytest.approx(13.8629, abs=1e-4)
    assert float(crest_factor_difference_published(SQUARE, TONE)) == pytest.approx(10 * math.log(2))


def test_a_shift_changes_neither() -> None:
    assert float(rms_difference(TONE.roll(100), TONE)) == pytest.approx(0, abs=1e-9)
    assert float(crest_factor_difference(TONE.roll(100), TONE)) == pytest.approx(0, abs=1e-9)


def test_silence_counts_as_minus_160_db() -> None:
    assert float(rms_difference(torch.zeros(100), torch.ones(100))) == pytest.approx(160)
