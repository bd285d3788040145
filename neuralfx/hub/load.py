"""Find a model by name and load it: from a folder, from those that come with neuralfx, or from the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralfx.errors import ConfigError, FormatError, ModelNotFoundError
from neuralfx.hub.package import CONFIG, FILES, WEIGHTS, load_folder
from neuralfx.hub.registry import bundled, bundled_folder, normalise_name
from neuralfx.hub.remote import is_repository, parse_repository
from neuralfx.hub.snapshot import find_snapshot

if TYPE_CHECKING:
    from neuralfx.models.base import EffectModule

_PATH = re.compile(r"[./\\~]|[A-Za-z]:|.*\.safetensors$|.*[/\\]$")


class Found(NamedTuple):
    """Where a model lies.

    Attributes:
        folder: The model folder.
        root: Folder that links of its files may lead into: the Hub's cache keeps files apart from their names. None
            means the model folder itself.
        commit: Commit of its repository on the Hub; None for a folder or a model that comes with neuralfx.
    """

    folder: Path
    root: Path | None = None
    commit: str | None = None


def load(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    device: Any = "cpu",
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    endpoint: str | None = None,
) -> EffectModule:
    """Load a model. Nothing in its files is executed or unpickled.

    Args:
        name: A model folder or its ``.safetensors`` file (``./my-amp``), a model that comes with neuralfx
            (``la2a-s4d``), or a repository on the Hugging Face Hub (``owner/name`` or ``owner/name@revision``). They
            are tried in this order. A repository is first looked up in the local cache: a full commit (40 digits)
            that lies there is taken without any request. For a branch or a tag one quick request asks whether it has
            moved, and if so fetches the new commit; if the Hub does not answer, the cached one is taken, and the log
            says so.
        revision: Branch, tag or commit of the repository; None means its main branch.
        device: Where the model goes, such as ``"cpu"`` or ``"cuda"``.
        token: Access token of the Hub; None takes the one of ``hf auth login``, if any.
        cache_dir: Folder of downloaded models; None means the Hub's usual one.
        offline: Never use the network; None means only if ``HF_HUB_OFFLINE`` is set.
        endpoint: Address of another Hub.

    Returns:
        The model in evaluation mode, with ``card``, ``metrics`` and ``name`` set.

    Raises:
        ModelNotFoundError: If there is no such model, revision or folder.
        HubError: If the Hub cannot be reached or wants to know who asks.
        FormatError: If the model is damaged or not of a format that this version reads.
        ConfigError: If there is no such device, or the name is one of a folder here as well as of a repository.
    """
    check_device(device)
    found = find(name, revision=revision, token=token, cache_dir=cache_dir, offline=offline, endpoint=endpoint)
    return load_folder(found.folder, device, found.root)


def check_device(device: Any) -> None:
    """Refuse a device that torch does not know or that this machine does not have.

    Raises:
        ConfigError: If there is no such device.
    """
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"expected a device of this machine, such as 'cpu', got {device!r}.") from error


def find(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    endpoint: str | None = None,
    files: Sequence[str] = FILES,
) -> Found:
    """Find the folder of a model, downloading it if need be, without torch.

    Args:
        name: As in :func:`load`.
        revision: As in :func:`load`.
        token: As in :func:`load`.
        cache_dir: As in :func:`load`.
        offline: As in :func:`load`.
        endpoint: As in :func:`load`.
        files: Names of the files to download from a repository, some of ``FILES``.

    Raises:
        ModelNotFoundError: If there is no such model, revision or folder.
        HubError: If the Hub cannot be reached or wants to know who asks.
        FormatError: If files of the model are damaged, or too large for a model.
        ConfigError: If the name is one of a folder here as well as of a repository.
    """
    if isinstance(name, str) and not _PATH.match(name):
        if is_repository(name):
            repository = parse_repository(name, revision, endpoint)
            if repository.revision is None and (Path(name) / CONFIG).is_file():
                raise ConfigError(
                    f"{name!r} is a folder here and may be a repository on the Hub: write './{name}' for the folder, "
                    f"'{name}@main' for the repository."
                )
            if offline is None:
                from huggingface_hub import constants

                offline = bool(constants.HF_HUB_OFFLINE)
            found = find_snapshot(
                repository, token=token, cache_dir=cache_dir, offline=offline, endpoint=endpoint, files=files
            )
            return Found(*found)
        if not re.search(r"[/\\]", name):
            _refuse_revision(name, revision)
            return Found(_find_bundled(name))
    _refuse_revision(name, revision)
    return Found(_find_folder(Path(name).expanduser()))


def _refuse_revision(name: object, revision: str | None) -> None:
    if revision is not None:
        raise ModelNotFoundError(
            f"{name} has no revision {revision!r}: only models given as owner/name have; leave it out."
        )


def _find_bundled(name: str) -> Path:
    if normalise_name(name) not in bundled() and (Path(name) / CONFIG).is_file():
        raise ModelNotFoundError(f"no model comes with neuralfx as {name!r}; write './{name}' for the folder here.")
    return bundled_folder(name)


def _find_folder(path: Path) -> Path:
    if path.name == WEIGHTS:
        path = path.parent
    elif path.suffix == ".safetensors":
        raise FormatError(f"{path}: expected a file named {WEIGHTS} in a model folder; name the folder instead.")
    elif path.suffix == ".ckpt":
        raise FormatError(f"{path}: a checkpoint only resumes one's own run; 'neuralfx package' makes a model of it.")
    if not path.is_dir():
        raise ModelNotFoundError(
            f"{path}: there is no such folder; see 'neuralfx list' for models by name, and write owner/name for those "
            "on the Hub."
        )
    return path
