"""Two processes train as one does with all their lanes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch


def fit(recordings: Path, folder: Path, run: str, *options: str) -> Path:
    """Run the command in processes of its own, as Lightning starts the second by starting the first one's command."""
    arguments = [
        *("fit", "--config", "lstm", "--data", "PairedAudioDataModule", "--data.root", str(recordings), "--run", run),
        *("--data.lanes", "4", "--data.segment_samples", "600", "--data.warmup_s", "0.1", "--model.lr", "1e-3"),
        *("--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
        *("--trainer.enable_model_summary", "false", *options),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "neuralfx", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / run


def test_two_processes_give_what_one_gives(recordings: Path, tmp_path: Path) -> None:
    alone = fit(recordings, tmp_path, "alone")
    together = fit(recordings, tmp_path, "together", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    checkpoints = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (alone, together)]
    assert checkpoints[0]["global_step"] == checkpoints[1]["global_step"]
    torch.testing.assert_close(checkpoints[1]["state_dict"], checkpoints[0]["state_dict"], atol=1e-4, rtol=1e-3)
    measures = [json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in (alone, together)]
    assert [take["knobs"] for take in measures[1]["takes"]] == [take["knobs"] for take in measures[0]["takes"]]
    assert abs(measures[1]["mean"]["esr"] - measures[0]["mean"]["esr"]) < 1e-3
    assert len(list(together.glob("test/take*.png"))) == 2
