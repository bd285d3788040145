"""Diagonal state space model: the variants of the S4D paper."""

from __future__ import annotations

import pytest
import torch

from neuralfx.models.s4d import S4DFiLMGLU
from tests.checks import noise, tiny_model, two_knobs


@pytest.mark.parametrize(("knobs", "expected"), [(0, 763), (1, 787), (2, 799), (4, 823)])
def test_mixing_has_the_parameter_count_of_the_published_inner_layer(knobs: int, expected: int) -> None:
    network = S4DFiLMGLU(effect=two_knobs(count=knobs).to_dict(), mixing=True).network
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_blocks_do_not_matter_with_mixing_and_published_poles() -> None:
    model, dry = tiny_model("S4DFiLMGLU", mixing=True, poles="legs"), noise(300)
    stream = model.stream()
    parts = [stream.process(block, {"drive": 0.8}) for block in dry.split(7)]
    torch.testing.assert_close(torch.cat(parts), model.process(dry, {"drive": 0.8}), atol=1e-6, rtol=0)
