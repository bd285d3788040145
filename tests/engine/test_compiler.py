"""The first sound does not wait for the compiler, and what was compiled is found again."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from neuralfx import engine
from neuralfx.engine import compiler


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A family of loops that counts how often it was loaded, on a machine that has compiled nothing yet."""
    module = ModuleType("neuralfx.engine.toy")
    module.loaded = 0  # type: ignore[attr-defined]

    def warm() -> None:
        module.loaded += 1  # type: ignore[attr-defined]

    module.warm = warm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "neuralfx.engine.toy", module)
    monkeypatch.setattr(compiler, "_cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(compiler, "_ready", set())
    monkeypatch.setattr(compiler, "_working", {})
    monkeypatch.delenv(engine.SWITCH, raising=False)
    return module


def test_the_first_process_goes_on_while_another_compiles(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: list[str], **_: object) -> None:
        started.append(command)
        time.sleep(0.2)

    monkeypatch.setattr(compiler.subprocess, "run", run)
    assert not compiler.is_ready("toy")
    assert not compiler.is_ready("toy")
    compiler._working["toy"].join()
    assert compiler.is_ready("toy")
    assert family.loaded == 1
    assert started == [[sys.executable, "-m", "neuralfx.engine.compiler", "toy"]]


def test_a_later_process_loads_what_was_compiled(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.load("toy")
    monkeypatch.setattr(compiler, "_ready", set())  # as in a new process
    assert compiler.is_ready("toy")
    assert compiler.is_ready("toy")
    assert family.loaded == 2


def test_the_switch_waits_or_leaves_all_to_torch(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.SWITCH, "torch")
    assert not compiler.is_ready("toy")
    monkeypatch.setenv(engine.SWITCH, "wait")
    assert compiler.is_ready("toy")
    monkeypatch.setenv(engine.SWITCH, "torch")
    assert not compiler.is_ready("toy")
    assert family.loaded == 1


def test_other_sources_or_versions_need_compiling_again(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiler._marker("toy")
    monkeypatch.setattr(compiler.metadata, "version", lambda package: "0")
    assert compiler._marker("toy") != before


def test_without_numba_torch_does_everything(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "is_installed", lambda: False)
    assert not compiler.is_ready("toy")
    assert family.loaded == 0
