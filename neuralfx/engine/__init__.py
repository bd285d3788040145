"""Compiled loops for CPUs, on plain arrays: torch's own operations stay the reference, and serve everything else.

The environment variable ``NEURALFX_ENGINE`` chooses: ``torch`` leaves all work to torch, ``wait`` waits for the
compiler where playing would else begin with torch.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SWITCH = "NEURALFX_ENGINE"
_alone: ContextVar[bool] = ContextVar("alone", default=False)


@functools.cache
def is_installed() -> bool:
    """Whether numba, which compiles the loops, is there."""
    return importlib.util.find_spec("numba") is not None


def is_enabled() -> bool:
    """Whether compiled loops may be used."""
    return is_installed() and os.environ.get(SWITCH) != "torch" and not _alone.get()


@contextlib.contextmanager
def torch_alone() -> Iterator[None]:
    """Leave all work to torch in the ``with`` block."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def must_wait() -> bool:
    """Whether playing waits for the compiler."""
    return os.environ.get(SWITCH) == "wait"


def takes(*tensors: Tensor) -> bool:
    """Whether compiled loops work on these tensors: single precision in a CPU's memory, and no export under way."""
    import torch

    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    return is_enabled() and all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def fetches(*tensors: Tensor) -> bool:
    """Whether compiled loops work on copies of these tensors: in an accelerator's memory, or of reduced precision."""
    import torch

    if torch.compiler.is_compiling() or not is_enabled():
        return False
    if all(tensor.device.type == "cpu" for tensor in tensors) and not torch.is_autocast_enabled("cpu"):
        return False
    return all(tensor.dtype in (torch.float32, torch.float16, torch.bfloat16) for tensor in tensors)
