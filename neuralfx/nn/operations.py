"""What a network computes per sample, counted under one rule."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn


class Operations(NamedTuple):
    """Arithmetic on real numbers per sample of audio, as the per-sample recurrence of each layer does it.

    A complex product is four multiplications and two additions, a bias is one addition per output, and every scalar
    function (sigmoid, tanh, exponential, absolute value, division) is one. What can be folded into a layer's weights
    beforehand, such as scaling knobs to another range, is free. Training forms that trade operations for
    parallelism, such as chunks and scans, are not counted.

    Attributes:
        multiplications: Also the number of multiply-adds: every addition of a product is fused with it.
        additions: Those of biases included.
        functions: Scalar nonlinear functions.

    Example:
        >>> add_operations(Operations(4, 3, 1), Operations(2, 2, 0))
        Operations(multiplications=6, additions=5, functions=1)
        >>> Operations(4, 3, 1).flops
        8
    """

    multiplications: int = 0
    additions: int = 0
    functions: int = 0

    @property
    def flops(self) -> int:
        """All of them."""
        return sum(self)


def add_operations(*parts: Operations) -> Operations:
    """The sum of several counts."""
    return Operations(*(sum(column) for column in zip(*parts)))


def matrix_operations(rows: int, columns: int, bias: bool = True) -> Operations:
    """A real matrix of shape (rows, columns) times a vector."""
    return Operations(rows * columns, rows * columns - (0 if bias else rows), 0)


def linear_operations(layer: nn.Linear) -> Operations:
    """A linear layer on one vector of features."""
    return matrix_operations(layer.out_features, layer.in_features, layer.bias is not None)
