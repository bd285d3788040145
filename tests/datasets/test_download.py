"""Downloads from a server that stalls, truncates, drops, lies and changes its mind."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neuralfx.datasets import download as download_module
from neuralfx.datasets.base import Remote
from neuralfx.datasets.download import download
from neuralfx.datasets.storage import locked
from neuralfx.errors import DiskSpaceError, DownloadError
from tests.servers import Reply, Server, serving

CONTENT = bytes(range(256)) * 400
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
PATH = "/audio.bin?download=1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.files[PATH] = CONTENT
        yield server


def fetch(server: Server, folder: Path, size: int | None = None, checksum: str = "", **options: Any) -> Path:
    remote = Remote(server.url(PATH), "audio.bin", size, checksum)
    return download(remote, folder, progress=False, **{"timeout_s": 0.2, "attempts": 3, "pause_s": 0.001, **options})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("checksum", ["", MD5, SHA256, SHA256.upper().replace("SHA", "sha")], ids=lambda text: text[:7])
def test_a_file_arrives_alone_and_complete(server: Server, tmp_path: Path, checksum: str) -> None:
    path = fetch(server, tmp_path / "new" / "folder", len(CONTENT), checksum)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new" / "folder") == ["audio.bin"]
    assert server.ranges() == [None]


def test_a_file_that_is_there_is_checked_and_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "audio.bin").write_bytes(CONTENT)
    fetch(server, tmp_path, len(CONTENT), MD5)
    assert server.requests == []
    (tmp_path / "audio.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(DownloadError, match=rf"audio\.bin: expected {MD5}, got md5:\w+; remove it"):
        fetch(server, tmp_path, len(CONTENT), MD5)
    assert names(tmp_path) == ["audio.bin"]


@pytest.mark.parametrize(
    "fault",
    [
        Reply(stop_after=50_000),
        Reply(stop_after=50_000, reset=True),
        Reply(stop_after=50_000, stall_s=5),
        Reply(stop_after=50_000, chunked=True),
    ],
    ids=["truncates", "drops", "stalls", "truncates chunks"],
)
def test_a_cut_connection_is_taken_up_where_it_ended(server: Server, tmp_path: Path, fault: Reply) -> None:
    server.replies = [fault]
    path = fetch(server, tmp_path, checksum=SHA256)
    assert path.read_bytes() == CONTENT
    first, second = server.ranges()
    assert first is None
    # A reset may take what lay in the buffers along.
    assert second == "bytes=50000-" or (fault.reset and second != "bytes=0-")
    assert names(tmp_path) == ["audio.bin"]


def test_many_cuts_are_no_reason_to_give_up_while_the_file_grows(server: Server, tmp_path: Path) -> None:
    server.replies = [Reply(stop_after=5000) for _ in range(10)]
    assert fetch(server, tmp_path, attempts=2).read_bytes() == CONTENT
    assert len(server.requests) == 11


def test_busy_servers_are_asked_again(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(download_module.time, "sleep", pauses.append)
    server.replies = [Reply(status=503), Reply(status=429, headers={"Retry-After": "7"})]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert pauses == [0.001, 7.0]


def test_giving_up_keeps_the_part_and_the_next_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.replies = [Reply(stop_after=50_000), *[Reply(stop_after=0) for _ in range(3)]]
    with pytest.raises(DownloadError, match=r"gave up after 3 .* 50\.0 kB are kept; the same command goes on"):
        fetch(server, tmp_path, size=len(CONTENT))
    assert names(tmp_path) == ["audio.bin.part", "audio.bin.part.json"]
    assert fetch(server, tmp_path, size=len(CONTENT)).read_bytes() == CONTENT
    assert server.ranges()[-1] == "bytes=50000-"
    assert names(tmp_path) == ["audio.bin"]


def test_nobody_there_is_said_after_a_few_attempts(server: Server, tmp_path: Path) -> None:
    server.usual = Reply(stall_s=5, stop_after=0)
    with pytest.raises(DownloadError, match="gave up after 2 attempts in a row"):
        fetch(server, tmp_path, timeout_s=0.05, attempts=2)


def test_ctrl_c_keeps_the_part(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download_module.time, "sleep", interrupt)
    server.replies = [Reply(stop_after=50_000)]
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path)
    assert (tmp_path / "audio.bin.part").read_bytes() == CONTENT[:50_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges()[-1] == "bytes=50000-"


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.usual = Reply(ignore_range=True)
    server.replies = [Reply(stop_after=50_000)]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_that_truncates_is_given_up(server: Server, tmp_path: Path) -> None:
    server.usual = Reply(ignore_range=True, stop_after=50_000)
    with pytest.raises(DownloadError, match="gave up"):
        fetch(server, tmp_path)
    assert len(server.requests) == 3


@pytest.mark.parametrize("careless", [False, True], ids=["heeds If-Range", "ignores If-Range"])
def test_a_file_that_changed_in_between_starts_anew(server: Server, tmp_path: Path, careless: bool) -> None:
    server.replies = [Reply(stop_after=50_000), *[Reply(stop_after=0) for _ in range(3)]]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path)
    server.files[PATH] = CONTENT[::-1]
    server.usual = Reply(ignore_condition=careless)
    assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1]


def test_a_file_that_became_shorter_starts_anew(server: Server, tmp_path: Path) -> None:
    server.replies = [Reply(stop_after=50_000), Reply(status=416)]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=50000-", None]


def test_without_versions_and_checksum_nothing_is_continued(server: Server, tmp_path: Path) -> None:
    server.usual = Reply(etag="")
    server.replies = [Reply(stop_after=50_000, etag="")]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, None]


def test_without_versions_the_checksum_is_enough_to_continue(server: Server, tmp_path: Path) -> None:
    server.usual = Reply(etag="")
    server.replies = [Reply(stop_after=50_000, etag="")]
    assert fetch(server, tmp_path, checksum=MD5).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=50000-"]


def test_the_date_tells_versions_apart_where_the_etag_is_weak(server: Server, tmp_path: Path) -> None:
    date = {"Last-Modified": "Sat, 21 Nov 2026 19:00:00 GMT"}
    server.usual = Reply(etag='W/"1"', headers=date, ignore_condition=True)
    server.replies = [Reply(etag='W/"1"', headers=date, stop_after=50_000)]
    fetch(server, tmp_path)
    assert server.requests[1]["If-Range"] == date["Last-Modified"]
    assert server.requests[1]["Range"] == "bytes=50000-"


def test_a_damaged_note_starts_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "audio.bin.part").write_bytes(b"something else")
    (tmp_path / "audio.bin.part.json").write_text("{")
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None]


def test_a_complete_part_is_not_asked_for_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download_module.os, "replace", kill)
        with pytest.raises(KeyboardInterrupt):
            fetch(server, tmp_path)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_wrong_content_is_removed_and_named(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = CONTENT[::-1]
    with pytest.raises(DownloadError, match=rf"expected {MD5}, got md5:\w+\. What arrived was removed; run the same"):
        fetch(server, tmp_path, len(CONTENT), MD5)
    assert names(tmp_path) == []


@pytest.mark.parametrize("announced", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_size_than_stated_is_refused_before_anything_is_fetched(
    server: Server, tmp_path: Path, announced: int
) -> None:
    server.usual = Reply(length=announced)
    with pytest.raises(DownloadError, match=f"expected {len(CONTENT)} bytes, but the server announces {announced}"):
        fetch(server, tmp_path, len(CONTENT))
    assert names(tmp_path) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [Reply(chunked=True), Reply(length=-1)], ids=["chunks", "no length"])
def test_more_than_stated_is_refused_and_removed(server: Server, tmp_path: Path, reply: Reply) -> None:
    server.usual = reply
    with pytest.raises(DownloadError, match="expected 70000 bytes, but the server sends more"):
        fetch(server, tmp_path, 70_000)
    assert names(tmp_path) == []
    assert fetch(server, tmp_path, len(CONTENT)).read_bytes() == CONTENT


def test_less_than_announced_is_never_taken_for_the_file(server: Server, tmp_path: Path) -> None:
    server.usual = Reply(length=len(CONTENT) + 10, ignore_range=True)
    with pytest.raises(DownloadError, match="10 bytes early"):
        fetch(server, tmp_path)
    assert not (tmp_path / "audio.bin").exists()


def test_a_missing_file_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(DownloadError, match="the server answered 404 Not Found"):
        fetch(server, tmp_path)
    assert len(server.requests) == 1


def test_a_web_page_is_not_taken_for_the_file(server: Server, tmp_path: Path) -> None:
    server.usual = Reply(headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(DownloadError, match="a web page instead of the file"):
        fetch(server, tmp_path)


def test_redirections_are_followed(server: Server, tmp_path: Path) -> None:
    server.files["/elsewhere"] = CONTENT
    server.replies = [Reply(status=302, headers={"Location": "/elsewhere"})]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/audio.bin", "data:,audio"])
def test_redirections_out_of_the_web_are_refused(server: Server, tmp_path: Path, place: str) -> None:
    server.usual = Reply(status=302, headers={"Location": place})
    with pytest.raises(DownloadError, match=r"(?i)redirect"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "audio.bin"])
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="expected an address with http or https"):
        download(Remote(url, "audio.bin"), tmp_path)
    assert names(tmp_path) == []


def test_a_full_disk_is_noticed_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=150_000))
    fetch(server, tmp_path / "fits", reserve_bytes=150_000 - len(CONTENT))
    with pytest.raises(DiskSpaceError, match=r"audio\.bin needs 150\.0 kB, but .* has 150\.0 kB free"):
        fetch(server, tmp_path / "too much", reserve_bytes=150_001 - len(CONTENT))
    assert names(tmp_path / "too much") == []


def test_two_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.replies = [Reply(stop_after=50_000, stall_s=0.15)]
    workers = [threading.Thread(target=fetch, args=(server, tmp_path)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "audio.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["audio.bin"]
    assert len(server.requests) == 2


def test_a_killed_process_leaves_a_part_and_no_lock(server: Server, tmp_path: Path) -> None:
    server.replies = [Reply(stop_after=50_000, stall_s=30)]
    code = (
        "from neuralfx.datasets.base import Remote; from neuralfx.datasets.download import download;"
        f"download(Remote({server.url(PATH)!r}, 'audio.bin'), {str(tmp_path)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "audio.bin.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges()[1] not in (None, "bytes=0-")
    assert names(tmp_path) == ["audio.bin"]


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []

    def work(number: int) -> None:
        with locked(tmp_path / ".lock"):
            inside.append(number)
            assert inside == [number]
            inside.remove(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert names(tmp_path) == []
