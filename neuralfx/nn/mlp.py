"""The small multilayer perceptron that turns knobs into coefficients and weights."""

from __future__ import annotations

import itertools

from torch import nn

from neuralfx.nn.operations import Operations, add_operations, linear_operations

SLOPE = 0.1  # of LeakyReLU below zero, paper 2's


class MLP(nn.Sequential):
    """Linear layers with leaky rectifiers between them, none behind the last.

    Args:
        sizes: Width of the input, of each hidden layer and of the output.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling",
        DAFx 2024, section 5.2.
    """

    def __init__(self, *sizes: int) -> None:
        layers: list[nn.Module] = []
        for features, out_features in itertools.pairwise(sizes):
            layers += [nn.Linear(features, out_features), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers[:-1])

    @property
    def last(self) -> nn.Linear:
        """The layer whose bias is the output's mean when training starts."""
        layer = self[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def operations(self) -> Operations:
        """Those of one evaluation; a leaky rectifier is one function per feature."""
        linears = [layer for layer in self if isinstance(layer, nn.Linear)]
        rectified = sum(layer.out_features for layer in linears[:-1])
        return add_operations(*map(linear_operations, linears), Operations(0, 0, rectified))
