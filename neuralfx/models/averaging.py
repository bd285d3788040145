"""A running average of the weights, which wanders less than the weights themselves."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn


class AveragedWeights(EMAWeightAveraging):
    r"""Validates, saves and tests an exponential moving average of the weights in their place.

    .. math:: \bar w \leftarrow d\, \bar w + (1 - d)\, w

    after every step of the optimiser. Training goes on from the weights themselves, which a checkpoint keeps beside
    the average. With small recordings the weights of single steps differ much in how they do on unheard audio; their
    average differs less.

    Args:
        decay: d, from 0 to below 1: about the last 1 / (1 - d) steps count.

    Reference:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on Control and
        Optimization 30(4), 1992, whose average weighs all steps alike.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """To train on, take up weights and average; to test, the average alone, which is already loaded."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
