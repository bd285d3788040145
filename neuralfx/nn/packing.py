"""Weights of layers as the plain arrays that compiled loops take: one per layer, shape (out, in + 1), the bias last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuralfx.nn.convolution import FIRBank
from neuralfx.nn.film_glu import FiLMGLU

if TYPE_CHECKING:
    from neuralfx.engine.player import Array


def array(weights: Tensor) -> Array:
    """A copy in single precision and in order."""
    copy: Array = weights.detach().to("cpu", torch.float32, copy=True).contiguous().numpy()
    return copy


def affine(weight: Tensor, bias: Tensor) -> Array:
    """Weights (out, in) and bias (out,)."""
    return array(torch.cat([weight, bias.unsqueeze(-1)], dim=-1))


def linear(layer: nn.Linear) -> Array:
    """Those of a linear layer, with or without bias."""
    return affine(layer.weight, layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias)


def filters(bank: FIRBank) -> Array:
    """Those of a FIR bank on one channel, shape (features, taps + 1)."""
    return affine(bank.weight.squeeze(1), bank.bias)


def film(conditioning: FiLMGLU) -> Array:
    """Those from knobs to scales and shifts; without knobs, the biases of the identity."""
    if conditioning.film is not None:
        return linear(conditioning.film.linear)
    width = conditioning.linear.in_features
    return array(torch.tensor([1.0, 0.0]).repeat_interleave(width).unsqueeze(1))


def chain(first: nn.Linear | None, second: nn.Linear) -> Array:
    """Those of two linear layers in series, as one; without the first, those of the second."""
    if first is None:
        return linear(second)
    weight, bias = second.weight.double(), second.bias.double()
    return affine(weight @ first.weight.double(), weight @ first.bias.double() + bias)
