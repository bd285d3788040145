"""``neuralfx info`` tells what is known about a model, quickly and without harm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neuralfx.commands import info
from neuralfx.errors import ModelNotFoundError
from neuralfx.hub.package import read_config
from tests.hub.conftest import contents
from tests.hub.server import Hub


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


def test_unknown_models_are_refused(hub: Hub) -> None:
    with pytest.raises(ModelNotFoundError, match="no model named 'nothing'"):
        info.main(["nothing"])
    assert hub.requests == []
    with pytest.raises(ModelNotFoundError, match="no model 'nobody/nothing'"):
        info.main(["nobody/nothing"])


def test_a_model_on_the_hub_is_shown_without_its_weights(
    hub: Hub, carded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = hub.add("me/amp", contents(carded))
    repository.tags["v1"] = commit = repository.commits[0][0]
    assert info.main(["me/amp", "--revision", "v1"]) == 0
    shown = capsys.readouterr().out
    for part in ("my-amp: Test amp", f"commit      {commit}", "weights     not downloaded yet", "licence     mit"):
        assert part in shown
    assert not any("safetensors" in request for request in hub.requests)


def test_a_cached_model_is_shown_without_a_network(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add("me/amp", contents(folder))
    info.main(["me/amp"])
    hub.refuse["/api/models"] = (503, {})
    assert info.main(["me/amp"]) == 0


def test_info_needs_no_torch(folder: Path) -> None:
    code = "import sys; from neuralfx.commands.info import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
