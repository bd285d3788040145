"""Which models there are: those that come with neuralfx, and those on the Hugging Face Hub. Needs no torch."""

from __future__ import annotations

import fnmatch
import importlib.resources
from pathlib import Path

from neuralfx.errors import HubError, ModelNotFoundError
from neuralfx.hub.package import CONFIG


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
    """The folder of a model that comes with neuralfx.

    Args:
        name: Its name in any spelling that :func:`normalise_name` understands.

    Raises:
        ModelNotFoundError: If no such model comes with neuralfx.
    """
    names = bundled()
    if normalise_name(name) not in names:
        raise ModelNotFoundError.unknown(name, names)
    return _bundle() / normalise_name(name)


def list_models(pattern: str = "*", hub: bool = False) -> list[str]:
    """Names that :func:`neuralfx.load` understands.

    Args:
        pattern: Shell pattern such as ``la2a*``. On the Hub it may match with or without the owner.
        hub: Also ask the Hugging Face Hub; needs the network.

    Returns:
        Bundled names, then ``owner/name`` of those on the Hub, each sorted.

    Raises:
        HubError: If the Hub cannot be asked.
    """
    pattern = normalise_name(pattern)
    names = [name for name in bundled() if fnmatch.fnmatchcase(name, pattern)]
    return names + ([name for name in _hub_names() if _matches(name, pattern)] if hub else [])


def _bundle() -> Path:
    return Path(str(importlib.resources.files("neuralfx"))) / "bundled"


def _matches(name: str, pattern: str) -> bool:
    name = normalise_name(name)
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.partition("/")[2], pattern)


def _hub_names() -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the client's own: httpx or httpx2

    try:
        return sorted(model.id for model in HfApi(library_name="neuralfx").list_models(filter="neuralfx"))
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise HubError.unreachable(error) from error
