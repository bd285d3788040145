"""``neuralfx pull`` fetches a model and says where it is and how to use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuralfx import cli
from neuralfx.commands import pull
from tests.hub.conftest import contents
from tests.hub.server import Hub


@pytest.fixture
def amp(hub: Hub, folder: Path) -> str:
    return hub.add("me/amp", contents(folder), tags={}).commits[0][0]


def test_a_model_comes_into_the_cache(amp: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull.main(["me/amp", "--revision", "main"]) == 0
    shown = capsys.readouterr().out
    assert f"me/amp@main: commit {amp}, check replayed to within 0." in shown
    assert "neuralfx process in.wav -m me/amp@main -o out.wav" in shown


def test_a_model_comes_into_a_folder(
    amp: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull.main(["me/amp", "-o", str(tmp_path / "new")]) == 0
    assert contents(tmp_path / "new") == contents(folder)
    assert f"-m {(tmp_path / 'new').as_posix()} -o out.wav" in capsys.readouterr().out


def test_a_model_that_is_not_there_is_one_line(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pull", "me/nothing"]) == 1
    assert capsys.readouterr().err.startswith("neuralfx: no model 'me/nothing'")
