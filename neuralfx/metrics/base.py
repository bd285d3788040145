"""Metrics of one take that is read piece by piece."""

from __future__ import annotations

import abc
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from neuralfx.errors import ShapeError


class TakeMetric(Metric, abc.ABC):
    """How far the estimate of one take is from its target, from consecutive pieces of any lengths.

    Pieces are joined to blocks of ``block_samples`` before they are measured. So the value does not depend on where
    the take was cut, and memory does not grow with its length. Everything is computed in float64.

    A subclass gives its measure in three steps, whose state is a value of its own choice:

    - ``_start(channels)`` returns the state before the first sample.
    - ``_add(state, pair)`` returns the state after a block ``pair`` of shape (2, channels, time), estimate first. All
      blocks but the last have ``block_samples`` samples. The old state stays as it is.
    - ``_finish(state)`` returns one value per channel, shape (channels,).

    A take is measured in one process; nothing is reduced across processes.

    Args:
        sample_rate: Sample rate of the take in Hz; None where the measure does not depend on it.

    Example:
        >>> from neuralfx.metrics import MeanAbsoluteError
        >>> metric = MeanAbsoluteError(sample_rate=48_000)
        >>> metric.update(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]]))
        >>> metric.update(torch.tensor([[3.0]]), torch.tensor([[1.0]]))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = True
    block_samples: int = 16_384

    def __init__(self, sample_rate: int | None = None) -> None:
        super().__init__(sync_on_compute=False)
        self.sample_rate = sample_rate
        self._block: Tensor | None = None
        self._filled = 0
        self._measured: Any = None

    def update(self, estimate: Tensor, target: Tensor) -> None:
        """Add the next piece of the take.

        Args:
            estimate: Model output, shape (channels, time).
            target: Recorded output, same shape.

        Raises:
            ShapeError: If the shapes differ, are not (channels, time), or change their number of channels.
        """
        if estimate.ndim != 2 or estimate.shape != target.shape:
            raise ShapeError(
                f"{type(self).__name__}: expected two pieces of one shape (channels, time), got "
                f"{tuple(estimate.shape)} and {tuple(target.shape)}."
            )
        channels = len(estimate)
        if self._block is None:
            self._block = self._new_block(channels)
            self._measured = self._start(channels)
        elif self._block.shape[1] != channels:
            raise ShapeError(
                f"{type(self).__name__}: expected {self._block.shape[1]} channels as before, got {channels}; "
                "call reset() before another take."
            )
        done = 0
        while done < estimate.shape[-1]:
            size = min(self.block_samples - self._filled, estimate.shape[-1] - done)
            place, part = slice(self._filled, self._filled + size), slice(done, done + size)
            self._block[0, :, place] = estimate[:, part].detach()
            self._block[1, :, place] = target[:, part].detach()
            self._filled, done = self._filled + size, done + size
            if self._filled == self.block_samples:
                self._measured = self._add(self._measured, self._block)
                self._block, self._filled = self._new_block(channels), 0

    def compute(self) -> Tensor:
        """Mean over the channels of what all pieces so far give, a scalar; not a number before the first piece.

        Of metrics that have no value for a silent target, over the channels where it is not silent.
        """
        if self._block is None:
            return torch.tensor(torch.nan, dtype=torch.float64)
        rest = self._block[..., : self._filled]
        state = self._add(self._measured, rest) if self._filled else self._measured
        values, silent = self._finish(state), self._silent(state)
        return (values if silent is None else values[~silent]).mean()

    def reset(self) -> None:
        """Forget the take."""
        super().reset()
        self._block, self._filled, self._measured = None, 0, None

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Add the next piece and return :meth:`compute`."""
        self.update(estimate, target)
        value: Tensor = self.compute()
        return value

    def measure(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Value of each whole signal, apart from the pieces given to :meth:`update`.

        Args:
            estimate: Model output, shape (..., time).
            target: Recorded output, same shape.

        Returns:
            One value per signal, shape (...), float64.

        Raises:
            ShapeError: If the shapes differ or hold no sample.
        """
        check_shapes(type(self).__name__, estimate, target)
        pair = torch.stack([estimate, target]).double().reshape(2, -1, estimate.shape[-1])
        state = self._start(pair.shape[1])
        for block in torch.split(pair, self.block_samples, dim=-1):
            state = self._add(state, block)
        values, silent = self._finish(state), self._silent(state)
        return (values if silent is None else values.masked_fill(silent, torch.nan)).reshape(estimate.shape[:-1])

    def _silent(self, state: Any) -> Tensor | None:
        """Channels without a value, as their target is silent, shape (channels,); None if silence has one too."""
        return None

    @abc.abstractmethod
    def _start(self, channels: int) -> Any:
        """State before the first sample."""

    @abc.abstractmethod
    def _add(self, state: Any, pair: Tensor) -> Any:
        """State after a block of shape (2, channels, time), estimate first; ``state`` itself is left alone."""

    @abc.abstractmethod
    def _finish(self, state: Any) -> Tensor:
        """One value per channel, shape (channels,)."""

    def _new_block(self, channels: int) -> Tensor:
        return torch.zeros(2, channels, self.block_samples, dtype=torch.float64, device=self.device)


def check_shapes(name: str, estimate: Tensor, target: Tensor) -> None:
    """Raise a :class:`ShapeError` that begins with ``name`` unless both are of one shape (..., time) with a sample."""
    if estimate.shape != target.shape or not estimate.ndim or not estimate.shape[-1]:
        raise ShapeError(
            f"{name}: expected two signals of one shape (..., time) with at least one sample, got "
            f"{tuple(estimate.shape)} and {tuple(target.shape)}."
        )
