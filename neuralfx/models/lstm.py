"""Long short-term memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuralfx.models.base import EffectModule
from neuralfx.nn.convolution import FIRBank
from neuralfx.nn.film_glu import FiLMGLU
from neuralfx.nn.network import Network, State
from neuralfx.nn.recurrent import LSTM


class LSTMFiLMGLUNetwork(Network):
    """FIR bank > LSTM > linear > FiLM(knobs) > GLU > linear; arguments as :class:`LSTMFiLMGLU`."""

    def __init__(self, channels: int, num_knobs: int, hidden_size: int, features: int, window: int) -> None:
        super().__init__()
        self.num_knobs = num_knobs
        self.receptive_field = window
        self.window = FIRBank(channels, features, window)
        self.recurrent = LSTM(features, hidden_size)
        self.linear = nn.Linear(hidden_size, features)
        self.conditioning = FiLMGLU(num_knobs, features)
        self.output = nn.Linear(features, channels)

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """History of the window, and output and cell of the LSTM."""
        return (
            self.window.initial_state(batch_size, device, dtype),
            self.recurrent.initial_state(batch_size, device, dtype),
        )

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        history, memory = state
        features, history = self.window(audio, history)
        features, memory = self.recurrent(features, memory)
        features = self.conditioning(self.linear(features), knobs)
        return self.output(features).transpose(1, 2), (history, memory)


class LSTMFiLMGLU(EffectModule):
    r"""LSTM on a window of audio, conditioned by the knobs behind the recurrence.

    Signal path: audio > 64 most recent samples > linear > LSTM > linear > FiLM(knobs) > GLU > linear

    .. math::
        u_n = W_1 (x_n, \dots, x_{n-63})^\top + b_1, \quad (h_n, c_n) = \mathrm{LSTM}(u_n, h_{n-1}, c_{n-1}), \quad
        \hat y_n = W_o\, \mathrm{GLU}(\mathrm{FiLM}(W_2 h_n + b_2, p)) + b_o

    The recurrence runs along time, from one sample to the next; in the published code it runs across the rows of a
    batch, which are 2400 samples apart.

    Args:
        hidden_size: Units of the LSTM, at least 1.
        features: Width before and behind the LSTM, at least 1.
        window: Samples that the first layer sees, at least 1.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3.
    """

    def __init__(self, hidden_size: int = 8, features: int = 4, window: int = 64, **training: Any) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        self.network = LSTMFiLMGLUNetwork(
            self.effect.channels, len(self.effect.knobs), hidden_size=hidden_size, features=features, window=window
        )
