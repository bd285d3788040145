"""Every shipped configuration trains for a step; those of the pairs do so in the contract.

Configurations of devices differ in little more than names: most are only tried with ``pytest -m slow``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from neuralfx.cli import main
from neuralfx.models.catalogue import ARCHITECTURES
from tests.data.generate import RATE, music
from tests.data.public import DEVICES, WRITERS

CONFIGS = Path(__file__).parent.parent / "configs"
TAILS = {pair.tail for pair in ARCHITECTURES.values()}
OTHERS = [
    path
    for path in sorted(CONFIGS.rglob("*.yaml"))
    if path.parent.name != "studies" and (path.parent.name != "models" or path.stem not in TAILS)
]
QUICK = {"od300", "la2a", "ts9-gx", "od300-lstm", "la2a-s4d", "darc-x42-gru-statichyper"}


def cases() -> list[Any]:
    """All of them; those of devices that are not quick are slow."""
    of_devices = (path for path in OTHERS if "device: " in path.read_text(encoding="utf-8"))
    slow = {path for path in of_devices if path.stem not in QUICK}
    return [pytest.param(path, marks=[pytest.mark.slow] * (path in slow), id=path.stem) for path in OTHERS]


def write_device(root: Path, given: dict[str, Any]) -> None:
    """The device that a configuration names, with its knobs at their defaults and generated audio."""
    name = given.get("device", "od300")
    (root / name).mkdir(parents=True)
    dry = music(3 * RATE)
    soundfile.write(root / name / "input.wav", dry, RATE, "FLOAT")
    soundfile.write(root / name / "take.wav", np.tanh(2 * dry), RATE, "FLOAT")
    knobs = {
        knob.get("column", knob["name"]): 1 if "positions" in knob else knob["default"] / knob.get("factor", 1.0)
        for knob in given.get("knobs", [])
    }
    takes = [{"file": "take.wav", "knobs": knobs or {"level": 0.25, "tone": 0.75}}]
    device = {"device": name, "sample_rate": RATE, "input": "input.wav", "takes": takes}
    (root / "recordings.json").write_text(json.dumps({name: device}), encoding="utf-8")


@pytest.mark.parametrize("path", cases())
def test_a_configuration_trains_for_a_step(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    arguments = ["fit"]
    if "model" not in config:
        arguments += ["--config", "lstm"]
    arguments += ["--config", str(path)]
    if "data" not in config:
        arguments += ["--data", "PairedAudioDataModule"]
    public = config.get("data", {}).get("class_path")
    root = tmp_path / "recordings"
    if public in WRITERS:
        WRITERS[public](root)
        arguments += [f"--data.{key}={value}" for key, value in DEVICES.get(public, {}).items()]
        arguments += ["--data.align", "false", "--data.segment_samples", "64", "--data.guard_samples", "0"]
    else:
        given = config.get("data", {}).get("init_args", {})
        write_device(root, given)
        if "device" not in given:
            arguments += ["--data.device", "od300"]
    settings = {
        "data.root": root, "data.warmup_s": 0.01, "data.evaluation_warmup_s": 0.01,
        "run": "run", "trainer.max_epochs": 1, "trainer.limit_train_batches": 4, "trainer.accelerator": "cpu",
        "trainer.check_val_every_n_epoch": 1, "trainer.val_check_interval": 1.0,
        "trainer.enable_progress_bar": "false", "trainer.enable_model_summary": "false",
    }  # fmt: skip
    if path.stem == "wandb":
        settings["trainer.logger.init_args.offline"] = "true"
    for setting, value in settings.items():
        arguments += [f"--{setting}", str(value)]
    assert main(arguments) == 0
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()
    assert getattr(sys.modules.get("wandb"), "run", None) is None


def test_configurations_have_names_of_their_own() -> None:
    stems = [path.stem for path in CONFIGS.rglob("*.yaml") if path.parent.name != "trainer"]
    assert len(set(stems)) == len(stems)
