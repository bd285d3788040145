"""What several parts ask of files, whatever is in them."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content in hexadecimal, read piece by piece."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def lock(path: Path) -> IO[bytes] | None:
    """Lock a file, which is made if it is not there, until the processes that hold it end, however they do.

    Except on Windows, child processes to which the descriptor is passed hold the lock as well. Where the file system
    knows no locks, there is none.

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
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:
        pass
    return file
