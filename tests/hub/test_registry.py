"""Names of models are found without torch, and read in any usual spelling."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neuralfx.errors import HubError, ModelNotFoundError
from neuralfx.hub import registry


@pytest.fixture
def bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("la2a-s4d", "od300-lstm"):
        shutil.copytree(folder, tmp_path / "bundle" / name)
    (tmp_path / "bundle" / "empty").mkdir()
    monkeypatch.setattr(registry, "_bundle", lambda: tmp_path / "bundle")
    return tmp_path / "bundle"


def ask(answer: Any) -> Any:
    """A stand-in for the Hub's client whose list_models gives ``answer``."""

    def list_models(self: object, filter: str) -> list[SimpleNamespace]:
        if isinstance(answer, Exception):
            raise answer
        return [SimpleNamespace(id=name) for name in answer]

    return list_models


def test_bundled_models_are_the_folders_with_a_configuration(bundle: Path) -> None:
    assert registry.bundled() == ["la2a-s4d", "od300-lstm"]


def test_a_bundled_folder_is_found_in_any_spelling(bundle: Path) -> None:
    assert registry.bundled_folder("LA2A_S4D") == bundle / "la2a-s4d"


def test_an_unknown_name_brings_the_closest_ones(bundle: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="Did you mean la2a-s4d"):
        registry.bundled_folder("la2a-s4")


def test_models_are_listed_by_pattern(bundle: Path) -> None:
    assert registry.list_models("la2a*") == ["la2a-s4d"]
    assert registry.list_models("LA2A_*") == ["la2a-s4d"]
    assert registry.list_models("x*") == []
    assert registry.list_models() == ["la2a-s4d", "od300-lstm"]


def test_the_hub_is_asked_only_when_wanted(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.list_models", ask(["me/la2a-s4d", "me/muff"]))
    assert registry.list_models("la2a*") == ["la2a-s4d"]
    assert registry.list_models("la2a*", hub=True) == ["la2a-s4d", "me/la2a-s4d"]
    assert registry.list_models("me/*", hub=True) == ["me/la2a-s4d", "me/muff"]


def test_no_network_is_one_line(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.list_models", ask(ConnectionError("no route\nto host")))
    with pytest.raises(HubError, match=r"did not answer \(no route to host\)"):
        registry.list_models(hub=True)


def test_the_folder_of_bundled_models_is_inside_the_package() -> None:
    assert registry._bundle().parent.name == "neuralfx"


def test_listing_needs_no_torch() -> None:
    code = "import sys, neuralfx; neuralfx.list_models(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
