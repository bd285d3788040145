"""Every shipped configuration trains for a step; those of the pairs do so in the contract."""

from __future__ import annotations

import json
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
KNOBS = {"od300": {"level": 0.25, "tone": 0.75}, "la2a": {"peak_reduction": 0.4, "switch": 1}}


def write_devices(root: Path) -> None:
    """The devices that configurations name, with their knobs and generated audio."""
    devices: dict[str, Any] = {}
    for name, knobs in KNOBS.items():
        (root / name).mkdir(parents=True)
        dry = music(3 * RATE)
        soundfile.write(root / name / "input.wav", dry, RATE, "FLOAT")
        soundfile.write(root / name / "take.wav", np.tanh(2 * dry), RATE, "FLOAT")
        takes = [{"file": "take.wav", "knobs": knobs}]
        devices[name] = {"device": name, "sample_rate": RATE, "input": "input.wav", "takes": takes}
    (root / "recordings.json").write_text(json.dumps(devices), encoding="utf-8")


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
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
        write_devices(root)
        if "device" not in config.get("data", {}).get("init_args", {}):
            arguments += ["--data.device", "od300"]
    settings = {
        "data.root": root, "data.warmup_s": 0.01, "data.evaluation_warmup_s": 0.01,
        "run": "run", "trainer.max_epochs": 1, "trainer.limit_train_batches": 4, "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false", "trainer.enable_model_summary": "false",
    }  # fmt: skip
    if path.stem == "wandb":
        settings["trainer.logger.init_args.offline"] = "true"
    for setting, value in settings.items():
        arguments += [f"--{setting}", str(value)]
    assert main(arguments) == 0
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()


def test_configurations_have_names_of_their_own() -> None:
    stems = [path.stem for path in CONFIGS.rglob("*.yaml") if path.parent.name != "trainer"]
    assert len(set(stems)) == len(stems)
