"""What neuralfx asks of the Hugging Face Hub, and what the Hub's refusals mean. Needs no torch.

Some calls of the Hub's client retry for 23 seconds before they tell that there is no network. So each piece of work
begins with one request that is tried once: :func:`probe` for a repository, :func:`reach` for the Hub as a whole.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import neuralfx
from neuralfx.errors import HubError, ModelNotFoundError, NeuralfxError

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

LIBRARY = "neuralfx"  # how models of this package are marked on the Hub
PROBE_TIMEOUT_S = 10.0

_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@(.*))?", re.DOTALL)
_REVISION = re.compile(r"[\w+-][\w.+-]*(?:/[\w+-][\w.+-]*)*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Repository(NamedTuple):
    """A repository on a Hub, at one revision.

    Attributes:
        name: As ``owner/name``.
        revision: Branch, tag or commit; None means the main branch.
        address: Its page.
    """

    name: str
    revision: str | None
    address: str

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a full commit, which never changes."""
        return bool(self.revision and _COMMIT.fullmatch(self.revision))

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


def parse_repository(text: str, revision: str | None = None, endpoint: str | None = None) -> Repository:
    """Read ``owner/name`` or ``owner/name@revision``.

    Args:
        text: What a user wrote.
        revision: Branch, tag or commit; None takes the one in ``text``, if any.
        endpoint: Address of the Hub; None means the usual one.

    Raises:
        ModelNotFoundError: If it is no such name, or gives two revisions.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    match = _REPOSITORY.fullmatch(text)
    try:
        validate_repo_id(match[1] if match else "")
    except HFValidationError:
        match = None
    if not match:
        raise ModelNotFoundError(
            f"expected a repository as owner/name, of letters, digits, '-', '_' and '.', got {text!r}."
        )
    name, stated = match[1], match[2]
    if stated is not None and revision is not None:
        raise ModelNotFoundError(f"{name}: two revisions are given, {stated!r} and {revision!r}; leave one out.")
    revision = stated if revision is None else revision
    if revision is not None and not _REVISION.fullmatch(revision):
        raise ModelNotFoundError(f"{name}: expected a branch, tag or commit as revision, got {revision!r}.")
    return Repository(name, revision, f"{_address(endpoint)}/{name}")


def is_repository(text: str) -> bool:
    """Whether a text has the form ``owner/name`` or ``owner/name@revision``."""
    return bool(_REPOSITORY.fullmatch(text))


def connect(token: str | bool | None = None, endpoint: str | None = None) -> HfApi:
    """The Hub's client, which says that it is neuralfx that asks.

    Args:
        token: Access token; None takes the one of ``hf auth login``, if any.
        endpoint: Address of the Hub; None means the usual one.
    """
    from huggingface_hub import HfApi

    return HfApi(endpoint=_address(endpoint), token=token, library_name=LIBRARY, library_version=neuralfx.__version__)


def probe(api: HfApi, repository: Repository, timeout_s: float = PROBE_TIMEOUT_S) -> ModelInfo:
    """Ask once what a repository holds: its commit, and its files with their sizes.

    Args:
        api: From :func:`connect`.
        repository: The repository.
        timeout_s: Longest wait, in s.

    Raises:
        ModelNotFoundError: If there is no such repository or revision.
        HubError: If the Hub does not tell.
    """
    with asking(repository):
        return api.model_info(repository.name, revision=repository.revision, files_metadata=True, timeout=timeout_s)


def find_models(limit: int = 1000, token: str | bool | None = None, endpoint: str | None = None) -> list[ModelInfo]:
    """The models for neuralfx on the Hub, with the front matter of their cards.

    Args:
        limit: Most models to list.
        token: As in :func:`connect`.
        endpoint: As in :func:`connect`.

    Raises:
        HubError: If the Hub does not tell.
    """
    api = connect(token, endpoint)
    with asking():
        reach(api)
        found = list(api.list_models(filter=LIBRARY, cardData=True, limit=limit))
    return sorted(found, key=lambda model: model.id)


def reach(api: HfApi, timeout_s: float = PROBE_TIMEOUT_S) -> None:
    """Make sure, by one request, that the Hub answers.

    Args:
        api: From :func:`connect`.
        timeout_s: Longest wait, in s.

    Raises:
        HubError: If it does not.
    """
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    with asking():
        headers = build_hf_headers(token=api.token, library_name=LIBRARY, library_version=neuralfx.__version__)
        parameters: dict[str, str | int] = {"filter": LIBRARY, "limit": 1}
        answer = get_session().get(f"{api.endpoint}/api/models", params=parameters, headers=headers, timeout=timeout_s)
        hf_raise_for_status(answer)


@contextlib.contextmanager
def asking(repository: Repository | None = None) -> Iterator[None]:
    """Turns what the Hub's client raises inside the ``with`` block into one line of ours.

    Args:
        repository: What is asked for; None means the Hub as a whole.

    Raises:
        ModelNotFoundError: If there is no such repository or revision.
        HubError: For any other refusal, and if there is no answer.
    """
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the client's own: httpx or httpx2

    try:
        yield
    except NeuralfxError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        httpx.HTTPError,
    ) as error:  # KeyError: an answer without its id
        raise _translate(error, repository) from error


def _translate(error: Exception, repository: Repository | None) -> NeuralfxError:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, HfHubHTTPError):
            return _refusal(cause, repository)
    for cause in causes:
        if isinstance(cause, httpx.RemoteProtocolError) or "Consistency check failed" in str(cause):
            return HubError(
                f"the transfer of {repository or 'an answer'} was interrupted ({_one_line(cause)}). "
                "Run the same again: what is complete is kept."
            )
        if isinstance(cause, OSError) and cause.errno is not None and cause.filename is not None:
            return HubError(
                f"{cause.filename}: cannot be written ({cause.strerror}); free some room there or take another folder."
            )
    return HubError.unreachable(causes[-1])


def _causes(error: BaseException) -> Iterator[Exception]:
    """The error and what led to it; the client hides the Hub's answer behind errors of its own."""
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        yield cause
        cause = cause.__cause__


def _refusal(error: Exception, repository: Repository | None) -> NeuralfxError:
    """What an answer of the Hub with an error status means."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    headers = getattr(response, "headers", {})
    reason = headers.get("X-Error-Message") or _one_line(error)
    if isinstance(error, GatedRepoError) and repository:
        return HubError(
            f"{repository.name} needs access: open {repository.address}, accept its terms, then run 'hf auth login' "
            "or pass token."
        )
    if isinstance(error, RevisionNotFoundError) and repository:
        return ModelNotFoundError(
            f"{repository.name} has no revision {repository.revision!r}; see {repository.address}/tree/main for those."
        )
    if isinstance(error, DisabledRepoError) and repository:
        return HubError(f"{repository.name} has been disabled by the Hub; see {repository.address}.")
    if isinstance(error, RemoteEntryNotFoundError) and repository:
        return ModelNotFoundError(f"{repository} lacks a file of a model folder ({reason}); see {repository.address}.")
    if status == 401 and "invalid" in reason.lower():
        return HubError("the Hugging Face Hub does not know this token; run 'hf auth login' or pass another one.")
    if repository and (isinstance(error, RepositoryNotFoundError) or status == 401):
        return ModelNotFoundError(
            f"no model {repository.name!r} at {repository.address}, or it is private: check its spelling, or run "
            "'hf auth login' or pass a token that may read it. See 'neuralfx list' for the models that come with "
            f"neuralfx; a folder is written './{repository.name}'."
        )
    if status in (401, 403):
        what = f" to {repository.name}" if repository else ""
        return HubError(
            f"the token gives no access{what} ({reason}); run 'hf auth login' with one that does, see "
            "https://huggingface.co/settings/tokens."
        )
    if status == 429:
        return HubError(
            f"the Hugging Face Hub has had too many requests from here; try again {_pause(headers)}. "
            "'hf auth login' raises the limit."
        )
    if status in (409, 412) and repository:
        return HubError(f"{repository.name} has changed meanwhile ({reason}); run the same again.")
    if status is not None and status >= 500:
        return HubError(f"the Hugging Face Hub has trouble (HTTP {status}); try again later.")
    return HubError.unreachable(error)


def _pause(headers: object) -> str:
    """How long the Hub asks to wait: seconds in Retry-After, or t=... in RateLimit."""
    get = getattr(headers, "get", lambda _: None)
    found = re.fullmatch(r"\s*(\d+)\s*", get("Retry-After") or "") or re.search(r"\bt=(\d+)", get("RateLimit") or "")
    return f"in {found[1]} s" if found else "in a few minutes"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _address(endpoint: str | None) -> str:
    from huggingface_hub import constants

    return (endpoint or constants.ENDPOINT).rstrip("/")
