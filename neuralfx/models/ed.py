"""Encoder-decoder (ED)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuralfx.models.base import EffectModule
from neuralfx.nn import packing
from neuralfx.nn.encoder_decoder import EncoderDecoder
from neuralfx.nn.film_glu import FiLMGLU
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations, linear_operations
from neuralfx.nn.output import output_layer

if TYPE_CHECKING:
    from neuralfx.engine.player import Player


class EDFiLMGLUNetwork(Network):
    """Encoder-decoder > linear > FiLM(knobs) > GLU > linear; arguments as :class:`EDFiLMGLU`."""

    loops = "encoder_decoder"

    def __init__(
        self,
        channels: int,
        num_knobs: int,
        hidden_size: int,
        features: int,
        encoder_taps: int,
        decoder_taps: int,
        combine: str,
    ) -> None:
        super().__init__()
        self.num_knobs = num_knobs
        self.receptive_field = encoder_taps + decoder_taps
        self.recurrent = EncoderDecoder(channels, features, hidden_size, encoder_taps, decoder_taps, combine)
        self.linear = nn.Linear(hidden_size, features)
        self.conditioning = FiLMGLU(num_knobs, features)
        self.output = output_layer(features, channels)

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """History of the windows, and output and cell of the decoder."""
        return self.recurrent.initial_state(batch_size, device, dtype)

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        features, state = self.recurrent(audio, state)
        features = self.conditioning(self.linear(features), knobs)
        return self.output(features).transpose(1, 2), state

    def operations(self, moving: bool) -> Operations:
        """Those of one sample; see :class:`~neuralfx.nn.network.Network`."""
        return add_operations(
            self.recurrent.operations(),
            linear_operations(self.linear),
            self.conditioning.operations(moving),
            linear_operations(self.output),
        )

    def player(self) -> Player | None:
        """The compiled network; see :class:`~neuralfx.nn.network.Network`."""
        from neuralfx.engine.encoder_decoder import EDPlayer
        from neuralfx.engine.state_based import Head

        recurrent = self.recurrent
        if recurrent.in_channels != 1:
            return None
        driven, order = recurrent.cell_input, recurrent.gate_order()
        cell = (driven.weight[order], recurrent.cell_recurrent.weight[order], driven.bias[order])
        head = Head(
            packing.linear(self.linear), packing.film(self.conditioning), packing.linear(self.conditioning.linear)
        )
        return EDPlayer(
            packing.filters(recurrent.encoder),
            packing.filters(recurrent.decoder),
            (packing.array(cell[0]), packing.array(cell[1]), packing.array(cell[2])),
            recurrent.combine == "gate",
            head,
            packing.linear(self.output),
        )


class EDFiLMGLU(EffectModule):
    r"""Encoder-decoder on two windows of audio, conditioned by the knobs behind the recurrence.

    Signal path: audio > encoder on 32 older samples, decoder on the 32 most recent > LSTM cell > linear > FiLM(knobs)
    > GLU > linear

    .. math::
        h_e = A_h x_e + a_h, \quad c_e = A_c x_e + a_c, \quad
        (h_n, c_n) = \mathrm{LSTM}(W_d x_d + b_d, \sigma(h_{n-1}) \odot h_e, \sigma(c_{n-1}) \odot c_e)

        \hat y_n = W_o\, \mathrm{GLU}(\mathrm{FiLM}(W_2 h_n + b_2, p)) + b_o

    with :math:`x_d = (x_n, \dots, x_{n-31})` and :math:`x_e = (x_{n-32}, \dots, x_{n-63})`. The defaults are the
    paper's text. The network of its published weights has 4 units, an encoder of 63 samples and a decoder of one, and
    adds states instead of gating them: ``hidden_size=4, encoder_taps=63, decoder_taps=1, combine="add"``. The
    recurrence runs along time; in the published code it runs across the rows of a batch, which are 2400 samples apart.

    Args:
        hidden_size: Units of the cell, at least 1.
        features: Width of the decoder's window and behind the cell, at least 1.
        encoder_taps: Older samples that the encoder sees, at least 1.
        decoder_taps: Most recent samples that the decoder sees, at least 1.
        combine: How the state meets the encoding: ``gate``, the paper's, or ``add``, the published code's; see
            :class:`~neuralfx.nn.encoder_decoder.EncoderDecoder`.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Raises:
        ConfigError: If ``combine`` is neither.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3.
    """

    def __init__(
        self,
        hidden_size: int = 8,
        features: int = 4,
        encoder_taps: int = 32,
        decoder_taps: int = 32,
        combine: str = "gate",
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        self.network = EDFiLMGLUNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size=hidden_size,
            features=features,
            encoder_taps=encoder_taps,
            decoder_taps=decoder_taps,
            combine=combine,
        )
