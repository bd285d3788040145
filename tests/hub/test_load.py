"""A name becomes a model: from a path, the bundle, the cache or the Hub, in this order."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import neuralfx
from neuralfx.errors import ConfigError, FormatError, HubError, ModelNotFoundError
from neuralfx.hub import registry
from neuralfx.hub.load import find, load
from tests.hub.conftest import contents
from tests.hub.server import TOKEN, Hub


@pytest.fixture
def bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, tmp_path / "bundle" / "la2a-s4d")
    monkeypatch.setattr(registry, "_bundle", lambda: tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_path_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (folder, str(folder), "./my-amp", folder / "model.safetensors", str(folder / "model.safetensors")):
        assert load(name).name == "my-amp"
    assert neuralfx.load(folder).name == "my-amp"


def test_a_folder_that_may_be_a_repository_brings_both_spellings(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent.parent)
    name = f"{folder.parent.name}/{folder.name}"
    with pytest.raises(ConfigError, match=f"write './{name}' for the folder, '{name}@main' for the repository"):
        load(name)
    assert load(f"./{name}").name == load(f"{name}/").name == load(f"{folder.parent.name}//my-amp").name == "my-amp"
    assert hub.requests == []


def test_a_folder_here_is_hinted_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ModelNotFoundError, match=r"write './my-amp' for the folder here"):
        load("my-amp")


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


@pytest.fixture
def amp(hub: Hub, folder: Path) -> Hub:
    """The Hub with the model me/amp, tagged v1."""
    repository = hub.add("me/amp", contents(folder))
    repository.tags["v1"] = repository.commits[0][0]
    return hub


def commit_of(hub: Hub) -> str:
    return hub.repositories["me/amp"].commits[-1][0]


def change_card(hub: Hub, text: bytes = b"# Newer\n") -> None:
    repository = hub.repositories["me/amp"]
    repository.commit("Update README.md", "", {**repository.commits[-1][3], "README.md": text})


@pytest.mark.parametrize("name", ["me/amp", "me/amp@v1", "me/amp@main"])
def test_a_repository_is_downloaded_and_loaded(amp: Hub, name: str) -> None:
    assert load(name).name == "my-amp"
    assert amp.requests[0].startswith("GET /api/models/me/amp")
    assert amp.storage_tokens == []


def test_another_endpoint_cache_and_token_are_used(amp: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    amp.repositories["me/amp"].private = True
    found = find("me/amp", endpoint=f"{amp.endpoint}/", cache_dir=tmp_path / "other", token=TOKEN)
    assert found.folder.is_relative_to(tmp_path / "other")
    assert (found.commit, found.root) == (commit_of(amp), tmp_path / "other")
    assert amp.storage_tokens == []


def test_a_full_commit_in_the_cache_needs_no_request(amp: Hub) -> None:
    load("me/amp", revision=commit_of(amp))
    amp.requests.clear()
    assert load(f"me/amp@{commit_of(amp)}").name == "my-amp"
    assert amp.requests == []


def test_a_branch_in_the_cache_needs_one_request_and_none_offline(amp: Hub) -> None:
    load("me/amp")
    amp.requests.clear()
    load("me/amp", offline=True)
    assert amp.requests == []
    load("me/amp")
    assert amp.requests == ["GET /api/models/me/amp"]


def test_a_branch_that_moved_is_fetched_and_a_tag_stays(amp: Hub) -> None:
    load("me/amp@v1")
    load("me/amp")
    change_card(amp)
    assert load("me/amp", offline=True).card != "# Newer\n"
    assert load("me/amp").card == "# Newer\n"
    assert load("me/amp", offline=True).card == "# Newer\n"
    assert load("me/amp@v1").card != "# Newer\n"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_hub_that_does_not_answer_leaves_the_cache_and_says_so(
    amp: Hub, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    load("me/amp")
    amp.refuse["/api/models/me/amp"] = (status, {})
    with caplog.at_level(logging.WARNING, "neuralfx"):
        assert load("me/amp").name == "my-amp"
    assert "me/amp: taken from the cache" in caplog.text


def test_offline_never_asks_the_hub(amp: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HubError, match="not in the local cache"):
        load("me/amp", offline=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="not in the local cache"):
        load("me/amp")
    assert amp.requests == []


def test_a_network_that_is_not_there_is_noticed_at_once(tmp_path: Path) -> None:
    for name in ("me/amp", "me/amp@" + 40 * "a"):
        started = time.monotonic()
        with pytest.raises(HubError, match="did not answer"):
            load(name, endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
        assert time.monotonic() - started < 2.0


@pytest.mark.parametrize(
    "name", ["me/amp@", "me/amp@../../x", "me/amp@a..b/../c", "me/amp@/x", "me/a--b", "me/amp.git"]
)
def test_names_that_cannot_be_are_refused_without_a_request(hub: Hub, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="expected a"):
        load(name)
    assert hub.requests == []


def test_a_checkpoint_is_no_model_folder(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(FormatError, match="neuralfx package"):
        find(str(tmp_path / "best.ckpt"))
