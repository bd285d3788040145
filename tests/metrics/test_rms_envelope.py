"""Envelopes against librosa, differences by hand."""

from __future__ import annotations

import math

import pytest
import torch

from neuralfx.metrics import absolute_amplitude_error, rms_envelope, rms_envelope_error, rms_envelope_error_db
from tests.checks import noise


def test_the_envelope_is_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    signal = noise(4096 + 5 * 1024, dtype=torch.float64)
    expected = librosa.feature.rms(y=signal.numpy(), frame_length=4096, hop_length=1024, center=False)[0]
    torch.testing.assert_close(rms_envelope(signal).float(), torch.from_numpy(expected), rtol=1e-6, atol=0)


def test_the_error_is_the_mean_difference_of_envelopes() -> None:
    target = noise(20_000, dtype=torch.float64)
    estimate = torch.tanh(5 * target)
    expected = (rms_envelope(target) - rms_envelope(estimate)).abs().mean()
    torch.testing.assert_close(rms_envelope_error(estimate, target), expected)


def test_a_gain_is_its_decibels() -> None:
    target = noise(20_000, dtype=torch.float64)
    assert float(rms_envelope_error_db(0.1 * target, target)) == pytest.approx(20)
    assert float(rms_envelope_error_db(2 * target, target)) == pytest.approx(20 * math.log10(2))


def test_below_the_floor_everything_is_minus_80_db() -> None:
    target = torch.full((4096,), 1e-3, dtype=torch.float64)
    assert float(rms_envelope_error_db(1e-9 * target, target)) == pytest.approx(20)


def test_a_short_shift_is_hardly_seen() -> None:
    target = noise(20_001, dtype=torch.float64)
    assert rms_envelope_error(target[1:], target[:-1]) < 1e-4
    assert absolute_amplitude_error(target[1:], target[:-1]) > 0.1


def test_the_published_error_has_no_windows() -> None:
    target = noise(1000, dtype=torch.float64)
    expected = (target.abs() - (0.5 * target).abs()).abs().mean()
    torch.testing.assert_close(absolute_amplitude_error(0.5 * target, target), expected)
