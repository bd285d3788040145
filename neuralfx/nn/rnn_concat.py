"""Recurrent networks that see the knobs as further channels of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuralfx.nn.concat import append_knobs, centre
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations, linear_operations
from neuralfx.nn.output import output_layer
from neuralfx.nn.recurrent import Recurrent, Unit, pack_head

if TYPE_CHECKING:
    from neuralfx.engine.player import Player


class ConcatRNN(Network):
    r"""Unit on audio and knobs side by side > linear.

    .. math:: W_x (x_n, \phi)^\top + b_x

    with the knobs :math:`\phi` centred to -1 to 1; where they stand still, their part is a bias. Knobs that move are
    read at every sample.

    Args:
        unit: Equations of the unit.
        channels: Channels of audio.
        num_knobs: Knobs, 0 or more.
        hidden_size: Units, at least 1.
    """

    loops = "rnn"

    def __init__(self, unit: Unit, channels: int, num_knobs: int, hidden_size: int) -> None:
        super().__init__()
        self.num_knobs = num_knobs
        self.recurrent = Recurrent(unit, channels + num_knobs, hidden_size)
        self.output = output_layer(hidden_size, channels)

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """State of the unit."""
        return self.recurrent.initial_state(batch_size, device, dtype)

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        features, state = self.recurrent(append_knobs(audio, centre(knobs)).transpose(1, 2), state)
        return self.output(features).transpose(1, 2), state

    @torch.no_grad()
    def player(self) -> Player | None:
        """The unit on raw knobs; one channel of audio only."""
        if self.output.out_features != 1:
            return None
        from neuralfx.engine.rnn import FixedPlayer

        bias, input, hidden = (weight[0] for weight in self.recurrent.pack())
        audio, knobs = input[:1], input[1:]
        # W (2 phi - 1) = 2 W phi - W 1
        return FixedPlayer(bias - knobs.sum(0), torch.cat([audio, 2 * knobs]), hidden, pack_head(self.output))

    def operations(self, moving: bool) -> Operations:
        """Those of one sample."""
        seen = self.recurrent.features - (0 if moving else self.num_knobs)
        recurrent = self.recurrent.unit.operations(seen, self.recurrent.hidden_size)
        return add_operations(recurrent, linear_operations(self.output))
