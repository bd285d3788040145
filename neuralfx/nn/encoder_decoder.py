"""Encoder-decoder: older samples set the state from which a cell reads the newest ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuralfx.engine import compiler
from neuralfx.errors import ConfigError
from neuralfx.nn.convolution import FIRBank
from neuralfx.nn.network import State
from neuralfx.nn.operations import Operations, add_operations, linear_operations, matrix_operations

COMBINE = ("gate", "add")


class EncoderDecoder(nn.Module):
    r"""LSTM cell on the newest samples of audio whose state meets an encoding of the older ones at every sample.

    The decoder sees :math:`x_d = (x_n, \dots, x_{n-D+1})`, the encoder :math:`x_e = (x_{n-D}, \dots, x_{n-D-E+1})`:

    .. math::
        h_e = A_h x_e + a_h, \qquad c_e = A_c x_e + a_c, \qquad u = W_d x_d + b_d

        h_{in} = \sigma(h_{n-1}) \odot h_e, \qquad c_{in} = \sigma(c_{n-1}) \odot c_e

        i, f, o = \sigma(W u + U h_{in} + b), \quad g = \tanh(W_g u + U_g h_{in} + b_g), \quad
        c_n = f \odot c_{in} + i \odot g, \quad h_n = o \odot \tanh(c_n)

    That is ``combine="gate"``, the paper's. ``combine="add"`` is the published code's:
    :math:`h_{in} = h_{n-1} + h_e` and :math:`c_{in} = c_{n-1} + c_e`.

    Neither can blow up. Gated, the cell is never larger than the encoding: :math:`|c_n| < |c_e| + 1`; what it
    remembers of earlier samples only scales that encoding, so that memory is short. Added, the cell does remember,
    as a leaky integrator: :math:`|c_n| \le f (|c_{n-1}| + |c_e|) + 1`, where f stays below some :math:`\bar f < 1`,
    because :math:`|h_{n-1}| < 1` and the encodings of bounded audio are bounded. So
    :math:`|c_n| \le (\bar f \max |c_e| + 1) / (1 - \bar f)`, which is finite but may be large.

    Encoder and decoder are banks of FIR filters and run over the whole block at once; only the cell goes sample by
    sample. The cell has one bias vector, that of the forget gate starts at 1 and the rest at 0, as in Keras.

    Args:
        in_channels: Channels of audio.
        features: Features of the decoder's window.
        hidden_size: Units of the cell, that is features out.
        encoder_taps: Older samples that the encoder sees, E, at least 1.
        decoder_taps: Newest samples that the decoder sees, D, at least 1.
        combine: How the state meets the encoding: ``gate`` or ``add``.

    Raises:
        ConfigError: If ``combine`` is neither.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3.
    """

    def __init__(
        self,
        in_channels: int,
        features: int,
        hidden_size: int,
        encoder_taps: int,
        decoder_taps: int,
        combine: str = "gate",
    ) -> None:
        super().__init__()
        if combine not in COMBINE:
            raise ConfigError(f"combine: expected one of {', '.join(COMBINE)}, got {combine!r}.")
        self.in_channels = in_channels
        self.hidden_size = hidden_size
        self.encoder_taps = encoder_taps
        self.decoder_taps = decoder_taps
        self.combine = combine
        self.encoder = FIRBank(in_channels, 2 * hidden_size, encoder_taps)  # A_h, A_c
        self.decoder = FIRBank(in_channels, features, decoder_taps)  # W_d
        self.cell_input = nn.Linear(features, 4 * hidden_size)  # W of i, f, o, g
        self.cell_recurrent = nn.Linear(hidden_size, 4 * hidden_size, bias=False)  # U of i, f, o, g
        with torch.no_grad():
            self.cell_input.bias.zero_()
            self.cell_input.bias[hidden_size : 2 * hidden_size] = 1.0

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> State:
        """The audio that both windows have seen, shape (batch, in_channels, E + D - 1), output and cell: all zero."""
        history = self.encoder_taps + self.decoder_taps - 1
        zeros = torch.zeros(batch_size, self.hidden_size, device=device, dtype=dtype)
        return torch.zeros(batch_size, self.in_channels, history, device=device, dtype=dtype), zeros, zeros

    def forward(self, audio: Tensor, state: State) -> tuple[Tensor, State]:
        """Run (batch, in_channels, time), time at least 1, into (batch, time, hidden_size)."""
        history, output, cell = state
        heard = torch.cat([history, audio], dim=-1)
        older, newer = heard[..., : -self.decoder_taps], heard[..., self.encoder_taps :]
        encoded, _ = self.encoder(*_split(older, self.encoder_taps))
        decoded, _ = self.decoder(*_split(newer, self.decoder_taps))

        if compiler.serves("encoder_decoder", audio, self.cell_input.weight, fetches=True):
            outputs, output, cell = self._run_compiled(encoded, decoded, output, cell)
            return outputs, (heard[..., audio.shape[-1] :], output, cell)

        recurrent = self.cell_recurrent.weight.T
        sizes = [3 * self.hidden_size, self.hidden_size]
        outputs_so_far = []
        for encoding, driven in zip(encoded.unbind(1), self.cell_input(decoded).unbind(1)):
            encoded_output, encoded_cell = encoding.chunk(2, dim=-1)
            output, cell = self._meet(output, encoded_output), self._meet(cell, encoded_cell)
            gates, candidate = torch.split(torch.addmm(driven, output, recurrent), sizes, dim=1)
            input_gate, forget_gate, output_gate = torch.sigmoid(gates).chunk(3, dim=1)
            cell = torch.addcmul(forget_gate * cell, input_gate, torch.tanh(candidate))
            output = output_gate * torch.tanh(cell)
            outputs_so_far.append(output)
        return torch.stack(outputs_so_far, dim=1), (heard[..., audio.shape[-1] :], output, cell)

    def _run_compiled(
        self, encoded: Tensor, decoded: Tensor, output: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The cell, with its gates in the order of torch's LSTM."""
        from neuralfx.engine.encoder_decoder import gate_layout, run_cell

        driven = self.cell_input
        order = self.gate_order()
        # A contiguous transpose: the gradient of the other kind is a product that takes six times as long.
        weight, bias = gate_layout(driven.weight[order]).T.contiguous(), gate_layout(driven.bias[order])
        driving = torch.addmm(bias, decoded.flatten(0, 1), weight).view(*decoded.shape[:2], weight.shape[1])
        encoding = encoded.reshape(*encoded.shape[:2], 2, self.hidden_size)
        return run_cell(
            driving, encoding, self.cell_recurrent.weight[order], output, cell, gated=self.combine == "gate"
        )

    def gate_order(self) -> Tensor:
        """Rows of the cell's weights in the order i, f, g, o, that of torch's LSTM."""
        return torch.arange(4 * self.hidden_size).view(4, -1)[[0, 1, 3, 2]].flatten()

    def operations(self) -> Operations:
        """Those of one sample."""
        units = self.hidden_size
        return add_operations(
            self.encoder.operations(),
            self.decoder.operations(),
            Operations(2 * units, 0, 2 * units) if self.combine == "gate" else Operations(0, 2 * units),
            linear_operations(self.cell_input),
            matrix_operations(4 * units, units),  # U h_in, added to W u + b as a bias is
            Operations(2 * units, units, 4 * units),  # gates, candidate and c
            Operations(units, 0, units),  # h
        )

    def _meet(self, state: Tensor, encoding: Tensor) -> Tensor:
        return torch.sigmoid(state) * encoding if self.combine == "gate" else state + encoding


def _split(heard: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    """Audio that a FIR bank is to filter, and the history before it."""
    return heard[..., taps - 1 :], heard[..., : taps - 1]
