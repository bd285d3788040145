"""Fetches a file over HTTP: resumed where it was cut off, checked as a whole, and under its name only when complete.

What has arrived lies beside the target as ``NAME.part``; ``NAME.part.json`` says which version of the file it is of.
"""

from __future__ import annotations

import contextlib
import email.message
import http.client
import json
import logging
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from neuralfx import __version__
from neuralfx.datasets.base import Remote
from neuralfx.datasets.storage import difference, locked, progress_bar, require_space, verify
from neuralfx.errors import DownloadError, NeuralfxError
from neuralfx.text import readable_size

_log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 18
_LONGEST_PAUSE_S = 60.0
# Answers after which the same request may work a little later.
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(
    remote: Remote,
    folder: str | os.PathLike[str],
    progress: bool = True,
    *,
    reserve_bytes: int = 0,
    timeout_s: float = 30.0,
    attempts: int = 6,
    pause_s: float = 1.0,
) -> Path:
    """Fetch a file, or go on where an earlier call was interrupted.

    A part is continued only if the server says that the file is still the same one, or if the checksum of the whole
    will tell. Of several processes that want the same file, one fetches it and the others wait.

    Args:
        remote: The file.
        folder: Where it goes; made if it is not there.
        progress: Whether to show a progress bar on a terminal.
        reserve_bytes: Room that has to be left on the disk besides, such as for unpacking, in bytes.
        timeout_s: Longest silence of the server, in seconds.
        attempts: How often to try in a row without getting any further, at least 1.
        pause_s: Pause before the second attempt, in seconds; it doubles with each one.

    Returns:
        Path of the complete file. One that is there already is only checked.

    Raises:
        DownloadError: If the server does not deliver, or delivers something else than the publisher states.
        DiskSpaceError: If the disk has too little room.
    """
    target = Path(folder) / remote.name
    if _scheme(remote.url) not in ("http", "https"):
        raise DownloadError(f"{remote.name}: expected an address with http or https, got {remote.url!r}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f".{target.name}.lock")):
        if target.exists():
            verify(target, remote.size, remote.checksum, progress)
            return target
        part = _Part(remote, target)
        _persist(_Transfer(remote, part, reserve_bytes, timeout_s, progress), attempts, pause_s)
        found = difference(part.path, remote.size, remote.checksum, progress)
        if found:
            part.remove()
            raise DownloadError(
                f"{remote.url}: {found}. What arrived was removed; run the same command again. "
                "If that does not help, the file has changed there."
            )
        os.replace(part.path, target)
        part.remove()
    return target


class _Dropped(Exception):
    """An attempt that ended early, for a reason that may pass.

    Attributes:
        wait_s: How long the server asks to wait, in seconds.
    """

    def __init__(self, reason: object, wait_s: float = 0.0) -> None:
        super().__init__(" ".join(str(reason).split())[:200] or type(reason).__name__)
        self.wait_s = wait_s


def _persist(transfer: _Transfer, attempts: int, pause_s: float) -> None:
    """Attempt until the part is complete, or until it stops growing."""
    part = transfer.part
    farthest, failures = part.size(), 0
    while True:
        try:
            return transfer.attempt()
        except _Dropped as error:
            if part.size() > farthest:
                farthest, failures = part.size(), 0
            failures += 1
            if failures >= attempts:
                raise DownloadError(
                    f"{transfer.remote.url}: gave up after {failures} attempts in a row ({error}). "
                    f"{readable_size(part.size())} are kept; the same command goes on from there."
                ) from error
            wait_s = min(max(pause_s * 2 ** (failures - 1), error.wait_s), _LONGEST_PAUSE_S)
            _log.info(
                "%s: interrupted at %s (%s); next attempt in %.3g s.",
                transfer.remote.name,
                readable_size(part.size()),
                error,
                wait_s,
            )
            time.sleep(wait_s)


class _Part:
    """What has arrived of a file, and a note of which version of it that is."""

    def __init__(self, remote: Remote, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self.note_path = target.with_name(f"{target.name}.part.json")
        self._remote = remote

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def note(self) -> dict[str, Any]:
        """``url``, ``validator`` and ``total`` of the version that the part is of; empty if unknown."""
        try:
            note = json.loads(self.note_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        fits = isinstance(note, dict) and note.get("url") == self._remote.url
        return note if fits and (note.get("validator") or self._remote.checksum) else {}

    def begin(self, validator: str, total: int | None) -> None:
        """Start anew."""
        self.remove()
        note = {"url": self._remote.url, "validator": validator, "total": total}
        self.note_path.write_text(json.dumps(note), encoding="utf-8")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)


class _Transfer:
    """A file on its way into its part."""

    def __init__(self, remote: Remote, part: _Part, reserve_bytes: int, timeout_s: float, progress: bool) -> None:
        self.remote = remote
        self.part = part
        self._reserve_bytes = reserve_bytes
        self._timeout_s = timeout_s
        self._progress = progress

    def attempt(self) -> None:
        """Request what is missing and append it.

        Raises:
            _Dropped: If it ends early; the next attempt goes on.
            DownloadError: If there is no point in another attempt.
        """
        note = self.part.note()
        if not note:
            self.part.remove()
        have = self.part.size()
        if have and have == (note.get("total") or self.remote.size):
            return
        with self._ask(have, str(note.get("validator") or "")) as response:
            validator = _validator(response.headers)
            if response.status == 206 and have:
                start, total = _content_range(response.headers)
                if (start, validator, total) != (have, note.get("validator"), note.get("total") or total):
                    self.part.remove()
                    raise _Dropped("the file has changed on the server; starting anew")
            elif response.status == 200:
                have, total = 0, _content_length(response.headers)
            else:
                self._refuse(f"expected the file, got the answer {response.status} {response.reason}.")
            if response.headers.get_content_type() == "text/html" and not self.remote.name.endswith("html"):
                self._refuse("the server sent a web page instead of the file; open the address in a browser.")
            self._admit(have, total)
            if not have:
                self.part.begin(validator, total)
            self._receive(response, have, total)

    @contextlib.contextmanager
    def _ask(self, have: int, validator: str) -> Iterator[http.client.HTTPResponse]:
        headers = {"User-Agent": f"neuralfx/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator:
                headers["If-Range"] = validator
        request = urllib.request.Request(self.remote.url, headers=headers)
        try:
            response = _opener().open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and have:
                self.part.remove()
                raise _Dropped("the file has become shorter on the server; starting anew") from error
            if error.code in _TEMPORARY:
                raise _Dropped(f"{error.code} {error.reason}", _retry_after(error.headers)) from error
            self._refuse(f"the server answered {error.code} {error.reason}.", error)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, NeuralfxError):
                raise
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                self._refuse(f"the server does not prove who it is ({reason.verify_message}).", error)
            raise _Dropped(reason) from error
        with response:
            yield response

    def _admit(self, have: int, total: int | None) -> None:
        """Refuse a file of another size than stated, and one for which there is no room."""
        stated = self.remote.size
        if stated is not None and total is not None and total != stated:
            self._refuse(f"expected {stated} bytes, but the server announces {total}; the file has changed there.")
        total = stated if total is None else total
        missing = 0 if total is None else total - have
        require_space(self.part.path.parent, missing + self._reserve_bytes, self.remote.name)

    def _receive(self, response: http.client.HTTPResponse, have: int, total: int | None) -> None:
        """Append the body up to its announced end."""
        limit = self.remote.size if total is None else total
        with self.part.path.open("ab") as file, progress_bar(self.remote.name, limit, self._progress, have) as bar:
            while have != total:
                try:
                    piece = response.read1(_PIECE_BYTES if total is None else min(_PIECE_BYTES, total - have))
                except (OSError, http.client.HTTPException) as error:
                    raise _Dropped(error) from error
                if not piece:
                    break
                have += len(piece)
                if limit is not None and have > limit:
                    break
                file.write(piece)
                bar.update(len(piece))
        if limit is not None and have > limit:
            self.part.remove()
            self._refuse(f"expected {limit} bytes, but the server sends more; the file has changed there.")
        if limit is not None and have < limit:
            raise _Dropped(f"the connection ended {limit - have} bytes early")

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise DownloadError(f"{self.remote.url}: {reason}") from cause


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections within http and https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if _scheme(newurl) not in ("http", "https"):
            raise DownloadError(f"{req.full_url}: redirected to {newurl!r}, which is neither http nor https.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Speaks HTTP alone: what ``build_opener`` adds also reads local files."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _scheme(url: str) -> str:
    return urllib.parse.urlsplit(url).scheme.lower()


def _validator(headers: email.message.Message) -> str:
    """What tells versions of the file apart: its strong ETag, else its date; empty if the server gives neither."""
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _content_length(headers: email.message.Message) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if re.fullmatch(r"\d+", text) else None


def _content_range(headers: email.message.Message) -> tuple[int, int | None]:
    """First byte of a partial answer and size of the whole file; -1 if they cannot be told."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
    if match is None:
        return -1, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _retry_after(headers: email.message.Message) -> float:
    text = headers.get("Retry-After", "")
    return float(text) if re.fullmatch(r"\d+", text) else 0.0
