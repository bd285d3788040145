"""The card is valid for the Hub and says what a musician wants to know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.hub.card import render_card
from neuralfx.hub.package import read_card, read_config
from neuralfx.hub.push import read_head
from neuralfx.hub.registry import bundled, bundled_folder


@pytest.fixture
def config() -> dict[str, Any]:
    knobs = Knobs([Knob("gain", 0.0, 10.0, unit="dB"), Knob("mode", positions=("clean", "lead"))])
    return {
        "name": "my-amp",
        "architecture": "LSTMFiLMGLU",
        "arguments": {"hidden_size": 8},
        "effect": Effect("amp", 48_000, knobs, device="Test amp").to_dict(),
        "metrics": {
            "esr": 0.0123,
            "identity_esr": 0.9,
            "linear_esr": 0.2,
            "takes": [{"name": "a|b", "knobs": {"gain": 3.0}, "esr": 0.01, "identity_esr": 0.9, "linear_esr": 0.2}],
        },
        "training": {
            "data": {
                "name": "My takes",
                "train_s": 12.5,
                "knobs": {"gain": [0.0, 5.0], "mode": ["clean"]},
                "takes": [{}],
            },
            "seed": 3,
            "arguments": {"lr": 0.001},
        },
        "licence": "cc-by-4.0",
        "neuralfx_version": "0.1.0",
        "parameters": 1234,
    }


def test_the_front_matter_is_read_by_the_hub(config: dict[str, Any]) -> None:
    data = ModelCard(render_card(config)).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("cc-by-4.0", "neuralfx", "audio-to-audio")
    assert data.tags == ["neuralfx", "virtual-analog", "amp", "LSTMFiLMGLU"]
    (result,) = data.eval_results
    assert (data.model_name, result.metric_type, result.metric_value) == ("my-amp", "esr", 0.0123)
    assert (result.dataset_name, result.dataset_type) == ("My takes", "my-takes")


def test_a_licence_that_the_hub_does_not_know_is_named(config: dict[str, Any]) -> None:
    data = ModelCard(render_card({**config, "licence": "Only for us!"})).data
    assert (data.license, data["license_name"]) == ("other", "only-for-us")


def test_a_model_without_measures_says_so(config: dict[str, Any]) -> None:
    card = render_card({**config, "metrics": {}})
    assert "Not measured." in card
    assert ModelCard(card).data.eval_results is None


def test_the_knob_table_gives_ranges_and_what_was_recorded(config: dict[str, Any]) -> None:
    card = render_card(config)
    assert "| gain | 0 to 10 dB | 5 dB | 0, 5 |" in card
    assert "| mode | clean, lead | clean | clean |" in card


def test_many_recorded_values_are_summed_up(config: dict[str, Any]) -> None:
    config["training"]["data"]["knobs"]["gain"] = [value / 2 for value in range(21)]
    assert "| 21 values from 0 to 10 |" in render_card(config)


def test_each_take_stands_beside_its_baselines(config: dict[str, Any]) -> None:
    card = render_card(config)
    assert "**0.0123**" in card
    assert "0.9 for the untouched dry signal and 0.2 for the best linear filter" in card
    assert r"| a\|b | gain 3 | 0.01 | 0.9 | 0.2 |" in card


def test_limits_are_said_in_plain_words(config: dict[str, Any]) -> None:
    card = render_card(config)
    assert "trained on 12.5 seconds of audio. That is little" in card
    assert "gain was recorded at the 2 values in the table above; anything between is interpolated" in card
    assert "mode was recorded at one value only (clean); its other positions are a guess" in card
    config["training"]["data"]["knobs"]["gain"] = [5.0]
    assert "gain was recorded at one value only (5); turning it is a guess" in render_card(config)
    pairs = [(1.0, "clean"), (2.0, "lead")]
    config["training"]["data"]["takes"] = [{"values": {"gain": gain, "mode": mode}} for gain, mode in pairs]
    together = "gain and mode were moved only together: what each of them does by itself is a guess"
    assert together in render_card(config)
    held_out = {"values": {"gain": 1.0, "mode": "lead"}, "splits": {"train": [], "test": [[0, 10]]}}
    config["training"]["data"]["takes"].append(held_out)
    assert together in render_card(config)
    held_out["splits"] = {"train": [[0, 10]]}
    assert together not in render_card(config)


def test_what_becomes_of_silence_is_said(config: dict[str, Any]) -> None:
    assert "nothing goes in" not in render_card(config)
    silence = {"settings": 81, "humming": 0, "largest": 1e-7, "knobs": {"gain": 10.0, "mode": "lead"}, "offset": 0.02}
    config["training"]["silence"] = silence
    card = render_card(config)
    assert "When nothing goes in, also after a loud note, it does not hum: 81 settings of its knobs tried." in card
    assert "Its output then stands up to 0.02 of full scale away from zero." in card
    silence |= {"humming": 3, "largest": 0.0731}
    card = render_card(config)
    assert "it hums at 3 of the 81 settings that were tried, loudest at gain 10, mode lead: 0.073 of full scale" in card
    assert "away from zero" in card


def test_use_is_shown_in_python_and_on_the_command_line(config: dict[str, Any]) -> None:
    card = render_card(config)
    assert 'model.process(dry.T, {"gain": 5.0, "mode": "clean"}, sample_rate=sample_rate)' in card
    assert "neuralfx process in.wav -m ./my-amp -k gain=5 -k mode=clean -o out.wav" in card


def test_origin_licence_and_names_are_stated(config: dict[str, Any]) -> None:
    card = render_card(config)
    for line in ("- Recordings: My takes", "- Takes: 1", "- Seed: 3", "- Arguments: hidden_size=8, lr=0.001"):
        assert line in card
    assert "under: **cc-by-4.0**" in card
    assert "trademarks of their makers" in card


def test_an_effect_without_knobs_and_a_bare_description_are_enough(config: dict[str, Any]) -> None:
    card = render_card({**config, "effect": Effect("amp", 48_000).to_dict(), "training": {}, "metrics": {"esr": 0.5}})
    assert "None: the device was recorded at one setting." in card
    assert "# amp, modelled with LSTMFiLMGLU" in card


def test_all_means_are_results_and_baselines_are_not(config: dict[str, Any]) -> None:
    config["metrics"]["mrstft"] = 0.4
    results = ModelCard(render_card(config)).data.eval_results
    assert {result.metric_type: result.metric_value for result in results} == {"esr": 0.0123, "mrstft": 0.4}


def test_the_data_set_and_what_training_took_are_stated(config: dict[str, Any]) -> None:
    config["training"] |= {"seconds": 90.0, "co2_g": 12.5, "hardware": "2 cores", "energy_kwh": 0.01}
    card = render_card(config)
    data = ModelCard(card).data
    assert data.datasets == ["my-takes"]
    assert data["co2_eq_emissions"] == {"emissions": 12.5, "training_type": "from scratch", "hardware_used": "2 cores"}
    for line in ("- Time of training, in s: 90", "- Energy of training, in kWh: 0.01", "- Trained on: 2 cores"):
        assert line in card


def test_the_licence_of_the_recordings_stands_beside_that_of_the_weights(config: dict[str, Any]) -> None:
    assert "recordings" not in render_card(config).partition("## Licence and names")[2]
    config["training"]["data"]["licence"] = "cc-by-nc-4.0"
    assert "The recordings they were trained on are under: **cc-by-nc-4.0**." in render_card(config)


def test_audio_and_pictures_are_shown_where_there_are_some(config: dict[str, Any]) -> None:
    assert "## Listen" not in render_card(config) and "## Look" not in render_card(config)
    files = ["audio/take0-target.wav", "audio/take0-dry.wav", "audio/riff.mp3", "pictures/spectrum.png"]
    card = render_card(config, files=[*files, "pictures/gain-sweep.png"])
    assert "- take0: [dry](audio/take0-dry.wav), [target](audio/take0-target.wav)" in card
    assert "- riff: [listen](audio/riff.mp3)" in card
    assert "![Spectrum of the device and of the model](pictures/spectrum.png)" in card
    assert "![Gain sweep](pictures/gain-sweep.png)" in card


def test_the_hub_takes_the_card(config: dict[str, Any]) -> None:
    for card in (render_card(config), render_card({**config, "training": {}, "metrics": {}, "licence": "my own"})):
        assert "library_name: neuralfx" in read_head(card)


@pytest.mark.parametrize("name", bundled())
def test_bundled_cards_are_as_they_are_rendered(name: str) -> None:
    folder = bundled_folder(name)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("pictures/*.png"))
    assert read_card(folder) == render_card(read_config(folder).to_dict(), files=files)


def test_the_template_has_the_sections_of_a_card(config: dict[str, Any]) -> None:
    def headings(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("## ")]

    template = Path(__file__).parents[2] / "model_cards" / "template.md"
    full = render_card(config, files=["audio/a-dry.wav", "pictures/spectrum.png"])
    assert headings(template.read_text(encoding="utf-8")) == headings(full)
