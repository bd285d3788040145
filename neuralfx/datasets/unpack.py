"""Unpacks archives that come from elsewhere: files and folders only, inside the destination, up to a stated size."""

from __future__ import annotations

import bz2
import contextlib
import filecmp
import functools
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

from neuralfx.datasets.storage import locked, progress_bar, require_space
from neuralfx.errors import ArchiveError, NeuralfxError
from neuralfx.text import readable_size

MAX_MEMBERS = 100_000

_PIECE_BYTES = 1 << 20
_LONGEST_READ_BYTES = 1 << 24
_DEEPEST = 64
_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Leftovers of file managers.
_LITTER = re.compile(r"__MACOSX|\._.*|\.DS_Store|Thumbs\.db|desktop\.ini", re.IGNORECASE)
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)


def is_archive(name: str) -> bool:
    """Whether :func:`unpack` understands files with the ending of this name.

    Args:
        name: Name of a file.
    """
    return name.lower().endswith(_ENDINGS)


def unpack(
    archive: str | os.PathLike[str], folder: str | os.PathLike[str], limit_bytes: int, progress: bool = True
) -> None:
    """Unpack a zip or tar archive into a folder.

    Members are written to a hidden folder inside the destination and moved out of it at the end, so that an
    interrupted call leaves nothing half-written. Permissions and times are not restored; leftovers of file managers,
    such as ``__MACOSX``, are skipped.

    Args:
        archive: File ending in .zip, .tar, .tar.gz, .tgz, .tar.bz2, .tbz2, .tar.xz or .txz.
        folder: Destination; made if it is not there. Files in it stay, and are never replaced.
        limit_bytes: Bytes that the members may have together, counted while they are written.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        ArchiveError: If the archive is damaged or encrypted, holds links, devices, paths out of the destination,
            names that would overwrite each other, too many members or too many bytes, or if a file of the same
            name and another content is in the destination. Nothing is left behind.
        DiskSpaceError: If the disk has too little room.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{archive.name}.lock"):
        hidden = folder / f".{archive.name}.unpacking"
        if hidden.exists():  # of a call that could not clean up
            shutil.rmtree(hidden)
        hidden.mkdir()
        try:
            _write_members(archive, hidden, limit_bytes, progress)
            _check_conflicts(hidden, folder)
            _move(hidden, folder)
        except ArchiveError as error:
            raise ArchiveError(f"{archive}: {error}. Nothing of it was unpacked.") from error
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


class _Member(NamedTuple):
    """What an archive holds under a name; ``open`` is None for a folder."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None


def _write_members(archive: Path, folder: Path, limit_bytes: int, progress: bool) -> None:
    """Write everything that an archive holds, or raise an ArchiveError."""
    title = f"unpacking {archive.name}"
    packed_bytes = archive.stat().st_size
    require_space(folder, packed_bytes, title)
    names, announced = _Names(), 0
    with archive.open("rb") as raw, progress_bar(title, packed_bytes, progress) as bar:
        for count, member in enumerate(_members(archive.name, raw), 1):
            announced += max(0, member.size)
            if count > MAX_MEMBERS:
                raise ArchiveError(f"it holds more than {MAX_MEMBERS} members")
            if announced > limit_bytes:
                raise ArchiveError(f"its members are larger than {readable_size(limit_bytes)} together")
            parts = names.admit(member.name, is_folder=member.open is None)
            if parts:
                require_space(folder, member.size, title)
                _write(member, folder.joinpath(*parts), lambda: bar.update(max(0, raw.tell() - bar.n)))


def _write(member: _Member, path: Path, report: Callable[[], object]) -> None:
    """Write a member up to its announced size; any other size is an error."""
    try:
        (path.parent if member.open else path).mkdir(parents=True, exist_ok=True)
        if member.open is None:
            return
        with _reading():
            source = member.open()
        written = 0
        with source, path.open("xb") as target:
            while piece := _read(source):
                written += len(piece)
                if written > member.size:
                    break
                target.write(piece)
                report()
        if written != member.size:
            raise ArchiveError(f"{member.name!r} is announced with {member.size} bytes, but has another size")
    except (OSError, UnicodeError) as error:
        if isinstance(error, NeuralfxError):
            raise
        raise ArchiveError(f"{member.name!r} cannot be written ({error})") from error


def _read(source: IO[bytes]) -> bytes:
    with _reading():
        return source.read(_PIECE_BYTES)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn whatever the standard library says about a damaged archive into an ArchiveError."""
    try:
        yield
    except NeuralfxError:
        raise
    except _DAMAGE as error:
        raise ArchiveError(f"it is damaged, or of a kind that is not known here ({error})") from error


def _members(name: str, raw: BinaryIO) -> Iterator[_Member]:
    return _zip_members(raw) if name.lower().endswith(".zip") else _tar_members(raw)


def _zip_members(raw: BinaryIO) -> Iterator[_Member]:
    with _reading(), zipfile.ZipFile(raw) as archive:
        for member in archive.infolist():
            _split(member.orig_filename)  # zipfile cuts names at NUL
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"{member.filename!r} is a link or a device")
            if member.flag_bits & 0x41:
                raise ArchiveError(f"{member.filename!r} is encrypted; unpack it by hand with its password")
            is_folder = member.is_dir() or kind == stat.S_IFDIR
            yield _Member(
                member.filename, member.file_size, None if is_folder else functools.partial(archive.open, member)
            )


def _tar_members(raw: BinaryIO) -> Iterator[_Member]:
    with _reading():
        stream = _Stream(_decompress(raw))
        with tarfile.TarFile(fileobj=cast("IO[bytes]", stream)) as archive:
            for member in archive:
                if member.size < 0:
                    raise ArchiveError(f"{member.name!r} has a negative size")
                if not (member.isreg() or member.isdir()):
                    raise ArchiveError(f"{member.name!r} is a link or a device")
                opener = functools.partial(archive.extractfile, member)
                yield _Member(member.name, member.size, cast(Any, None if member.isdir() else opener))
        if stream.last.strip(b"\0"):  # tarfile takes a damaged header for the end
            raise ArchiveError("it is damaged: it ends where another member should begin")


def _decompress(raw: BinaryIO) -> IO[bytes]:
    """The content of a compressed file, by its first bytes; the file itself if it is not compressed."""
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if start.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(raw))
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(raw)
    return raw


class _Stream:
    """A tar file for tarfile, which would read a header of any announced size into memory.

    Attributes:
        last: What was read last.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ_BYTES:
            raise ArchiveError(f"it is damaged: a header has a size of {size} bytes")
        self.last = self._file.read(size)
        return self.last


class _Names:
    """The names that an archive has used, as a file system sees them that does not tell upper from lower case."""

    def __init__(self) -> None:
        self._files: set[tuple[str, ...]] = set()
        self._folders: set[tuple[str, ...]] = set()

    def admit(self, name: str, is_folder: bool) -> tuple[str, ...]:
        """The parts of a member's path; none if it is to be skipped.

        Raises:
            ArchiveError: If the path leads elsewhere or belongs to another member.
        """
        parts = _split(name)
        if not parts or any(_LITTER.fullmatch(part) for part in parts):
            return ()
        key = tuple(unicodedata.normalize("NFC", part).casefold().rstrip(". ") for part in parts)
        above = {key[:count] for count in range(1, len(key))}
        if key in self._files or above & self._files or (key in self._folders and not is_folder):
            raise ArchiveError(f"{name!r} would overwrite another member")
        self._folders |= above
        (self._folders if is_folder else self._files).add(key)
        return parts


def _split(name: str) -> tuple[str, ...]:
    """The parts of a relative path, safe on every system.

    Raises:
        ArchiveError: If the path is another one.
    """
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        raise ArchiveError(f"{name!r} has a control character or a backslash in its name")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    # Windows drops dots and spaces at the end of a name.
    if name.startswith("/") or any(re.match("[A-Za-z]:", part) or not part.rstrip(". ") for part in parts):
        raise ArchiveError(f"{name!r} leads out of the folder")
    if len(parts) > _DEEPEST:
        raise ArchiveError(f"a member lies more than {_DEEPEST} folders deep")
    return parts


def _check_conflicts(source: Path, target: Path) -> None:
    """Refuse to replace a file by another one."""
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _check_conflicts(entry, place)
        elif os.path.lexists(place) and not (
            entry.is_file() and place.is_file() and filecmp.cmp(entry, place, shallow=False)
        ):
            raise ArchiveError(f"{place} is there already with another content; move it away first")


def _move(source: Path, target: Path) -> None:
    """Move everything in one folder into another on the same disk."""
    for entry in list(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move(entry, place)
        else:
            os.replace(entry, place)
