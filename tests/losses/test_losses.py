"""Losses by name: their values, their weights, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from neuralfx.errors import ConfigError
from neuralfx.losses import LOSSES, WeightedSum


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_0_at_the_target_and_pulls_towards_it(name: str) -> None:
    loss, target = WeightedSum({name: 1.0}), torch.randn(2, 1, 4096)
    torch.testing.assert_close(loss(target, target), torch.tensor(0.0), atol=1e-5, rtol=0)
    estimate = (target + 0.1 * torch.randn_like(target)).requires_grad_()
    value = loss(estimate, target)
    value.backward()
    assert loss(estimate.detach() - 0.01 * estimate.grad / estimate.grad.norm(), target) < value  # type: ignore[union-attr,operator]


def test_terms_are_weighted_and_take_arguments() -> None:
    estimate, target = torch.zeros(1, 1, 8), torch.full((1, 1, 8), 2.0)
    assert WeightedSum({"mse": 0.5, "l1": 3.0})(estimate, target) == 0.5 * 4 + 3 * 2
    emphasised = WeightedSum({"esr": {"weight": 2.0, "pre_emphasis": 0.5, "eps": 0.0}})
    assert emphasised(estimate, target) == 2.0


@pytest.mark.parametrize("terms", [{}, {"cosine": 1.0}, {"mse": {"weight": 1.0, "taps": 3}}])
def test_unknown_losses_and_arguments_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="losses: "):
        WeightedSum(terms)


def test_segments_too_short_for_the_longest_window_are_refused() -> None:
    loss = WeightedSum({"mrstft": {"fft_sizes": [128, 512]}})
    assert loss(torch.randn(1, 1, 257), torch.randn(1, 1, 257)).isfinite()
    with pytest.raises(
        ConfigError, match=r"at least 257 samples for its longest window, got 256; set data\.segment_sam"
    ):
        loss(torch.randn(1, 1, 256), torch.randn(1, 1, 256))
