"""The selective scan and its functions, against torch and against double precision."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch

from neuralfx.engine import selective
from neuralfx.engine.fastmath import JIT
from neuralfx.nn.s6 import S6
from tests.checks import noise
from tests.engine.gradients import compare


@numba.njit(**JIT)
def apply(values: np.ndarray, losses: np.ndarray, steps: np.ndarray) -> None:
    for index in range(values.size):
        losses[index] = selective.lost(abs(values[index]))
        steps[index] = selective.softplus(values[index])


def test_losses_and_steps_keep_all_digits_of_small_numbers() -> None:
    sizes = np.logspace(-12, 2, 20_000).astype(np.float32)
    values = np.concatenate([-sizes[sizes < 80], sizes])
    losses, steps = np.empty_like(values), np.empty_like(values)
    apply(values, losses, steps)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(losses, -np.expm1(-np.abs(exact)), rtol=4e-7)
    np.testing.assert_allclose(steps, np.logaddexp(0, exact), rtol=6e-7)


@pytest.mark.parametrize("time", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("sizes", [(6, 6, 3), (9, 2, 1)], ids=str)
def test_gradients_are_those_of_torch(sizes: tuple[int, int, int], time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = S6(*sizes, shortest_samples=3, longest_samples=96_000)
    state = torch.randn(2, *sizes[:2], dtype=torch.float64)
    compare(layer, noise(2, time, sizes[0]), state, monkeypatch)


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    layer = S6(6, 6, 3, shortest_samples=3, longest_samples=96_000)
    with torch.no_grad():
        output, state = layer(noise(1, 50, 6), layer.initial_state(1, None, torch.float32))
    assert not output.requires_grad and not state.requires_grad
    assert state.dtype == torch.float64
    expected, _ = layer(noise(1, 50, 6), layer.initial_state(1, None, torch.float32))
    torch.testing.assert_close(output, expected.detach(), atol=0, rtol=0)


def test_segments_join_without_a_seam() -> None:
    layer, features = S6(6, 6, 3, shortest_samples=3, longest_samples=96_000), noise(2, 300, 6)
    state = layer.initial_state(2, None, torch.float32)
    whole, last = layer(features, state)
    parts = []
    for part in features.split(77, dim=1):
        output, state = layer(part, state)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=5e-7, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-7, rtol=1e-6)
