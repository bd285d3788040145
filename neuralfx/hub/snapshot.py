"""The files of a repository in the Hub's local cache: found there, fetched, and checked against what the Hub lists.

The Hub's client compares only sizes. So each file is compared here with the checksum that the Hub lists for it, after a
download as well as whenever the cache is read; what differs is fetched again. Needs no torch.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import neuralfx
from neuralfx.errors import FormatError, HubError, ModelNotFoundError, join_words
from neuralfx.files import sha256
from neuralfx.hub.package import CARD, CONFIG, FILES, MAX_BYTES, WEIGHTS
from neuralfx.hub.remote import LIBRARY, PROBE_TIMEOUT_S, Repository, asking, connect, probe

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

REFRESH_TIMEOUT_S = 3.0  # for a model that is in the cache already
NEEDED = (CONFIG, WEIGHTS, CARD)

_log = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """A commit of a repository in the cache.

    Attributes:
        folder: Its files, by name. They may be links into ``root``.
        root: Folder of the whole cache.
        commit: 40 hexadecimal digits.
    """

    folder: Path
    root: Path
    commit: str


def find_snapshot(
    repository: Repository,
    *,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    endpoint: str | None = None,
    files: Sequence[str] = FILES,
    newest: bool = False,
) -> Snapshot:
    """The files of a repository, from the cache if they are the Hub's, else from the Hub.

    A full commit in the cache is taken without a request. For a branch or a tag there is one quick request: if it has
    moved, the new commit is fetched; if the Hub does not answer, the cache is good enough.

    Args:
        repository: The repository.
        token: Access token; None takes the one of ``hf auth login``, if any.
        cache_dir: Folder of the cache; None means the Hub's usual one.
        offline: Never use the network.
        endpoint: Address of the Hub; None means the usual one.
        files: Names of the wanted files, some of ``FILES``.
        newest: Whether the Hub has to answer for a branch or a tag.

    Raises:
        ModelNotFoundError: If there is no such repository or revision.
        HubError: If the Hub does not deliver, or is not to be asked and nothing is in the cache.
        FormatError: If the repository is no model folder, or its files are larger than those of models are.
    """
    found = _look_up(repository, cache_dir, files)
    damaged = _find_damage(repository, found, files) if found else []
    if found and not damaged and (offline or repository.is_pinned):
        return found
    if damaged and offline:
        raise FormatError(f"{damaged[0]}: is damaged; load {repository} once with the network to fetch it again.")
    if offline:
        raise HubError(
            f"{repository} is not in the local cache, and the network is not to be used. Load it once without "
            "offline, or take one that comes with neuralfx; 'neuralfx list' shows them."
        )
    try:
        api = connect(token, endpoint)
        info = probe(api, repository, REFRESH_TIMEOUT_S if found else PROBE_TIMEOUT_S)
        if found and found.commit == info.sha and not damaged:
            return found
        if found and damaged:
            _log.warning("%s: %s in the cache is damaged and fetched again.", repository, damaged[0].name)
            _remove(damaged, found.root)
        return _fetch(repository, info, token, cache_dir, api.endpoint, files)
    except (HubError, ModelNotFoundError) as error:
        if not found or damaged or newest:
            raise
        _log.warning("%s: taken from the cache, commit %s, since %s", repository, found.commit[:12], error)
        return found


def _look_up(repository: Repository, cache_dir: str | os.PathLike[str] | None, files: Sequence[str]) -> Snapshot | None:
    """What lies in the cache, if it is complete."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repository.name, revision=repository.revision, cache_dir=_text(cache_dir), local_files_only=True,
            allow_patterns=list(files),
        )  # fmt: skip
    except (OSError, ValueError):
        return None  # not there, or only in part
    found = _as_snapshot(folder)
    return found if all((found.folder / name).is_file() for name in NEEDED if name in files) else None


def _fetch(
    repository: Repository,
    info: ModelInfo,
    token: str | bool | None,
    cache_dir: str | os.PathLike[str] | None,
    endpoint: str,
    files: Sequence[str],
) -> Snapshot:
    from huggingface_hub import snapshot_download

    _check_listing(repository, info)
    with asking(repository):
        folder = snapshot_download(
            repository.name, revision=info.sha, token=token, cache_dir=_text(cache_dir), endpoint=endpoint,
            allow_patterns=list(files), library_name=LIBRARY, library_version=neuralfx.__version__,
        )  # fmt: skip
    found = _as_snapshot(folder)
    damaged = _find_damage(repository, found, files)
    if damaged:
        _remove(damaged, found.root)
        raise HubError(
            f"{repository}: {join_words([path.name for path in damaged])} arrived with another content than the Hub "
            "lists, and was removed. Run the same again."
        )
    if not repository.is_pinned:
        _note_commit(found, repository.revision)
    return found


def _check_listing(repository: Repository, info: ModelInfo) -> None:
    """Refuse what is no model folder, or too large for one, before anything is downloaded."""
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    for name in NEEDED:
        if name not in sizes:
            raise FormatError(f"{repository}: is no model for neuralfx, {name} is missing; see {repository.address}.")
    for name, limit in MAX_BYTES.items():
        size = sizes.get(name)
        if size is not None and size > limit:
            raise FormatError(f"{repository}: expected {name} of at most {limit} bytes, the Hub lists {size}.")


def _find_damage(repository: Repository, found: Snapshot, files: Sequence[str]) -> list[Path]:
    """The files that are not what the Hub listed when they were fetched."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        listed = get_cached_repo_tree(repository.name, revision=found.commit, cache_dir=found.root)
    except CachedRepoTreeNotFoundError:
        return []  # fetched by an older client; the weights have a checksum in config.json, too
    wanted = [(found.folder / file.path, file) for file in listed if file.path in files]
    return [path for path, file in wanted if path.exists() and not _matches(path, file)]


def _matches(path: Path, listed: Any) -> bool:
    if path.stat().st_size != (listed.lfs.size if listed.lfs else listed.size):
        return False
    if listed.lfs:
        return bool(sha256(path) == listed.lfs.sha256)
    return bool(blob_id(path.read_bytes()) == listed.blob_id)


def blob_id(content: bytes) -> str:
    """Git's name for a content, which the Hub lists for small files.

    Args:
        content: Content of a file.

    Example:
        >>> blob_id(b"")
        'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _remove(paths: Sequence[Path], root: Path) -> None:
    """Remove files of the cache with the contents that they are links to; what lies elsewhere is left alone."""
    for path in paths:
        content = path.resolve()
        path.unlink(missing_ok=True)
        if content.is_relative_to(root.resolve()):
            content.unlink(missing_ok=True)


def _note_commit(found: Snapshot, revision: str | None) -> None:
    """Make the cache know which commit a branch or a tag is, now that its files are complete."""
    from huggingface_hub import constants

    path = found.folder.parents[1] / "refs" / (revision or constants.DEFAULT_REVISION)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as scratch:
        (Path(scratch) / "ref").write_text(found.commit, encoding="ascii")
        os.replace(Path(scratch) / "ref", path)


def _as_snapshot(folder: object) -> Snapshot:
    path = Path(str(folder))  # <cache>/models--owner--name/snapshots/<commit>
    return Snapshot(path, path.parents[2], path.name)


def _text(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)
