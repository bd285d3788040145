"""Checks that many tests share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.models import architecture
from neuralfx.models.base import EffectModule
from neuralfx.nn.network import Network


def two_knobs(sample_rate: int = 48_000, count: int = 2) -> Effect:
    """An effect with up to four plain knobs from 0 to 1."""
    return Effect("tiny", sample_rate, Knobs(Knob(name) for name in ("drive", "tone", "mix", "bias")[:count]))


def tiny_model(name: str, effect: Effect | None = None, **arguments: Any) -> EffectModule:
    """A pair with its default sizes and weights that make its memory and its knobs matter."""
    torch.manual_seed(0)
    model = architecture(name)(effect=(effect or two_knobs()).to_dict(), **arguments)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """White noise with a standard deviation of 0.2, the same at every call."""
    return 0.2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)


def run(network: Network, audio: Tensor, knobs: Tensor) -> Tensor:
    """The network's output from silence on, without gradients."""
    with torch.no_grad():
        return network(audio, knobs, network.initial_state(len(audio), audio.device, audio.dtype))[0]
