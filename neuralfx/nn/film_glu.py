"""The conditioning block of the state-based networks: FiLM followed by a gated linear unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralfx.nn.film import FiLM
from neuralfx.nn.operations import Operations, add_operations, linear_operations


class FiLMGLU(nn.Module):
    r"""Modulate features by the knobs, then gate them by themselves.

    .. math::
        z = \theta(p) \odot o + \eta(p), \qquad
        (q_1, q_2) = W_g z + b_g, \qquad
        o' = q_1 \odot \frac{q_2}{1 + |q_2|}

    Without knobs the FiLM part is left out and the gate stays. The gate's bias starts at 1, where the softsign is 0.5:
    with zero biases, as published, the block would begin as an even function of its input.

    Args:
        num_knobs: Knobs, 0 or more.
        features: Features in and out.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", 2025, section 3.
    """

    def __init__(self, num_knobs: int, features: int) -> None:
        super().__init__()
        self.film = FiLM(num_knobs, features) if num_knobs else None
        self.linear = nn.Linear(features, 2 * features)
        with torch.no_grad():
            self.linear.bias[:features] = 0.0
            self.linear.bias[features:] = 1.0

    def forward(self, features: Tensor, knobs: Tensor) -> Tensor:
        """Condition (batch, time, features) by knobs of shape (batch, knobs) or (batch, time, knobs)."""
        if self.film is not None:
            features = self.film(features, knobs)
        content, gate = self.linear(features).chunk(2, dim=-1)
        gated: Tensor = content * functional.softsign(gate)
        return gated

    def operations(self, moving: bool) -> Operations:
        """Those of one sample; a softsign is an absolute value, an addition and a division."""
        features = self.linear.in_features
        modulation = self.film.operations(moving) if self.film is not None else Operations()
        gate = Operations(features, features, 2 * features)
        return add_operations(modulation, linear_operations(self.linear), gate)
