"""What belongs together is there together."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

import neuralfx
from neuralfx import datasets
from neuralfx.datasets import catalogue
from neuralfx.datasets.base import Remote
from neuralfx.hub.check import CHECK_TOLERANCE
from neuralfx.hub.package import load_folder, read_config, replay_check
from neuralfx.hub.registry import bundled, bundled_folder
from neuralfx.models import architecture
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.reports.gallery import copy_card

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_pair_has_a_configuration_of_its_tail(name: str) -> None:
    config = yaml.safe_load((ROOT / "configs/models" / f"{ARCHITECTURES[name].tail}.yaml").read_text(encoding="utf-8"))
    assert config["model"]["class_path"] == name


@pytest.mark.parametrize("name", neuralfx.list_architectures())
def test_every_argument_of_a_pair_is_documented(name: str) -> None:
    pair = architecture(name)
    documented = set(re.findall(r"^ {8}(\w+): ", inspect.getdoc(pair).replace("\n    ", "\n        "), re.MULTILINE))  # type: ignore[union-attr]
    assert set(inspect.signature(pair).parameters) <= documented


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_model_proves_itself_and_has_recipe_and_card(name: str) -> None:
    folder = bundled_folder(name)
    assert replay_check(load_folder(folder), folder) < CHECK_TOLERANCE / 10  # rounding differs between machines
    assert read_config(folder).name == name
    assert (ROOT / "configs/recipes" / f"{name}.yaml").is_file()
    card = (ROOT / "model_cards" / f"{name}.md").read_text(encoding="utf-8")
    assert card == copy_card(folder, ROOT / "model_cards")
    assert not [link for link in re.findall(r"!\[.*\]\((.+)\)", card) if not (ROOT / "model_cards" / link).is_file()]


@pytest.mark.parametrize("name", catalogue.names())
def test_every_data_set_states_its_facts_and_has_a_configuration(name: str) -> None:
    facts = catalogue.find(name)
    assert facts.name == name
    for fact in (facts.title, facts.licence, facts.citation):
        assert fact
    assert facts.homepage.startswith("https://")
    assert facts.devices and facts.files and facts.notes
    for file in facts.files:
        assert (file.url if isinstance(file, Remote) else file.page).startswith("https://")
        algorithm, _, digest = file.checksum.partition(":")
        assert not file.checksum or len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[algorithm]
        assert {*file.devices} <= {*facts.devices}
    config = yaml.safe_load((ROOT / "configs/data" / f"{name}.yaml").read_text(encoding="utf-8"))
    module = getattr(datasets, config["data"]["class_path"])
    assert module.dataset == name
    assert f"`{name}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_models_are_bundled() -> None:
    assert "od300-lstm" in neuralfx.list_models()
    assert neuralfx.list_models("od300*") == [name for name in bundled() if name.startswith("od300")]


def test_every_python_file_says_what_it_is() -> None:
    for path in (ROOT / "neuralfx").rglob("*.py"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.removeprefix("r").startswith('"""') and first.rstrip('"').endswith((".", ":")), path
