"""The contract that every network keeps: (audio, knobs, state) -> (audio, state)."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuralfx.nn.operations import Operations

if TYPE_CHECKING:
    from neuralfx.engine.player import Player

State = Any  # a Tensor, or a tuple of states: nested tuples of tensors, batch first


class Network(nn.Module, abc.ABC):
    """A causal network on audio whose memory between calls is an explicit value.

    Feeding a signal in blocks of any sizes, handing each call the state that the one before returned, gives the same
    output as feeding it whole.

    Attributes:
        num_knobs: Number of knobs, 0 or more.
        receptive_field: Samples of input, the current one included, that the feed-forward part sees. Recurrent parts
            remember longer.
        latency_samples: Samples by which the output lags behind the input.
        loops: Module of :mod:`neuralfx.engine` that can play the network, None if there is none.
    """

    num_knobs: int
    receptive_field: int = 1
    latency_samples: int = 0
    loops: str | None = None

    @abc.abstractmethod
    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """The state before anything was heard, zeros: nested tuples of tensors whose first dimension is the batch."""

    @abc.abstractmethod
    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block.

        Args:
            audio: Dry audio, shape (batch, channels, time), time at least 1.
            knobs: Normalised knob values, shape (batch, knobs), or (batch, time, knobs) if they move.
            state: What :meth:`initial_state` or the call before returned.

        Returns:
            The estimate of the wet audio, shape (batch, channels, time), and the state after it.
        """

    def operations(self, moving: bool) -> Operations | None:
        """What one sample of audio costs; None where nobody has counted it.

        Args:
            moving: Whether the knobs move, so that what depends on them alone is computed along with the audio.
        """
        return None

    def player(self) -> Player | None:
        """Compiled loops with a copy of the weights; None where the network is one that they do not know."""
        return None
