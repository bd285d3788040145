"""Which models there are: those that come with neuralfx, and those on the Hugging Face Hub. Needs no torch."""

from __future__ import annotations

import fnmatch
import importlib.resources
from pathlib import Path

from neuralfx.errors import FormatError, ModelNotFoundError
from neuralfx.files import sha256
from neuralfx.hub.package import CARD, CONFIG, WEIGHTS
from neuralfx.hub.remote import find_models

CHECKSUMS = "SHA256SUMS"  # beside the bundled models; written by: sha256sum */*.* > SHA256SUMS


def normalise_name(name: str) -> str:
    """The one spelling of a model's name: lower case with hyphens.

    Args:
        name: As a person may write it.

    Example:
        >>> normalise_name("LA2A_s4d")
        'la2a-s4d'
    """
    return name.lower().replace("_", "-")


def bundled() -> list[str]:
    """Names of the models that come with neuralfx, sorted."""
    folder = _bundle()
    return sorted(entry.parent.name for entry in folder.glob(f"*/{CONFIG}"))


def bundled_folder(name: str) -> Path:
    """The folder of a model that comes with neuralfx, after a check that it is as it was shipped.

    Args:
        name: Its name in any spelling that :func:`normalise_name` understands.

    Raises:
        ModelNotFoundError: If no such model comes with neuralfx.
        FormatError: If its configuration, weights or card are not those that were shipped.
    """
    names = bundled()
    if normalise_name(name) not in names:
        raise ModelNotFoundError.unknown(name, names)
    folder = _bundle() / normalise_name(name)
    stated = checksums()
    for file in (CONFIG, WEIGHTS, CARD):
        expected = stated.get(f"{folder.name}/{file}")
        if expected and (not (folder / file).is_file() or sha256(folder / file) != expected):
            raise FormatError(f"{folder / file}: is missing or not as it came with neuralfx; install neuralfx again.")
    return folder


def checksums() -> dict[str, str]:
    """SHA-256 of the files of bundled models in hexadecimal, by ``name/file``."""
    path = _bundle() / CHECKSUMS
    if not path.is_file():
        return {}
    lines = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: digest for digest, name in lines}


def list_models(
    pattern: str = "*", hub: bool = False, *, token: str | bool | None = None, endpoint: str | None = None
) -> list[str]:
    """Names that :func:`neuralfx.load` understands.

    Args:
        pattern: Shell pattern such as ``la2a*``. On the Hub it may match with or without the owner.
        hub: Also ask the Hugging Face Hub; needs the network.
        token: Access token of the Hub; None takes the one of ``hf auth login``, if any.
        endpoint: Address of another Hub.

    Returns:
        Bundled names, then ``owner/name`` of those on the Hub, each sorted.

    Raises:
        HubError: If the Hub cannot be asked.
    """
    names = [name for name in bundled() if fnmatch.fnmatchcase(name, normalise_name(pattern))]
    if hub:
        names += [model.id for model in find_models(token=token, endpoint=endpoint) if matches(model.id, pattern)]
    return names


def matches(name: str, pattern: str) -> bool:
    """Whether the name of a model on the Hub, with or without its owner, is of a pattern.

    Args:
        name: As ``owner/name``.
        pattern: Shell pattern such as ``la2a*``.

    Example:
        >>> matches("me/LA2A_s4d", "la2a*"), matches("me/muff", "you/*")
        (True, False)
    """
    name, pattern = normalise_name(name), normalise_name(pattern)
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.partition("/")[2], pattern)


def _bundle() -> Path:
    return Path(str(importlib.resources.files("neuralfx"))) / "bundled"
