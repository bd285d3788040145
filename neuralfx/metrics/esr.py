"""Error-to-signal ratio."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from neuralfx.errors import ShapeError
from neuralfx.metrics.base import TakeMetric, check_shapes

EPSILON = 1e-8  # keeps silent targets finite, in squared amplitude
PUBLISHED_FLOOR = 1e-5  # in squared amplitude, for each sample


def error_to_signal_ratio(estimate: Tensor, target: Tensor, eps: float = EPSILON) -> Tensor:
    r"""Energy of the error relative to the energy of the target, without pre-emphasis.

    .. math:: \mathrm{ESR} = \frac{\sum_t (y_t - \hat y_t)^2}{\sum_t y_t^2 + \epsilon}

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        eps: Keeps silent targets finite, in squared amplitude.

    Returns:
        One value per signal, shape (...); 0 is perfect, 1 is as far off as silence.

    Raises:
        ShapeError: If the shapes differ.

    Example:
        >>> error_to_signal_ratio(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
        tensor(0.5000)

    Reference:
        Wright et al., "Real-Time Guitar Amplifier Emulation with Deep Learning", Appl. Sci. 10(3), 2020, eq. (10).
    """
    if estimate.shape != target.shape:
        raise ShapeError(
            f"error_to_signal_ratio: expected equal shapes, got {tuple(estimate.shape)} and {tuple(target.shape)}."
        )
    return (target - estimate).square().sum(-1) / (target.square().sum(-1) + eps)


class ErrorToSignalRatio(Metric):
    """Mean over takes of each take's :func:`error_to_signal_ratio`, accumulated segment by segment.

    That of a take is the mean over its channels. Where the scored target is silent throughout there is no such ratio:
    such channels, and takes of nothing else, are left out.

    Example:
        >>> metric = ErrorToSignalRatio()
        >>> target = torch.tensor([[[1.0, 1.0]], [[2.0, 0.0]]])
        >>> metric.update(torch.zeros(2, 1, 2), target, take=torch.tensor([0, 1]))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    errors: list[Tensor]
    energies: list[Tensor]
    takes: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("errors", "energies", "takes"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, estimate: Tensor, target: Tensor, take: Tensor, scored: Tensor | None = None) -> None:
        """Add segments.

        Args:
            estimate: Model output, shape (batch, channels, time).
            target: Recorded output, same shape.
            take: Index of the take that each segment belongs to, shape (batch,).
            scored: True where samples count, shape (batch, time); None counts all.
        """
        weight = torch.ones_like(target[:, 0]) if scored is None else scored.to(target.dtype)
        squares = torch.stack([(target - estimate).square(), target.square()]) * weight.unsqueeze(1)
        error, energy = squares.double().sum(-1)
        self.errors.append(error)
        self.energies.append(energy)
        self.takes.append(take)

    def compute(self) -> Tensor:
        """Mean over the takes, a scalar; not a number where nothing was scored."""
        ratios = list(self.per_take().values())
        return torch.stack(ratios).mean() if ratios else torch.tensor(torch.nan)

    def per_take(self) -> dict[int, Tensor]:
        """Ratio of each take by its index; takes of which nothing was scored, or only silence, are left out."""
        if not len(self.takes):  # a list before processes have been joined, a tensor after
            return {}
        errors, energies, takes = (dim_zero_cat(state) for state in (self.errors, self.energies, self.takes))
        ratios = {}
        for take in torch.unique(takes).tolist():
            error, energy = errors[takes == take].sum(0), energies[takes == take].sum(0)
            heard = energy > 0
            if heard.any():
                ratios[int(take)] = (error[heard] / energy[heard]).mean()
        return ratios


def error_to_signal_ratio_published(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Error-to-signal ratio with the floor of paper 1's published code, which quiet targets notice.

    .. math:: \frac{\sum_t (y_t - \hat y_t)^2}{\sum_t (y_t^2 + 10^{-5})}

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> target = torch.full((100,), 1e-5**0.5)
        >>> error_to_signal_ratio_published(torch.zeros(100), target)
        tensor(0.5000, dtype=torch.float64)

    Reference:
        Code published with Simionato and Fasciani, arXiv:2405.04124.
    """
    check_shapes("error_to_signal_ratio_published", estimate, target)
    return error_to_signal_ratio(estimate.double(), target.double(), PUBLISHED_FLOOR * target.shape[-1])


class TakeErrorToSignalRatio(TakeMetric):
    """:func:`error_to_signal_ratio` of a take from its pieces; not a number where the target is silent throughout.

    Example:
        >>> metric = TakeErrorToSignalRatio()
        >>> metric.update(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]]))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    def _start(self, channels: int) -> tuple[Tensor, Tensor, int]:
        zeros = torch.zeros(channels, dtype=torch.float64, device=self.device)
        return zeros, zeros, 0

    def _add(self, state: tuple[Tensor, Tensor, int], pair: Tensor) -> tuple[Tensor, Tensor, int]:
        estimate, target = pair
        error, energy, samples = state
        error = error + (target - estimate).square().sum(-1)
        return error, energy + target.square().sum(-1), samples + pair.shape[-1]

    def _finish(self, state: tuple[Tensor, Tensor, int]) -> Tensor:
        error, energy, _ = state
        return error / (energy + EPSILON)

    def _silent(self, state: tuple[Tensor, Tensor, int]) -> Tensor | None:
        return state[1] == 0


class TakeErrorToSignalRatioPublished(TakeErrorToSignalRatio):
    """:func:`error_to_signal_ratio_published` of a take from its pieces.

    Example:
        >>> metric = TakeErrorToSignalRatioPublished()
        >>> metric.update(torch.zeros(1, 100), torch.full((1, 100), 1e-5**0.5))
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    def _finish(self, state: tuple[Tensor, Tensor, int]) -> Tensor:
        error, energy, samples = state
        return error / (energy + PUBLISHED_FLOOR * samples)

    def _silent(self, state: tuple[Tensor, Tensor, int]) -> Tensor | None:
        return None
