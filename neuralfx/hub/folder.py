"""The files of a model folder: their names, their largest sizes, and how they are opened without trust.

Names are fixed, so nothing that a file says becomes a path. Only regular files are read: a link that leaves the folder,
a device, a pipe or a folder in place of a file is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from neuralfx.errors import FormatError, join_words

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
CHECK = "check.safetensors"
RECIPE = "recipe.yaml"
FILES = (CONFIG, WEIGHTS, CARD, CHECK, RECIPE)
EXTRAS = ("audio", "pictures")  # folders of what a card shows; loading leaves them alone

MAX_BYTES = {CONFIG: 1_000_000, WEIGHTS: 64_000_000, CARD: 1_000_000, CHECK: 32_000_000, RECIPE: 1_000_000}


def open_file(folder: str | os.PathLike[str], name: str, root: Path | None = None) -> BinaryIO:
    """Open one file of a model folder for reading.

    Args:
        folder: A model folder.
        name: One of ``FILES``.
        root: Folder that links may lead into; None means the model folder itself.

    Raises:
        FormatError: If the file is missing, too large, no regular file, or a link that leaves ``root``.
    """
    path = Path(folder) / name
    try:
        target = path.resolve(strict=True)
        if not target.is_relative_to(Path(root or folder).resolve()):
            raise FormatError(f"{path}: expected a file, got a link that leaves the folder; put the file itself there.")
        if not target.is_file():
            raise FormatError(f"{path}: expected a file, got a folder, a device or a pipe.")
        # Whatever takes the file's place meanwhile is neither followed nor waited for.
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        file = open(os.open(target, flags), "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise FormatError(f"{folder}: {name} is missing; a model folder holds {join_words(FILES)}.") from None
    except (OSError, RuntimeError) as error:  # links in a circle are either
        reason = getattr(error, "strerror", None) or "links in a circle"
        raise FormatError(f"{path}: cannot be read ({reason}); check its permissions.") from error
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES[name]:
        return file
    file.close()
    raise FormatError(f"{path}: expected a file of at most {MAX_BYTES[name]} bytes, got {status.st_size}.")


def read_file(folder: str | os.PathLike[str], name: str, root: Path | None = None) -> bytes:
    """Read one file of a model folder.

    Args:
        folder: A model folder.
        name: One of ``FILES``.
        root: Folder that links may lead into; None means the model folder itself.

    Raises:
        FormatError: As :func:`open_file`.
    """
    with open_file(folder, name, root) as file:
        return file.read()
