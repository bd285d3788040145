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
from tests.hub.conftest import contents
from tests.hub.server import Hub


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
    assert capsys.readouterr().out == (
        "No model is named like 'la2a*'; 'neuralfx list' shows all; --hub asks the Hugging Face Hub, too.\n"
    )


def test_a_damaged_model_does_not_hide_the_others(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(bundle / "my-amp", bundle / "broken")
    (bundle / "broken" / "config.json").write_text("{")
    list_command.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("broken  (damaged")
    assert lines[2].startswith("my-amp")


def test_a_bundled_model_with_a_wrong_checksum_is_damaged(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "SHA256SUMS").write_text(f"{64 * '0'}  my-amp/config.json\n")
    list_command.main([])
    assert "my-amp  (damaged: reinstall neuralfx)" in capsys.readouterr().out


def test_the_hub_is_listed_on_request(bundle: Path, hub: Hub, carded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add("me/muff", contents(carded))
    list_command.main(["--hub"])
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        "me/muff",
        "amp",
        "LSTMFiLMGLU",
        "-",
        "0.0123",
        "-",
        "-",
    ]
    list_command.main(["me/*", "--hub"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    list_command.main(["x*", "--hub"])
    assert "No model is named like 'x*'" in capsys.readouterr().out


@pytest.mark.parametrize("head", ["license: mit", 'tags: [3, "a\\e[2Jb"]', "tags: neuralfx", "model-index: 3"])
def test_a_card_of_a_stranger_cannot_break_the_list(
    bundle: Path, hub: Hub, head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("me/odd", {"README.md": f"---\nlibrary_name: neuralfx\n{head}\n---\n".encode()})
    list_command.main(["--hub"])
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1].startswith("me/odd")
    assert "\x1b" not in shown


def test_architectures_are_listed_with_their_tails(capsys: pytest.CaptureFixture[Any]) -> None:
    list_command.main(["--architectures"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["architecture", "tail", "parameters", "multiply-adds", "FLOPs", "window", "latency"]
    assert ["LSTMConcat", "lstm-concat", "4513/4641/4769/5025", "4352/4608", "8800/9312", "1", "0"] in lines


def test_listing_needs_no_torch() -> None:
    code = "import sys; from neuralfx.commands.list import main; main([]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
