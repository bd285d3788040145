from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neuralfx.errors import ConfigError
from neuralfx.files import lock, sha256
from neuralfx.study.plan import Study
from neuralfx.study.results import read_results
from neuralfx.study.runner import commands, run, state_of

Make = Callable[..., Study]
OUT = Path("out")
# Runs the study in a process of its own, which can be killed.
APART = """
import signal
from pathlib import Path
from neuralfx.study import runner
from neuralfx.study.plan import read_study
from tests.study.conftest import fake_commands
runner.commands = fake_commands
runner._require_known = lambda study, waiting: None  # so that torch need not be imported
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what they start in the background ignore it
study = read_study("mine.yaml")
runner.run(study, study.cells(Path("out")), Path("out"))
"""


def attempts(name: str) -> list[list[str]]:
    """Process and number of threads of each attempt at a cell."""
    return [line.split() for line in (OUT / "cells" / name / "begun.txt").read_text().splitlines()]


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def start_apart() -> subprocess.Popen[bytes]:
    """Start the study in another process, and wait until two of its cells run."""
    Path("wait").touch()
    root = Path(__file__).parent.parent.parent
    process = subprocess.Popen([sys.executable, "-c", APART], env={**os.environ, "PYTHONPATH": str(root)})
    wait_for(lambda: len(list(OUT.glob("cells/*/begun.txt"))) == 2)
    return process


def is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2] if Path("/proc").is_dir() else True


def test_cells_run_once_and_are_found_done_the_next_time(study: Make, caplog: pytest.LogCaptureFixture) -> None:
    cells = study().cells(OUT)
    caplog.set_level("INFO")
    outcome = run(study(), cells, OUT)
    assert sorted(outcome.done) == sorted(cell.name for cell in cells)
    assert "good-amp-seed1: esr 0.165 after 0:00:0" in caplog.text
    assert "3 of 4 cells are over, about 0:00:0" in caplog.text
    assert run(study(), cells, OUT).done == [cell.name for cell in cells]
    assert [len(attempts(cell.name)) for cell in cells] == [1, 1, 1, 1]


def test_a_baseline_of_which_nothing_could_be_measured_leaves_the_cell_done(study: Make) -> None:
    # Such as the best linear filter of a take that no training hears.
    mine = study(seeds=[0])
    first = mine.cells(OUT)[0]
    run(mine, [first], OUT)
    measures = first.folder / "measures.json"
    found = json.loads(measures.read_text())
    found["rows"] = [row for row in found["rows"] if row["candidate"] != "linear"]
    measures.write_text(json.dumps(found))
    assert state_of(first, mine) == "done"
    assert {row.model for row in read_results(mine, [first]).rows} == {"good", "identity"}
    found["candidates"].remove("linear")
    measures.write_text(json.dumps(found))
    assert state_of(first, mine) == "begun"
    del found["candidates"]  # as earlier versions wrote it
    measures.write_text(json.dumps(found))
    assert state_of(first, mine) == "begun"


def test_a_cell_that_fails_is_shown_and_stops_no_other(study: Make, caplog: pytest.LogCaptureFixture) -> None:
    mine = study(bad="fail")
    outcome = run(mine, mine.cells(OUT), OUT)
    assert sorted(outcome.failed) == ["bad-amp-seed0", "bad-amp-seed1"]
    assert sorted(outcome.done) == ["good-amp-seed0", "good-amp-seed1"]
    assert "bad-amp-seed0 failed (exit status 1)" in caplog.text
    assert "    training {'error': 'fail'}\n    no such device" in caplog.text
    results = read_results(mine, mine.cells(OUT))
    assert sorted(results.missing) == sorted(outcome.failed)
    assert state_of(mine.cells(OUT)[1], mine) == "begun"


def test_the_cores_are_shared_by_what_runs_side_by_side(study: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuralfx.study.runner._cores", lambda: 8)
    mine = study(seeds=[0])
    run(mine, mine.cells(OUT), OUT)
    assert attempts("good-amp-seed0")[0][1] == "4"
    run(mine, mine.cells(Path("alone")), Path("alone"), jobs=1)
    assert Path("alone/cells/good-amp-seed0/begun.txt").read_text().split()[1] == "8"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    run(mine, mine.cells(Path("told")), Path("told"))
    assert Path("told/cells/good-amp-seed0/begun.txt").read_text().split()[1] == "3"


def test_a_cell_that_another_process_runs_is_left_to_it(study: Make) -> None:
    mine = study(seeds=[0])
    held = lock(OUT / "locks" / "good-amp-seed0")
    assert held is not None
    outcome = run(mine, mine.cells(OUT), OUT)
    assert (outcome.busy, outcome.done) == (["good-amp-seed0"], ["bad-amp-seed0"])
    held.close()
    assert run(mine, mine.cells(OUT), OUT).done == ["bad-amp-seed0", "good-amp-seed0"]


def test_a_run_of_other_settings_is_moved_aside(study: Make) -> None:
    before, after = study(seeds=[0]), study(bad=0.3, seeds=[0])
    run(before, before.cells(OUT), OUT)
    assert [state_of(cell, after) for cell in after.cells(OUT)] == ["done", "changed"]
    assert read_results(after, after.cells(OUT)).missing == ("bad-amp-seed0",)
    run(after, after.cells(OUT), OUT)
    assert [state_of(cell, after) for cell in after.cells(OUT)] == ["done", "done"]
    assert (OUT / "replaced/bad-amp-seed0-1/measures.json").is_file()
    assert len(attempts("good-amp-seed0")) == 1


def test_a_metric_that_is_added_is_measured_without_training_again(study: Make) -> None:
    run(study(), study().cells(OUT), OUT)
    more = study(evaluate={"metrics": ["esr", "mae"]})
    cell = more.cells(OUT)[0]
    assert state_of(cell, more) == "begun"
    (cell.folder / "checkpoints").mkdir()
    best = cell.folder / "checkpoints" / "best.ckpt"
    best.write_bytes(b"weights")
    (cell.folder / "metrics.json").write_text(json.dumps({"checkpoint_sha256": sha256(best)}))
    assert [command[1] for command in commands(cell, more)] == ["neuralfx.study.measure"]
    (cell.folder / "metrics.json").write_text('{"checkpoint')  # interrupted while it was written
    assert [command[1] for command in commands(cell, more)] == ["neuralfx", "neuralfx.study.measure"]


def test_misspelt_measures_are_told_before_anything_runs(study: Make) -> None:
    for evaluate, told in (({"metrics": ["esrr"]}, "did you mean esr"), ({"baselines": ["id"]}, "there are identity")):
        mine = study(evaluate=evaluate)
        with pytest.raises(ConfigError, match=told):
            run(mine, mine.cells(OUT), OUT)
    assert not OUT.exists()


def test_models_of_nam_are_read_before_anything_runs_if_a_cell_measures_them(
    study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("neuralfx.evaluation.load_nam", read.append)
    mine = study(seeds=[0], evaluate={"nam": {"amp": {"file": "amp.nam", "knobs": {"gain": 0.5}}}})
    first, second = mine.cells(OUT)
    assert run(mine, [second], OUT).done == [second.name]
    assert read == []
    run(mine, [first, second], OUT)
    assert [path.name for path in read] == ["amp.nam"]


@pytest.mark.skipif(sys.platform == "win32", reason="locks end with the parent there")
def test_a_study_that_is_killed_goes_on_to_the_same_results(study: Make) -> None:
    mine = study()
    run(mine, mine.cells(Path("whole")), Path("whole"))
    process = start_apart()
    process.kill()
    process.wait()
    first, second = mine.cells(OUT)[:2]  # their processes have survived, and are left alone
    assert run(mine, [first, second], OUT).busy == [first.name, second.name]
    Path("go").touch()
    wait_for(lambda: not any(is_alive(attempts(cell.name)[0][0]) for cell in (first, second)))
    (second.folder / "measures.json").write_text("{")  # as if it had been killed too
    assert sorted(run(mine, mine.cells(OUT), OUT).done) == sorted(cell.name for cell in mine.cells(OUT))
    assert [len(attempts(cell.name)) for cell in (first, second)] == [1, 2]
    whole, resumed = (read_results(mine, mine.cells(folder)) for folder in (Path("whole"), OUT))
    assert resumed.rows == whole.rows
    assert not resumed.missing


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if sys.platform != "win32" else [])
def test_an_interrupted_study_leaves_no_process_behind(study: Make, number: signal.Signals) -> None:
    mine = study()
    process = start_apart()
    process.send_signal(number)
    assert process.wait(60) != 0
    cells = mine.cells(OUT)[:2]
    assert not any(is_alive(attempts(cell.name)[0][0]) for cell in cells)
    Path("go").touch()
    assert len(run(mine, mine.cells(OUT), OUT).done) == 4
