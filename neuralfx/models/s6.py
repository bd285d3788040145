"""Selective state space model (S6)."""

from __future__ import annotations

from typing import Any

from neuralfx.models.base import EffectModule
from neuralfx.nn.s6 import S6
from neuralfx.nn.state_space import StateSpaceNetwork


class S6FiLMGLU(EffectModule):
    r"""Selective state space model on a window of audio, conditioned by the knobs behind the recurrence.

    Signal path: audio > 64 most recent samples > linear > S6 > linear > tanh > FiLM(knobs) > GLU > linear

    .. math::
        u_n = W_1 (x_n, \dots, x_{n-63})^\top + b_1, \quad v = \mathrm{S6}(u), \quad
        \hat y_n = W_o\, \mathrm{GLU}(\mathrm{FiLM}(\tanh(W_2 v_n + b_2), p)) + b_o

    The defaults are the paper's sizes, with a state that runs along time; in the published code the recurrence has a
    length of one sample, so that its decay does nothing and never learns. The tanh stands in the published code, the
    paper names it for the other two state space models only.

    Args:
        features: Width H of the window's output and of the blocks, at least 1.
        state_size: Real states per feature, at least 1.
        rank: Features from which the steps are computed, at least 1.
        num_blocks: Blocks of recurrence, tanh and conditioning in series; the paper has one.
        window: Samples that the first layer sees, at least 1.
        shortest_ms: Shortest initial time constant, in ms.
        longest_ms: Longest initial time constant, in ms; at least ``state_size`` times the shortest.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3; Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
        2023.
    """

    def __init__(
        self,
        features: int = 6,
        state_size: int = 6,
        rank: int = 3,
        num_blocks: int = 1,
        window: int = 64,
        shortest_ms: float = 0.05,
        longest_ms: float = 2000.0,
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        layers = [
            S6(features, state_size, rank, self.samples_in(shortest_ms), self.samples_in(longest_ms))
            for _ in range(num_blocks)
        ]
        self.network = StateSpaceNetwork(self.effect.channels, len(self.effect.knobs), window, layers)
