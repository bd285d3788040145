"""The conditioning block of the state-based networks."""

from __future__ import annotations

import torch

from neuralfx.nn.film import FiLM
from neuralfx.nn.film_glu import FiLMGLU


def test_film_starts_as_the_identity_at_knobs_0() -> None:
    features = torch.randn(2, 5, 3)
    torch.testing.assert_close(FiLM(2, 3)(features, torch.zeros(2, 2)), features)


def test_still_knobs_equal_moving_ones_that_stand_still() -> None:
    block, features, knobs = FiLMGLU(2, 3), torch.randn(2, 5, 3), torch.rand(2, 2)
    moving = knobs.unsqueeze(1).expand(2, 5, 2)
    torch.testing.assert_close(block(features, knobs), block(features, moving))


def test_the_block_computes_the_equations_of_the_paper() -> None:
    block = FiLMGLU(1, 1).double()
    with torch.no_grad():
        block.film.linear.weight[:] = torch.tensor([[2.0], [3.0]])  # type: ignore[union-attr]
        block.film.linear.bias[:] = torch.tensor([1.0, -1.0])  # type: ignore[union-attr]
        block.linear.weight[:] = torch.tensor([[1.0], [-0.5]])
        block.linear.bias[:] = torch.tensor([0.5, 0.25])
    # theta = 2 * 0.5 + 1 = 2, eta = 3 * 0.5 - 1 = 0.5, z = 2 * 0.7 + 0.5 = 1.9, q = (2.4, -0.7), softsign = -0.7 / 1.7
    output = block(torch.full((1, 1, 1), 0.7, dtype=torch.float64), torch.full((1, 1), 0.5, dtype=torch.float64))
    torch.testing.assert_close(output.item(), 2.4 * -0.7 / 1.7)


def test_without_knobs_only_the_gate_remains() -> None:
    block = FiLMGLU(0, 4)
    assert block.film is None
    assert block(torch.randn(1, 3, 4), torch.zeros(1, 0)).shape == (1, 3, 4)
