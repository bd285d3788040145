"""Recurrent networks that a smaller recurrent network, which sees the knobs, steers sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralfx.engine import compiler
from neuralfx.errors import ConfigError
from neuralfx.nn import packing
from neuralfx.nn.concat import centre
from neuralfx.nn.mlp import SLOPE
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations, linear_operations, matrix_operations
from neuralfx.nn.output import output_layer
from neuralfx.nn.recurrent import LSTMUnit, Recurrent, Unit, uniform_like_torch

if TYPE_CHECKING:
    from neuralfx.engine.player import Player


class DynamicHyperRNN(Network):
    r"""Main unit steered by a hyper unit > linear.

    The hyper unit ("p") sees the output of the main one ("m") and the knobs :math:`\phi`, centred to -1 to 1; MLPs of
    its output scale the products of every gate g of the main unit and give its bias:

    .. math::
        h^p_n = \mathrm{unit}\bigl((h^m_{n-1}, \phi),\ h^p_{n-1}\bigr), \qquad
        (z_h, z_x, z_b)_g = f(h^p_n)

        F^h_g = d_{h,g}(z_{h,g}) \odot W_{h,g} h^m_{n-1}, \qquad
        F^x_g = d_{x,g}(z_{x,g}) \odot W_{x,g} x_n + d_{b,g}(z_{b,g})

    f and d have one hidden layer with a leaky rectifier; d_h and d_x have no bias behind it. They start near 1 and d_b
    near 0, so that training starts from a plain unit (ours). Knobs that move are read at every sample.

    The published GRU has parameters without function: W_x has a column per knob, of which only the sum acts, and f has
    a fourth output for three gates. ``published_layout`` adds them, to compare parameter counts; by default W_x has a
    column per channel of audio, as the paper's text says.

    Args:
        unit: Equations of both units.
        channels: Channels of audio.
        num_knobs: Knobs, 0 or more.
        hidden_size: Units of the main unit, at least 1.
        hyper_size: Units of the hyper unit and width of each z, at least 1.
        mlp_size: Width of the hidden layer of f and d, at least 1.
        published_layout: Whether to have the published GRU's redundant parameters; needs one channel of audio.

    Raises:
        ConfigError: If ``published_layout`` is wanted for more than one channel.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 4.3; Ha et al., "HyperNetworks", ICLR 2017, section 3.2.
    """

    loops = "dynamic_hyper"

    def __init__(
        self,
        unit: Unit,
        channels: int,
        num_knobs: int,
        hidden_size: int,
        hyper_size: int,
        mlp_size: int,
        published_layout: bool = False,
    ) -> None:
        super().__init__()
        if published_layout and channels != 1:
            raise ConfigError(f"published_layout: expected one channel of audio, got {channels}.")
        self.unit = unit
        self.channels = channels
        self.num_knobs = num_knobs
        self.hidden_size = hidden_size
        rows = unit.gates * hidden_size
        columns = max(1, num_knobs) if published_layout else channels
        self.hyper = Recurrent(unit, hidden_size + num_knobs, hyper_size)
        self.input_weight = nn.Parameter(uniform_like_torch(hidden_size, rows, columns))  # W_x
        self.hidden_weight = nn.Parameter(uniform_like_torch(hidden_size, rows, hidden_size))  # W_h
        self.to_z = GroupedMLP(3, hyper_size, mlp_size, (4 if published_layout else unit.gates) * hyper_size)
        # d for every z of every gate: those of h, then x, then b.
        self.to_d = GroupedMLP(3 * unit.gates, hyper_size, mlp_size, hidden_size, biased=unit.gates)
        with torch.no_grad():
            scaling = slice(0, 2 * unit.gates)
            self.to_d.hidden_bias[scaling] = 1.0
            self.to_d.weight[scaling] += 1 / mlp_size
            self.to_d.bias.zero_()
            if unit.longest:
                unit.start_biases(self.to_d.bias.flatten(), torch.zeros(rows))
        self.output = output_layer(hidden_size, channels)

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """States of the main unit and of the hyper unit."""
        return (
            self.unit.initial_state(batch_size, self.hidden_size, device, dtype),
            self.hyper.initial_state(batch_size, device, dtype),
        )

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        if compiler.serves("dynamic_hyper", audio, self.hidden_weight, fetches=True):
            return self._forward_compiled(audio, knobs, state)
        main, hyper = state
        unit, gates, hidden_size = self.unit, self.unit.gates, self.hidden_size
        from_audio = audio.transpose(1, 2) @ self._audio_weight().T  # W_x x
        own = self.hyper.weights()
        from_knobs = functional.linear(centre(knobs), own.input[:, hidden_size:], own.input_bias)
        if knobs.dim() == 2:
            from_knobs = from_knobs.unsqueeze(1).expand(-1, audio.shape[-1], -1)
        # One product with the output of the main unit serves the hyper unit's input and W_h.
        from_main = torch.cat([own.input[:, :hidden_size], self.hidden_weight]).T
        hyper_rows = len(own.input)
        outputs = []
        for audio_part, knob_part in zip(from_audio.unbind(1), from_knobs.unbind(1)):
            products = unit.output(main) @ from_main
            hyper_part = functional.linear(unit.output(hyper), own.hidden, own.hidden_bias)
            hyper = unit.step(products[:, :hyper_rows] + knob_part, hyper_part, hyper)
            z = self.to_z(unit.output(hyper).expand(3, -1, -1))  # (3, batch, gates * hyper_size)
            z = z[..., : gates * self.hyper.hidden_size].unflatten(-1, (gates, -1)).transpose(1, 2).flatten(0, 1)
            scale_h, scale_x, bias = self.to_d(z).transpose(0, 1).flatten(1).chunk(3, dim=-1)
            main = unit.step(torch.addcmul(bias, scale_x, audio_part), scale_h * products[:, hyper_rows:], main)
            outputs.append(unit.output(main))
        return self.output(torch.stack(outputs, dim=1)).transpose(1, 2), (main, hyper)

    def _forward_compiled(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """What :meth:`forward` does, by compiled loops."""
        from neuralfx.engine import dynamic_hyper

        own, hidden_size, is_lstm = self.hyper.weights(), self.hidden_size, isinstance(self.unit, LSTMUnit)
        centred = centre(knobs if knobs.dim() == 3 else knobs.unsqueeze(1))
        drive = functional.linear(centred, own.input[:, hidden_size:], own.input_bias)
        z_hidden, z = self.to_z.layers()
        weights = (
            torch.cat([own.input[:, :hidden_size], self.hidden_weight]),
            torch.cat([own.hidden, own.hidden_bias.unsqueeze(1)], dim=1),
            self._audio_weight(),
            z_hidden,
            z[:, : len(own.hidden)],
            *self.to_d.layers(),
        )
        parts = [*state[0], *state[1]] if is_lstm else list(state)
        heard, after = dynamic_hyper.run(audio.transpose(1, 2), drive, weights, torch.cat(parts, dim=1), is_lstm, SLOPE)
        parts = list(torch.split(after, [part.shape[1] for part in parts], dim=1))
        state = ((parts[0], parts[1]), (parts[2], parts[3])) if is_lstm else (parts[0], parts[1])
        return self.output(heard).transpose(1, 2), state

    def _audio_weight(self) -> Tensor:
        """W_x, shape (gates * hidden_size, channels)."""
        weight: Tensor = self.input_weight
        return weight if weight.shape[1] == self.channels else weight.sum(1, keepdim=True)

    def player(self) -> Player | None:
        """The compiled network; see :class:`~neuralfx.nn.network.Network`."""
        from neuralfx.engine.dynamic_hyper import DynamicHyperPlayer, Weights

        own, rows = self.hyper.weights(), self.unit.gates * self.hyper.hidden_size
        z_hidden, z = self.to_z.layers()
        d_hidden, d = self.to_d.layers()
        weights = Weights(
            packing.affine(own.input, own.input_bias),
            packing.affine(own.hidden, own.hidden_bias),
            packing.array(self._audio_weight()),
            packing.array(self.hidden_weight),
            packing.array(z_hidden),
            packing.array(z[:, :rows]),
            packing.array(d_hidden),
            packing.array(d),
            packing.linear(self.output),
        )
        return DynamicHyperPlayer(weights, isinstance(self.unit, LSTMUnit), SLOPE)

    def operations(self, moving: bool) -> Operations:
        """Those of one sample."""
        rows, hyper_size = self.unit.gates * self.hidden_size, self.hyper.hidden_size
        return add_operations(
            self.unit.operations(self.hidden_size + (self.num_knobs if moving else 0), hyper_size),
            self.to_z.operations(),
            self.to_d.operations(),
            matrix_operations(rows, self.hidden_size, bias=False),
            matrix_operations(rows, self.channels, bias=False),
            Operations(2 * rows, rows),  # scaled by d_h and d_x, plus d_b
            self.unit.step_operations(self.hidden_size),
            linear_operations(self.output),
        )


class GroupedMLP(nn.Module):
    """Several perceptrons with one hidden layer each, side by side in one product.

    Args:
        groups: Number of perceptrons.
        features: Features into each.
        mlp_size: Width of each hidden layer.
        out_features: Features out of each.
        biased: How many of them, counted from the last, have a bias behind the hidden layer; None for all.
    """

    def __init__(self, groups: int, features: int, mlp_size: int, out_features: int, biased: int | None = None) -> None:
        super().__init__()
        biased = groups if biased is None else biased
        self.hidden_weight = nn.Parameter(uniform_like_torch(features, groups, features, mlp_size))
        self.hidden_bias = nn.Parameter(uniform_like_torch(features, groups, 1, mlp_size))
        self.weight = nn.Parameter(uniform_like_torch(mlp_size, groups, mlp_size, out_features))
        self.bias = nn.Parameter(uniform_like_torch(mlp_size, biased, 1, out_features))

    def forward(self, features: Tensor) -> Tensor:
        """Run (groups, batch, features) into (groups, batch, out_features)."""
        hidden = functional.leaky_relu(torch.baddbmm(self.hidden_bias, features, self.hidden_weight), SLOPE)
        unbiased = len(self.weight) - len(self.bias)
        return torch.baddbmm(functional.pad(self.bias, (0, 0, 0, 0, unbiased, 0)), hidden, self.weight)

    def layers(self) -> tuple[Tensor, Tensor]:
        """Both layers, shape (groups, out, in + 1) each, the bias last."""
        unbiased = len(self.weight) - len(self.bias)
        bias = functional.pad(self.bias, (0, 0, 0, 0, unbiased, 0))
        hidden = torch.cat([self.hidden_weight, self.hidden_bias], dim=1)
        return hidden.mT, torch.cat([self.weight, bias], dim=1).mT

    def operations(self) -> Operations:
        """Those of one evaluation of all."""
        groups, features, mlp_size = self.hidden_weight.shape
        out_features = self.weight.shape[2]
        biased = len(self.bias)
        return add_operations(
            *[matrix_operations(mlp_size, features)] * groups,
            *[matrix_operations(out_features, mlp_size)] * biased,
            *[matrix_operations(out_features, mlp_size, bias=False)] * (groups - biased),
            Operations(0, 0, groups * mlp_size),
        )
