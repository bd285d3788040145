"""``neuralfx list`` prints one aligned line per model, quickly."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neuralfx.commands import list as list_command
from neuralfx.hub import registry


@pytest.fixture
def bundle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, tmp_path / "bundle" / "my-amp")
    monkeypatch.setattr(registry, "_bundle", lambda: tmp_path / "bundle")
    return tmp_path / "bundle"


def test_each_model_is_one_line(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_command.main([]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "effect", "architecture", "knobs", "ESR", "parameters", "size"]
    assert line.split()[:6] == ["my-amp", "amp", "LSTMFiLMGLU", "gain,", "mode", "0.0123"]
    assert line.endswith(" kB")
    assert head.index("architecture") == line.index("LSTMFiLMGLU")


def test_a_pattern_chooses(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_command.main(["la2a*"])
    assert capsys.readouterr().out == "No model is named like 'la2a*'; 'neuralfx list' shows all.\n"


def test_a_damaged_model_does_not_hide_the_others(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(bundle / "my-amp", bundle / "broken")
    (bundle / "broken" / "config.json").write_text("{")
    list_command.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("broken  (damaged")
    assert lines[2].startswith("my-amp")


def test_the_hub_is_listed_on_request(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def names() -> list[str]:
        return ["me/muff"]

    monkeypatch.setattr(registry, "_hub_names", names)
    list_command.main(["--hub"])
    assert capsys.readouterr().out.splitlines()[-1] == "me/muff  (on the Hub)"


def test_architectures_are_listed_with_their_tails(capsys: pytest.CaptureFixture[Any]) -> None:
    list_command.main(["--architectures"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["architecture", "tail", "parameters", "multiply-adds", "FLOPs", "window", "latency"]
    assert ["LSTMConcat", "lstm-concat", "4513/4641/4769/5025", "4352/4608", "8800/9312", "1", "0"] in lines


def test_listing_needs_no_torch() -> None:
    code = "import sys; from neuralfx.commands.list import main; main([]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
