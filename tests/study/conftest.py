"""Studies whose cells take no time: a few lines of Python stand for fitting and measuring."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuralfx.study import runner
from neuralfx.study.plan import Cell, Study, read_study

# Its results follow from the settings of the cell alone. Waits for the file "go" if there is a file "wait".
FAKE = """
import json, os, pathlib, sys, time, yaml
folder, what = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
metrics, others = what["metrics"], [*what["baselines"], *(["nam"] if "capture" in what else [])]
settings = yaml.safe_load((folder / "cell.yaml").read_text())
with (folder / "begun.txt").open("a") as file:
    file.write(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}\\n")
print("training", settings["model"]["init_args"])
while os.path.exists("wait") and not os.path.exists("go"):
    time.sleep(0.01)
error = settings["model"]["init_args"]["error"]
if error == "fail":
    sys.exit("no such device")
rows = [
    {"candidate": name, "take": f"take{n}", "knobs": {"gain": n}, "values": dict.fromkeys(metrics, mean * (1 + n))}
    for n in range(2)
    for name, mean in [("model", error * (1 + 0.1 * settings["seed_everything"])), *((name, 9.0) for name in others)]
]
parameters = {"model": 100, "nam": 3000}
metrics = {key: {"higher_is_better": False} for key in metrics}
candidates = ["model", *others]
found = {"candidates": candidates, "metrics": metrics, "parameters": parameters, "multiply_adds": 90, "rows": rows}
(folder / "measures.json").write_text(json.dumps(found))
"""


real_commands = runner.commands


def fake_commands(cell: Cell, study: Study) -> list[list[str]]:
    """Stands for :func:`neuralfx.study.runner.commands`."""
    return [["-c", FAKE, *real_commands(cell, study)[-1][2:]]]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """Makes a study of two fake models on one effect from two seeds, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(runner, "commands", fake_commands)

    def make(good: Any = 0.1, bad: Any = 0.4, **changes: Any) -> Study:
        models = {name: {"class_path": name, "error": error} for name, error in (("good", good), ("bad", bad))}
        data = {"amp": {"class_path": "PairedAudioDataModule", "root": "rec"}}
        content = {"models": models, "data": data, "seeds": [0, 1], "jobs": 2, **changes}
        Path("mine.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        return read_study("mine.yaml")

    return make
