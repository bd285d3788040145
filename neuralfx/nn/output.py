"""The last layer of a network with recurrence."""

from __future__ import annotations

import torch
from torch import nn

QUIET = 0.1


def output_layer(features: int, channels: int) -> nn.Linear:
    """A linear layer from features to audio that starts quiet: a tenth of torch's initial weights, and no bias.

    With torch's own, a network begins with an offset of up to 0.35 and a sound that has nothing to do with the device.
    Where the device's output is quiet, as behind a compressor, that is a hundred times the target's energy; the first
    steps then drive the gates into saturation, from which linear recurrences do not come back.

    Args:
        features: Width of the network.
        channels: Channels of audio.
    """
    layer = nn.Linear(features, channels)
    with torch.no_grad():
        layer.weight.mul_(QUIET)
        layer.bias.zero_()
    return layer
