"""Temporal convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralfx.models.base import EffectModule
from neuralfx.nn import packing
from neuralfx.nn.concat import append_knobs, centre
from neuralfx.nn.convolution import CausalConv1d
from neuralfx.nn.film import FiLM
from neuralfx.nn.mlp import MLP, SLOPE
from neuralfx.nn.network import Network, State
from neuralfx.nn.operations import Operations, add_operations, matrix_operations

if TYPE_CHECKING:
    from neuralfx.engine.convolution import Block
    from neuralfx.engine.player import Player


class TCNBlock(nn.Module):
    """Dilated convolution > BatchNorm > FiLM(code) > leaky rectifier, plus a 1x1 convolution of the input.

    Args:
        in_channels: Channels in.
        channels: Channels out.
        kernel_size: Samples that one output of the convolution sees.
        dilation: Distance between them in samples.
        affine: Whether BatchNorm has a trained scale and shift.
        code_size: Width of what FiLM makes scale and shift from; 0 means no FiLM.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int, dilation: int, affine: bool, code_size: int = 0
    ) -> None:
        super().__init__()
        self.filter = CausalConv1d(in_channels, channels, kernel_size, dilation)
        self.norm = nn.BatchNorm1d(channels, affine=affine)
        self.film = FiLM(code_size, channels) if code_size else None
        self.residual = nn.Conv1d(in_channels, channels, 1, bias=False)

    def forward(self, features: Tensor, code: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, in_channels, time) into (batch, channels, time), time at least 1."""
        filtered, state = self.filter(features, state)
        filtered = self.norm(filtered)
        if self.film is not None:
            filtered = self.film(filtered.transpose(1, 2), code).transpose(1, 2)
        return functional.leaky_relu(filtered, SLOPE) + self.residual(features), state

    def compiled(self, output: nn.Conv1d | None) -> Block:
        """The block as compiled loops take it, BatchNorm with its running statistics folded into the convolution.

        Args:
            output: What follows behind the last block; None for the others.
        """
        from neuralfx.engine.convolution import Block

        norm, residual = self.norm, self.residual.weight[..., 0]
        assert norm.running_mean is not None and norm.running_var is not None
        scale = torch.rsqrt(norm.running_var + norm.eps) * (norm.weight if norm.affine else 1)
        convolution = self.filter.convolution
        assert convolution.bias is not None
        weight = convolution.weight.transpose(1, 2).flatten(1) * scale.unsqueeze(1)
        bias = (convolution.bias - norm.running_mean) * scale + (norm.bias if norm.affine else 0)
        if output is None:
            link = packing.affine(residual, residual.new_zeros(len(residual)))
        else:
            assert output.bias is not None
            heard = output.weight[..., 0]
            link = packing.affine(torch.cat([heard, heard @ residual], dim=1), output.bias)
        return Block(
            packing.affine(weight, bias),
            convolution.kernel_size[0],
            convolution.dilation[0],
            packing.linear(self.film.linear) if self.film is not None else packing.array(weight[:0]),
            link,
        )

    def operations(self, moving: bool, known: int = 0) -> Operations:
        """Those of one sample; ``known`` of the inputs stand still and are held by biases."""
        channels, in_channels, _ = self.residual.weight.shape
        return add_operations(
            self.filter.operations(known),
            Operations(channels, channels),  # BatchNorm with its fixed statistics
            self.film.operations(moving) if self.film is not None else Operations(),
            Operations(0, 0, channels),  # leaky rectifier
            matrix_operations(channels, in_channels - known, bias=known > 0),
            Operations(0, channels),  # the sum of both
        )


class TCNNetwork(Network):
    """Blocks with growing dilation > 1x1 convolution; how the knobs enter is left to the subclass.

    Args:
        in_channels: Channels that enter the first block.
        out_channels: Channels of audio.
        num_knobs: Number of knobs.
        channels: Width of the blocks.
        num_blocks: Number of blocks.
        kernel_size: Samples that one output of a convolution sees.
        dilation_growth: Factor of the dilation from block to block.
        affine: Whether BatchNorm has a trained scale and shift.
        code_size: Width of what each block makes scale and shift from; 0 means no FiLM.
    """

    loops = "convolution"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_knobs: int,
        channels: int,
        num_blocks: int,
        kernel_size: int,
        dilation_growth: int,
        affine: bool,
        code_size: int = 0,
    ) -> None:
        super().__init__()
        self.num_knobs = num_knobs
        widths = [in_channels, *[channels] * (num_blocks - 1)]
        self.blocks = nn.ModuleList(
            TCNBlock(width, channels, kernel_size, dilation_growth**number, affine, code_size)
            for number, width in enumerate(widths)
        )
        self.output = nn.Conv1d(channels, out_channels, 1)
        self.receptive_field = 1 + sum(block.filter.history_samples for block in self._blocks())

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        """Zeros in front of each block's convolution, shape (batch, channels in, (kernel_size - 1) dilation)."""
        return tuple(block.filter.initial_state(batch_size, device, dtype) for block in self._blocks())

    def _count(self, moving: bool, known: int = 0) -> Operations:
        """Operations behind the place where knobs enter; ``known`` of the channels that enter stand still."""
        first, *others = self._blocks()
        out_channels, channels, _ = self.output.weight.shape
        return add_operations(
            first.operations(moving, known),
            *(block.operations(moving) for block in others),
            matrix_operations(out_channels, channels),
        )

    def _player(self, mlp: MLP | None) -> Player:
        """The compiled network."""
        from neuralfx.engine.convolution import ConvolutionPlayer

        *others, last = self._blocks()
        return ConvolutionPlayer(
            self.output.out_channels,
            self.num_knobs,
            [*(block.compiled(None) for block in others), last.compiled(self.output)],
            [packing.linear(layer) for layer in mlp or [] if isinstance(layer, nn.Linear)],
            gated=False,
            slope=SLOPE,
        )

    def _run(self, features: Tensor, code: Tensor | None, state: State) -> tuple[Tensor, State]:
        after = []
        for block, history in zip(self._blocks(), state):
            features, history = block(features, code, history)
            after.append(history)
        return self.output(features), tuple(after)

    def _blocks(self) -> list[TCNBlock]:
        return [block for block in self.blocks if isinstance(block, TCNBlock)]


class TCNConcatNetwork(TCNNetwork):
    """Audio and knobs > blocks with affine BatchNorm > 1x1 convolution; arguments as :class:`TCNConcat`."""

    def __init__(
        self,
        audio_channels: int,
        num_knobs: int,
        channels: int,
        num_blocks: int,
        kernel_size: int,
        dilation_growth: int,
    ) -> None:
        super().__init__(
            audio_channels + num_knobs,
            audio_channels,
            num_knobs,
            channels=channels,
            num_blocks=num_blocks,
            kernel_size=kernel_size,
            dilation_growth=dilation_growth,
            affine=True,
        )

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        return self._run(append_knobs(audio, centre(knobs)), None, state)

    def player(self) -> Player | None:
        """The compiled network; see :class:`~neuralfx.nn.network.Network`."""
        return self._player(None)

    def operations(self, moving: bool) -> Operations:
        """Those of one sample; biases hold the share of knobs that stand still."""
        return self._count(moving, known=0 if moving else self.num_knobs)


class TCNFiLMNetwork(TCNNetwork):
    """Blocks whose normalised features the knobs scale and shift > 1x1 convolution; arguments as :class:`TCNFiLM`."""

    def __init__(
        self,
        audio_channels: int,
        num_knobs: int,
        channels: int,
        num_blocks: int,
        kernel_size: int,
        dilation_growth: int,
        mlp_size: int,
    ) -> None:
        super().__init__(
            audio_channels,
            audio_channels,
            num_knobs,
            channels=channels,
            num_blocks=num_blocks,
            kernel_size=kernel_size,
            dilation_growth=dilation_growth,
            affine=False,
            code_size=mlp_size if num_knobs else 0,
        )
        self.mlp = MLP(num_knobs, mlp_size, mlp_size, mlp_size) if num_knobs else None

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one block; see :class:`~neuralfx.nn.network.Network`."""
        code = self.mlp(centre(knobs)) if self.mlp is not None else None
        return self._run(audio, code, state)

    def player(self) -> Player | None:
        """The compiled network; see :class:`~neuralfx.nn.network.Network`."""
        return self._player(self.mlp)

    def operations(self, moving: bool) -> Operations:
        """Those of one sample; the MLP and what the blocks make of it are only computed while knobs move."""
        if not moving or self.mlp is None:
            return self._count(moving)
        return add_operations(self.mlp.operations(), self._count(moving))


class TCNConcat(EffectModule):
    r"""Temporal convolutional network that takes the knobs as further channels of its input.

    Signal path: audio and knobs > num_blocks x (dilated convolution > BatchNorm > leaky rectifier + 1x1 residual) > 1x1

    .. math::
        v^0_n = (x_n, 2 p_n - 1), \quad
        v^i = \mathrm{LeakyReLU}(\mathrm{BN}(W^i *_{d_i} v^{i-1} + b^i)) + R^i v^{i-1}, \quad
        \hat y = W_o v^B + b_o, \quad d_i = \texttt{dilation_growth}^{i-1}

    The defaults are the paper's network for the OD-3 overdrive, which sees 2047 samples; its network for the LA-2A
    compressor has ``num_blocks=9, kernel_size=5, dilation_growth=3`` and sees 39365. Parameter counts equal the
    published ones.

    BatchNorm normalises by the statistics of the batch in training only. For use its running statistics are frozen,
    so that it is a fixed scale and shift, and streaming is exact. Histories start at zero, those of the knobs too: for
    the first ``receptive_field`` samples of a stream the past seems to have been silent with all knobs in the middle.

    Departures from the published code: the residual is added at the sample to which it belongs, where the code takes
    the sample before; the slope of the leaky rectifier is the paper's 0.1, where the code has 0.2; the first block has
    biases, as the published counts say.

    Args:
        channels: Width of the blocks, at least 1.
        num_blocks: Number of blocks B, at least 1.
        kernel_size: Samples that one output of a convolution sees, at least 1.
        dilation_growth: Factor of the dilation from block to block, at least 1.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 5.2; Steinmetz and Reiss, "Efficient Neural Networks for Real-time Modeling of Analog
        Dynamic Range Compression", AES 152, 2022.
    """

    def __init__(
        self, channels: int = 24, num_blocks: int = 10, kernel_size: int = 3, dilation_growth: int = 2, **training: Any
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        self.network = TCNConcatNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            channels=channels,
            num_blocks=num_blocks,
            kernel_size=kernel_size,
            dilation_growth=dilation_growth,
        )


class TCNFiLM(EffectModule):
    r"""Temporal convolutional network whose features the knobs scale and shift in every block.

    Signal path: audio > num_blocks x (dilated convolution > BatchNorm > FiLM(knobs) > leaky rectifier + 1x1 residual)
    > 1x1

    .. math::
        c_n = \mathrm{MLP}(2 p_n - 1), \quad (\theta^i_n, \eta^i_n) = W_c^i c_n + b_c^i, \quad
        v^i = \mathrm{LeakyReLU}(\theta^i \odot \mathrm{BN}(W^i *_{d_i} v^{i-1} + b^i) + \eta^i) + R^i v^{i-1}, \quad
        \hat y = W_o v^B + b_o

    with v^0 the audio, B blocks and dilations as in :class:`TCNConcat`, whose notes on sizes, frozen statistics and
    departures from the published code hold here too. The MLP has three linear layers with leaky rectifiers between
    them. Scale and shift are evaluated at every sample while knobs move, once per call while they stand still.
    BatchNorm has no scale and shift of its own; without knobs there is no FiLM either. Gains start around 1 and shifts
    around 0.

    The paper's text says 32 units for the MLP; its parameter counts say 16.

    Args:
        channels: Width of the blocks, at least 1.
        num_blocks: Number of blocks, at least 1.
        kernel_size: Samples that one output of a convolution sees, at least 1.
        dilation_growth: Factor of the dilation from block to block, at least 1.
        mlp_size: Units in each layer of the MLP, at least 1.
        training: Arguments of :class:`EffectModule`, such as ``effect`` or ``lr``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 5.2; Steinmetz and Reiss, "Efficient Neural Networks for Real-time Modeling of Analog
        Dynamic Range Compression", AES 152, 2022.
    """

    def __init__(
        self,
        channels: int = 24,
        num_blocks: int = 10,
        kernel_size: int = 3,
        dilation_growth: int = 2,
        mlp_size: int = 16,
        **training: Any,
    ) -> None:
        super().__init__(**training)  # also saves the hyper-parameters of this class
        self.network = TCNFiLMNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            channels=channels,
            num_blocks=num_blocks,
            kernel_size=kernel_size,
            dilation_growth=dilation_growth,
            mlp_size=mlp_size,
        )
