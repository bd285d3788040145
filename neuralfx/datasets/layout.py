"""What the readers of native layouts share: the files of a folder, the choice of a device, headers and warnings."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from neuralfx.audio import FORMATS, info
from neuralfx.errors import DatasetNotFoundError, FormatError, closest, join_words

MOST_NAMES = 8  # names that a message lists before it counts the rest

_log = logging.getLogger(__name__)


def audio_files(folder: Path) -> list[Path]:
    """Audio files directly in a folder, in order of their names; none where there is no such folder.

    Hidden files are passed over, such as the ``._`` files that macOS puts into archives.
    """
    return [path for path in _entries(folder) if path.suffix.lower() in FORMATS]


def folders(folder: Path) -> list[Path]:
    """Folders directly in a folder, in order of their names, hidden ones and ``__MACOSX`` left out."""
    return [path for path in _entries(folder) if not path.name.startswith("__") and path.is_dir()]


def slug_of(name: str) -> str:
    """A name in lower case with hyphens, as effects and devices have it; ``device`` where nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64] or "device"


def choose_device(device: str | None, present: Sequence[str], where: Path, known: Collection[str] = ()) -> str:
    """The wanted device, or the only one.

    Args:
        device: Its name in any spelling that has the same letters and digits; None for the only one.
        present: Slugs of the devices in the folder, at least one.
        where: The folder.
        known: Slugs of devices that the folder might also hold.

    Raises:
        FormatError: If there are several to choose from, or no device has this name.
        DatasetNotFoundError: If the device is known and its files are not there.
    """
    listed = ", ".join(present)
    if device is None:
        if len(present) > 1:
            raise FormatError(f"{where} holds {len(present)} devices; pass device as one of {listed}.")
        return present[0]
    for names, is_present in ((present, True), (known, False)):
        for name in names:
            if _letters(name) == _letters(device):
                if is_present:
                    return name
                raise DatasetNotFoundError(
                    f"{where} holds no files of {name}; it holds {listed}. Fetch those of {name}."
                )
    close = closest(device, {*present, *known})
    hint = f"did you mean {join_words(close, last='or')}?" if close else f"it holds {listed}."
    raise FormatError(f"{where} has no device {device!r}; {hint}")


def check_rates(files: Iterable[Path], sample_rate: int) -> None:
    """Read the header of each file and compare its sample rate.

    Raises:
        FormatError: If a file has another rate.
        AudioFileError: If a file cannot be read.
    """
    for path in files:
        found = info(path).sample_rate
        if found != sample_rate:
            raise FormatError(
                f"{path}: expected {sample_rate} Hz as in all files of this data set, got {found} Hz; fetch the file "
                "again or convert it."
            )


def list_names(paths: Collection[Path]) -> str:
    """Names of files for a message; long lists are cut and counted."""
    names = [path.name for path in paths]
    rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + rest


def warn_left_out(where: Path, paths: Collection[Path]) -> None:
    """Say once which files have no partner and are left out; nothing where there are none."""
    if paths:
        _log.warning("%s: %d file(s) without a partner are left out: %s", where, len(paths), list_names(paths))


def _entries(folder: Path) -> list[Path]:
    """What a folder shows, in order of names; nothing where it is missing or may not be opened."""
    try:
        return sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
