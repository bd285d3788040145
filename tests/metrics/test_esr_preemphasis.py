"""Pre-emphasis against scipy, the offset's term against auraloss, their sum by hand."""

from __future__ import annotations

import pytest
import torch

from neuralfx.metrics import (
    dc_to_signal_ratio,
    error_to_signal_ratio,
    error_to_signal_ratio_dc,
    error_to_signal_ratio_preemphasis,
    error_to_signal_ratio_published,
)
from tests.checks import noise


def test_pre_emphasis_is_a_first_order_high_pass() -> None:
    scipy_signal = pytest.importorskip("scipy.signal")
    target = noise(2, 1000, dtype=torch.float64)
    estimate = torch.tanh(3 * target)
    for coefficient in (0.85, 0.95):
        filtered = [
            torch.from_numpy(scipy_signal.lfilter([1, -coefficient], [1], signal)) for signal in (estimate, target)
        ]
        found = error_to_signal_ratio_preemphasis(estimate, target, coefficient)
        torch.testing.assert_close(found, error_to_signal_ratio(*filtered))


def test_without_a_coefficient_it_is_the_plain_ratio() -> None:
    target = noise(1000, dtype=torch.float64)
    found = error_to_signal_ratio_preemphasis(0.7 * target, target, coefficient=0.0)
    torch.testing.assert_close(found, error_to_signal_ratio(0.7 * target, target))


def test_pre_emphasis_hides_an_offset_and_the_offsets_own_term_shows_it() -> None:
    target = noise(10_000, dtype=torch.float64)
    target = target - target.mean()
    estimate = target + 0.2
    power = target.square().mean()
    torch.testing.assert_close(dc_to_signal_ratio(estimate, target), 0.04 / power)
    hidden = error_to_signal_ratio_preemphasis(estimate, target)
    assert hidden < 0.01
    torch.testing.assert_close(error_to_signal_ratio_dc(estimate, target), hidden + 0.04 / power)


def test_the_offsets_term_is_auralosss() -> None:
    auraloss_time = pytest.importorskip("auraloss.time")
    target = noise(1, 1, 1000, dtype=torch.float64)
    estimate = torch.tanh(3 * target) + 0.1
    torch.testing.assert_close(dc_to_signal_ratio(estimate, target).mean(), auraloss_time.DCLoss()(estimate, target))


def test_the_published_floor_is_1e_5_a_sample() -> None:
    target = noise(1000, dtype=torch.float64)
    estimate = 0.8 * target
    expected = (target - estimate).square().mean() / (target.square() + 1e-5).mean()
    torch.testing.assert_close(error_to_signal_ratio_published(estimate, target), expected)


@pytest.mark.parametrize(
    "function", [error_to_signal_ratio_preemphasis, error_to_signal_ratio_dc, error_to_signal_ratio_published]
)
def test_their_gradients_are_right(function: object) -> None:
    target = noise(2, 10, dtype=torch.float64)
    assert torch.autograd.gradcheck(function, (torch.tanh(3 * target).requires_grad_(), target))
