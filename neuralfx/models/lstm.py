"""Long short-term memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuralfx.models.base import EffectModule
from neuralfx.nn import packing
from neuralfx.nn.convolution import FIRBank
from neuralfx.nn.film_glu import FiLMGLU
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations, linear_operations
from neuralfx.nn.output import output_layer
from neuralfx.nn.recurrent import LSTMUnit, Recurrent
from neuralfx.nn.rnn_concat import ConcatRNN
from neuralfx.nn.rnn_dynamichyper import DynamicHyperRNN
from neuralfx.nn.rnn_film import FiLMRNN
from neuralfx.nn.rnn_statichyper import StaticHyperRNN

if TYPE_CHECKING:
    from neuralfx.engine.player import Player


class LSTMFiLMGLUNetwork(Network):
    """FIR bank > LSTM > linear > FiLM(knobs) > GLU > linear; arguments as :class:`LSTMFiLMGLU`."""

    loops = "state_based"

    def __init__(
        self, channels: int, num_knobs: int, hidden_size: int, features: int, window: int, longest: float
    ) -> None:
        super().__init__()
        self.num_knobs = num_knobs
        self.receptive_field = window
        self.window = FIRBank(channels, features, window)
        self.recurrent = Recurrent(LSTMUnit(longest), features, hidden_size)
        self.linear = nn.Linear(hidden_size, features)
        self.conditioning = FiLMGLU(num_knobs, features)
        self.output = output_layer(features, channels)

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

    def operations(self, moving: bool) -> Operations:
        """Those of one sample."""
        return add_operations(
            self.window.operations(),
            self.recurrent.operations(),
            linear_operations(self.linear),
            self.conditioning.operations(moving),
            linear_operations(self.output),
        )

    def player(self) -> Player | None:
        """The compiled network; see :class:`~neuralfx.nn.network.Network`."""
        from neuralfx.engine.state_based import Head, LSTMPlayer

        if self.window.in_channels != 1:
            return None
        weights = self.recurrent.weights()
        bias = weights.input_bias + weights.hidden_bias
        head = Head(
            packing.linear(self.linear), packing.film(self.conditioning), packing.linear(self.conditioning.linear)
        )
        cell = packing.array(weights.input), packing.array(weights.hidden), packing.array(bias)
        return LSTMPlayer(packing.filters(self.window), cell, head, packing.linear(self.output))


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
        longest_ms: Longest initial time constant, in ms; units are spread from it down to 2 samples. 0 starts as
            torch does, see :class:`~neuralfx.nn.recurrent.Unit`.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3.
    """

    def __init__(
        self, hidden_size: int = 8, features: int = 4, window: int = 64, longest_ms: float = 100.0, **training: Any
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        self.network = LSTMFiLMGLUNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
            features,
            window,
            self.samples_in(longest_ms),
        )


class LSTMConcat(EffectModule):
    r"""LSTM that sees the knobs beside the audio.

    Signal path: audio and knobs > LSTM > linear

    .. math:: (h_n, c_n) = \mathrm{LSTM}((x_n, \phi), h_{n-1}, c_{n-1}), \qquad \hat y_n = W_o h_n + b_o

    The knobs :math:`\phi` are centred to -1 to 1, as in all pairs of paper 2. State runs on along time; the published
    trainer starts every segment from a zero state.

    Args:
        hidden_size: Units of the LSTM, at least 1.
        longest_ms: Longest initial time constant, in ms; units are spread from it down to 2 samples. 0 starts as
            torch does, see :class:`~neuralfx.nn.recurrent.Unit`.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 5.1.
    """

    def __init__(self, hidden_size: int = 32, longest_ms: float = 100.0, **training: Any) -> None:
        super().__init__(**training)
        self.network = ConcatRNN(
            LSTMUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
        )


class LSTMFiLM(EffectModule):
    r"""LSTM whose products with input and state are scaled and shifted by the knobs, in front of its gates.

    Signal path: audio > LSTM, its gates modulated by FiLM(knobs) > linear

    .. math::
        F^x = \alpha^x(\phi) \odot (W_x x_n + b_x) + \beta^x(\phi), \qquad
        F^h = \alpha^h(\phi) \odot (W_h h_{n-1} + b_h) + \beta^h(\phi)

    are the two terms of every gate. At still knobs this is a plain LSTM with other weights, and is computed as one;
    knobs that move are read every 16 samples.

    Args:
        hidden_size: Units of the LSTM, at least 1.
        mlp_size: Width of the two hidden layers between knobs and coefficients, at least 1.
        longest_ms: Longest initial time constant, in ms; units are spread from it down to 2 samples. 0 starts as
            torch does, see :class:`~neuralfx.nn.recurrent.Unit`.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 4.1.
    """

    def __init__(self, hidden_size: int = 32, mlp_size: int = 32, longest_ms: float = 100.0, **training: Any) -> None:
        super().__init__(**training)
        self.network = FiLMRNN(
            LSTMUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
            mlp_size,
        )


class LSTMStaticHyper(EffectModule):
    r"""LSTM whose weights are made from the knobs by a hypernetwork.

    Signal path: audio > LSTM with weights f(knobs) > linear

    .. math:: f_x(\phi) = W_x, \quad f_h(\phi) = W_h, \quad f_b(\phi) = b

    The weights stand still while the knobs do; knobs that move are read every 16 samples.

    Args:
        hidden_size: Units of the LSTM, at least 1.
        mlp_size: Width of the two hidden layers of the hypernetwork, at least 1.
        longest_ms: Longest initial time constant, in ms; units are spread from it down to 2 samples. 0 starts as
            torch does, see :class:`~neuralfx.nn.recurrent.Unit`.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 4.2.
    """

    def __init__(self, hidden_size: int = 32, mlp_size: int = 8, longest_ms: float = 100.0, **training: Any) -> None:
        super().__init__(**training)
        self.network = StaticHyperRNN(
            LSTMUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
            mlp_size,
        )


class LSTMDynamicHyper(EffectModule):
    r"""LSTM whose products are scaled at every sample by a smaller LSTM that sees the knobs.

    Signal path: audio > LSTM, steered by (state and knobs > small LSTM > MLPs) > linear

    Equations: :class:`~neuralfx.nn.rnn_dynamichyper.DynamicHyperRNN`. The published parameter counts of this pair
    (21857 for 2 knobs) fit no structure that the paper describes; this is its text, with 25569.

    Args:
        hidden_size: Units of the LSTM, at least 1.
        hyper_size: Units of the small LSTM, at least 1.
        mlp_size: Width of the hidden layers between the two, at least 1.
        longest_ms: Longest initial time constant, in ms; units are spread from it down to 2 samples. 0 starts as
            torch does, see :class:`~neuralfx.nn.recurrent.Unit`.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 4.3.
    """

    def __init__(
        self, hidden_size: int = 32, hyper_size: int = 8, mlp_size: int = 32, longest_ms: float = 100.0, **training: Any
    ) -> None:
        super().__init__(**training)
        self.network = DynamicHyperRNN(
            LSTMUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
            hyper_size,
            mlp_size,
        )
