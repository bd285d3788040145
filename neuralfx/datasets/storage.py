"""What downloads and archives ask of a disk: room, files that are what they should be, and one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from neuralfx.errors import DiskSpaceError, DownloadError
from neuralfx.text import readable_size

if sys.platform == "win32":
    import msvcrt

    def _lock(number: int) -> None:
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


_log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 20


def require_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Make sure that a disk has room.

    Args:
        folder: Folder that is written to; it need not exist yet.
        needed_bytes: What will be written there, in bytes.
        purpose: What it is for, as the subject of a sentence.

    Raises:
        DiskSpaceError: If less is free.
    """
    free = free_bytes(folder)
    if needed_bytes > free:
        raise DiskSpaceError(
            f"{purpose} needs {readable_size(needed_bytes)}, but {folder} has {readable_size(free)} free; "
            "make room or choose a folder on another disk."
        )


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, in bytes.

    Args:
        folder: The folder; it need not exist yet.
    """
    folder = folder.absolute()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def verify(path: Path, size: int | None, checksum: str, progress: bool = True) -> None:
    """Make sure that a file is what its publisher states.

    Args:
        path: The file.
        size: As for :func:`difference`.
        checksum: Likewise.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        DownloadError: If size or checksum differ.
    """
    found = difference(path, size, checksum, progress)
    if found:
        raise DownloadError(f"{path}: {found}; remove it and fetch it again.")


def difference(path: Path, size: int | None, checksum: str, progress: bool = True) -> str:
    """What tells a file from what its publisher states.

    Args:
        path: The file.
        size: Its size in bytes; None if the publisher states none.
        checksum: ``md5:`` or ``sha256:`` and the digest in hexadecimal; empty if the publisher states none.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        What was expected and what is there; empty if they agree.
    """
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        return f"expected {size} bytes, got {found_size}"
    if checksum:
        algorithm = checksum.partition(":")[0]
        found = f"{algorithm}:{_digest(path, algorithm, progress)}"
        if found != checksum.lower():
            return f"expected {checksum}, got {found}"
    return ""


def _digest(path: Path, algorithm: str, progress: bool) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file, progress_bar(f"checking {path.name}", path.stat().st_size, progress) as bar:
        for piece in iter(lambda: file.read(_PIECE_BYTES), b""):
            digest.update(piece)
            bar.update(len(piece))
    return digest.hexdigest()


def progress_bar(title: str, total: int | None, progress: bool, initial: int = 0) -> tqdm[Any]:
    """A bar of bytes with rate and remaining time; it shows on terminals only.

    Args:
        title: What goes on.
        total: Bytes in all; None if that is unknown.
        progress: Whether it shows at all.
        initial: Bytes that are done already.
    """
    return tqdm(
        total=total,
        initial=initial,
        desc=title,
        unit="B",
        unit_scale=True,
        leave=False,
        file=sys.stderr,
        disable=None if progress else True,
    )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one, among processes and threads, inside the ``with`` block of this path; the others wait.

    The system ends a lock with its process, so that none is ever left behind.

    Args:
        path: File to lock, in a folder that exists; it comes and goes with the lock.
    """
    waiting = False
    while (file := _acquire(path)) is None:
        if not waiting:
            _log.info("Another process works on %s; waiting for it.", path.parent)
        waiting = True
        time.sleep(0.1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps files that are open
            path.unlink()
        file.close()


def _acquire(path: Path) -> BinaryIO | None:
    """The locked file; None if another has it, or had it and removed it meanwhile."""
    file = path.open("ab")
    try:
        _lock(file.fileno())
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            _log.warning("%s: this disk knows no locks (%s); let only one process write there.", path.parent, error)
            return file
    file.close()
    return None
