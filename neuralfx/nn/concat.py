"""Knobs as further channels of the input, the way paper 2's networks take them."""

from __future__ import annotations

import torch
from torch import Tensor


def centre(knobs: Tensor) -> Tensor:
    """Knobs from 0..1 to paper 2's -1..1, any shape."""
    return 2 * knobs - 1


def append_knobs(audio: Tensor, knobs: Tensor) -> Tensor:
    """Put the knobs behind the channels of the audio; without knobs this is the audio alone.

    Args:
        audio: Shape (batch, channels, time).
        knobs: As they are to appear, shape (batch, knobs), or (batch, time, knobs) if they move.

    Returns:
        Shape (batch, channels + knobs, time).
    """
    if knobs.dim() == 2:
        knobs = knobs.unsqueeze(1).expand(-1, audio.shape[-1], -1)
    return torch.cat([audio, knobs.transpose(1, 2)], dim=1)
