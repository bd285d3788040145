"""What models make of silence, over the settings of their knobs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.evaluation.silence import AUDIBLE, measure_silence
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


def test_a_model_that_hums_is_found_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(Knob("gain", 0, 8), Knob("mode", positions=("clean", "lead"))).train()

    def hum(audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        tone = torch.sin(torch.arange(audio.shape[-1]) * (2 * math.pi * 50 / 8_000))
        assert not audio.any() and not model.training
        return (0.5 + (knobs[:, 0] > 0.8) * knobs[:, 1] * knobs[:, 0] * 0.1 * tone[:, None]).T.unsqueeze(1), state

    monkeypatch.setattr(model.network, "forward", hum)
    found = measure_silence(model)
    assert (found["settings"], found["humming"]) == (18, 2)  # at 7 and 8 of 8, not where only its zero line is off
    assert found["knobs"] == {"gain": 8.0, "mode": "lead"}
    assert found["largest"] == pytest.approx(0.2, rel=1e-3) and AUDIBLE < 0.1
    assert model.training


@pytest.mark.parametrize("name", ["LSTMFiLMGLU", "TCNFiLM", "GRUDynamicHyper"])
def test_untrained_models_are_silent(name: str) -> None:
    found = measure_silence(tiny_model(name))
    assert found["humming"] == 0 and 0 <= found["largest"] < AUDIBLE
