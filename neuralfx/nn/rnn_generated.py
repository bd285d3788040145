"""Recurrent networks whose weights are functions of the knobs."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuralfx.nn.control import GRID_SAMPLES, hold, initial_grid
from neuralfx.nn.mlp import MLP, SLOPE
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations, linear_operations
from neuralfx.nn.output import output_layer
from neuralfx.nn.recurrent import RecurrentWeights, Unit, pack_head, pack_layer

if TYPE_CHECKING:
    from neuralfx.engine.player import Player


class GeneratedRNN(Network, abc.ABC):
    """Recurrent unit with weights made from the knobs > linear.

    Weights are made once per span of still knobs, and knobs that move are read every
    :data:`~neuralfx.nn.control.GRID_SAMPLES` samples from the start of the stream on; the state runs on through
    changes of weights. Rows with equal knobs share weights and one call of torch's fused kernel.

    Args:
        unit: Equations of the unit.
        channels: Channels of audio.
        num_knobs: Knobs, 0 or more.
        hidden_size: Units, at least 1.

    Attributes:
        generator: Makes coefficients from the knobs, centred to -1 to 1; None without knobs.
    """

    loops = "rnn"
    generator: MLP | None

    def __init__(self, unit: Unit, channels: int, num_knobs: int, hidden_size: int) -> None:
        super().__init__()
        self.unit = unit
        self.channels = channels
        self.num_knobs = num_knobs
        self.hidden_size = hidden_size
        self.output = output_layer(hidden_size, channels)

    @abc.abstractmethod
    def weights(self, knobs: Tensor) -> RecurrentWeights:
        """The unit's weights for each row of knobs of shape (batch, knobs)."""

    @abc.abstractmethod
    def pack_coefficients(self) -> tuple[Tensor, Tensor]:
        """The generator's last layer and base as :class:`~neuralfx.engine.rnn.GeneratedPlayer` takes them."""

    @abc.abstractmethod
    def generator_operations(self) -> Operations:
        """Those of one evaluation of :meth:`weights` for one row."""

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """State of the unit, and the grid on which knobs are read."""
        return (
            self.unit.initial_state(batch_size, self.hidden_size, device, dtype),
            initial_grid(batch_size, self.num_knobs, device, dtype),
        )

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        memory, grid = state
        features = audio.transpose(1, 2)
        spans, grid = hold(knobs, features.shape[1], grid)
        outputs = []
        for span, values in spans:
            output, memory = self.unit.run(features[:, span], self._weights_of_rows(values), memory)
            outputs.append(output)
        joined = torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]
        return self.output(joined).transpose(1, 2), (memory, grid)

    @torch.no_grad()
    def player(self) -> Player | None:
        """The unit with the generator's first layer on raw knobs; one channel of audio only."""
        if self.channels != 1:
            return None
        from neuralfx.engine.rnn import GeneratedPlayer

        first = second = self.output.weight.new_zeros(1, 0)
        if self.generator is not None:
            first, second = (
                pack_layer(layer)
                for layer in self.generator
                if isinstance(layer, nn.Linear) and layer is not self.generator.last
            )
            # W (2 phi - 1) + b = 2 W phi + (b - W 1)
            first = torch.cat([2 * first[:-1], first[-1:] - first[:-1].sum(0)])
        return GeneratedPlayer(first, second, *self.pack_coefficients(), pack_head(self.output), SLOPE, GRID_SAMPLES)

    def operations(self, moving: bool) -> Operations:
        """The plain unit's with still knobs; moving ones make new weights once per cell of the grid."""
        plain = add_operations(self.unit.operations(self.channels, self.hidden_size), linear_operations(self.output))
        if not moving or not self.num_knobs:
            return plain
        return add_operations(plain, Operations(*(-(-count // GRID_SAMPLES) for count in self.generator_operations())))

    def _weights_of_rows(self, knobs: Tensor) -> RecurrentWeights:
        """Weights shared by all rows where their knobs are equal, each row's own otherwise."""
        if torch.equal(knobs, knobs[:1].expand_as(knobs)):
            return RecurrentWeights(*(weight.squeeze(0) for weight in self.weights(knobs[:1])))
        return self.weights(knobs)
