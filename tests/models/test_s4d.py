"""Diagonal state space model: sizes and operations of the published networks."""

from __future__ import annotations

import pytest
import torch

from neuralfx.effect import Effect
from neuralfx.models.s4d import S4DFiLMGLU
from tests.checks import noise, run, tiny_model, two_knobs


@pytest.mark.parametrize(("knobs", "expected"), [(0, 679), (1, 703), (2, 715), (4, 739)])
def test_the_defaults_have_the_papers_parameter_count(knobs: int, expected: int) -> None:
    network = S4DFiLMGLU(effect=two_knobs(count=knobs).to_dict()).network
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(
    ("knobs", "moving", "expected"),
    [
        (0, True, 1542),
        (1, True, 1578),
        (2, True, 1602),
        (4, True, 1650),
        (0, False, 1542),
        (1, False, 1554),
        (4, False, 1554),
    ],
)
def test_operations_per_sample(knobs: int, moving: bool, expected: int) -> None:
    operations = S4DFiLMGLU(effect=two_knobs(count=knobs).to_dict()).network.operations(moving)
    assert operations is not None and operations.flops == expected


def test_the_window_is_the_receptive_field() -> None:
    assert tiny_model("S4DFiLMGLU").network.receptive_field == 64
    assert tiny_model("S4DFiLMGLU", window=10).network.receptive_field == 10


def test_stereo_effects_and_double_precision_work() -> None:
    effect = Effect("stereo", 48_000, two_knobs().knobs, channels=2)
    network = tiny_model("S4DFiLMGLU", effect, num_blocks=2).network.double()
    audio, knobs = noise(3, 2, 100, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    output = run(network, audio, knobs)
    assert output.shape == audio.shape and output.dtype == torch.float64
    assert not torch.equal(output[:, 0], output[:, 1])


def test_it_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        assert next(S4DFiLMGLU(effect=two_knobs().to_dict()).network.parameters()).is_meta


def test_blocks_in_series_add_up() -> None:
    one, two, three = (tiny_model("S4DFiLMGLU", num_blocks=number).network for number in (1, 2, 3))
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (one, two, three)]
    flops = [network.operations(True).flops for network in (one, two, three)]  # type: ignore[union-attr]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0
    assert flops[2] - flops[1] == flops[1] - flops[0] > 0
    assert len(two.initial_state(1)[1]) == 2


@pytest.mark.parametrize(("knobs", "expected"), [(0, 763), (1, 787), (2, 799), (4, 823)])
def test_mixing_has_the_parameter_count_of_the_published_inner_layer(knobs: int, expected: int) -> None:
    network = S4DFiLMGLU(effect=two_knobs(count=knobs).to_dict(), mixing=True).network
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_blocks_do_not_matter_with_mixing_and_published_poles() -> None:
    model, dry = tiny_model("S4DFiLMGLU", mixing=True, poles="legs"), noise(300)
    stream = model.stream()
    parts = [stream.process(block, {"drive": 0.8}) for block in dry.split(7)]
    torch.testing.assert_close(torch.cat(parts), model.process(dry, {"drive": 0.8}), atol=1e-6, rtol=0)
