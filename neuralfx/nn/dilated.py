"""What networks of dilated convolutions have in common: their history as state, and how the knobs enter."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuralfx.errors import ConfigError
from neuralfx.nn import packing
from neuralfx.nn.concat import append_knobs, centre
from neuralfx.nn.convolution import CausalConv1d
from neuralfx.nn.film import FiLM
from neuralfx.nn.mlp import MLP, SLOPE
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations

if TYPE_CHECKING:
    from neuralfx.engine.convolution import Block
    from neuralfx.engine.player import Player

LONGEST_DILATION = 2**31  # hours


class DilatedBlock(nn.Module):
    """Part of a block that all architectures have: a dilated convolution, and FiLM of the block's features.

    Args:
        in_channels: Channels in.
        filtered: Channels out of the convolution.
        channels: Features of the block.
        kernel_size: Samples that one output of the convolution sees.
        dilation: Distance between them in samples.
        code_size: Width of what FiLM makes scale and shift from; 0 means no FiLM.
    """

    def __init__(
        self, in_channels: int, filtered: int, channels: int, kernel_size: int, dilation: int, code_size: int
    ) -> None:
        super().__init__()
        self.filter = CausalConv1d(in_channels, filtered, kernel_size, dilation)
        self.film = FiLM(code_size, channels) if code_size else None

    def modulate(self, features: Tensor, code: Tensor | None) -> Tensor:
        """Scale and shift features of shape (batch, channels, time) by what the code says, if the block has FiLM."""
        if self.film is None:
            return features
        modulated: Tensor = self.film(features.transpose(1, 2), code)
        return modulated.transpose(1, 2)

    def modulation_operations(self, moving: bool) -> Operations:
        """Those of :meth:`modulate` for one sample."""
        return self.film.operations(moving) if self.film is not None else Operations()

    def pack(self, weight: Tensor, bias: Tensor, link: Tensor, link_bias: Tensor) -> Block:
        """The block as compiled loops take it, see :class:`~neuralfx.engine.convolution.Block`.

        Args:
            weight: Of the convolution, tap by tap, shape (filtered, kernel_size * in_channels).
            bias: Of the convolution, shape (filtered,).
            link: Linear map behind the features.
            link_bias: Its bias.
        """
        from neuralfx.engine.convolution import Block

        convolution = self.filter.convolution
        return Block(
            packing.affine(weight, bias),
            convolution.kernel_size[0],
            convolution.dilation[0],
            packing.linear(self.film.linear) if self.film is not None else packing.array(weight[:0]),
            packing.affine(link, link_bias),
        )


class DilatedNetwork(Network, abc.ABC):
    """Blocks with growing dilation > 1x1 convolution.

    Knobs, centred to -1 to 1, are further channels of the audio, or go through an MLP whose output every block's FiLM
    sees. Both are evaluated at every sample while knobs move.

    Args:
        num_knobs: Knobs, 0 or more.
        blocks: The blocks, built for as many inputs and as wide a code as the functions of this module say.
        output: The 1x1 convolution.
        mlp_size: Units in each layer of the MLP; None where knobs are channels.
    """

    loops = "convolution"
    gated: bool  # tanh times sigmoid in every block, else a leaky rectifier

    def __init__(self, num_knobs: int, blocks: Sequence[DilatedBlock], output: nn.Conv1d, mlp_size: int | None) -> None:
        super().__init__()
        self.num_knobs = num_knobs
        self.knobs_are_channels = mlp_size is None
        self.blocks = nn.ModuleList(blocks)
        self.output = output
        self.mlp = MLP(num_knobs, mlp_size, mlp_size, mlp_size) if mlp_size is not None and num_knobs else None
        self.receptive_field = 1 + sum(block.filter.history_samples for block in blocks)

    @abc.abstractmethod
    def _run(self, features: Tensor, code: Tensor | None, state: State) -> tuple[Tensor, State]:
        """The audio and the state that come of what enters the first block, (batch, channels, time), and the code."""

    @abc.abstractmethod
    def _count(self, moving: bool, known: int) -> Operations:
        """Operations behind the place where knobs enter; ``known`` of the channels that enter stand still."""

    @abc.abstractmethod
    def _pack(self) -> list[Block]:
        """The blocks as compiled loops take them."""

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """Zeros in front of each block's convolution, shape (batch, channels in, (kernel_size - 1) dilation)."""
        blocks = [block for block in self.blocks if isinstance(block, DilatedBlock)]
        return tuple(block.filter.initial_state(batch_size, device, dtype) for block in blocks)

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        if self.knobs_are_channels:
            return self._run(append_knobs(audio, centre(knobs)), None, state)
        return self._run(audio, self.mlp(centre(knobs)) if self.mlp is not None else None, state)

    def player(self) -> Player:
        """The compiled network; see :class:`~neuralfx.nn.network.Network`."""
        from neuralfx.engine.convolution import ConvolutionPlayer

        layers = [packing.linear(layer) for layer in self.mlp or [] if isinstance(layer, nn.Linear)]
        return ConvolutionPlayer(self.output.out_channels, self.num_knobs, self._pack(), layers, self.gated, SLOPE)

    def operations(self, moving: bool) -> Operations:
        """Those of one sample; biases hold the share of knobs that stand still, and no MLP is computed for them."""
        known = self.num_knobs if self.knobs_are_channels and not moving else 0
        generated = self.mlp.operations() if self.mlp is not None and moving else Operations()
        return add_operations(generated, self._count(moving, known))


def dilations(growth: int, num_blocks: int) -> list[int]:
    """Dilation of each block, in samples: powers of ``growth``.

    Raises:
        ConfigError: If the last one is longer than any audio.
    """
    if growth ** (num_blocks - 1) > LONGEST_DILATION:
        raise ConfigError(
            f"dilation_growth: expected dilations of at most {LONGEST_DILATION} samples, got {growth} to the power of "
            f"{num_blocks - 1}."
        )
    return [growth**number for number in range(num_blocks)]


def inputs_of_blocks(
    audio_channels: int, num_knobs: int, channels: int, num_blocks: int, mlp_size: int | None
) -> list[int]:
    """Channels that enter each block: the first gets the knobs too where there is no MLP for them."""
    return [audio_channels + (num_knobs if mlp_size is None else 0), *[channels] * (num_blocks - 1)]


def size_of_code(num_knobs: int, mlp_size: int | None) -> int:
    """Width of what FiLM sees; 0 without knobs or without FiLM."""
    return mlp_size if mlp_size is not None and num_knobs else 0
