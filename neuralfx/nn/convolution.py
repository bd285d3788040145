"""Causal convolution with its history as state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class FIRBank(nn.Module):
    r"""A linear layer on the most recent samples, evaluated as a bank of causal FIR filters.

    .. math:: u_n = W (x_n, x_{n-1}, \dots, x_{n-K+1})^\top + b

    The networks of the state-based study call this a linear layer on a window of 64 samples; as a convolution it never
    stores the windows, and its state is the last ``taps - 1`` samples of input.

    Args:
        in_channels: Channels of audio.
        features: Filters, that is features per sample.
        taps: Length of the window in samples, at least 1.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3.
    """

    def __init__(self, in_channels: int, features: int, taps: int = 64) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.taps = taps
        self.weight = nn.Parameter(torch.empty(features, in_channels, taps))
        self.bias = nn.Parameter(torch.zeros(features))
        nn.init.uniform_(self.weight, -1 / math.sqrt(taps), 1 / math.sqrt(taps))

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> Tensor:
        """Silence before the first sample, shape (batch, in_channels, taps - 1)."""
        return torch.zeros(batch_size, self.in_channels, self.taps - 1, device=device, dtype=dtype)

    def forward(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Filter (batch, in_channels, time) into features of shape (batch, time, features)."""
        history = torch.cat([state, audio], dim=-1)
        features = functional.conv1d(history, self.weight, self.bias)
        return features.transpose(1, 2), history[..., history.shape[-1] - (self.taps - 1) :]
