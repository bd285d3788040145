"""A lock on a file that ends with the processes that hold it, however they end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def acquire(path: Path) -> IO[bytes] | None:
    """Lock a file, which is made if it is not there.

    Except on Windows, child processes to which the descriptor is passed hold the lock as well.

    Args:
        path: The file.

    Returns:
        The open file, which holds the lock until it is closed; None if somebody else holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
