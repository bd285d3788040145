"""Gated recurrent units: their equations once, run by compiled loops or by torch's fused kernels."""

from __future__ import annotations

import abc
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuralfx.engine import compiler
from neuralfx.errors import ConfigError
from neuralfx.nn.network import State
from neuralfx.nn.operations import Operations, add_operations, matrix_operations
from neuralfx.nn.time_constants import spread_time_constants


class RecurrentWeights(NamedTuple):
    """What a gated unit multiplies with and adds; G gates of H units stacked in torch's order.

    Attributes:
        input: W_x, shape (G * H, features), or (batch, G * H, features) if every row has its own.
        hidden: W_h, shape (G * H, H), or (batch, G * H, H).
        input_bias: b_x, shape (G * H,), or (batch, G * H).
        hidden_bias: b_h, same shape.
    """

    input: Tensor
    hidden: Tensor
    input_bias: Tensor
    hidden_bias: Tensor


class Unit(abc.ABC):
    r"""The equations of a gated recurrent unit, without weights.

    A unit whose gate keeps the share s of its state at every sample forgets with a time constant of about 1 / (1 - s)
    samples. With torch's biases all units start near 2 of them, too few to find the envelope of a compressor. Biases of
    :math:`\log(\tau - 1)` give time constants :math:`\tau`, which may be spread evenly on a logarithmic scale.

    Args:
        longest: Largest of these time constants, in samples, above 2; 0 leaves the biases as they are.

    Attributes:
        gates: Blocks of H rows in the weights, G.
        hidden_biases: Gates whose hidden bias is not just added to the input bias.

    Raises:
        ConfigError: If the time constant is out of range.

    Reference:
        Tallec and Ollivier, "Can recurrent neural networks warp time?", ICLR 2018, section 2; the even spread is ours.
    """

    gates: int
    hidden_biases: int

    def __init__(self, longest: float = 0) -> None:
        if longest and not 2 < longest < math.inf:
            raise ConfigError(f"expected a longest time constant of more than 2 samples, or 0, got {longest!r}.")
        self.longest = longest

    @abc.abstractmethod
    def initial_state(
        self, batch_size: int, hidden_size: int, device: torch.device | None, dtype: torch.dtype
    ) -> State:
        """Zeros."""

    @abc.abstractmethod
    def output(self, state: State) -> Tensor:
        """The part of the state that is the unit's output h, shape (batch, H)."""

    @abc.abstractmethod
    def step(self, from_input: Tensor, from_state: Tensor, state: State) -> State:
        """Advance by one sample.

        Args:
            from_input: W_x x + b_x, shape (batch, G * H).
            from_state: W_h h + b_h, same shape.
            state: State after the sample before.
        """

    @abc.abstractmethod
    def pack(self, weights: RecurrentWeights) -> tuple[Tensor, Tensor, Tensor]:
        """Bias, input and hidden weights as :mod:`neuralfx.engine.rnn` takes them, linear in all that goes in.

        Args:
            weights: Those of several rows, shapes (n, ...).
        """

    @abc.abstractmethod
    def run_fused(self, features: Tensor, weights: RecurrentWeights, state: State) -> tuple[Tensor, State]:
        """Run (batch, time, features) into (batch, time, H) with weights that all rows share, by torch's kernel."""

    @abc.abstractmethod
    def build(self, features: int, hidden_size: int) -> nn.RNNBase:
        """The layer as torch has it."""

    @abc.abstractmethod
    def start_biases(self, input_bias: Tensor, hidden_bias: Tensor) -> None:
        """Change biases of shape (G * H,) in place, to what training should start with."""

    def keeping_biases(self, hidden_size: int) -> Tensor:
        """What the gates that keep the state start with, shape (hidden_size,)."""
        return torch.log(spread_time_constants(2.0, self.longest, hidden_size) - 1.0)

    @abc.abstractmethod
    def step_operations(self, hidden_size: int) -> Operations:
        """Those of :meth:`step`, for one row."""

    def run(self, features: Tensor, weights: RecurrentWeights, state: State) -> tuple[Tensor, State]:
        """Run (batch, time, features) into (batch, time, H), time at least 1."""
        is_shared = weights.hidden.dim() == 2
        if compiler.serves("rnn", features, *weights, fetches=not is_shared):
            return self._run_compiled(features, weights, state)
        if is_shared:
            return self.run_fused(features, weights, state)
        from_input = torch.baddbmm(weights.input_bias.unsqueeze(1), features, weights.input.mT)
        hidden, bias = weights.hidden.mT, weights.hidden_bias.unsqueeze(1)
        outputs = []
        for sample in from_input.unbind(1):
            from_state = torch.baddbmm(bias, self.output(state).unsqueeze(1), hidden).squeeze(1)
            state = self.step(sample, from_state, state)
            outputs.append(self.output(state))
        return torch.stack(outputs, dim=1), state

    def _run_compiled(self, features: Tensor, weights: RecurrentWeights, state: State) -> tuple[Tensor, State]:
        from neuralfx.engine import rnn

        if weights.hidden.dim() == 2:
            weights = _as_one_row(weights)
        parts = state if isinstance(state, tuple) else (state,)
        outputs, after = rnn.run(features, *self.pack(weights), torch.stack(parts, dim=1))
        return outputs, after.unbind(1) if isinstance(state, tuple) else after[:, 0]

    def operations(self, features: int, hidden_size: int) -> Operations:
        """Those of one sample; biases that are added to the same sum count once."""
        rows = self.gates * hidden_size
        return add_operations(
            matrix_operations(rows, features),
            matrix_operations(rows, hidden_size, bias=False),
            Operations(0, self.hidden_biases * hidden_size),
            self.step_operations(hidden_size),
        )


class LSTMUnit(Unit):
    r"""Long short-term memory.

    .. math::
        i, f, o = \sigma(W x_n + U h_{n-1} + b), \quad g = \tanh(W_g x_n + U_g h_{n-1} + b_g), \quad
        c_n = f \odot c_{n-1} + i \odot g, \quad h_n = o \odot \tanh(c_n)

    The state is (h, c), the order of the gates i, f, g, o. torch's layer has two bias vectors where paper 1 has one:
    ``4 * hidden_size`` redundant parameters. The forget gate starts with a bias of 1, as in Keras, so that memory
    exists from the first step.
    """

    gates = 4
    hidden_biases = 0

    def initial_state(
        self, batch_size: int, hidden_size: int, device: torch.device | None, dtype: torch.dtype
    ) -> State:
        """Zero output and cell, each of shape (batch, hidden_size)."""
        zeros = torch.zeros(batch_size, hidden_size, device=device, dtype=dtype)
        return zeros, zeros

    def output(self, state: State) -> Tensor:
        """The first of the two."""
        output: Tensor = state[0]
        return output

    def step(self, from_input: Tensor, from_state: Tensor, state: State) -> State:
        """Advance by one sample."""
        i, f, g, o = (from_input + from_state).chunk(4, dim=-1)
        cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell

    def pack(self, weights: RecurrentWeights) -> tuple[Tensor, Tensor, Tensor]:
        """Gates in the order i, f, o, g, both biases in one."""

        def order(weight: Tensor) -> Tensor:
            i, f, g, o = weight.chunk(4, dim=1)
            return torch.cat([i, f, o, g], dim=1)

        bias = order(weights.input_bias + weights.hidden_bias)
        return bias, order(weights.input).mT, order(weights.hidden).mT

    def run_fused(self, features: Tensor, weights: RecurrentWeights, state: State) -> tuple[Tensor, State]:
        """Run by torch's kernel, oneDNN's on CPUs."""
        output, cell = (part.unsqueeze(0).contiguous() for part in state)
        sequence, output, cell = torch.lstm(
            features, [output, cell], _ordered(weights), True, 1, 0.0, torch.is_grad_enabled(), False, True
        )
        return sequence, (output.squeeze(0), cell.squeeze(0))

    def build(self, features: int, hidden_size: int) -> nn.RNNBase:
        """The layer as torch has it."""
        return nn.LSTM(features, hidden_size, batch_first=True)

    def start_biases(self, input_bias: Tensor, hidden_bias: Tensor) -> None:
        """Bias the forget gate to 1, or to its time constants, and the input gate to the opposite of these."""
        forget, hidden_forget = input_bias.chunk(4)[1], hidden_bias.chunk(4)[1]
        forget.fill_(1.0)
        hidden_forget.zero_()
        if self.longest:
            forget.copy_(self.keeping_biases(len(forget)))
            input_bias.chunk(4)[0].copy_(-forget)
            hidden_bias.chunk(4)[0].zero_()

    def step_operations(self, hidden_size: int) -> Operations:
        """Four gates, each of a sum, and a tanh; three products and a sum."""
        return Operations(3 * hidden_size, 5 * hidden_size, 5 * hidden_size)


class GRUUnit(Unit):
    r"""Gated recurrent unit, with the reset gate behind the matrix product.

    .. math::
        r, z = \sigma(W x_n + b + U h_{n-1} + b'), \quad
        g = \tanh(W_g x_n + b_g + r \odot (U_g h_{n-1} + b'_g)), \quad h_n = g + z \odot (h_{n-1} - g)

    The state is h, the order of the gates r, z, g. This is the form of torch, cuDNN and paper 2; its two biases of g
    are not redundant.
    """

    gates = 3
    hidden_biases = 1

    def initial_state(
        self, batch_size: int, hidden_size: int, device: torch.device | None, dtype: torch.dtype
    ) -> State:
        """Zero output of shape (batch, hidden_size)."""
        return torch.zeros(batch_size, hidden_size, device=device, dtype=dtype)

    def output(self, state: State) -> Tensor:
        """The state itself."""
        output: Tensor = state
        return output

    def step(self, from_input: Tensor, from_state: Tensor, state: State) -> State:
        """Advance by one sample."""
        size = from_input.shape[-1] // 3
        gates = torch.sigmoid(from_input[..., : 2 * size] + from_state[..., : 2 * size])
        reset, keep = gates.chunk(2, dim=-1)
        new = torch.tanh(torch.addcmul(from_input[..., 2 * size :], reset, from_state[..., 2 * size :]))
        advanced: Tensor = new + keep * (state - new)
        return advanced

    def pack(self, weights: RecurrentWeights) -> tuple[Tensor, Tensor, Tensor]:
        """Two columns of g: the state's part, and the input's."""
        both = weights.hidden.shape[1] // 3 * 2  # columns of r and z
        from_input, from_state = weights.input_bias, weights.hidden_bias
        bias = torch.cat([(from_input + from_state)[:, :both], from_state[:, both:], from_input[:, both:]], dim=1)
        new = weights.input[:, both:]
        input = torch.cat([weights.input[:, :both], torch.zeros_like(new), new], dim=1)
        return bias, input.mT, weights.hidden.mT

    def run_fused(self, features: Tensor, weights: RecurrentWeights, state: State) -> tuple[Tensor, State]:
        """Run by torch's kernel."""
        output = state.unsqueeze(0).contiguous()
        sequence, output = torch.gru(
            features, output, _ordered(weights), True, 1, 0.0, torch.is_grad_enabled(), False, True
        )
        return sequence, output.squeeze(0)

    def build(self, features: int, hidden_size: int) -> nn.RNNBase:
        """The layer as torch has it."""
        return nn.GRU(features, hidden_size, batch_first=True)

    def start_biases(self, input_bias: Tensor, hidden_bias: Tensor) -> None:
        """Leave them as torch draws them, but for update gates with time constants."""
        if self.longest:
            update = input_bias.chunk(3)[1]
            update.copy_(self.keeping_biases(len(update)))
            hidden_bias.chunk(3)[1].zero_()

    def step_operations(self, hidden_size: int) -> Operations:
        """Three gates, each of a sum; two products and two sums."""
        return Operations(2 * hidden_size, 5 * hidden_size, 3 * hidden_size)


class Recurrent(nn.Module):
    """A recurrent layer along time: a unit with weights of its own.

    Args:
        unit: Its equations.
        features: Features in.
        hidden_size: Units, that is features out, at least 1.
    """

    def __init__(self, unit: Unit, features: int, hidden_size: int) -> None:
        super().__init__()
        self.unit = unit
        self.features = features
        self.hidden_size = hidden_size
        self.cell = unit.build(features, hidden_size)
        with torch.no_grad():
            unit.start_biases(*self.weights()[2:])

    def weights(self) -> RecurrentWeights:
        """Those of the layer."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return RecurrentWeights(*map(self.cell.get_parameter, names))

    def pack(self) -> tuple[Tensor, Tensor, Tensor]:
        """The layer's weights, packed as those of one row; see the unit."""
        return self.unit.pack(_as_one_row(self.weights()))

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> State:
        """Zeros; see the unit."""
        return self.unit.initial_state(batch_size, self.hidden_size, device, dtype)

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run (batch, time, features) into (batch, time, hidden_size), time at least 1."""
        return self.unit.run(features, self.weights(), state)

    def operations(self) -> Operations:
        """Those of one sample."""
        return self.unit.operations(self.features, self.hidden_size)


def uniform_like_torch(hidden_size: int, *shape: int) -> Tensor:
    """Weights from the uniform distribution with which torch's recurrent layers start."""
    bound = 1 / math.sqrt(hidden_size)
    return nn.init.uniform_(torch.empty(shape), -bound, bound)


def pack_layer(linear: nn.Linear) -> Tensor:
    """Weights and, as the last row, bias of a linear layer, shape (features + 1, out_features)."""
    return torch.cat([linear.weight.T, linear.bias.unsqueeze(0)])


def pack_head(linear: nn.Linear) -> Tensor:
    """Weights and bias of a linear layer with one output, shape (features + 1,)."""
    return pack_layer(linear)[:, 0]


def _as_one_row(weights: RecurrentWeights) -> RecurrentWeights:
    return RecurrentWeights(*(weight.unsqueeze(0) for weight in weights))


def _ordered(weights: RecurrentWeights) -> list[Tensor]:
    return [weights.input, weights.hidden, weights.input_bias, weights.hidden_bias]
