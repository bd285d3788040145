"""Gated recurrent layers with their state as a batch-first value."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuralfx.nn.network import State


class LSTM(nn.Module):
    r"""Long short-term memory along time.

    .. math::
        i, f, o = \sigma(W u_n + U h_{n-1} + b), \quad g = \tanh(W_g u_n + U_g h_{n-1} + b_g), \quad
        c_n = f \odot c_{n-1} + i \odot g, \quad h_n = o \odot \tanh(c_n)

    torch's cell has two bias vectors where the papers have one: ``4 * hidden_size`` redundant parameters. The forget
    gate starts with a bias of 1, as in Keras, so that memory exists from the first step.

    Args:
        features: Features in.
        hidden_size: Units, that is features out, at least 1.
    """

    def __init__(self, features: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.cell = nn.LSTM(features, hidden_size, batch_first=True)
        with torch.no_grad():
            for name, bias in (("bias_ih_l0", 1.0), ("bias_hh_l0", 0.0)):
                self.cell.get_parameter(name)[hidden_size : 2 * hidden_size] = bias

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> State:
        """Zero output and cell, each of shape (batch, hidden_size)."""
        zeros = torch.zeros(batch_size, self.hidden_size, device=device, dtype=dtype)
        return zeros, zeros

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run (batch, time, features) into (batch, time, hidden_size)."""
        output, cell = state
        sequence, (output, cell) = self.cell(features, (output.unsqueeze(0), cell.unsqueeze(0)))
        return sequence, (output.squeeze(0), cell.squeeze(0))
