"""Temporal convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralfx.models.base import EffectModule
from neuralfx.nn.dilated import DilatedBlock, DilatedNetwork, dilations, inputs_of_blocks, size_of_code
from neuralfx.nn.mlp import SLOPE
from neuralfx.nn.network import State
from neuralfx.nn.operations import Operations, add_operations, matrix_operations

if TYPE_CHECKING:
    from neuralfx.engine.convolution import Block


class TCNBlock(DilatedBlock):
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
        self, in_channels: int, channels: int, kernel_size: int, dilation: int, affine: bool, code_size: int
    ) -> None:
        super().__init__(in_channels, channels, channels, kernel_size, dilation, code_size)
        self.norm = nn.BatchNorm1d(channels, affine=affine)
        self.residual = nn.Conv1d(in_channels, channels, 1, bias=False)

    def forward(self, features: Tensor, code: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, in_channels, time) into (batch, channels, time), time at least 1."""
        filtered, state = self.filter(features, state)
        filtered = self.modulate(self.norm(filtered), code)
        return functional.leaky_relu(filtered, SLOPE) + self.residual(features), state

    def compiled(self, output: nn.Conv1d | None) -> Block:
        """The block as compiled loops take it, BatchNorm with its running statistics folded into the convolution.

        Args:
            output: What follows behind the last block; None for the others.
        """
        norm, residual = self.norm, self.residual.weight[..., 0]
        assert norm.running_mean is not None and norm.running_var is not None
        scale = torch.rsqrt(norm.running_var + norm.eps) * (norm.weight if norm.affine else 1)
        convolution = self.filter.convolution
        assert convolution.bias is not None
        weight = convolution.weight.transpose(1, 2).flatten(1) * scale.unsqueeze(1)
        bias = (convolution.bias - norm.running_mean) * scale + (norm.bias if norm.affine else 0)
        if output is None:
            return self.pack(weight, bias, residual, residual.new_zeros(len(residual)))
        assert output.bias is not None
        heard = output.weight[..., 0]
        return self.pack(weight, bias, torch.cat([heard, heard @ residual], dim=1), output.bias)

    def operations(self, moving: bool, known: int = 0) -> Operations:
        """Those of one sample; ``known`` of the inputs stand still and are held by biases."""
        channels, in_channels, _ = self.residual.weight.shape
        return add_operations(
            self.filter.operations(known),
            Operations(channels, channels),  # BatchNorm with its fixed statistics
            self.modulation_operations(moving),
            Operations(0, 0, channels),  # leaky rectifier
            matrix_operations(channels, in_channels - known, bias=known > 0),
            Operations(0, channels),  # the sum of both
        )


class TCNNetwork(DilatedNetwork):
    """Blocks > 1x1 convolution; arguments as :class:`TCNConcat`, or with ``mlp_size`` as :class:`TCNFiLM`."""

    gated = False

    def __init__(
        self,
        audio_channels: int,
        num_knobs: int,
        channels: int,
        num_blocks: int,
        kernel_size: int,
        dilation_growth: int,
        mlp_size: int | None = None,
    ) -> None:
        widths = inputs_of_blocks(audio_channels, num_knobs, channels, num_blocks, mlp_size)
        code_size = size_of_code(num_knobs, mlp_size)
        is_affine = mlp_size is None  # FiLM takes the place of BatchNorm's own scale and shift
        blocks = [
            TCNBlock(width, channels, kernel_size, dilation, is_affine, code_size)
            for width, dilation in zip(widths, dilations(dilation_growth, num_blocks))
        ]
        super().__init__(num_knobs, blocks, nn.Conv1d(channels, audio_channels, 1), mlp_size)

    def _run(self, features: Tensor, code: Tensor | None, state: State) -> tuple[Tensor, State]:
        after = []
        for block, history in zip(self._blocks(), state):
            features, history = block(features, code, history)
            after.append(history)
        return self.output(features), tuple(after)

    def _count(self, moving: bool, known: int) -> Operations:
        first, *others = self._blocks()
        out_channels, channels, _ = self.output.weight.shape
        return add_operations(
            first.operations(moving, known),
            *(block.operations(moving) for block in others),
            matrix_operations(out_channels, channels),
        )

    def _pack(self) -> list[Block]:
        *others, last = self._blocks()
        return [*(block.compiled(None) for block in others), last.compiled(self.output)]

    def _blocks(self) -> list[TCNBlock]:
        return [block for block in self.blocks if isinstance(block, TCNBlock)]


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
        dilation_growth: Factor of the dilation from block to block, at least 1; the last one is at most 2**31 samples.
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
        self.network = TCNNetwork(
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
        dilation_growth: Factor of the dilation from block to block, at least 1; the last one is at most 2**31 samples.
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
        self.network = TCNNetwork(
            self.effect.channels,
            len(self.effect.knobs),
            channels=channels,
            num_blocks=num_blocks,
            kernel_size=kernel_size,
            dilation_growth=dilation_growth,
            mlp_size=mlp_size,
        )
