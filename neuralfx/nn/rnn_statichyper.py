"""Recurrent networks whose weights come from a hypernetwork that sees the knobs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neuralfx.nn.concat import centre
from neuralfx.nn.mlp import MLP
from neuralfx.nn.operations import Operations
from neuralfx.nn.recurrent import RecurrentWeights, Unit, pack_layer, uniform_like_torch
from neuralfx.nn.rnn_generated import GeneratedRNN


class StaticHyperRNN(GeneratedRNN):
    r"""Unit with all weights from a hypernetwork > linear.

    .. math:: (W_x, W_h, b_x, b_h) = f(\phi)

    where f is an MLP of the knobs :math:`\phi`, centred to -1 to 1, and the weights stand still as long as the knobs
    do. Its last layer starts with the weights that torch would give the plain unit as bias, and a quarter of torch's
    usual spread as dependence on the knobs, so that every setting starts as an ordinary unit (ours; the papers do not
    say). Without knobs the weights are parameters.

    Args:
        unit: Equations of the unit.
        channels: Channels of audio.
        num_knobs: Knobs, 0 or more.
        hidden_size: Units, at least 1.
        mlp_size: Width of the two hidden layers of the MLP.
    """

    def __init__(self, unit: Unit, channels: int, num_knobs: int, hidden_size: int, mlp_size: int) -> None:
        super().__init__(unit, channels, num_knobs, hidden_size)
        rows = unit.gates * hidden_size
        self.shapes = ((rows, channels), (rows, hidden_size), (rows,), (rows,))
        self.sizes = [math.prod(shape) for shape in self.shapes]
        plain = uniform_like_torch(hidden_size, sum(self.sizes))
        unit.start_biases(*torch.split(plain, self.sizes)[2:])
        self.generator = None
        if num_knobs:
            self.generator = MLP(num_knobs, mlp_size, mlp_size, sum(self.sizes))
            with torch.no_grad():
                self.generator.last.weight.mul_(0.25)
                self.generator.last.bias.copy_(plain)
        else:
            self.plain = nn.Parameter(plain)

    def weights(self, knobs: Tensor) -> RecurrentWeights:
        """What the hypernetwork makes of each row of knobs."""
        flat = self.plain.expand(len(knobs), -1) if self.generator is None else self.generator(centre(knobs))
        return self._shape(flat)

    def pack_coefficients(self) -> tuple[Tensor, Tensor]:
        """The last layer with its outputs packed; no base."""
        flat = self.plain.unsqueeze(0) if self.generator is None else pack_layer(self.generator.last)
        packed = self.unit.pack(self._shape(flat))
        return torch.cat([weight.flatten(1) for weight in packed], dim=1), flat.new_zeros(0, 0)

    def _shape(self, flat: Tensor) -> RecurrentWeights:
        """Weights of shape (n, all of them) as what they are."""
        parts = torch.split(flat, self.sizes, dim=-1)
        return RecurrentWeights(*(part.reshape(len(flat), *shape) for part, shape in zip(parts, self.shapes)))

    def generator_operations(self) -> Operations:
        """The hypernetwork."""
        return Operations() if self.generator is None else self.generator.operations()
