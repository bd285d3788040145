"""Diagonal state space model (S4D)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuralfx.models.base import EffectModule
from neuralfx.nn.convolution import FIRBank
from neuralfx.nn.film_glu import FiLMGLU
from neuralfx.nn.network import Network, State
from neuralfx.nn.s4d import S4D


class S4DBlock(nn.Module):
    """S4D > linear > tanh > FiLM(knobs) > GLU: the part of the network that may be stacked."""

    def __init__(
        self, num_knobs: int, features: int, pairs: int, shortest_samples: float, longest_samples: float
    ) -> None:
        super().__init__()
        self.recurrent = S4D(features, pairs, shortest_samples, longest_samples)
        self.linear = nn.Linear(features, features)
        self.conditioning = FiLMGLU(num_knobs, features)

    def forward(self, features: Tensor, knobs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, time, features) into the same shape."""
        features, state = self.recurrent(features, state)
        return self.conditioning(torch.tanh(self.linear(features)), knobs), state


class S4DFiLMGLUNetwork(Network):
    """FIR bank > blocks of (S4D > linear > tanh > FiLM(knobs) > GLU) > linear; arguments as :class:`S4DFiLMGLU`."""

    def __init__(
        self,
        channels: int,
        num_knobs: int,
        features: int,
        state_size: int,
        num_blocks: int,
        window: int,
        shortest_samples: float,
        longest_samples: float,
    ) -> None:
        super().__init__()
        self.num_knobs = num_knobs
        self.receptive_field = window
        self.window = FIRBank(channels, features, window)
        self.blocks = nn.ModuleList(
            S4DBlock(num_knobs, features, state_size // 2, shortest_samples, longest_samples) for _ in range(num_blocks)
        )
        self.output = nn.Linear(features, channels)

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """History of the window, and the complex state of each block."""
        return (
            self.window.initial_state(batch_size, device, dtype),
            tuple(block.recurrent.initial_state(batch_size, device, dtype) for block in self._blocks()),
        )

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        history, memories = state
        features, history = self.window(audio, history)
        after = []
        for block, memory in zip(self._blocks(), memories):
            features, memory = block(features, knobs, memory)
            after.append(memory)
        return self.output(features).transpose(1, 2), (history, tuple(after))

    def _blocks(self) -> list[S4DBlock]:
        return [block for block in self.blocks if isinstance(block, S4DBlock)]


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
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

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
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        samples_per_ms = self.effect.sample_rate / 1000
        self.network = S4DFiLMGLUNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            features=features,
            state_size=state_size,
            num_blocks=num_blocks,
            window=window,
            shortest_samples=shortest_ms * samples_per_ms,
            longest_samples=longest_ms * samples_per_ms,
        )
