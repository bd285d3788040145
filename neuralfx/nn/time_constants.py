"""How long the states of a new network remember."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neuralfx.errors import ConfigError


def spread_time_constants(shortest: float, longest: float, count: int) -> Tensor:
    """Time constants spread evenly in the logarithm, in samples, shape (count,).

    Audio devices remember for milliseconds to seconds, and nobody knows beforehand for how long.

    Args:
        shortest: The first of them, in samples, above 0.
        longest: The last of them, in samples, no less.
        count: How many, at least 1; a single one is the shortest.

    Raises:
        ConfigError: If the range is none.
    """
    if not 0 < shortest <= longest < math.inf:
        raise ConfigError(
            f"time constants: expected a range above 0, shortest first, got {shortest:g} to {longest:g} samples."
        )
    return torch.logspace(math.log10(shortest), math.log10(longest), count)
