"""Studies from the command line: shown, exported, run and continued."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuralfx.cli import main
from neuralfx.study.plan import Study
from tests.study.conftest import study

__all__ = ["study"]

Make = Callable[..., Study]
ARGUMENTS = ["study", "--config", "mine.yaml"]


def test_a_study_is_run_tabulated_and_found_done(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study()
    assert main(ARGUMENTS) == 0
    printed = capsys.readouterr().out
    assert "esr on what tests" in printed
    assert "studies/mine/table.md" in printed.replace("\\", "/")
    before = Path("studies/mine/results.csv").read_bytes()
    assert main([*ARGUMENTS, "--dry-run"]) == 0
    assert "4 cells, 4 done; measures: esr" in capsys.readouterr().out
    assert main(ARGUMENTS) == 0
    assert Path("studies/mine/results.csv").read_bytes() == before


def test_a_dry_run_shows_the_cells_and_begins_nothing(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study()
    assert main([*ARGUMENTS, "--dry-run"]) == 0
    assert "bad-amp-seed1   new" in capsys.readouterr().out
    assert not Path("studies").exists()


def test_only_what_is_named_runs(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study()
    assert main([*ARGUMENTS, "--only", "good-*", "-o", "out", "--jobs", "1"]) == 0
    assert sorted(path.name for path in Path("out/cells").iterdir()) == ["good-amp-seed0", "good-amp-seed1"]
    assert "Incomplete: there is nothing yet of bad-amp-seed0, bad-amp-seed1." in capsys.readouterr().out
    assert main([*ARGUMENTS, "--only", "fine-*"]) == 2
    assert "--only fine-*: no cell is named like this" in capsys.readouterr().err


def test_failed_cells_are_named_at_the_end(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study(bad="fail")
    assert main(ARGUMENTS) == 1
    assert capsys.readouterr().err.endswith("failed: bad-amp-seed0\nfailed: bad-amp-seed1\n")
    assert "good" in Path("studies/mine/table.md").read_text(encoding="utf-8")


def test_listed_commands_run_a_cell_each(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study()
    assert main([*ARGUMENTS, "--list", "--only", "*-seed0", "-o", "a folder"]) == 0
    commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert [command[0] for command in commands] == ["neuralfx", "neuralfx"]
    assert main(commands[1][1:]) == 0
    assert [path.name for path in Path("a folder/cells").iterdir()] == ["bad-amp-seed0"]


def test_a_benchmark_adds_speeds(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study()
    path = Path("a benchmark.json")
    path.write_text('{"pairs": {"good": {"parameters": 100, "file_still": {"median": 31.5}}}}', encoding="utf-8")
    assert main([*ARGUMENTS, "--list", "--benchmark", str(path)]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[0])
    assert main(command[1:]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("good "))
    assert line.split()[-1] == "31.5"
    path.write_text('{"pairs": {}}', encoding="utf-8")
    assert main(command[1:]) == 0
    assert "no speeds" in capsys.readouterr().err
    path.write_text("{}", encoding="utf-8")
    assert main(command[1:]) == 2
    assert "not a benchmark.json" in capsys.readouterr().err


def test_agents_of_a_sweep_run_a_cell_each(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    study()
    assert main([*ARGUMENTS, "--sweep"]) == 0
    sweep: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    assert sweep["method"] == "grid"
    name = sweep["parameters"]["only"]["values"][2]
    # What wandb's agent does with a configuration that it is given.
    filled = {**create_sweep_command_args({"args": {"only": {"value": name}}}), "program": [sweep["program"]]}
    command = []
    for word in create_sweep_command(sweep["command"]):
        command += filled[word[2:-1]] if word.startswith("${") else [word]
    assert command[0] == "neuralfx"
    assert main(command[1:]) == 0
    assert [path.name for path in Path("studies/mine/cells").iterdir()] == ["good-amp-seed1"]


def test_looking_at_a_study_does_not_import_torch(study: Make) -> None:
    study()
    program = (
        "import sys, neuralfx.cli\n"
        f"code = neuralfx.cli.main({[*ARGUMENTS, '--dry-run']!r})\n"
        "heavy = {'torch', 'lightning', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_jobs_are_counted(study: Make, capsys: pytest.CaptureFixture[str]) -> None:
    study()
    assert main([*ARGUMENTS, "--jobs", "0"]) == 2
    assert "expected a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_real_runs_killed_in_the_middle_end_in_the_same_table(recordings: Path, tmp_path: Path) -> None:
    amp = {"class_path": "PairedAudioDataModule", "root": str(recordings), "lanes": 2}
    mine = {
        "models": [{"lstm": {"hidden_size": 4}}, {"gru": {"config": "gru-film", "losses": {"mse": 1}}}],
        "data": {"amp": amp},
        "seeds": [0, 1],
        "trainer": {"max_epochs": 20, "accelerator": "cpu"},
        "jobs": 2,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    command = [sys.executable, "-m", "neuralfx", *ARGUMENTS, "-o"]
    subprocess.run([*command, "whole"], cwd=tmp_path, check=True)
    killed = subprocess.Popen([*command, "killed"], cwd=tmp_path)
    while not list(tmp_path.glob("killed/cells/*/checkpoints/last.ckpt")):
        assert killed.poll() is None
    killed.terminate()
    assert killed.wait(60) == 130
    assert not list(tmp_path.glob("killed/cells/*/measures.json"))
    subprocess.run([*command, "killed"], cwd=tmp_path, check=True)
    assert "resuming" in "".join(path.read_text() for path in tmp_path.glob("killed/cells/*/output.txt"))
    whole, resumed = ((tmp_path / folder / "results.csv").read_bytes() for folder in ("whole", "killed"))
    assert resumed == whole
