"""A model folder goes up in one commit with a tag, and comes down as the same model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neuralfx.errors import ConfigError, FormatError, HubError, ModelNotFoundError
from neuralfx.files import sha256
from neuralfx.hub.load import load
from neuralfx.hub.package import FILES, load_folder
from neuralfx.hub.pull import pull
from neuralfx.hub.push import list_files, next_version, plan_push, push, read_head, upload
from tests.hub.conftest import contents
from tests.hub.server import TOKEN, Hub

# huggingface_hub 2.4 sends LFS files as httpx2 no longer wants it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def folder(carded: Path) -> Path:
    return carded


@pytest.fixture
def login(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def edit_card(folder: Path, text: str) -> None:
    path = folder / "README.md"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def edit_on_hub(hub: Hub, text: bytes) -> None:
    repository = hub.repositories["me/amp"]
    files = dict(repository.commits[-1][3])
    repository.commit("Update README.md", "", {**files, "README.md": files["README.md"] + text})


def test_a_folder_goes_up_in_one_commit_with_a_tag(hub: Hub, folder: Path, login: None) -> None:
    release = push(folder, "me/amp")
    repository = hub.repositories["me/amp"]
    assert len(repository.commits) == 2  # the Hub's own first one, and ours
    commit, title, text, files = repository.commits[-1]
    assert release == (f"{hub.endpoint}/me/amp", commit, "v1.0.0")
    assert (title, repository.tags, repository.private) == ("Release v1.0.0", {"v1.0.0": commit}, False)
    assert text.startswith("Uploaded with neuralfx")
    assert {name: files[name] for name in FILES} == contents(folder)


def test_what_went_up_comes_down_as_the_same_model(hub: Hub, folder: Path, login: None, tmp_path: Path) -> None:
    release = push(folder, "me/amp", private=True, message="First light")
    assert hub.repositories["me/amp"].private
    assert hub.repositories["me/amp"].commits[-1][1] == "First light"
    assert load("me/amp@v1.0.0").name == "my-amp"
    pulled = pull("me/amp", revision="v1.0.0", folder=tmp_path / "new" / "amp")
    assert (pulled.commit, pulled.difference) == (release.commit, 0.0)
    assert contents(tmp_path / "new" / "amp") == contents(folder)
    assert not any(path.is_symlink() for path in pulled.folder.iterdir())
    assert load_folder(pulled.folder).name == "my-amp"


def test_the_token_can_be_given(hub: Hub, folder: Path) -> None:
    assert push(folder, "me/amp", token=TOKEN, endpoint=hub.endpoint).tag == "v1.0.0"


def test_without_a_token_nothing_is_asked(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in (None, False):
        with pytest.raises(HubError, match="run 'hf auth login'"):
            push(folder, "me/amp", token=token)
    assert hub.requests == []


def test_a_plan_changes_nothing_and_needs_no_token(hub: Hub, folder: Path) -> None:
    plan = plan_push(folder, "me/amp", tag="v0.1", private=True)
    assert (plan.creates, plan.private, plan.tag, plan.keeps_card, plan.parent) == (True, True, "v0.1", False, None)
    assert plan.files == {path.name: path.stat().st_size for path in folder.iterdir()}
    assert plan.head.startswith("license: mit\nlibrary_name: neuralfx")
    assert hub.repositories == {}
    assert not any(request.startswith(("POST", "PUT")) for request in hub.requests)


def test_a_tag_that_is_there_is_refused_before_anything_goes_up(hub: Hub, folder: Path, login: None) -> None:
    push(folder, "me/amp")
    hub.requests.clear()
    with pytest.raises(
        ConfigError, match=r"has a release v1\.0\.0 already.* name the next one by --tag, such as v1\.0\.1"
    ):
        push(folder, "me/amp")
    assert not any(request.startswith(("POST", "PUT")) for request in hub.requests)
    edit_card(folder, "\nMore.\n")
    push(folder, "me/amp", tag="v1.0.1")
    assert list(hub.repositories["me/amp"].tags) == ["v1.0.0", "v1.0.1"]


def test_an_upload_that_lost_its_tag_is_finished_by_the_same_call(hub: Hub, folder: Path, login: None) -> None:
    hub.refuse["/tag/"] = (503, {})
    with pytest.raises(HubError, match="has trouble"):
        push(folder, "me/amp")
    hub.refuse.clear()
    release = push(folder, "me/amp")
    assert len(hub.repositories["me/amp"].commits) == 2
    assert hub.repositories["me/amp"].tags == {"v1.0.0": release.commit}


def test_a_card_that_was_edited_on_the_hub_stays(hub: Hub, folder: Path, login: None) -> None:
    push(folder, "me/amp")
    edit_on_hub(hub, b"\nBy hand.\n")
    edit_card(folder, "\nBy machine.\n")
    assert plan_push(folder, "me/amp", tag="v2").keeps_card
    push(folder, "me/amp", tag="v2")
    assert hub.repositories["me/amp"].commits[-1][3]["README.md"].endswith(b"By hand.\n")
    push(folder, "me/amp", tag="v3", overwrite_card=True)
    assert hub.repositories["me/amp"].commits[-1][3]["README.md"].endswith(b"By machine.\n")


def test_a_card_that_nobody_edited_is_renewed(hub: Hub, folder: Path, login: None) -> None:
    push(folder, "me/amp")
    edit_card(folder, "\nNew.\n")
    plan = plan_push(folder, "me/amp", tag="v1.1.0")
    assert not plan.keeps_card and not plan.creates
    upload(plan)
    assert hub.repositories["me/amp"].commits[-1][3]["README.md"].endswith(b"New.\n")


def test_a_card_on_the_hub_before_the_first_push_stays(hub: Hub, folder: Path, login: None) -> None:
    hub.add("me/amp", {"README.md": b"---\nlicense: mit\n---\nMine.\n"})
    push(folder, "me/amp")
    assert hub.repositories["me/amp"].commits[-1][3]["README.md"].endswith(b"Mine.\n")


def test_what_else_is_in_the_repository_is_left_alone(hub: Hub, folder: Path, login: None) -> None:
    hub.add("me/amp", {**contents(folder), "notes.txt": b"mine", "audio/old.wav": b"RIFF"})
    push(folder, "me/amp")
    files = hub.repositories["me/amp"].commits[-1][3]
    assert files["notes.txt"] == b"mine"
    assert "audio/old.wav" not in files


def test_examples_and_pictures_go_up_and_nothing_else(hub: Hub, folder: Path, login: None, tmp_path: Path) -> None:
    for name in ("audio/take-0.wav", "audio/.hidden.wav", "pictures/spectrum.png", "audio/run.py", "notes.txt", ".env"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    push(folder, "me/amp")
    files = set(hub.repositories["me/amp"].commits[-1][3])
    assert files == {*FILES, ".gitattributes", "audio/take-0.wav", "pictures/spectrum.png"}


def test_a_repository_that_holds_something_else_is_refused(hub: Hub, folder: Path, login: None) -> None:
    hub.add("me/bert", {"config.json": b"{}", "README.md": b"---\nlibrary_name: transformers\n---\n"})
    with pytest.raises(ConfigError, match=r"holds something else than a model for neuralfx \(config\.json\)"):
        push(folder, "me/bert")


def test_a_public_repository_does_not_become_private(hub: Hub, folder: Path, login: None) -> None:
    push(folder, "me/amp")
    with pytest.raises(ConfigError, match=r"is public; make it private at .*/settings"):
        push(folder, "me/amp", tag="v2", private=True)


def test_a_push_that_someone_else_overtakes_is_refused(hub: Hub, folder: Path, login: None) -> None:
    push(folder, "me/amp")
    edit_card(folder, "\nNew.\n")
    plan = plan_push(folder, "me/amp", tag="v2")
    edit_on_hub(hub, b"\nMeanwhile.\n")
    with pytest.raises(HubError, match="has changed meanwhile"):
        upload(plan)
    assert hub.repositories["me/amp"].tags.keys() == {"v1.0.0"}


def test_a_token_that_may_not_write_is_named(hub: Hub, folder: Path, login: None) -> None:
    hub.refuse["/api/repos/create"] = (403, {"message": "You don't have the rights"})
    with pytest.raises(HubError, match=r"the token gives no access to you/amp \(You don't have the rights\)"):
        push(folder, "you/amp")


@pytest.mark.parametrize(
    "options", [{"name": "amp"}, {"name": "me/amp@v1"}, {"tag": "main"}, {"tag": "a b"}, {"tag": ""}]
)
def test_names_and_tags_that_cannot_be_are_refused(
    hub: Hub, folder: Path, options: dict[str, Any], login: None
) -> None:
    with pytest.raises(ConfigError, match="expected"):
        push(folder, **{"name": "me/amp", **options})
    assert hub.requests == []


def test_a_damaged_folder_does_not_go_up(hub: Hub, folder: Path, login: None, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such model folder"):
        push(tmp_path / "nothing", "me/amp")
    (folder / "README.md").write_text("# No front matter\n")
    with pytest.raises(FormatError, match="expected front matter"):
        push(folder, "me/amp")
    (folder / "check.safetensors").write_bytes(b"x")
    with pytest.raises(FormatError, match=r"check\.safetensors"):
        push(folder, "me/amp")
    assert hub.requests == []


@pytest.mark.parametrize(
    "head", ["license: [", "library_name: timm\nlicense: mit", "library_name: neuralfx", "- a", "model-index: 3"]
)
def test_a_card_that_the_hub_would_not_take_is_refused(head: str) -> None:
    with pytest.raises(FormatError, match="front matter"):
        read_head(f"---\n{head}\n---\n# Amp\n")


def test_links_and_long_examples_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "audio").mkdir()
    (folder / "audio" / "a.wav").symlink_to(folder / "README.md")
    with pytest.raises(FormatError, match="got a link"):
        list_files(folder)
    (folder / "audio" / "a.wav").unlink()
    (folder / "audio" / "a.wav").write_bytes(b"x" * 100)
    monkeypatch.setattr("neuralfx.hub.push.MAX_EXTRA_BYTES", 99)
    with pytest.raises(FormatError, match="at most 99 bytes"):
        list_files(folder)


def test_a_model_goes_up_and_comes_down_by_xet(hub: Hub, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("hf_xet")
    hub.xet = tmp_path / "xet"
    hub.xet.mkdir()
    for path in folder.glob("*.safetensors"):  # what Xet stores, the Hub lists
        hub.objects[sha256(path)] = path.read_bytes()
    code = (
        "import sys; from neuralfx import cli\n"
        "sys.exit(cli.main(['push', sys.argv[1], 'me/amp']) or cli.main(['pull', 'me/amp', '-o', sys.argv[2]]))"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}
    environment.pop("HF_HUB_DISABLE_XET", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(tmp_path / "new")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "new") == contents(folder)
    assert not any("/storage/" in request or "info/lfs" in request for request in hub.requests)


def test_the_next_version_follows_the_highest() -> None:
    assert next_version(["v1.2.9", "v1.10.0", "x"]) == "v1.10.1"
    assert next_version([]) == "v1.0.0"


def test_a_pull_needs_the_hub_even_if_the_model_is_in_the_cache(hub: Hub, folder: Path, login: None) -> None:
    push(folder, "me/amp")
    pull("me/amp")
    hub.refuse["/api/models"] = (503, {})
    with pytest.raises(HubError, match="has trouble"):
        pull("me/amp")
    with pytest.raises(ModelNotFoundError, match="expected a repository as owner/name"):
        pull("amp")


def test_a_pull_replaces_a_model_folder_and_nothing_else(hub: Hub, folder: Path, login: None, tmp_path: Path) -> None:
    push(folder, "me/amp")
    target = tmp_path / "amp"
    shutil.copytree(folder, target)
    (target / "recipe.yaml").write_text("other")
    pull("me/amp", folder=target)
    assert contents(target) == contents(folder)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(FormatError, match=r"holds 'notes\.txt'"):
        pull("me/amp", folder=target)
    with pytest.raises(FormatError, match="got a file"):
        pull("me/amp", folder=target / "notes.txt")


def test_a_pull_replays_the_check(hub: Hub, folder: Path) -> None:
    files = contents(folder)
    hub.add("me/amp", {**files, "check.safetensors": b"x"})
    with pytest.raises(FormatError, match=r"check\.safetensors"):
        pull("me/amp")
