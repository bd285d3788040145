"""When compiled loops are ready: the first sound never waits for the compiler, later processes find its results.

numba keeps what it compiled in a cache on disk. The first process on a machine that wants a family of loops has it
compiled by a process of its own, which outlives it, and plays with torch until that is done; all later ones load it in
a fraction of a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import platform
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from neuralfx import engine

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

_lock = threading.Lock()
_compiling = threading.Lock()  # one at a time, so that a core is left for playing
_ready: set[str] = set()  # families whose loops can be called in this process without compiling
_working: dict[str, threading.Thread] = {}


def is_ready(family: str) -> bool:
    """Whether the loops of a family can be called at once; if not, has them compiled in the background.

    Args:
        family: Module of ``neuralfx.engine``, such as ``rnn``.
    """
    if family in _ready:
        return engine.is_enabled()
    if not engine.is_enabled():
        return False
    with _lock:
        if family in _ready:
            return True
        if engine.must_wait() or _marker(family).exists():
            load(family)
            return True
        if family not in _working:
            log.info("compiling %s loops in the background, once; until then torch plays", family)
            _working[family] = threading.Thread(target=_compile_elsewhere, args=[family], daemon=True)
            _working[family].start()
    return False


def serves(family: str, *tensors: Tensor) -> bool:
    """Whether a layer is to hand these tensors to the loops of a family.

    Training waits for the compiler; without gradients, only what is loaded already is used.

    Args:
        family: Module of ``neuralfx.engine``.
        tensors: What the loops would work on.
    """
    import torch

    if not engine.takes(*tensors):
        return False
    if torch.is_grad_enabled() and family not in _ready:
        with _lock:
            load(family)
    return family in _ready


def load(family: str) -> None:
    """Load the loops of a family from numba's cache, or compile them now: seconds."""
    if not _marker(family).exists():
        log.info("compiling %s loops, once", family)
    importlib.import_module(f"neuralfx.engine.{family}").warm()
    _ready.add(family)
    with contextlib.suppress(OSError):  # no place to write: then every process finds out for itself
        _marker(family).parent.mkdir(parents=True, exist_ok=True)
        _marker(family).touch()


def _compile_elsewhere(family: str) -> None:
    """Compile in a process that goes on when this one ends, then load the result."""
    with _compiling:
        if not getattr(sys, "frozen", False):  # in a bundled application sys.executable is the application
            subprocess.run(
                [sys.executable, "-m", "neuralfx.engine.compiler", family],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                check=False,
            )  # fmt: skip
        load(family)


def _marker(family: str) -> Path:
    """File that says that this machine has compiled these sources with this numba."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    versions = (sys.version, metadata.version("numba"), metadata.version("llvmlite"), platform.node(), sys.prefix)
    key = hashlib.sha256(sources + "\0".join(versions).encode()).hexdigest()[:16]
    return _cache_folder() / f"{family}-{key}.compiled"


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "neuralfx/engine"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/neuralfx/engine"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "neuralfx/engine"


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(19)  # whoever plays goes first
    load(sys.argv[1])
