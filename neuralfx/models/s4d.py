"""Diagonal state space model (S4D)."""

from __future__ import annotations

from typing import Any

from neuralfx.errors import ConfigError
from neuralfx.models.base import EffectModule
from neuralfx.nn.s4d import S4D
from neuralfx.nn.state_space import StateSpaceNetwork


class S4DFiLMGLU(EffectModule):
    r"""Diagonal state space model on a window of audio, conditioned by the knobs behind the recurrence.

    Signal path: audio > 64 most recent samples > linear > S4D > linear > tanh > FiLM(knobs) > GLU > linear

    .. math::
        u_n = W_1 (x_n, \dots, x_{n-63})^\top + b_1, \quad v = \mathrm{S4D}(u), \quad
        \hat y_n = W_o\, \mathrm{GLU}(\mathrm{FiLM}(\tanh(W_2 v_n + b_2), p)) + b_o

    The defaults are the paper's network, with complex poles that are trained and a state that runs along time; in the
    published code all poles are frozen, equal and real, and the state stays zero. A linear recurrence cannot follow
    an envelope of audio by itself: ``num_blocks=2`` puts a nonlinearity in front of the second one, which devices
    with a detector, such as compressors, need (our extension).

    Args:
        features: Width H of the window's output and of the blocks, at least 1.
        state_size: Real dimensions of the state per feature, even: half as many conjugate pairs.
        num_blocks: Blocks of recurrence, tanh and conditioning in series; the paper has one.
        window: Samples that the first layer sees, at least 1.
        shortest_ms: Shortest initial time constant, in ms.
        longest_ms: Longest initial time constant, in ms.
        poles: Where the poles start: ``decay``, our own, or ``lin``, ``inv``, ``legs``; see
            :class:`~neuralfx.nn.s4d.S4D`.
        mixing: Whether each S4D layer is followed by GELU, linear layer and gated linear unit, as in the S4D paper; the
            published code has something like it, paper 1 does not name it.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Raises:
        ConfigError: If ``poles`` is none of these, or ``state_size`` is odd.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3; Gu et al., "On the Parameterization and Initialization of Diagonal State Space
        Models", NeurIPS 2022.
    """

    def __init__(
        self,
        features: int = 6,
        state_size: int = 12,
        num_blocks: int = 1,
        window: int = 64,
        shortest_ms: float = 0.05,
        longest_ms: float = 2000.0,
        poles: str = "decay",
        mixing: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        if state_size < 2 or state_size % 2:
            raise ConfigError(f"state_size: expected an even number of at least 2, got {state_size}.")
        layers = [
            S4D(features, state_size // 2, self.samples_in(shortest_ms), self.samples_in(longest_ms), poles, mixing)
            for _ in range(num_blocks)
        ]
        self.network = StateSpaceNetwork(self.effect.channels, len(self.effect.knobs), window, layers)
