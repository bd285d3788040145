"""Fetch a model from the Hugging Face Hub and prove it, into the cache or into a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from neuralfx.hub.package import FILES, load_folder, refuse_other_content, replay_check
from neuralfx.hub.remote import Repository, parse_repository
from neuralfx.hub.snapshot import Snapshot, find_snapshot


class Pulled(NamedTuple):
    """A model that was fetched.

    Attributes:
        folder: Where it lies.
        repository: Where it comes from.
        commit: Its commit, 40 hexadecimal digits.
        difference: Of the check's replay from what it should be, in amplitude.
    """

    folder: Path
    repository: Repository
    commit: str
    difference: float


def pull(
    name: str,
    *,
    revision: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
) -> Pulled:
    """Fetch the newest commit of a revision, load it, and replay its check.

    Args:
        name: Repository, as ``owner/name`` or ``owner/name@revision``.
        revision: Branch, tag or commit; None means the main branch.
        folder: Model folder to write; an older one is replaced. None leaves the model in the cache, where
            ``neuralfx.load("owner/name")`` finds it.
        token: Access token; None takes the one of ``hf auth login``, if any.
        cache_dir: Folder of the cache; None means the Hub's usual one.
        endpoint: Address of another Hub.

    Raises:
        ModelNotFoundError: If there is no such repository or revision.
        HubError: If the Hub does not deliver.
        FormatError: If the model is damaged or is none, or the folder holds something else.
    """
    repository = parse_repository(name, revision, endpoint)
    target = None if folder is None else Path(folder).resolve()
    if target:
        refuse_other_content(target)
    found = find_snapshot(repository, token=token, cache_dir=cache_dir, endpoint=endpoint, newest=True)
    difference = replay_check(load_folder(found.folder, root=found.root), found.folder, found.root)
    if target:
        _copy(found, target)
    return Pulled(target or found.folder, repository, found.commit, difference)


def _copy(found: Snapshot, folder: Path) -> None:
    """Write the files into a folder that appears under its name only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        for name in FILES:
            if (found.folder / name).is_file():
                shutil.copyfile(found.folder / name, new / name)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)
