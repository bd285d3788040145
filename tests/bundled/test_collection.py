"""What every model that comes with neuralfx promises; its check, card and checksums are in test_consistency and hub."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import neuralfx
from neuralfx import engine
from neuralfx.commands import list as list_command
from neuralfx.evaluation.silence import measure_silence
from neuralfx.hub.package import ModelConfig, read_card, replay_check
from neuralfx.hub.registry import bundled, bundled_folder
from neuralfx.models.catalogue import ARCHITECTURES

ROOT = Path(__file__).parent.parent.parent
HARDWARE = {"od300", "neutron-od", "neutron-filter", "la2a", "cl1b"}
VIRTUAL = {
    "helper-saturator",
    "pultec",
    "ts9-gx",
    "tubewarmth-tap",
    "sem-lpf",
    "passive-eq",
    "darc-x42",
    "comp-lsp",
    "zamcomp",
    "zamtube",
}
SMALL, LARGE = 5_000, 40_000
WHEEL_BYTES = 10_000_000


def read_yaml(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def states(whole: Any, part: Any, where: str = "") -> None:
    """All that a recipe says stands in the configuration of the run as well, which also holds the defaults."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            assert key in whole, f"{where}.{key}"
            states(whole[key], value, f"{where}.{key}")
    elif isinstance(part, list):
        assert len(whole) == len(part), where
        for number, value in enumerate(part):
            states(whole[number], value, f"{where}[{number}]")
    elif where.endswith("class_path"):
        assert str(whole).rpartition(".")[2] == str(part).rpartition(".")[2], where
    else:
        assert whole == part, where


@pytest.mark.parametrize("name", ["helper-saturator-gru-statichyper", "neutron-od-gru-statichyper"])
def test_torch_alone_replays_the_checks_that_rounding_changes_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.SWITCH, "torch")
    assert replay_check(neuralfx.load(name), bundled_folder(name)) > 0.0


def test_a_model_loads_by_its_name(config: ModelConfig) -> None:
    model = neuralfx.load(config.name)
    assert model.name == config.name
    assert type(model).__name__ == config.architecture
    assert sum(parameter.numel() for parameter in model.network.parameters()) == config.parameters


@pytest.mark.parametrize("block", [64, None])
def test_silence_starts_without_a_click(config: ModelConfig, block: int | None) -> None:
    model = neuralfx.load(config.name)
    silence = np.zeros(config.effect.sample_rate // 4, np.float32)
    for place in (0.0, 0.5, 1.0):
        knobs = {knob.name: np.asarray(knob.denormalise(place)).item() for knob in config.effect.knobs}
        if block is None:
            wet = model.process(silence, knobs)
        else:
            stream = model.stream()
            stream.set_knobs(**knobs)
            wet = np.concatenate([stream.process(silence[at : at + block]) for at in range(0, len(silence), block)])
        assert np.ptp(wet) < (0.02 if config.effect.slug == "neutron-filter" else 0.003), knobs


def test_the_card_says_where_a_model_hums(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.SWITCH, "wait")
    stated, measured = config.training["silence"], measure_silence(neuralfx.load(config.name))
    assert (stated["settings"], stated["humming"]) == (measured["settings"], measured["humming"])
    assert stated["largest"] == pytest.approx(measured["largest"], abs=1e-3)
    assert stated["humming"] <= 2 and stated["largest"] < 0.02


def test_a_name_says_effect_pair_and_size(config: ModelConfig) -> None:
    plain = f"{config.effect.slug}-{ARCHITECTURES[config.architecture].tail}"
    assert config.name in (plain, f"{plain}-large")
    if config.name.endswith("-large"):
        assert config.parameters <= LARGE
    else:
        assert config.parameters < SMALL


def test_the_recipe_states_model_data_and_seed_of_the_run(config: ModelConfig) -> None:
    recipe = read_yaml(ROOT / "configs/recipes" / f"{config.name}.yaml")
    run = read_yaml(bundled_folder(config.name) / "recipe.yaml")
    for key in ("model", "data", "seed_everything"):
        assert key in recipe
        states(run[key], recipe[key], key)
    assert config.training["seed"] == recipe["seed_everything"]
    assert run["model"]["class_path"].endswith(f".{config.architecture}")
    states({**run["model"]["init_args"], "effect": {}}, config.arguments, "arguments")


def test_the_data_have_a_configuration_with_the_knobs_of_the_model(config: ModelConfig) -> None:
    data = read_yaml(ROOT / "configs/data" / f"{config.effect.slug}.yaml")["data"]["init_args"]
    recorded = config.training["data"]
    assert data.get("slug", data["device"]) == config.effect.slug
    assert data["licence"] == recorded["licence"] == config.licence
    assert data["source"] == recorded["source"]
    assert data.get("device_name", config.effect.device) == config.effect.device
    assert [knob["name"] for knob in data["knobs"]] == [knob.name for knob in config.effect.knobs]
    for declared, knob in zip(data["knobs"], config.effect.knobs):
        stated = {"minimum", "maximum", "unit", "taper", "default", "positions"} & {*declared}
        states(knob.to_dict(), {key: declared[key] for key in stated}, knob.name)


def test_a_model_was_measured_on_every_take_beside_the_baselines(config: ModelConfig) -> None:
    takes = config.metrics["takes"]
    assert takes
    for key in ("esr", "identity_esr", "linear_esr"):
        assert config.metrics[key] == pytest.approx(sum(take[key] for take in takes) / len(takes))
    assert config.metrics["esr"] < config.metrics["identity_esr"]


def test_virtual_devices_are_named_as_such_and_hardware_is_not(config: ModelConfig) -> None:
    assert config.effect.slug in HARDWARE | VIRTUAL
    assert config.effect.is_virtual == (config.effect.slug in VIRTUAL)


def test_cards_of_virtual_devices_claim_no_hardware(config: ModelConfig) -> None:
    if not config.effect.is_virtual:
        pytest.skip("hardware")
    card = read_card(bundled_folder(config.name))
    title = next(line for line in card.splitlines() if line.startswith("# "))
    assert any(word in title for word in ("virtual", "simulated", "plug-in"))
    assert f"- Source of the recordings: {config.training['data']['source']}" in card
    for claim in ("hardware", "unit that was recorded"):
        assert claim not in card.lower()


def test_cards_of_hardware_say_how_many_seconds_and_which_positions(config: ModelConfig) -> None:
    if config.effect.is_virtual:
        pytest.skip("virtual device")
    card, data = read_card(bundled_folder(config.name)), config.training["data"]
    assert f"trained on {data['train_s']:.4g} seconds of audio. That is little" in card
    for knob in config.effect.knobs:
        shown = [f"{value:.6g}" if isinstance(value, float) else value for value in data["knobs"][knob.name]]
        assert f"| {knob.name} | {knob.describe_range()} | {knob.describe_default()} | {', '.join(shown)} |" in card
    assert f"{len(config.metrics['takes'])} were recorded" in card or len(config.effect.knobs) == 1


def test_the_list_shows_the_whole_collection(capsys: pytest.CaptureFixture[str]) -> None:
    list_command.main([])
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == bundled()
    assert not [line for line in lines if "damaged" in line]


def test_the_wheel_stays_small() -> None:
    """What it holds, deflated file by file as a wheel has it: the package and the configurations."""
    files = [path for folder in ("neuralfx", "configs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    sizes = {path: len(zlib.compress(path.read_bytes())) for path in files if "__pycache__" not in path.parts}
    assert sum(sizes.values()) < WHEEL_BYTES
