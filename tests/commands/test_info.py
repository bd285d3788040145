"""``neuralfx info`` tells what is known about a model, quickly and without harm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neuralfx.commands import info
from neuralfx.errors import HubError, ModelNotFoundError
from neuralfx.hub.package import read_config


def test_card_knobs_measures_and_licence_are_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main([str(folder)]) == 0
    shown = capsys.readouterr().out
    for part in ("my-amp: Test amp, LSTMFiLMGLU", "licence     mit", "esr         0.0123", "0 to 10 dB", "# Test amp"):
        assert part in shown
    assert "license: mit" not in shown


def test_json_is_the_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info.main([str(folder), "--json"])
    assert json.loads(capsys.readouterr().out) == read_config(folder).to_dict()


def test_a_card_cannot_steer_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "README.md").write_text("# Amp \x1b[2J\x07\r done", encoding="utf-8")
    info.main([str(folder)])
    assert "# Amp [2J done" in capsys.readouterr().out


def test_unknown_models_are_refused_without_asking_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: pytest.fail("asked the network"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match="not in the local cache"):
        info.main(["nobody/nothing-of-this-name"])
    with pytest.raises(ModelNotFoundError, match="no model named 'nothing'"):
        info.main(["nothing"])


def test_info_needs_no_torch(folder: Path) -> None:
    code = "import sys; from neuralfx.commands.info import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
