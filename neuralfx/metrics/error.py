"""Mean squared and mean absolute error."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralfx.metrics.base import TakeMetric, check_shapes


def mean_squared_error(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Mean of the squared differences of the samples, the loss of paper 1's trainings.

    .. math:: \mathrm{MSE} = \frac{1}{N} \sum_t (y_t - \hat y_t)^2

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, in squared amplitude, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> mean_squared_error(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2., dtype=torch.float64)

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", arXiv:2405.04124, section 3.2.
    """
    check_shapes("mean_squared_error", estimate, target)
    return (target.double() - estimate.double()).square().mean(-1)


def mean_absolute_error(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Mean of the absolute differences of the samples; what papers call L1 loss or L1 error is this mean.

    .. math:: \mathrm{MAE} = \frac{1}{N} \sum_t \lvert y_t - \hat y_t \rvert

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, in amplitude, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> mean_absolute_error(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(1., dtype=torch.float64)

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, arXiv:2408.04829, section 6.2.
    """
    check_shapes("mean_absolute_error", estimate, target)
    return (target.double() - estimate.double()).abs().mean(-1)


class _MeanError(TakeMetric):
    """Mean over the samples; the state is the sum so far and the number of samples."""

    def _start(self, channels: int) -> tuple[Tensor, int]:
        return torch.zeros(channels, dtype=torch.float64, device=self.device), 0

    def _finish(self, state: tuple[Tensor, int]) -> Tensor:
        total, samples = state
        return total / samples


class MeanSquaredError(_MeanError):
    """:func:`mean_squared_error` of a take from its pieces.

    Example:
        >>> metric = MeanSquaredError()
        >>> metric.update(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        >>> metric.compute()
        tensor(2., dtype=torch.float64)
    """

    def _add(self, state: tuple[Tensor, int], pair: Tensor) -> tuple[Tensor, int]:
        return state[0] + (pair[1] - pair[0]).square().sum(-1), state[1] + pair.shape[-1]


class MeanAbsoluteError(_MeanError):
    """:func:`mean_absolute_error` of a take from its pieces.

    Example:
        >>> metric = MeanAbsoluteError()
        >>> metric.update(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    def _add(self, state: tuple[Tensor, int], pair: Tensor) -> tuple[Tensor, int]:
        return state[0] + (pair[1] - pair[0]).abs().sum(-1), state[1] + pair.shape[-1]
