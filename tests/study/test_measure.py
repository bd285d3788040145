from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from neuralfx.cli import main
from neuralfx.study.measure import measure
from neuralfx.study.plan import read_study
from neuralfx.study.results import read_measures
from neuralfx.study.runner import commands
from tests.evaluation.test_nam import Difference


def test_a_cell_measures_what_fit_does_and_baselines(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    amp = {"class_path": "PairedAudioDataModule", "root": str(recordings), "segment_samples": 1200, "lanes": 2}
    study = {
        "models": ["gru-film"],
        "data": {"amp": amp},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 2},
        "evaluate": {"metrics": ["esr", "mae"]},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    mine = read_study("mine.yaml")
    cell = mine.cells(Path("out"))[0]
    cell.folder.mkdir(parents=True)
    (cell.folder / "cell.yaml").write_text(cell.dump(), encoding="utf-8")
    fit, _ = commands(cell, mine)
    assert fit[:2] == ["-m", "neuralfx"]
    assert main(fit[2:]) == 0
    measure(cell.folder, mine.metrics, cell.baselines)
    found = read_measures(cell, mine.metrics)
    assert found is not None
    assert found["parameters"]["model"] > 1000
    assert found["multiply_adds"] > 500
    told = json.loads((cell.folder / "metrics.json").read_text(encoding="utf-8"))["takes"]
    values = {row["candidate"]: row["values"] for row in found["rows"] if row["take"].endswith(told[0]["name"])}
    assert values["model"]["esr"] == pytest.approx(told[0]["esr"], rel=1e-3)
    assert values["identity"]["esr"] == pytest.approx(told[0]["identity_esr"], rel=1e-3)
    assert values["linear"]["esr"] < values["identity"]["esr"]
    assert len(commands(cell, mine)) == 1  # trained; only measures again
    captures = {"amp.nam": Difference()}
    monkeypatch.setattr("neuralfx.study.measure.load_nam", captures.__getitem__)
    setting = found["rows"][0]["knobs"]
    measure(cell.folder, mine.metrics, capture={"file": "amp.nam", "knobs": setting})
    captured = json.loads((cell.folder / "measures.json").read_text(encoding="utf-8"))
    assert captured["parameters"] == {**found["parameters"], "nam": 1}
    assert [row["knobs"] for row in captured["rows"] if row["candidate"] == "nam"] == [setting]
