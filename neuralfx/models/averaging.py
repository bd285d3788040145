"""A running average of the weights, which wanders less than the weights themselves."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor


class AveragedWeights(WeightAveraging):
    r"""Validates, saves and tests a moving average of the weights in their place.

    .. math::
        \bar w_1 = w_1, \qquad \bar w_{n+1} = d_n \bar w_n + (1 - d_n)\, w_{n+1}, \qquad
        d_n = \min\Bigl(d, \frac{n}{n + 1}\Bigr)

    after every step of the optimiser: the mean of all steps at first, then an exponential average that has forgotten
    the beginning. Training goes on from the weights themselves, which a checkpoint keeps beside
    the average. With small recordings the weights of single steps differ much in how they do on unheard audio; their
    average differs less.

    Args:
        decay: d, from 0 to below 1: about the last 1 / (1 - d) steps count.

    Reference:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on Control and
        Optimization 30(4), 1992, whose average weighs all steps alike.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=partial(_average, decay))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Average, unless the batch only warmed up."""
        if getattr(pl_module, "has_stepped", True):
            super().on_train_batch_end(trainer, pl_module, *args, **kwargs)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """To train on, take up weights and average; to test, the average alone, which is already loaded."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


def _average(decay: float, average: Tensor, weights: Tensor, count: Tensor) -> Tensor:
    """The next average, after ``count`` steps."""
    share: Tensor = (1 / (count + 1)).clamp(min=1 - decay)
    return average + share * (weights - average)
