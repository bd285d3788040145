"""When compiled loops are ready: the first sound never waits for the compiler, later processes find its results.

The first process on a machine that wants a family of loops has it compiled by a process of its own, which outlives it,
and plays with torch until that is done; all later ones load it in a fraction of a second.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from neuralfx import engine
from neuralfx.engine import cache

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

# Modules are found where this process finds them. "python -m" would look into the current folder first, which may hold
# anything: somebody's model, for instance, with a numba.py beside it.
_COMMAND = "import sys; sys.path[:] = sys.argv[2:]; from neuralfx.engine import compiler; compiler.run(sys.argv[1])"

_lock = threading.Lock()
_compiling = threading.Lock()  # one at a time, so that a core is left for playing
_ready: set[str] = set()  # families whose loops can be called in this process without compiling
_broken: set[str] = set()  # families that cannot be had here, for instance because numba refuses this NumPy
_working: dict[str, threading.Thread] = {}
_waits: ContextVar[bool] = ContextVar("waits", default=False)


def is_ready(family: str) -> bool:
    """Whether the loops of a family can be called at once; if not, has them compiled in the background.

    Args:
        family: Module of ``neuralfx.engine``, such as ``rnn``.
    """
    if family in _ready or family in _broken or not engine.is_enabled():
        return family in _ready and engine.is_enabled()
    if engine.must_wait() or _waits.get() or (family not in _working and _is_compiled(family)):
        return _load(family)
    with _lock:
        if family not in _working:
            log.info("compiling %s loops in the background, once; until then torch plays", family)
            _working[family] = threading.Thread(target=_compile_elsewhere, args=[family], daemon=True)
            _working[family].start()
    return False


def serves(family: str, *tensors: Tensor, fetches: bool = False) -> bool:
    """Whether a layer is to hand these tensors to the loops of a family.

    Training waits for the compiler, and so do accelerators and :func:`waiting`; else only what was compiled before is
    used.

    Args:
        family: Module of ``neuralfx.engine``.
        tensors: What the loops would work on.
        fetches: Whether they also take tensors that are in an accelerator's memory, where torch would need a loop of
            Python over samples: slower than to fetch them.
    """
    import torch

    must_fetch = fetches and engine.fetches(*tensors)
    if not (must_fetch or engine.takes(*tensors)):
        return False
    if family in _ready or family in _broken:
        return family in _ready
    wanted = must_fetch or torch.is_grad_enabled() or _waits.get() or (family not in _working and _is_compiled(family))
    return wanted and _load(family)


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Have layers and players wait for the compiler in the ``with`` block, although nobody trains: for long work."""
    token = _waits.set(True)
    try:
        yield
    finally:
        _waits.reset(token)


def is_compiling() -> bool:
    """Whether another process is compiling for this one."""
    return any(thread.is_alive() for thread in _working.values())


def load(family: str) -> None:
    """Load the loops of a family from the cache, or compile them now: seconds."""
    importlib.import_module(f"neuralfx.engine.{family}").warm()
    place = cache.folder()
    if place is not None:
        (place / f"{family}.compiled").touch()


def run(family: str) -> None:
    """What the process that compiles for others does."""
    if hasattr(os, "nice"):
        os.nice(19)  # whoever plays goes first
    load(family)


def _is_compiled(family: str) -> bool:
    place = cache.folder()
    return place is not None and (place / f"{family}.compiled").exists()


def _load(family: str) -> bool:
    """Load, once; whatever goes wrong in numba, torch can do without."""
    with _compiling:
        if family not in _ready and family not in _broken:
            if not _is_compiled(family):
                log.info("compiling %s loops, once", family)
            try:
                load(family)
                _ready.add(family)
            except Exception as error:
                log.warning("no compiled %s loops (%s: %s); torch goes on", family, type(error).__name__, error)
                _broken.add(family)
    return family in _ready


def _compile_elsewhere(family: str) -> None:
    """Compile in a process that goes on when this one ends, then load the result."""
    # Where Python is embedded, sys.executable may be the host, which must not be started again.
    if Path(sys.executable or "none").name.lower().startswith("python") and not getattr(sys, "frozen", False):
        try:
            subprocess.run(
                [sys.executable, "-c", _COMMAND, family, *map(str, sys.path)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                check=False,
            )  # fmt: skip
        except OSError as error:
            log.debug("compiling %s here: %s", family, error)
    _load(family)
