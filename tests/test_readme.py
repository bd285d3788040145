"""What the README shows is true."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from neuralfx.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def test_the_python_code_runs() -> None:
    names: dict[str, Any] = {}
    for language, code in CODE:
        if language == "python":
            exec(compile(code, "README.md", "exec"), names)
    assert names["wet"].shape == names["dry"].shape
    assert names["out"].shape == (64,)


def test_the_first_command_processes_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "neuralfx/examples", "neuralfx/examples")
    command = re.search(r"&& neuralfx (process .*)", README)
    assert command is not None
    assert main(shlex.split(command[1])) == 0
    assert Path("wet.wav").stat().st_size > 100_000


def test_the_training_commands_work_as_printed(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(recordings, "recordings")
    shutil.copy(ROOT / "neuralfx/examples/riff.flac", "guitar.wav")
    (block,) = (code for _, code in CODE if "--run runs/my-amp" in code)
    check, fit, package, process = (line.split(" ", 1)[1] for line in block.strip().splitlines())
    quick = "--trainer.max_steps 2 --trainer.val_check_interval 2 --data.segment_samples 2400 --data.warmup_s 0.05"
    generated = f"{fit} {quick} --trainer.enable_progress_bar false".replace("my-amp --run", "saturator --run")
    assert main(shlex.split(check)) == 0
    assert main(shlex.split(generated)) == 0
    assert main(shlex.split(package)) == 0
    assert main(shlex.split(process.replace("gain=6", "drive=0.6"))) == 0
    assert Path("wet.wav").is_file()


def test_links_and_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    for path in re.findall(r"`((?:neuralfx|configs|tests|notebooks|\.ci)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
