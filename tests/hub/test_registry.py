"""Names of models are found without torch, and read in any usual spelling."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neuralfx.errors import FormatError, HubError, ModelNotFoundError
from neuralfx.files import sha256
from neuralfx.hub import registry
from tests.hub.conftest import contents
from tests.hub.server import Hub


@pytest.fixture
def bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("la2a-s4d", "od300-lstm"):
        shutil.copytree(folder, tmp_path / "bundle" / name)
    (tmp_path / "bundle" / "empty").mkdir()
    monkeypatch.setattr(registry, "_bundle", lambda: tmp_path / "bundle")
    return tmp_path / "bundle"


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


def test_the_hub_is_asked_only_when_wanted(bundle: Path, hub: Hub, carded: Path) -> None:
    for name in ("me/la2a-s4d", "me/muff"):
        hub.add(name, contents(carded))
    assert registry.list_models("la2a*") == ["la2a-s4d"]
    assert hub.requests == []
    assert registry.list_models("la2a*", hub=True) == ["la2a-s4d", "me/la2a-s4d"]
    assert registry.list_models("me/*", hub=True, endpoint=hub.endpoint) == ["me/la2a-s4d", "me/muff"]


def test_no_network_is_one_line(bundle: Path) -> None:
    with pytest.raises(HubError, match="did not answer") as caught:
        registry.list_models(hub=True, endpoint="http://127.0.0.1:9")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "README.md"])
def test_a_bundled_model_that_is_not_as_it_was_shipped_is_refused(bundle: Path, file: str) -> None:
    path = bundle / "la2a-s4d" / file
    (bundle / registry.CHECKSUMS).write_text(f"{sha256(path)}  la2a-s4d/{file}\n")
    assert registry.bundled_folder("la2a-s4d") == path.parent
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(FormatError, match=f"{file}: is missing or not as it came with neuralfx; install"):
        registry.bundled_folder("la2a-s4d")
    assert registry.bundled_folder("od300-lstm").is_dir()


def test_every_bundled_file_has_its_checksum() -> None:
    folder = registry._bundle()
    assert registry.checksums() == {
        path.relative_to(folder).as_posix(): sha256(path) for path in folder.glob("*/*") if path.is_file()
    }, "in neuralfx/bundled: sha256sum */*.* > SHA256SUMS"


def test_the_folder_of_bundled_models_is_inside_the_package() -> None:
    assert registry._bundle().parent.name == "neuralfx"


def test_listing_needs_no_torch() -> None:
    code = "import sys, neuralfx; neuralfx.list_models(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
