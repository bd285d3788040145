"""A name becomes a model: from a path, the bundle, the cache or the Hub, in this order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

import neuralfx
from neuralfx.errors import FormatError, HubError, ModelNotFoundError
from neuralfx.hub import registry
from neuralfx.hub.load import find, load


@pytest.fixture
def bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, tmp_path / "bundle" / "la2a-s4d")
    monkeypatch.setattr(registry, "_bundle", lambda: tmp_path / "bundle")
    return tmp_path / "bundle"


class StandInHub:
    """Stands in for the functions of huggingface_hub: a cache, a remote side, and a list of what was asked."""

    def __init__(self, snapshot: Path, cached: bool, remote: Exception | None) -> None:
        self.snapshot, self.cached, self.remote = snapshot, cached, remote
        self.asked: list[str] = []

    def snapshot_download(self, repository: str, *, local_files_only: bool, **options: Any) -> str:
        self.asked.append(f"{'cache' if local_files_only else 'download'} {repository}@{options['revision']}")
        if local_files_only and not self.cached:
            raise LocalEntryNotFoundError("not cached")
        return str(self.snapshot)

    def model_info(self, repository: str, *, revision: str | None, timeout: float) -> None:
        self.asked.append(f"probe {repository}@{revision}")
        if self.remote:
            raise self.remote


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandInHub]:
    """Makes a stand-in whose snapshot lies in the Hub's cache layout, its files being links to blobs."""
    snapshot = tmp_path / "cache" / "models--me--amp" / "snapshots" / "abc"
    blobs = tmp_path / "cache" / "models--me--amp" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        if os.name == "nt":
            shutil.copy(path, snapshot)
        else:
            shutil.copy(path, blobs)
            (snapshot / path.name).symlink_to(Path("..", "..", "blobs", path.name))

    def make(cached: bool = False, remote: Exception | None = None) -> StandInHub:
        stand_in = StandInHub(snapshot, cached, remote)
        monkeypatch.setattr("huggingface_hub.snapshot_download", stand_in.snapshot_download)
        monkeypatch.setattr(
            "huggingface_hub.HfApi.model_info", lambda self, *names, **options: stand_in.model_info(*names, **options)
        )
        return stand_in

    return make


def refusal(kind: type[Exception]) -> Exception:
    """An error as the Hub's client raises it: several lines, with the server's answer."""
    error = kind.__new__(kind)
    Exception.__init__(error, "401 Client Error.\n\nRepository Not Found for url")
    return error


def test_a_path_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (folder, str(folder), "./my-amp", folder / "model.safetensors", str(folder / "model.safetensors")):
        assert load(name).name == "my-amp"
    assert neuralfx.load(folder).name == "my-amp"


def test_an_existing_folder_with_a_separator_is_a_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent.parent)
    assert load(f"{folder.parent.name}/{folder.name}").name == "my-amp"


@pytest.mark.parametrize(
    "name", ["./nothing", "C:\\nothing", "~/nothing-of-this-name", Path("nothing"), "/nothing"], ids=str
)
def test_a_missing_folder_is_named(name: Any) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no such folder"):
        load(name)


def test_other_safetensors_files_are_refused() -> None:
    with pytest.raises(FormatError, match=r"a file named model\.safetensors"):
        load("weights.safetensors")


def test_a_bundled_model_is_loaded_in_any_spelling(bundle: Path) -> None:
    model = load("LA2A_s4d")
    assert model.card.startswith("---\nlicense: mit")
    assert model.metrics["esr"] == 0.0123
    assert not model.training


def test_an_unknown_name_brings_the_closest_ones(bundle: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model named 'la2a-s4'\. Did you mean la2a-s4d\?"):
        load("la2a-s4")


def test_a_revision_is_for_repositories_only_and_given_once(bundle: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="has no revision 'v1'"):
        load("la2a-s4d", revision="v1")
    with pytest.raises(ModelNotFoundError, match="two revisions"):
        load("me/amp@v1", revision="v2")


def test_a_cached_repository_needs_no_network(hub: Callable[..., StandInHub]) -> None:
    stand_in = hub(cached=True)
    assert load("me/amp").name == "my-amp"
    assert load("me/amp@v1", offline=True).name == "my-amp"
    assert stand_in.asked == ["cache me/amp@None", "cache me/amp@v1"]


def test_a_repository_is_probed_before_it_is_downloaded(hub: Callable[..., StandInHub]) -> None:
    stand_in = hub()
    assert load("me/amp", revision="v1").name == "my-amp"
    assert stand_in.asked == ["cache me/amp@v1", "probe me/amp@v1", "download me/amp@v1"]


def test_half_a_snapshot_in_the_cache_is_fetched_again(hub: Callable[..., StandInHub]) -> None:
    stand_in = hub(cached=True)
    (stand_in.snapshot / "model.safetensors").unlink()
    find("me/amp")
    assert stand_in.asked[-1] == "download me/amp@None"


def test_offline_never_asks_the_hub(hub: Callable[..., StandInHub], monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = hub()
    with pytest.raises(HubError, match="not in the local cache"):
        load("me/amp", offline=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="not in the local cache"):
        load("me/amp")
    assert stand_in.asked == ["cache me/amp@None"] * 2


@pytest.mark.parametrize(
    ("remote", "expected", "words"),
    [
        (refusal(RepositoryNotFoundError), ModelNotFoundError, "no model 'me/amp' at http.*private"),
        (refusal(GatedRepoError), HubError, "needs access: open http.*/me/amp"),
        (refusal(RevisionNotFoundError), ModelNotFoundError, "has no revision 'v9'"),
        (OSError("no route\nto host"), HubError, r"did not answer \(no route to host\)"),
        (ValueError("bad name"), HubError, "bad name"),
    ],
    ids=["unknown", "gated", "revision", "network", "name"],
)
def test_refusals_of_the_hub_are_one_line(
    hub: Callable[..., StandInHub], remote: Exception, expected: type[Exception], words: str
) -> None:
    hub(remote=remote)
    with pytest.raises(expected, match=words) as caught:
        load("me/amp@v9")
    assert "\n" not in str(caught.value)


def test_a_network_that_is_not_there_is_noticed_at_once(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="did not answer"):
        load("me/amp", endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
