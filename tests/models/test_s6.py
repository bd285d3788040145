"""Selective state space model: sizes and operations of the published networks."""

from __future__ import annotations

import pytest
import torch

from neuralfx.effect import Effect
from neuralfx.models.s6 import S6FiLMGLU
from tests.checks import noise, run, tiny_model, two_knobs


@pytest.mark.parametrize(("knobs", "expected"), [(0, 721), (1, 745), (2, 757), (4, 781)])
def test_the_defaults_have_the_papers_parameter_count(knobs: int, expected: int) -> None:
    network = S6FiLMGLU(effect=two_knobs(count=knobs).to_dict()).network
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(
    ("knobs", "moving", "expected"),
    [
        (0, True, 1569),
        (1, True, 1605),
        (2, True, 1629),
        (4, True, 1677),
        (0, False, 1569),
        (1, False, 1581),
        (4, False, 1581),
    ],
)
def test_operations_per_sample(knobs: int, moving: bool, expected: int) -> None:
    operations = S6FiLMGLU(effect=two_knobs(count=knobs).to_dict()).network.operations(moving)
    assert operations is not None and operations.flops == expected


def test_the_window_is_the_receptive_field() -> None:
    assert tiny_model("S6FiLMGLU").network.receptive_field == 64
    assert tiny_model("S6FiLMGLU", window=10).network.receptive_field == 10


def test_stereo_effects_and_double_precision_work() -> None:
    effect = Effect("stereo", 48_000, two_knobs().knobs, channels=2)
    network = tiny_model("S6FiLMGLU", effect, num_blocks=2).network.double()
    audio, knobs = noise(3, 2, 100, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    output = run(network, audio, knobs)
    assert output.shape == audio.shape and output.dtype == torch.float64
    assert not torch.equal(output[:, 0], output[:, 1])


def test_it_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        assert next(S6FiLMGLU(effect=two_knobs().to_dict()).network.parameters()).is_meta


def test_blocks_in_series_add_up() -> None:
    one, two, three = (tiny_model("S6FiLMGLU", num_blocks=number).network for number in (1, 2, 3))
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (one, two, three)]
    flops = [network.operations(True).flops for network in (one, two, three)]  # type: ignore[union-attr]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0
    assert flops[2] - flops[1] == flops[1] - flops[0] > 0
    assert len(two.initial_state(1)[1]) == 2
