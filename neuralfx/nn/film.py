"""Feature-wise linear modulation by the knobs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuralfx.nn.operations import Operations, add_operations, linear_operations


class FiLM(nn.Module):
    r"""Scale and shift features by functions of the knobs.

    .. math:: z = \theta(p) \odot o + \eta(p), \qquad (\theta, \eta) = W_c p + b_c

    Starts as the identity in the mean: the biases of theta are 1 and of eta 0, so that a network does not begin dead
    where all knobs are 0 (we depart here from the zero biases of the published state-based networks).

    Args:
        num_knobs: Knobs, at least 1.
        features: Features to modulate.

    Reference:
        Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, eq. (2).
    """

    def __init__(self, num_knobs: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_knobs, 2 * features)
        with torch.no_grad():
            self.linear.bias[:features] = 1.0
            self.linear.bias[features:] = 0.0

    def forward(self, features: Tensor, knobs: Tensor) -> Tensor:
        """Modulate (batch, time, features) by knobs of shape (batch, knobs) or (batch, time, knobs)."""
        scale, shift = self.linear(knobs if knobs.dim() == 3 else knobs.unsqueeze(1)).chunk(2, dim=-1)
        modulated: Tensor = scale * features + shift
        return modulated

    def operations(self, moving: bool) -> Operations:
        """Those of one sample; scale and shift are only computed while knobs move."""
        features = self.linear.out_features // 2
        generated = linear_operations(self.linear) if moving else Operations()
        return add_operations(generated, Operations(features, features))
