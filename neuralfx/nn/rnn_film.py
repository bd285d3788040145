"""Recurrent networks whose gates' inputs are scaled and shifted by the knobs."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralfx.nn.concat import centre
from neuralfx.nn.mlp import MLP
from neuralfx.nn.operations import Operations, add_operations
from neuralfx.nn.recurrent import Recurrent, RecurrentWeights, Unit, pack_layer
from neuralfx.nn.rnn_generated import GeneratedRNN


class FiLMRNN(GeneratedRNN):
    r"""Unit whose products with input and state are modulated by the knobs > linear.

    .. math::
        F^x = \alpha^x(\phi) \odot (W_x x_n + b_x) + \beta^x(\phi), \qquad
        F^h = \alpha^h(\phi) \odot (W_h h_{n-1} + b_h) + \beta^h(\phi)

    take the place of the two products in the unit; an MLP makes all coefficients from the knobs :math:`\phi`, centred
    to -1 to 1. As both are linear they fold into the weights,

    .. math:: W' = \operatorname{diag}(\alpha) W, \qquad b' = \alpha \odot b + \beta

    so that a knob setting costs no more than the plain unit. Training starts near :math:`\alpha = 1, \beta = 0` (ours;
    the papers do not say). Without knobs it is the plain unit.

    Args:
        unit: Equations of the unit.
        channels: Channels of audio.
        num_knobs: Knobs, 0 or more.
        hidden_size: Units, at least 1.
        mlp_size: Width of the two hidden layers of the MLP.
    """

    def __init__(self, unit: Unit, channels: int, num_knobs: int, hidden_size: int, mlp_size: int) -> None:
        super().__init__(unit, channels, num_knobs, hidden_size)
        self.recurrent = Recurrent(unit, channels, hidden_size)
        self.generator = None
        if num_knobs:
            rows = unit.gates * hidden_size
            self.generator = MLP(num_knobs, mlp_size, mlp_size, 4 * rows)
            with torch.no_grad():
                # alpha_x, beta_x, alpha_h, beta_h
                self.generator.last.bias.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0]).repeat_interleave(rows))

    def weights(self, knobs: Tensor) -> RecurrentWeights:
        """The layer's weights with the coefficients of each row folded in."""
        if self.generator is None:
            own = self.recurrent.weights()
            return RecurrentWeights(*(weight.unsqueeze(0).expand(len(knobs), *weight.shape) for weight in own))
        return self._fold(self.generator(centre(knobs)))

    def pack_coefficients(self) -> tuple[Tensor, Tensor]:
        """The last layer with bias and input weights folded in, and the layer's hidden weights as base."""
        bias, _, base = self.recurrent.pack()
        plain = bias.new_tensor([[1.0, 0.0, 1.0, 0.0]]).repeat_interleave(self.unit.gates * self.hidden_size, dim=1)
        coefficients = plain if self.generator is None else pack_layer(self.generator.last)
        folded, scale_h = self._fold(coefficients), coefficients.chunk(4, dim=-1)[2]
        bias, input, factors = self.unit.pack(folded._replace(hidden=scale_h.unsqueeze(-1)))
        return torch.cat([bias, input.flatten(1), factors.flatten(1)], dim=1), base[0]

    def _fold(self, coefficients: Tensor) -> RecurrentWeights:
        """The layer's weights with coefficients of shape (n, 4 * G * H), linear in these."""
        own = self.recurrent.weights()
        scale_x, shift_x, scale_h, shift_h = coefficients.chunk(4, dim=-1)
        return RecurrentWeights(
            scale_x.unsqueeze(-1) * own.input,
            scale_h.unsqueeze(-1) * own.hidden,
            scale_x * own.input_bias + shift_x,
            scale_h * own.hidden_bias + shift_h,
        )

    def generator_operations(self) -> Operations:
        """The MLP, and folding its coefficients into weights and biases."""
        if self.generator is None:
            return Operations()
        rows = self.unit.gates * self.hidden_size
        folding = Operations(rows * (self.channels + self.hidden_size + 2), 2 * rows)
        return add_operations(self.generator.operations(), folding)
