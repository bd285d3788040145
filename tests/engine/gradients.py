"""Gradients of a layer by compiled loops and by torch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuralfx import engine
from neuralfx.nn.state import map_state


def compare(layer: nn.Module, features: Tensor, state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that outputs, state and all gradients agree with torch's in double and in single precision."""
    compiled = _run(layer, features, state, torch.float32)
    monkeypatch.setenv(engine.SWITCH, "torch")
    for dtype in (torch.float64, torch.float32):
        expected = _run(layer, features, state, dtype)
        assert len(compiled) == len(expected)
        for mine, reference in zip(compiled, expected):
            size = reference.abs().max().item()
            torch.testing.assert_close(mine.double(), reference.double(), atol=1e-5 * size + 1e-9, rtol=0)
    monkeypatch.delenv(engine.SWITCH)


def _run(layer: nn.Module, features: Tensor, state: Any, dtype: torch.dtype) -> list[Tensor]:
    layer = copy.deepcopy(layer).to(dtype)
    values: list[Tensor] = [features.to(dtype, copy=True).requires_grad_()]

    def follow(part: Tensor) -> Tensor:
        values.append((part if part.dtype == torch.float64 else part.to(dtype)).clone().requires_grad_())
        return values[-1]

    outputs, after = layer(values[0], map_state(follow, state))
    results = [outputs]
    map_state(lambda part: results.append(part) or part, after)
    weights = [torch.linspace(-1, 2, part.numel(), dtype=part.dtype).view_as(part) for part in results]
    sum((weight * part).sum().double() for weight, part in zip(weights, results)).backward()
    gradients = [value.grad for value in (*values, *layer.parameters())]
    return [part.detach() for part in (*results, *gradients) if part is not None]
