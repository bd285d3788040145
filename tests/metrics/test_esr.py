"""Error-to-signal ratio: the function by hand, the metric against the function."""

from __future__ import annotations

import pytest
import torch

from neuralfx.errors import ShapeError
from neuralfx.metrics import ErrorToSignalRatio, error_to_signal_ratio
from neuralfx.metrics.esr import TakeErrorToSignalRatio


def test_silence_is_off_by_1_and_the_target_by_0() -> None:
    target = torch.randn(3, 100)
    torch.testing.assert_close(error_to_signal_ratio(torch.zeros_like(target), target), torch.ones(3))
    torch.testing.assert_close(error_to_signal_ratio(target, target), torch.zeros(3))


def test_a_silent_target_stays_finite() -> None:
    assert error_to_signal_ratio(torch.ones(4), torch.zeros(4)).isfinite()


def test_shapes_must_agree() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(3,\)"):
        error_to_signal_ratio(torch.zeros(2, 3), torch.zeros(3))


def test_segments_of_takes_add_up_to_the_mean_of_whole_takes() -> None:
    target, estimate = torch.randn(2, 1, 300), torch.randn(2, 1, 300)
    metric = ErrorToSignalRatio()
    for start in range(0, 300, 100):
        part = slice(start, start + 100)
        metric.update(estimate[..., part], target[..., part], take=torch.tensor([7, 3]))
    expected = error_to_signal_ratio(estimate.double(), target.double(), eps=0).squeeze(1)
    torch.testing.assert_close(metric.compute(), expected.mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(metric.per_take()[7], expected[0], rtol=1e-5, atol=0)


def test_training_and_evaluation_agree_on_channels_of_unequal_levels_and_on_silence() -> None:
    target = torch.randn(3, 2, 300) * torch.tensor([1.0, 0.1])[:, None]
    target[1, 1], target[2] = 0.0, 0.0
    estimate = target + 0.05 * torch.randn(3, 2, 300)
    metric = ErrorToSignalRatio()
    metric.update(estimate, target, take=torch.arange(3))
    for take in range(2):
        alone = TakeErrorToSignalRatio()
        alone.update(estimate[take], target[take])
        torch.testing.assert_close(metric.per_take()[take], alone.compute(), rtol=1e-5, atol=0)
    assert set(metric.per_take()) == {0, 1}


def test_what_is_not_scored_does_not_count() -> None:
    metric = ErrorToSignalRatio()
    target = torch.tensor([[[1.0, 1.0, 9.0]]])
    metric.update(torch.zeros(1, 1, 3), target, torch.tensor([0]), scored=torch.tensor([[True, True, False]]))
    metric.update(target, target, torch.tensor([1]), scored=torch.zeros(1, 3, dtype=torch.bool))
    assert metric.per_take() == {0: 1.0}
