"""How the C library deals with the memory that training takes and gives back at every step."""

from __future__ import annotations

import ctypes
import functools
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt(3)
_NEVER, _LARGEST = 2**31 - 1, 32 * 2**20  # bytes; it refuses a larger second one


@functools.cache
def keep_freed_memory() -> bool:
    """Have this process keep memory that is given back, instead of returning it to the system page by page.

    A training step takes what the one before it gave back. By default glibc returns much of it, and the system has to
    clear every page again: up to a third of a step's time, and different from step to step. The price is what lies
    between pieces that are in use, a tenth of the memory or so. Where the environment has settings of malloc, those
    stay.

    Returns:
        Whether the C library, glibc on Linux, has understood.
    """
    if os.name != "posix" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER) and mallopt(_MMAP_THRESHOLD, _LARGEST))
