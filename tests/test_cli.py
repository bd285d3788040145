"""The command line as a user meets it: what it prints, what it imports, how it fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

import neuralfx
from neuralfx.cli import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in printed


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"neuralfx {neuralfx.__version__}\n"


def test_no_command_at_all_is_bad_use() -> None:
    assert main([]) == 2


def test_a_misspelt_command_is_answered_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["proces"]) == 2
    assert capsys.readouterr().err == "neuralfx: no command 'proces'; did you mean process?\n"


def test_errors_are_one_line_and_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["process", "missing.wav", "-m", "no-such-model"]
    assert main(arguments) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("neuralfx: ")
    main([*arguments, "--debug"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["list", "--architectures"], ["info", "od300-lstm"]], ids=str
)
def test_quick_commands_do_not_import_torch(arguments: list[str]) -> None:
    program = (
        "import sys, neuralfx.cli\n"
        f"code = neuralfx.cli.main({arguments!r})\n"
        "heavy = {'torch', 'lightning', 'torchaudio', 'wandb', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_package_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "neuralfx", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("neuralfx ")
