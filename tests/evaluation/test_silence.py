"""What models make of silence, over the settings of their knobs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import ConfigError
from neuralfx.evaluation.silence import AUDIBLE, _choose_settings, measure_silence
from neuralfx.models import architecture
from neuralfx.models.base import EffectModule
from neuralfx.nn.network import State
from tests.checks import tiny_model


def model_of(*knobs: Knob) -> EffectModule:
    return architecture("GRUConcat")(effect=Effect("amp", 8_000, Knobs(knobs)).to_dict(), hidden_size=2)


@pytest.mark.parametrize(
    ("knobs", "settings"),
    [
        ([], 1),
        ([Knob("gain")], 9),
        ([Knob("gain", positions=("a", "b"))], 2),
        ([Knob("gain"), Knob("tone")], 81),
        ([Knob("gain"), Knob("tone"), Knob("mode", positions=("a", "b"))], 50),
        ([Knob(f"knob{number}") for number in range(4)], 81),
        ([Knob(f"knob{number}") for number in range(64)], 81),
    ],
)
def test_knobs_are_tried_together_and_at_their_ends(knobs: list[Knob], settings: int) -> None:
    assert measure_silence(model_of(*knobs))["settings"] == settings


@pytest.mark.parametrize("positions", [(100,), (12, 12)])
def test_no_setting_is_tried_twice(positions: tuple[int, ...]) -> None:
    knobs = [Knob(f"knob{n}", positions=tuple(map(str, range(count)))) for n, count in enumerate(positions)]
    chosen = _choose_settings(Effect("amp", 8_000, Knobs(knobs)))
    assert len({tuple(setting.values()) for setting in chosen}) == len(chosen) == 81
    assert {knob.name: knob.positions[0] for knob in knobs} in chosen
    assert {knob.name: knob.positions[-1] for knob in knobs} in chosen


@pytest.mark.parametrize("set_off", [False, True])
def test_a_model_that_hums_is_found_and_where(set_off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(Knob("gain", 0, 8), Knob("mode", positions=("clean", "lead"))).train()
    model.network.output.eval()
    was_loud = [not set_off]

    def hum(audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        assert not any(module.training for module in model.network.modules())
        tone = torch.sin(torch.arange(audio.shape[-1]) * (2 * math.pi * 50 / 8_000))
        was_loud[0] |= bool(audio.abs().max() > 0.5)
        loudness = was_loud[0] * (knobs[:, 0] > 0.8) * knobs[:, 1] * knobs[:, 0] * 0.1
        return (0.02 - loudness[:, None] * tone).unsqueeze(1), state

    monkeypatch.setattr(model.network, "forward", hum)
    found = measure_silence(model)
    assert (found["settings"], found["humming"]) == (18, 2)  # at 7 and 8 of 8, not where only its zero line is off
    assert found["knobs"] == {"gain": 8.0, "mode": "lead"}
    assert found["largest"] == pytest.approx(0.2, rel=1e-3) and AUDIBLE < 0.1
    assert found["offset"] == pytest.approx(0.02, abs=0.005)
    assert model.network.training and not model.network.output.training


def test_a_model_that_is_not_finite_is_refused_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(Knob("gain", 0, 8)).train()

    def fail(audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        return torch.where(knobs[:, :, None] > 0.9, torch.nan, audio), state

    monkeypatch.setattr(model.network, "forward", fail)
    with pytest.raises(ConfigError, match="not finite at 1 of 9 settings, such as gain 8"):
        measure_silence(model)
    assert model.network.training


@pytest.mark.parametrize("name", ["LSTMFiLMGLU", "TCNFiLM", "GRUDynamicHyper"])
def test_untrained_models_are_silent(name: str) -> None:
    found = measure_silence(tiny_model(name))
    assert found["humming"] == 0 and 0 <= found["largest"] < AUDIBLE
