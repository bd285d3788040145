"""Causal convolution with its history as state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralfx.nn.operations import Operations, matrix_operations


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

    def operations(self) -> Operations:
        """Those of one sample."""
        return matrix_operations(self.weight.shape[0], self.in_channels * self.taps)


class CausalConv1d(nn.Module):
    r"""A dilated convolution that sees the current sample and the past, with the past as state.

    .. math:: y_n = b + \sum_{j=0}^{K-1} W_j\, x_{n - (K-1-j) d}

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: Samples K that one output sees, at least 1.
        dilation: Distance d between them in samples, at least 1.

    Attributes:
        history_samples: Samples of the past that an output depends on, (K - 1) d.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.history_samples = (kernel_size - 1) * dilation
        self.convolution = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> Tensor:
        """Zeros before the first sample, shape (batch, in_channels, history_samples)."""
        return torch.zeros(batch_size, self.convolution.in_channels, self.history_samples, device=device, dtype=dtype)

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Filter (batch, in_channels, time) into (batch, out_channels, time), time at least 1."""
        history = torch.cat([state, features], dim=-1)
        return self.convolution(history), history[..., history.shape[-1] - self.history_samples :]

    def operations(self, known: int = 0) -> Operations:
        """Those of one sample.

        Args:
            known: How many of the input channels stand still, so that the bias holds their share.
        """
        out_channels, in_channels, kernel_size = self.convolution.weight.shape
        return matrix_operations(out_channels, (in_channels - known) * kernel_size)
