"""Encoder-decoder: sizes and operations of the published networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from neuralfx.errors import ConfigError
from neuralfx.models.ed import EDFiLMGLU
from tests.checks import noise, tiny_model, two_knobs

WEIGHTS = {"hidden_size": 4, "encoder_taps": 63, "decoder_taps": 1, "combine": "add"}  # of the published weights


def test_the_window_is_the_receptive_field() -> None:
    assert tiny_model("EDFiLMGLU").network.receptive_field == 64
    assert tiny_model("EDFiLMGLU", encoder_taps=63, decoder_taps=2).network.receptive_field == 65


@pytest.mark.parametrize(
    ("sizes", "knobs", "expected"),
    [
        *((WEIGHTS, knobs, expected) for knobs, expected in ((0, 729), (1, 745), (2, 753), (4, 769))),
        *(({"hidden_size": 4}, knobs, expected) for knobs, expected in ((0, 605), (1, 621), (2, 629), (4, 645))),
    ],
)
def test_the_other_readings_have_their_parameter_count(sizes: dict[str, Any], knobs: int, expected: int) -> None:
    network = EDFiLMGLU(effect=two_knobs(count=knobs).to_dict(), **sizes).network
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(
    ("knobs", "moving", "expected"),
    [(0, True, 1196), (1, True, 1220), (2, True, 1236), (4, True, 1268), (1, False, 1204), (4, False, 1204)],
)
def test_operations_per_sample_with_four_units(knobs: int, moving: bool, expected: int) -> None:
    network = EDFiLMGLU(effect=two_knobs(count=knobs).to_dict(), hidden_size=4).network
    operations = network.operations(moving)
    assert operations is not None and operations.flops == expected


def test_the_configurations_are_the_text_and_the_weights() -> None:
    for name, expected in (("ed", {}), ("ed-weights", WEIGHTS)):
        path = Path(__file__).parents[2] / "configs/models" / f"{name}.yaml"
        arguments = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["init_args"]
        model = EDFiLMGLU(effect=two_knobs().to_dict(), **arguments)
        reference = EDFiLMGLU(effect=two_knobs().to_dict(), **expected)
        assert model.architecture_arguments() == reference.architecture_arguments()


def test_the_published_weights_variant_streams_like_the_whole() -> None:
    model, dry = tiny_model("EDFiLMGLU", **WEIGHTS), noise(2, 500)
    expected = model.process(dry, {"drive": 0.8})
    stream = model.stream()
    parts = [stream.process(block, {"drive": 0.8}) for block in dry.split([1, 1, 63, 64, 371], dim=-1)]
    torch.testing.assert_close(torch.cat(parts, dim=-1), expected, atol=1e-6, rtol=0)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="combine: expected one of gate, add"):
        EDFiLMGLU(effect=two_knobs().to_dict(), combine="mix")
