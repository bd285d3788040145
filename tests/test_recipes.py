"""Names of shipped configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuralfx.errors import ConfigError
from neuralfx.recipes import STUDIES, configs_folder, find_config


def test_files_come_before_names_and_folders_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lstm").mkdir()
    assert find_config("lstm") == configs_folder() / "models" / "lstm.yaml"
    Path("gru-film").write_text("model:", encoding="utf-8")
    assert find_config("gru-film") == Path("gru-film")


def test_names_are_those_of_the_folders_that_are_asked_for() -> None:
    assert find_config("example", STUDIES).parent.name == "studies"
    with pytest.raises(ConfigError, match="no shipped configuration of this name"):
        find_config("example")


def test_a_misspelt_name_is_answered_with_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean gru-film"):
        find_config("gru-fim")
