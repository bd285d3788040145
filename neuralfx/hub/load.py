"""Find a model by name and load it: from a folder, from those that come with neuralfx, or from the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import neuralfx
from neuralfx.errors import ConfigError, FormatError, HubError, ModelNotFoundError
from neuralfx.hub.package import CARD, CONFIG, FILES, WEIGHTS, load_folder
from neuralfx.hub.registry import bundled, bundled_folder

if TYPE_CHECKING:
    from neuralfx.models.base import EffectModule

PROBE_TIMEOUT_S = 10.0  # one try, so that a missing network is noticed at once

_PATH = re.compile(r"[./\\~]|[A-Za-z]:|.*\.safetensors$")
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@(.+))?")


class Found(NamedTuple):
    """Where a model lies.

    Attributes:
        folder: The model folder.
        root: Folder that links of its files may lead into: the Hub's cache keeps files apart from their names. None
            means the model folder itself.
    """

    folder: Path
    root: Path | None = None


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
            are tried in this order; a repository is first looked up in the local cache.
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
        ConfigError: If there is no such device.
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
) -> Found:
    """Find the folder of a model, downloading it if need be, without torch.

    Args:
        name: As in :func:`load`.
        revision: As in :func:`load`.
        token: As in :func:`load`.
        cache_dir: As in :func:`load`.
        offline: As in :func:`load`.
        endpoint: As in :func:`load`.

    Raises:
        ModelNotFoundError: If there is no such model, revision or folder.
        HubError: If the Hub cannot be reached or wants to know who asks.
    """
    repository = None if _is_path(name) else _REPOSITORY.fullmatch(str(name))
    if repository:
        if revision and repository[2]:
            raise ModelNotFoundError(
                f"{name}: two revisions are given, {repository[2]!r} and {revision!r}; leave one out."
            )
        revision = revision or repository[2]
        return _find_on_hub(repository[1], revision, token, cache_dir, offline, endpoint)
    if revision:
        raise ModelNotFoundError(
            f"{name} has no revision {revision!r}: only models given as owner/name have; leave it out."
        )
    if not _is_path(name):
        return Found(bundled_folder(str(name)))
    path = Path(name).expanduser()
    if path.name == WEIGHTS:
        path = path.parent
    elif path.suffix == ".safetensors":
        raise FormatError(f"{path}: expected a file named {WEIGHTS} in a model folder; name the folder instead.")
    if not path.is_dir():
        raise ModelNotFoundError(f"{path}: there is no such folder; see 'neuralfx list' for models by name.")
    return Found(path)


def _is_path(name: str | os.PathLike[str]) -> bool:
    if not isinstance(name, str) or _PATH.match(name):
        return True
    return bool(re.search(r"[/\\]", name)) and (Path(name) / CONFIG).is_file()


def _find_on_hub(
    repository: str,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | os.PathLike[str] | None,
    offline: bool | None,
    endpoint: str | None,
) -> Found:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the client's own: httpx or httpx2

    def fetch(local_files_only: bool) -> Found:
        snapshot = Path(
            str(
                snapshot_download(
                    repository,
                    revision=revision,
                    token=token,
                    cache_dir=None if cache_dir is None else str(cache_dir),
                    endpoint=endpoint,
                    allow_patterns=list(FILES),
                    local_files_only=local_files_only,
                    library_name="neuralfx",
                    library_version=neuralfx.__version__,
                )
            )
        )
        return Found(snapshot, root=snapshot.parents[2])  # <cache>/models--owner--name/snapshots/<commit>

    address = f"{endpoint or constants.ENDPOINT}/{repository}"
    try:
        cached = fetch(local_files_only=True)
        if all((cached.folder / file).is_file() for file in (CONFIG, WEIGHTS, CARD)):
            return cached
    except (OSError, ValueError):
        pass  # not in the cache, or only a part of it
    if constants.HF_HUB_OFFLINE if offline is None else offline:
        raise HubError(
            f"{repository} is not in the local cache, and the network is not to be used. Load it once without offline, "
            f"or take one that comes with neuralfx: {', '.join(bundled())}."
        )
    try:
        # A download retries for 23 s without a network; this probe tries once.
        api = HfApi(endpoint=endpoint, token=token, library_name="neuralfx", library_version=neuralfx.__version__)
        api.model_info(repository, revision=revision, timeout=PROBE_TIMEOUT_S)
        return fetch(local_files_only=False)
    except GatedRepoError as error:
        raise HubError(
            f"{repository} needs access: open {address}, accept its terms, then run 'hf auth login' or pass token."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFoundError(
            f"{repository} has no revision {revision!r}; see {address}/tree/main for those."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"no model {repository!r} at {address}, or it is private: check its spelling, or run 'hf auth login' or "
            "pass a token that may read it. See 'neuralfx list' for the models that come with neuralfx."
        ) from error
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise HubError.unreachable(error) from error
