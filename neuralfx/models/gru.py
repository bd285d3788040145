"""Gated recurrent unit."""

from __future__ import annotations

from typing import Any

from neuralfx.models.base import EffectModule
from neuralfx.nn.recurrent import GRUUnit
from neuralfx.nn.rnn_concat import ConcatRNN
from neuralfx.nn.rnn_dynamichyper import DynamicHyperRNN
from neuralfx.nn.rnn_film import FiLMRNN
from neuralfx.nn.rnn_statichyper import StaticHyperRNN


class GRUConcat(EffectModule):
    r"""GRU that sees the knobs beside the audio.

    Signal path: audio and knobs > GRU > linear

    .. math:: h_n = \mathrm{GRU}((x_n, \phi), h_{n-1}), \qquad \hat y_n = W_o h_n + b_o

    The knobs :math:`\phi` are centred to -1 to 1, as in all pairs of paper 2. State runs on along time; the published
    trainer starts every segment from a zero state.

    Args:
        hidden_size: Units of the GRU, at least 1.
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
            GRUUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
        )


class GRUFiLM(EffectModule):
    r"""GRU whose products with input and state are scaled and shifted by the knobs, in front of its gates.

    Signal path: audio > GRU, its gates modulated by FiLM(knobs) > linear

    .. math::
        F^x = \alpha^x(\phi) \odot (W_x x_n + b_x) + \beta^x(\phi), \qquad
        F^h = \alpha^h(\phi) \odot (W_h h_{n-1} + b_h) + \beta^h(\phi)

    are the two terms of every gate. At still knobs this is a plain GRU with other weights, and is computed as one;
    knobs that move are read every 16 samples.

    Args:
        hidden_size: Units of the GRU, at least 1.
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
            GRUUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
            mlp_size,
        )


class GRUStaticHyper(EffectModule):
    r"""GRU whose weights are made from the knobs by a hypernetwork.

    Signal path: audio > GRU with weights f(knobs) > linear

    .. math:: f_x(\phi) = W_x, \quad f_h(\phi) = W_h, \quad f_b(\phi) = b

    The weights stand still while the knobs do; knobs that move are read every 16 samples.

    Args:
        hidden_size: Units of the GRU, at least 1.
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
            GRUUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
            mlp_size,
        )


class GRUDynamicHyper(EffectModule):
    r"""GRU whose products are scaled at every sample by a smaller GRU that sees the knobs.

    Signal path: audio > GRU, steered by (state and knobs > small GRU > MLPs) > linear

    Equations: :class:`~neuralfx.nn.rnn_dynamichyper.DynamicHyperRNN`. The published parameter counts (20289 for 2
    knobs) include parameters without function, see ``published_layout``; without them it has 19401.

    Args:
        hidden_size: Units of the GRU, at least 1.
        hyper_size: Units of the small GRU, at least 1.
        mlp_size: Width of the hidden layers between the two, at least 1.
        published_layout: Whether to have the published model's redundant parameters too; for one channel of audio.
        longest_ms: Longest initial time constant, in ms; units are spread from it down to 2 samples. 0 starts as
            torch does, see :class:`~neuralfx.nn.recurrent.Unit`.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 4.3.
    """

    def __init__(
        self,
        hidden_size: int = 32,
        hyper_size: int = 8,
        mlp_size: int = 32,
        published_layout: bool = False,
        longest_ms: float = 100.0,
        **training: Any,
    ) -> None:
        super().__init__(**training)
        self.network = DynamicHyperRNN(
            GRUUnit(self.samples_in(longest_ms)),
            self.effect.channels,
            len(self.effect.knobs),
            hidden_size,
            hyper_size,
            mlp_size,
            published_layout,
        )
