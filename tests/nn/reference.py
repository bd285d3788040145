"""Gated units written out gate by gate, one sample at a time: what the layers are held to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Step = Callable[[list[Tensor], list[Tensor], tuple[Tensor, ...]], tuple[Tensor, ...]]


def lstm_step(x: list[Tensor], u: list[Tensor], state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One sample of an LSTM from the parts of input and of state at each gate i, f, g, o."""
    i, f, g, o = (a + b for a, b in zip(x, u))
    cell = state[1] / (1 + torch.exp(-f)) + torch.tanh(g) / (1 + torch.exp(-i))
    return torch.tanh(cell) / (1 + torch.exp(-o)), cell


def gru_step(x: list[Tensor], u: list[Tensor], state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One sample of a GRU from the parts of input and of state at each gate r, z, g."""
    reset = 1 / (1 + torch.exp(-x[0] - u[0]))
    keep = 1 / (1 + torch.exp(-x[1] - u[1]))
    return ((1 - keep) * torch.tanh(x[2] + reset * u[2]) + keep * state[0],)


STEPS: dict[str, Step] = {"LSTM": lstm_step, "GRU": gru_step}


def gates_of(matrix: Tensor, size: int) -> list[Tensor]:
    """Rows of each gate."""
    return [matrix[start : start + size] for start in range(0, len(matrix), size)]


def as_tuple(state: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A state with its output first."""
    return state if isinstance(state, tuple) else (state,)


def assert_same_with_gradients(module: nn.Module, run: Callable[[], Tensor], reference: Callable[[], Tensor]) -> None:
    """Output and the gradients of all parameters agree to double precision."""
    outputs, gradients = [], []
    for function in (run, reference):
        module.zero_grad()
        output = function()
        (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum().backward()
        outputs.append(output.detach())
        gradients.append({name: parameter.grad for name, parameter in module.named_parameters()})
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-12, rtol=1e-10)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(
            gradient, gradients[1][name], atol=1e-11, rtol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )
