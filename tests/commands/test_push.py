"""``neuralfx push`` says what goes up, and then what it has become."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuralfx import cli
from neuralfx.commands import push
from neuralfx.errors import ConfigError, HubError
from tests.hub.server import TOKEN, Hub

# huggingface_hub 2.4 sends LFS files as httpx2 no longer wants it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_what_goes_up_is_shown_before_the_release(
    hub: Hub, carded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push.main([str(carded), "me/amp", "--tag", "v1.0.0", "--message", "First light", "--private"]) == 0
    shown = capsys.readouterr().out
    commit, title, _, _ = hub.repositories["me/amp"].commits[-1]
    for part in (
        f"repository  {hub.endpoint}/me/amp (new, private)",
        "release     v1.0.0",
        "check       replayed to within 0",
        "model.safetensors  1.6 kB",
        "library_name: neuralfx",
        f"v1.0.0 is commit {commit}.",
        "neuralfx.load('me/amp@v1.0.0')",
    ):
        assert part in shown
    assert title == "First light"


def test_a_dry_run_uploads_nothing_and_needs_no_token(
    hub: Hub, carded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push.main([str(carded), "me/amp", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("Nothing was uploaded (--dry-run).\n")
    assert hub.repositories == {}


def test_a_card_that_stays_is_named(
    hub: Hub, carded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add("me/amp", {"README.md": b"# Mine\n", "audio/old.wav": b""})
    hub.repositories["me/amp"].commit("", "", {"README.md": b"---\ntags: [neuralfx]\n---\n", "audio/old.wav": b""})
    push.main([str(carded), "me/amp", "--dry-run"])
    shown = capsys.readouterr().out
    assert "README.md was edited on the Hub and stays" in shown
    assert "audio/old.wav is removed there." in shown
    push.main([str(carded), "me/amp", "--dry-run", "--overwrite-card"])
    assert "head of the card:" in capsys.readouterr().out


def test_bad_use_is_one_line_each(hub: Hub, carded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HubError, match="hf auth login"):
        push.main([str(carded), "me/amp"])
    with pytest.raises(ConfigError, match="owner/name"):
        push.main([str(carded), "amp", "--dry-run"])
    assert cli.main(["push", str(carded)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
