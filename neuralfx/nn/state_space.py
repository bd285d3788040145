"""The network of the state space models: blocks of linear recurrence, tanh and conditioning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from neuralfx.nn import packing
from neuralfx.nn.convolution import FIRBank
from neuralfx.nn.film_glu import FiLMGLU
from neuralfx.nn.lru import LRU
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations, linear_operations
from neuralfx.nn.output import output_layer
from neuralfx.nn.s4d import S4D
from neuralfx.nn.s6 import S6

if TYPE_CHECKING:
    from neuralfx.engine.player import Player

StateSpaceLayer = S4D | LRU | S6


class StateSpaceBlock(nn.Module):
    """State space layer > linear > tanh > FiLM(knobs) > GLU: the part of the network that may be stacked.

    Args:
        num_knobs: Knobs, 0 or more.
        recurrent: The state space layer.
    """

    def __init__(self, num_knobs: int, recurrent: StateSpaceLayer) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.linear = nn.Linear(recurrent.features, recurrent.features)
        self.conditioning = FiLMGLU(num_knobs, recurrent.features)

    def forward(self, features: Tensor, knobs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, time, features) into the same shape."""
        features, state = self.recurrent(features, state)
        return self.conditioning(torch.tanh(self.linear(features)), knobs), state

    def operations(self, moving: bool) -> Operations:
        """Those of one sample."""
        return add_operations(
            self.recurrent.operations(),
            linear_operations(self.linear),
            Operations(0, 0, self.linear.out_features),  # tanh
            self.conditioning.operations(moving),
        )


class StateSpaceNetwork(Network):
    """FIR bank > blocks of (state space layer > linear > tanh > FiLM(knobs) > GLU) > linear.

    Args:
        channels: Channels of audio.
        num_knobs: Knobs, 0 or more.
        window: Samples that the FIR bank sees, at least 1.
        layers: State space layers of the same width, at least one; a block for each.
    """

    def __init__(self, channels: int, num_knobs: int, window: int, layers: Sequence[StateSpaceLayer]) -> None:
        super().__init__()
        features = layers[0].features
        self.num_knobs = num_knobs
        self.receptive_field = window
        self.loops = "selective" if isinstance(layers[0], S6) else "diagonal"
        self.window = FIRBank(channels, features, window)
        self.blocks = nn.ModuleList(StateSpaceBlock(num_knobs, layer) for layer in layers)
        self.output = output_layer(features, channels)

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """History of the window, and the state of each block's layer."""
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

    def operations(self, moving: bool) -> Operations:
        """Those of one sample; see :class:`~neuralfx.nn.network.Network`."""
        blocks = [block.operations(moving) for block in self._blocks()]
        return add_operations(self.window.operations(), *blocks, linear_operations(self.output))

    def player(self) -> Player | None:
        """The compiled network, of one channel and equal blocks, without mixing."""
        from neuralfx.engine.diagonal import LRUPlayer, S4DPlayer
        from neuralfx.engine.selective import S6Player
        from neuralfx.engine.state_based import Head

        blocks = self._blocks()
        layers = [block.recurrent for block in blocks]
        kinds = {(type(layer), *(weight.shape for weight in layer.parameters())) for layer in layers}
        is_mixed = any(isinstance(layer, S4D) and layer.mixing is not None for layer in layers)
        if self.window.in_channels != 1 or len(kinds) > 1 or is_mixed:
            return None
        players: dict[type, Callable[..., Player]] = {S4D: S4DPlayer, LRU: LRUPlayer, S6: S6Player}
        weights = [np.stack(parts) for parts in zip(*(layer.packed() for layer in layers))]
        head = Head(
            np.stack([packing.chain(getattr(block.recurrent, "output", None), block.linear) for block in blocks]),
            np.stack([packing.film(block.conditioning) for block in blocks]),
            np.stack([packing.linear(block.conditioning.linear) for block in blocks]),
        )
        return players[type(layers[0])](packing.filters(self.window), *weights, head, packing.linear(self.output))

    def _blocks(self) -> list[StateSpaceBlock]:
        return [block for block in self.blocks if isinstance(block, StateSpaceBlock)]
