"""Gated convolutional network, a feed-forward WaveNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuralfx.models.base import EffectModule
from neuralfx.nn.dilated import DilatedBlock, DilatedNetwork, dilations, inputs_of_blocks, size_of_code
from neuralfx.nn.network import State
from neuralfx.nn.operations import Operations, add_operations, matrix_operations

if TYPE_CHECKING:
    from neuralfx.engine.convolution import Block


class GCNBlock(DilatedBlock):
    """Dilated convolution > tanh times sigmoid > FiLM(code): what the output hears of a block.

    Args:
        in_channels: Channels in.
        channels: Channels out; the convolution has twice as many.
        kernel_size: Samples that one output of the convolution sees.
        dilation: Distance between them in samples.
        code_size: Width of what FiLM makes scale and shift from; 0 means no FiLM.
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int, dilation: int, code_size: int) -> None:
        super().__init__(in_channels, 2 * channels, channels, kernel_size, dilation, code_size)
        self.channels = channels

    def forward(self, features: Tensor, code: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, in_channels, time) into (batch, channels, time), time at least 1."""
        filtered, state = self.filter(features, state)
        content, gate = filtered.chunk(2, dim=1)
        return self.modulate(torch.tanh(content) * torch.sigmoid(gate), code), state

    def compiled(self, link: GCNLink | None, heard: Tensor) -> Block:
        """The block as compiled loops take it.

        Args:
            link: What makes the next block's input; None for the last block.
            heard: What makes the output, shape (channels of audio, channels).
        """
        convolution = self.filter.convolution
        assert convolution.bias is not None
        weight = convolution.weight.transpose(1, 2).flatten(1)
        rows = torch.cat([heard, heard.new_zeros(len(heard), convolution.in_channels)], dim=1)
        bias = heard.new_zeros(len(heard))
        if link is not None:
            assert link.mix.bias is not None and link.residual.bias is not None
            rows = torch.cat([torch.cat([link.mix.weight, link.residual.weight], dim=1)[..., 0], rows])
            bias = torch.cat([link.mix.bias + link.residual.bias, bias])
        return self.pack(weight, convolution.bias, rows, bias)

    def operations(self, moving: bool, known: int = 0) -> Operations:
        """Those of one sample; the bias holds the share of ``known`` inputs that stand still."""
        return add_operations(
            self.filter.operations(known),
            Operations(self.channels, 0, 2 * self.channels),
            self.modulation_operations(moving),
        )


class GCNLink(nn.Module):
    """What the next block gets: a mix of a block's output plus a mix of its input.

    Args:
        in_channels: Channels of the block's input.
        channels: Channels of its output.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, 1)
        self.residual = nn.Conv1d(in_channels, channels, 1)

    def forward(self, gated: Tensor, features: Tensor) -> Tensor:
        """Join output and input of a block, shape (batch, channels, time) each."""
        joined: Tensor = self.mix(gated) + self.residual(features)
        return joined

    def operations(self, known: int = 0) -> Operations:
        """Those of one sample; the bias holds the share of ``known`` inputs that stand still."""
        channels, in_channels, _ = self.residual.weight.shape
        return add_operations(
            matrix_operations(channels, channels),
            matrix_operations(channels, in_channels - known),
            Operations(0, channels),
        )


class GCNNetwork(DilatedNetwork):
    """Blocks, all heard by a 1x1 convolution; arguments as :class:`GCNConcat`, with ``mlp_size`` :class:`GCNFiLM`."""

    gated = True

    def __init__(
        self,
        audio_channels: int,
        num_knobs: int,
        channels: int,
        num_blocks: int,
        kernel_size: int,
        dilation_growth: int,
        published_layout: bool,
        mlp_size: int | None = None,
    ) -> None:
        widths = inputs_of_blocks(audio_channels, num_knobs, channels, num_blocks, mlp_size)
        code_size = size_of_code(num_knobs, mlp_size)
        blocks = [
            GCNBlock(width, channels, kernel_size, dilation, code_size)
            for width, dilation in zip(widths, dilations(dilation_growth, num_blocks))
        ]
        links = [GCNLink(width, channels) for width in widths[:-1]]
        unheard = GCNLink(widths[-1], channels) if published_layout else None
        super().__init__(num_knobs, blocks, nn.Conv1d(channels * num_blocks, audio_channels, 1, bias=False), mlp_size)
        self.links = nn.ModuleList(links)
        self.unheard = unheard  # behind the last block

    def _run(self, features: Tensor, code: Tensor | None, state: State) -> tuple[Tensor, State]:
        heard, after = [], []
        for number, (block, history) in enumerate(zip(self._blocks(), state)):
            gated, history = block(features, code, history)
            heard.append(gated)
            after.append(history)
            if number < len(self.links):
                features = self.links[number](gated, features)
        return self.output(torch.cat(heard, dim=1)), tuple(after)

    def _count(self, moving: bool, known: int) -> Operations:
        out_channels, heard, _ = self.output.weight.shape
        return add_operations(
            *(block.operations(moving, 0 if number else known) for number, block in enumerate(self._blocks())),
            *(link.operations(0 if number else known) for number, link in enumerate(self._links())),
            matrix_operations(out_channels, heard, bias=False),
        )

    def _pack(self) -> list[Block]:
        heard = self.output.weight[..., 0].chunk(len(self.blocks), dim=1)
        links = [*self._links(), None]
        return [block.compiled(link, part) for block, link, part in zip(self._blocks(), links, heard)]

    def _blocks(self) -> list[GCNBlock]:
        return [block for block in self.blocks if isinstance(block, GCNBlock)]

    def _links(self) -> list[GCNLink]:
        return [link for link in self.links if isinstance(link, GCNLink)]


class GCNConcat(EffectModule):
    r"""Gated convolutional network that takes the knobs as further channels of its input.

    Signal path: audio and knobs > num_blocks x (dilated convolution > tanh * sigmoid) > 1x1 of all blocks, with a mix
    of each block's output and input feeding the next

    .. math::
        v^0_n = (x_n, 2 p_n - 1), \quad (a^i, g^i) = W^i *_{d_i} v^{i-1} + b^i, \quad
        z^i = \tanh(a^i) \odot \sigma(g^i), \quad v^i = M^i z^i + m^i + R^i v^{i-1} + r^i, \quad
        \hat y = W_o (z^1, \dots, z^B)^\top, \quad d_i = \texttt{dilation_growth}^{i-1}

    The defaults are the paper's network for the OD-3 overdrive, which sees 2047 samples; its network for the LA-2A
    compressor has ``num_blocks=9, kernel_size=5, dilation_growth=3`` and sees 39365. The paper's width of 32 is that
    of (a, g). Histories start at zero, those of the knobs too: for the first ``receptive_field`` samples of a stream
    the past seems to have been silent with all knobs in the middle.

    Departures from the published code: it mixes the last block's output and input too, although nobody hears the
    result: ``published_layout`` adds these ``2 * channels * (channels + 1)`` parameters, 544 with the defaults, to
    compare counts; the residual is added at the sample to which it belongs, where the code takes the sample before; the
    first block and all residuals have biases, as the published counts say.

    Args:
        channels: Width of the blocks, at least 1.
        num_blocks: Number of blocks B, at least 1.
        kernel_size: Samples that one output of a convolution sees, at least 1.
        dilation_growth: Factor of the dilation from block to block, at least 1; the last one is at most 2**31 samples.
        published_layout: Whether to have the published model's parameters without function too.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 5.2; Comunita et al., "Modelling Black-box Audio Effects with Time-varying Feature
        Modulation", ICASSP 2023.
    """

    def __init__(
        self,
        channels: int = 16,
        num_blocks: int = 10,
        kernel_size: int = 3,
        dilation_growth: int = 2,
        published_layout: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        self.network = GCNNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            channels=channels,
            num_blocks=num_blocks,
            kernel_size=kernel_size,
            dilation_growth=dilation_growth,
            published_layout=published_layout,
        )


class GCNFiLM(EffectModule):
    r"""Gated convolutional network whose gated features the knobs scale and shift in every block.

    Signal path: audio > num_blocks x (dilated convolution > tanh * sigmoid > FiLM(knobs)) > 1x1 of all blocks, with a
    mix of each block's output and input feeding the next

    .. math::
        c_n = \mathrm{MLP}(2 p_n - 1), \quad (\theta^i_n, \eta^i_n) = W_c^i c_n + b_c^i, \quad
        (a^i, g^i) = W^i *_{d_i} v^{i-1} + b^i, \quad
        z^i = \theta^i \odot \tanh(a^i) \odot \sigma(g^i) + \eta^i

    with v^0 the audio, and v^i, the output and dilations as in :class:`GCNConcat`, whose notes on sizes, counts and
    departures from the published code hold here too. The MLP has three linear layers with leaky rectifiers between
    them, with the paper's slope of 0.1, where the code has 0.2. Scale and shift are evaluated at every sample while
    knobs move, once per call while they stand still; without knobs there are none. Gains start around 1 and shifts
    around 0. There is no BatchNorm in front of FiLM: the published operation counts rule out the one in the code.

    Args:
        channels: Width of the blocks, at least 1.
        num_blocks: Number of blocks, at least 1.
        kernel_size: Samples that one output of a convolution sees, at least 1.
        dilation_growth: Factor of the dilation from block to block, at least 1; the last one is at most 2**31 samples.
        mlp_size: Units in each layer of the MLP, at least 1.
        published_layout: Whether to have the published model's parameters without function too.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 5.2; Comunita et al., "Modelling Black-box Audio Effects with Time-varying Feature
        Modulation", ICASSP 2023.
    """

    def __init__(
        self,
        channels: int = 16,
        num_blocks: int = 10,
        kernel_size: int = 3,
        dilation_growth: int = 2,
        mlp_size: int = 32,
        published_layout: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        self.network = GCNNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            channels=channels,
            num_blocks=num_blocks,
            kernel_size=kernel_size,
            dilation_growth=dilation_growth,
            published_layout=published_layout,
            mlp_size=mlp_size,
        )
