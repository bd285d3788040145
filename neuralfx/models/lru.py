"""Linear recurrent unit (LRU)."""

from __future__ import annotations

import math
from typing import Any

from neuralfx.models.base import EffectModule
from neuralfx.nn.lru import LRU
from neuralfx.nn.state_space import StateSpaceNetwork


class LRUFiLMGLU(EffectModule):
    r"""Linear recurrent unit on a window of audio, conditioned by the knobs behind the recurrence.

    Signal path: audio > 64 most recent samples > linear > LRU > linear > tanh > FiLM(knobs) > GLU > linear

    .. math::
        u_n = W_1 (x_n, \dots, x_{n-63})^\top + b_1, \quad v = \mathrm{LRU}(u), \quad
        \hat y_n = W_o\, \mathrm{GLU}(\mathrm{FiLM}(\tanh(W_2 v_n + b_2), p)) + b_o

    The defaults are the paper's sizes. The recurrence runs along time and keeps its state from block to block; in the
    published code it starts anew with every batch, and the normalisation gamma is a phase instead of a factor. As with
    :class:`~neuralfx.models.S4DFiLMGLU`, ``num_blocks=2`` puts a nonlinearity in front of the second recurrence, so
    that it can follow an envelope (our extension).

    Args:
        features: Width H of the window's output and of the blocks, at least 1.
        state_size: Complex states of each block, at least 1.
        num_blocks: Blocks of recurrence, tanh and conditioning in series; the paper has one.
        window: Samples that the first layer sees, at least 1.
        max_phase: Largest initial phase of a pole, in radians per sample, above 0.
        shortest_ms: Shortest initial time constant, in ms.
        longest_ms: Longest initial time constant, in ms.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3; Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences",
        ICML 2023.
    """

    def __init__(
        self,
        features: int = 6,
        state_size: int = 12,
        num_blocks: int = 1,
        window: int = 64,
        max_phase: float = math.pi / 10,
        shortest_ms: float = 0.05,
        longest_ms: float = 2000.0,
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        layers = [
            LRU(features, state_size, self.samples_in(shortest_ms), self.samples_in(longest_ms), max_phase)
            for _ in range(num_blocks)
        ]
        self.network = StateSpaceNetwork(self.effect.channels, len(self.effect.knobs), window, layers)
