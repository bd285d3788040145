"""Mean errors against torchmetrics."""

from __future__ import annotations

import pytest
import torch
import torchmetrics.functional

from neuralfx.errors import ShapeError
from neuralfx.metrics import mean_absolute_error, mean_squared_error
from tests.checks import noise


def test_they_are_torchmetrics_errors_of_each_signal() -> None:
    target = noise(3, 1000, dtype=torch.float64)
    estimate = torch.tanh(3 * target)
    for row in range(3):
        expected = torchmetrics.functional.mean_squared_error(estimate[row], target[row])
        torch.testing.assert_close(mean_squared_error(estimate, target)[row], expected)
        expected = torchmetrics.functional.mean_absolute_error(estimate[row], target[row])
        torch.testing.assert_close(mean_absolute_error(estimate, target)[row], expected)


def test_they_grow_with_the_error() -> None:
    target = noise(1000, dtype=torch.float64)
    torch.testing.assert_close(mean_squared_error(target + 0.1, target), torch.tensor(0.01).double())
    torch.testing.assert_close(mean_absolute_error(target - 0.1, target), torch.tensor(0.1).double())


@pytest.mark.parametrize("function", [mean_squared_error, mean_absolute_error])
def test_their_gradients_are_right(function: object) -> None:
    target = noise(2, 10, dtype=torch.float64)
    assert torch.autograd.gradcheck(function, ((2 * target).requires_grad_(), target))


def test_shapes_must_agree() -> None:
    with pytest.raises(ShapeError, match=r"mean_squared_error: .* \(2, 3\) and \(3,\)"):
        mean_squared_error(torch.zeros(2, 3), torch.zeros(3))
