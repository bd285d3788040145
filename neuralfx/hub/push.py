"""Publish a model folder on the Hugging Face Hub: checked, announced, then uploaded in one commit with a tag."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

import neuralfx
from neuralfx.errors import ConfigError, FormatError, HubError, ModelNotFoundError
from neuralfx.hub.package import CARD, FILES, load_folder, read_card, replay_check
from neuralfx.hub.remote import LIBRARY, Repository, asking, connect, parse_repository, probe
from neuralfx.hub.snapshot import blob_id

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

FIRST_TAG = "v1.0.0"
MAX_EXTRA_BYTES = 20_000_000  # one audio example or picture

_EXTRAS = re.compile(r"audio/[\w-][\w.-]*\.(wav|flac|mp3)|pictures/[\w-][\w.-]*\.png", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
_MARK = "Uploaded with neuralfx"  # in the description of our commits, which tells them from those made on the Hub


class Plan(NamedTuple):
    """What a push is going to do.

    Attributes:
        folder: The model folder.
        repository: Where it goes.
        files: What goes up: size in bytes by path.
        removed: Paths that are in the repository and no longer in the folder.
        head: Front matter of the card.
        tag: Name of the release.
        creates: Whether the repository is new.
        private: Whether it is, or will be, private.
        keeps_card: Whether the card on the Hub stays, because its owner edited it there.
        parent: Commit that the new one follows; None for a new repository.
        difference: Of the check's replay from what it should be, in amplitude.
    """

    folder: Path
    repository: Repository
    files: dict[str, int]
    removed: list[str]
    head: str
    tag: str
    creates: bool
    private: bool
    keeps_card: bool
    parent: str | None
    difference: float


class Release(NamedTuple):
    """What a push has done.

    Attributes:
        address: Page of the repository.
        commit: Commit that holds the model, 40 hexadecimal digits.
        tag: Its name.
    """

    address: str
    commit: str
    tag: str


def push(
    folder: str | os.PathLike[str],
    name: str,
    *,
    private: bool = False,
    tag: str | None = None,
    message: str | None = None,
    overwrite_card: bool = False,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Release:
    """Publish a model folder: :func:`plan_push`, then :func:`upload`.

    Args:
        folder: A model folder, see ``neuralfx package``.
        name: Repository, as ``owner/name``. It is created if need be.
        private: Whether a new repository is only for its owner.
        tag: Name of the release, such as ``v1.0.1``; None means ``v1.0.0``.
        message: Title of the commit; None makes one of the tag.
        overwrite_card: Replace the card even if it was edited on the Hub.
        token: Access token that may write; None takes the one of ``hf auth login``.
        endpoint: Address of another Hub.

    Raises:
        FormatError: If the folder is damaged, or its check does not replay.
        ConfigError: If the name, the tag or the visibility cannot be.
        HubError: If the Hub refuses or does not answer.
    """
    require_token(token)
    plan = plan_push(
        folder, name, private=private, tag=tag, overwrite_card=overwrite_card, token=token, endpoint=endpoint
    )
    return upload(plan, message=message, token=token, endpoint=endpoint)


def require_token(token: str | bool | None = None) -> None:
    """Make sure that there is an access token, as the Hub's client looks it up.

    Args:
        token: As in :func:`push`.

    Raises:
        HubError: If there is none.
    """
    from huggingface_hub import get_token

    if not (isinstance(token, str) and token) and (token is False or not get_token()):
        raise HubError(
            "publishing needs an access token of the Hugging Face Hub: run 'hf auth login' with one that may write, "
            "see https://huggingface.co/settings/tokens. Nothing was uploaded."
        )


def plan_push(
    folder: str | os.PathLike[str],
    name: str,
    *,
    private: bool = False,
    tag: str | None = None,
    overwrite_card: bool = False,
    token: str | bool | None = None,
    endpoint: str | None = None,
) -> Plan:
    """Check a model folder, ask the Hub what is there, and tell what a push would do. Nothing is changed.

    Args:
        folder: As in :func:`push`.
        name: As in :func:`push`.
        private: As in :func:`push`.
        tag: As in :func:`push`.
        overwrite_card: As in :func:`push`.
        token: As in :func:`push`.
        endpoint: As in :func:`push`.

    Raises:
        FormatError: If the folder is damaged, or its check does not replay.
        ConfigError: If the name, the tag or the visibility cannot be.
        HubError: If the Hub refuses or does not answer.
    """
    repository = _check_name(name, endpoint)
    tag = FIRST_TAG if tag is None else tag
    if not _TAG.fullmatch(tag) or ".." in tag or tag == "main":
        raise ConfigError(f"expected a tag such as {FIRST_TAG}, of letters, digits, '-', '_' and '.', got {tag!r}.")
    folder = Path(folder)
    if not folder.is_dir():
        raise FormatError(f"{folder}: there is no such model folder; 'neuralfx package' makes one of a checkpoint.")
    files = list_files(folder)
    difference = replay_check(load_folder(folder), folder)
    head = read_head(read_card(folder), str(folder / CARD))
    api = connect(token, endpoint)
    info = _ask(api, repository)
    keeps_card = False
    if info:
        _check_remote(api, repository, info, private, tag)
        keeps_card = not overwrite_card and _is_card_edited(api, repository, info, folder)
    there = [file.rfilename for file in info.siblings or []] if info else []
    return Plan(
        folder=folder,
        repository=repository,
        files={path: size for path, size in files.items() if not (keeps_card and path == CARD)},
        removed=sorted(path for path in there if _EXTRAS.fullmatch(path) and path not in files),
        head=head,
        tag=tag,
        creates=info is None,
        private=bool(info.private) if info else private,
        keeps_card=keeps_card,
        parent=info.sha if info else None,
        difference=difference,
    )


def upload(
    plan: Plan, *, message: str | None = None, token: str | bool | None = None, endpoint: str | None = None
) -> Release:
    """Do what a plan says: create the repository, upload in one commit, set the tag.

    Args:
        plan: From :func:`plan_push`.
        message: As in :func:`push`.
        token: As in :func:`push`.
        endpoint: As in :func:`push`.

    Raises:
        HubError: If the Hub refuses or does not answer.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = connect(token, endpoint)
    name = plan.repository.name
    operations: list[Any] = [CommitOperationAdd(path, plan.folder / path) for path in plan.files]
    operations += [CommitOperationDelete(path) for path in plan.removed]
    with asking(plan.repository):
        if plan.creates:
            api.create_repo(name, private=plan.private, exist_ok=True)
        done = api.create_commit(
            name,
            operations,
            commit_message=message or f"Release {plan.tag}",
            commit_description=f"{_MARK} {neuralfx.__version__}",
            parent_commit=plan.parent,
        )
        api.create_tag(name, tag=plan.tag, revision=done.oid, tag_message=message)
    return Release(plan.repository.address, done.oid, plan.tag)


def list_files(folder: str | os.PathLike[str]) -> dict[str, int]:
    """What of a folder is published: its model files, ``audio/*.wav|flac|mp3`` and ``pictures/*.png``.

    Args:
        folder: A model folder.

    Returns:
        Size in bytes by path.

    Raises:
        FormatError: If one of them is missing, a link, or too large for an example.
    """
    folder = Path(folder)
    extras = [f"{part.name}/{path.name}" for part in _folders(folder) for path in sorted(part.iterdir())]
    sizes = {}
    for name in [*FILES, *(name for name in extras if _EXTRAS.fullmatch(name))]:
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise FormatError(f"{path}: expected a file to publish, got a link or nothing; package the model again.")
        sizes[name] = path.stat().st_size
        if name not in FILES and sizes[name] > MAX_EXTRA_BYTES:
            raise FormatError(f"{path}: expected at most {MAX_EXTRA_BYTES} bytes, got {sizes[name]}; shorten it.")
    return sizes


def read_head(card: str, where: str = CARD) -> str:
    """The front matter of a card, after a check that the Hub will understand it.

    Args:
        card: Markdown.
        where: Name of the file in error messages.

    Raises:
        FormatError: If there is none, or it does not mark a model of neuralfx with its licence.
    """
    from huggingface_hub import ModelCard

    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    try:
        ModelCard(card, ignore_metadata_errors=False)  # reads model-index, too
        data = yaml.safe_load(found[1]) if found else {}
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise FormatError(
            f"{where}: its front matter is not valid for the Hub ({' '.join(str(error).split())[:200]})."
        ) from error
    if not found or data.get("library_name") != LIBRARY or not data.get("license"):
        raise FormatError(
            f"{where}: expected front matter (between two lines of ---) with 'library_name: {LIBRARY}' and a license; "
            "'neuralfx package' writes it."
        )
    return found[1]


def _folders(folder: Path) -> Iterable[Path]:
    return [folder / name for name in ("audio", "pictures") if (folder / name).is_dir()]


def _check_name(name: str, endpoint: str | None) -> Repository:
    try:
        repository = parse_repository(name, endpoint=endpoint)
    except ModelNotFoundError as error:
        raise ConfigError(str(error)) from None
    if repository.revision is not None:
        raise ConfigError(f"expected owner/name, got {name!r}; the release is named by the tag (--tag).")
    return repository


def _ask(api: HfApi, repository: Repository) -> ModelInfo | None:
    """What the repository holds; None if there is none."""
    try:
        return probe(api, repository)
    except ModelNotFoundError:
        return None


def _check_remote(api: HfApi, repository: Repository, info: ModelInfo, private: bool, tag: str) -> None:
    """Refuse what would harm a repository, or could not be finished there."""
    names = {file.rfilename for file in info.siblings or []} - {".gitattributes", CARD}
    if names and info.library_name != LIBRARY and LIBRARY not in (info.tags or []):
        raise ConfigError(
            f"{repository.name} holds something else than a model for neuralfx ({sorted(names)[0]}); choose another "
            "name."
        )
    if private and not info.private:
        raise ConfigError(
            f"{repository.name} is public; make it private at {repository.address}/settings, or leave --private out."
        )
    with asking(repository):
        tags = [reference.name for reference in api.list_repo_refs(repository.name).tags]
    if tag in tags:
        raise ConfigError(
            f"{repository.name} has a release {tag} already, and releases do not change; name the next one by --tag, "
            f"such as {next_version(tags)}."
        )


def next_version(tags: Iterable[str]) -> str:
    """A name for the release after the highest one.

    Args:
        tags: Names of releases.

    Example:
        >>> next_version(["v1.0.0", "v1.0.9", "beta"])
        'v1.0.10'
    """
    versions = [tuple(map(int, match.groups())) for tag in tags if (match := _VERSION.fullmatch(tag))]
    if not versions:
        return FIRST_TAG
    major, minor, patch = max(versions)
    return f"v{major}.{minor}.{patch + 1}"


def _is_card_edited(api: HfApi, repository: Repository, info: ModelInfo, folder: Path) -> bool:
    """Whether the card on the Hub is neither this folder's nor the one of the last push."""
    here = next((file.blob_id for file in info.siblings or [] if file.rfilename == CARD), None)
    if here is None or here == blob_id((folder / CARD).read_bytes()):
        return False
    with asking(repository):
        commits = api.list_repo_commits(repository.name)
        pushed = next((commit.commit_id for commit in commits if _MARK in f"{commit.title} {commit.message}"), None)
        if pushed is None:
            return True
        then = api.get_paths_info(repository.name, [CARD], revision=pushed)
    return here not in [getattr(file, "blob_id", None) for file in then]
