"""Error-to-signal ratio."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from neuralfx.errors import ShapeError


def error_to_signal_ratio(estimate: Tensor, target: Tensor, eps: float = 1e-8) -> Tensor:
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
        squares = torch.stack([(target - estimate).square().sum(1), target.square().sum(1)]) * weight
        error, energy = squares.double().sum(-1)
        self.errors.append(error)
        self.energies.append(energy)
        self.takes.append(take)

    def compute(self) -> Tensor:
        """Mean over the takes, a scalar; not a number where nothing was scored."""
        ratios = list(self.per_take().values())
        return torch.stack(ratios).mean() if ratios else torch.tensor(torch.nan)

    def per_take(self) -> dict[int, Tensor]:
        """Ratio of each take by its index; takes of which no sample was scored are left out."""
        if not len(self.takes):  # a list before processes have been joined, a tensor after
            return {}
        errors, energies, takes = (dim_zero_cat(state) for state in (self.errors, self.energies, self.takes))
        ratios = {}
        for take in torch.unique(takes).tolist():
            error, energy = errors[takes == take].sum(), energies[takes == take].sum()
            if energy > 0:
                ratios[int(take)] = error / energy
        return ratios
