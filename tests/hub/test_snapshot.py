"""What is in the cache is what the Hub lists, or it is fetched again; nothing too large is fetched."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from neuralfx.errors import FormatError, HubError
from neuralfx.hub.load import find, load
from neuralfx.hub.package import CARD, CONFIG
from neuralfx.hub.snapshot import blob_id
from tests.hub.conftest import contents
from tests.hub.server import Hub, Repository

TEXTS = (CONFIG, CARD)


@pytest.fixture
def repository(hub: Hub, folder: Path) -> Repository:
    return hub.add("me/amp", contents(folder))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def flip(content: bytes) -> bytes:
    """Another content of the same length."""
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


def replace_cached(path: Path, content: bytes) -> None:
    """Change a file of the cache behind everyone's back."""
    blob = path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md", "check.safetensors"])
def test_content_of_the_same_length_that_is_not_the_listed_one_is_refused(
    hub: Hub, repository: Repository, name: str
) -> None:
    hub.spoil[name] = flip(repository.commits[0][3][name])
    with pytest.raises(HubError, match=f"{name} arrived with another content than the Hub lists, and was removed"):
        load("me/amp")
    hub.spoil.clear()
    assert load("me/amp").name == "my-amp"


def test_a_damaged_arrival_does_not_become_the_cached_branch(hub: Hub, repository: Repository) -> None:
    load("me/amp")
    files = repository.commits[-1][3]
    repository.commit("Update", "", {**files, "README.md": b"# Newer\n"})
    hub.spoil["README.md"] = b"# NEWER\n"
    assert load("me/amp").card != "# NEWER\n"
    assert load("me/amp", offline=True).card.encode() == files["README.md"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md"])
def test_a_cache_that_is_damaged_later_is_fetched_again(
    hub: Hub, repository: Repository, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for wanted in ("me/amp", f"me/amp@{repository.commits[0][0]}"):
        path = find(wanted).folder / name
        replace_cached(path, flip(path.read_bytes()))
        with pytest.raises(FormatError, match=rf"{name}: is damaged; load me/amp.* once with the network"):
            load(wanted, offline=True)
        with caplog.at_level(logging.WARNING, "neuralfx"):
            assert load(wanted).name == "my-amp"
        assert f"{name} in the cache is damaged and fetched again" in caplog.text
        assert path.read_bytes() == repository.commits[0][3][name]


def test_a_damaged_cache_and_no_network_is_an_error_and_keeps_the_files(hub: Hub, repository: Repository) -> None:
    path = find("me/amp").folder / "README.md"
    replace_cached(path, flip(path.read_bytes()))
    hub.refuse["/api/models"] = (503, {})
    with pytest.raises(HubError, match="has trouble"):
        load("me/amp")
    assert path.is_file()


def test_a_download_that_dies_half_way_goes_on(hub: Hub, repository: Repository) -> None:
    hub.cut["model.safetensors"] = [100, 100]
    assert load("me/amp").name == "my-amp"


def test_a_download_that_dies_for_good_says_so_and_the_second_call_succeeds(hub: Hub, repository: Repository) -> None:
    hub.cut["model.safetensors"] = [0] * 8
    with pytest.raises(HubError, match=r"the transfer of me/amp was interrupted .* Run the same again"):
        load("me/amp")
    with pytest.raises(HubError, match="not in the local cache"):
        load("me/amp", offline=True)
    hub.cut.clear()
    assert load("me/amp").name == "my-amp"


def test_what_was_read_about_is_completed_when_it_is_loaded(hub: Hub, repository: Repository) -> None:
    found = find("me/amp", files=TEXTS)
    assert sorted(path.name for path in found.folder.iterdir()) == sorted(TEXTS)
    assert not any("model.safetensors" in request for request in hub.requests)
    assert load("me/amp").name == "my-amp"


def test_other_files_of_a_repository_are_left_there(hub: Hub, repository: Repository) -> None:
    repository.commit("more", "", {**repository.commits[-1][3], "pytorch_model.bin": b"x", "run.py": b"x"})
    assert len(contents(find("me/amp").folder)) == 5


@pytest.mark.parametrize(("name", "size"), [("config.json", 1_000_001), ("model.safetensors", 10**9)])
def test_files_that_are_too_large_are_refused_before_anything_is_downloaded(
    hub: Hub, repository: Repository, name: str, size: int
) -> None:
    hub.sizes[name] = size
    with pytest.raises(FormatError, match=f"expected {name} of at most .* bytes, the Hub lists {size}"):
        find("me/amp")
    assert hub.requests == ["GET /api/models/me/amp"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_a_repository_that_is_no_model_folder_is_refused_before_anything_is_downloaded(
    hub: Hub, repository: Repository, name: str
) -> None:
    repository.commit("less", "", {key: value for key, value in repository.commits[0][3].items() if key != name})
    with pytest.raises(FormatError, match=f"is no model for neuralfx, {name} is missing; see {hub.endpoint}/me/amp"):
        find("me/amp")
    assert hub.requests == ["GET /api/models/me/amp"]


def test_a_cache_of_a_client_that_kept_no_list_is_used(hub: Hub, repository: Repository) -> None:
    found = find("me/amp")
    for path in (found.folder.parents[1] / "trees").iterdir():
        path.unlink()
    assert load("me/amp", offline=True).name == "my-amp"


def test_half_a_snapshot_in_the_cache_is_fetched_again(hub: Hub, repository: Repository) -> None:
    (find("me/amp").folder / "model.safetensors").unlink()
    assert load("me/amp").name == "my-amp"


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_a_link_out_of_the_cache_is_refused(hub: Hub, repository: Repository, tmp_path: Path) -> None:
    path = find("me/amp").folder / "config.json"
    (tmp_path / "outside.json").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "outside.json")
    with pytest.raises(FormatError, match="a link that leaves the folder"):
        load("me/amp")
    (tmp_path / "outside.json").write_bytes(b"{}")
    assert load("me/amp").name == "my-amp"
    assert (tmp_path / "outside.json").read_bytes() == b"{}"


def test_small_files_are_named_as_git_names_them() -> None:
    assert blob_id(json.dumps({}).encode()) == "9e26dfeeb6e641a33dae4961196235bdb965b21b"
