"""The first sound does not wait for the compiler, and what was compiled is found again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

from neuralfx import engine
from neuralfx.engine import cache, compiler


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A family of loops that counts how often it was loaded, on a machine that has compiled nothing yet."""
    module = ModuleType("neuralfx.engine.toy")
    module.loaded = 0  # type: ignore[attr-defined]

    def warm() -> None:
        module.loaded += 1  # type: ignore[attr-defined]

    module.warm = warm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "neuralfx.engine.toy", module)
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    for name in ("_ready", "_broken"):
        monkeypatch.setattr(compiler, name, set())
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
    assert started == [[sys.executable, "-c", compiler._COMMAND, "toy", *sys.path]]


def test_the_process_that_compiles_runs_nothing_from_the_current_folder(tmp_path: Path) -> None:
    for module in ("logging", "numba", "numpy"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w').close()")
    command = [sys.executable, "-c", compiler._COMMAND, "no_such_family", *sys.path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'neuralfx.engine.no_such_family'" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_later_process_loads_what_was_compiled(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.load("toy")  # as another process would
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


def test_while_another_process_compiles_no_block_waits_for_its_result(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(*_: object, **__: object) -> None:
        (tmp_path / "toy.compiled").touch()
        time.sleep(0.2)

    monkeypatch.setattr(compiler.subprocess, "run", run)
    assert not compiler.is_ready("toy")
    time.sleep(0.1)
    assert not compiler.is_ready("toy")
    assert family.loaded == 0
    compiler._working["toy"].join()
    assert compiler.is_ready("toy")


def test_whatever_is_wrong_with_numba_torch_goes_on(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ImportError("Numba needs NumPy 2.4 or less")

    monkeypatch.setattr(family, "warm", refuse)
    monkeypatch.setenv(engine.SWITCH, "wait")
    assert not compiler.is_ready("toy")
    assert not compiler.serves("toy", torch.zeros(1))
    assert not compiler.is_ready("toy")


def test_layers_wait_in_training_and_take_what_is_there_otherwise(family: ModuleType) -> None:
    with torch.no_grad():
        assert not compiler.serves("toy", torch.zeros(1))
    assert family.loaded == 0
    assert compiler.serves("toy", torch.zeros(1))
    assert not compiler.serves("toy", torch.zeros(1, dtype=torch.float64))
    with torch.autocast("cpu", torch.bfloat16):
        assert not compiler.serves("toy", torch.zeros(1))
        assert compiler.serves("toy", torch.zeros(1), torch.zeros(1, dtype=torch.bfloat16), fetches=True)


def test_long_work_waits_without_gradients_too(family: ModuleType) -> None:
    with torch.no_grad(), compiler.waiting():
        assert compiler.serves("toy", torch.zeros(1))
    assert family.loaded == 1


def test_without_gradients_too_layers_take_what_was_compiled_before(family: ModuleType) -> None:
    compiler.load("toy")
    with torch.no_grad():
        assert compiler.serves("toy", torch.zeros(1))


def test_an_accelerator_fetches_results_only_where_torch_would_loop_in_python(family: ModuleType) -> None:
    elsewhere = torch.zeros(3, device="meta")
    with torch.no_grad():
        assert compiler.serves("toy", elsewhere, torch.zeros(2), fetches=True)
        assert compiler.serves("toy", elsewhere.bfloat16(), fetches=True)
        assert not compiler.serves("toy", elsewhere)
        assert not compiler.serves("toy", elsewhere.double(), fetches=True)
        assert not compiler.serves("toy", torch.zeros(2, dtype=torch.float64), fetches=True)


def test_other_versions_or_installations_have_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(tmp_path))
    before = cache.folder.__wrapped__()
    assert before is not None
    assert before.is_relative_to(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cache.metadata, "version", lambda package: "0")
        assert cache.folder.__wrapped__() != before
    copy = shutil.copytree(Path(cache.__file__).parent, tmp_path / "copy")  # numba would find nothing of the other
    monkeypatch.setattr(cache, "__file__", str(copy / "cache.py"))
    assert cache.folder.__wrapped__() != before


def test_without_a_place_to_write_there_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.folder.__wrapped__() is None


def test_without_numba_torch_does_everything(family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "is_installed", lambda: False)
    assert not compiler.is_ready("toy")
    assert family.loaded == 0
