"""From a name to a folder that reads: every rung of the ladder, and falls from each of them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from neuralfx.datasets import prepare as prepare_module
from neuralfx.datasets.base import Dataset, Manual, Remote
from neuralfx.datasets.manifest import Recording
from neuralfx.datasets.prepare import explain_manual, known_size, prepare
from neuralfx.errors import ArchiveError, DatasetNotFoundError, DiskSpaceError, DownloadError, FormatError
from tests.servers import Reply, Server, serving


def read(root: Path, device: str | None) -> Recording:
    path = root / f"{device}.wav"
    if not path.is_file():
        raise DatasetNotFoundError(f"no {path.name}.")
    if path.read_bytes() == b"damaged":
        raise FormatError(f"{path.name} is damaged.")
    return cast(Recording, None)


def convert(root: Path) -> None:
    """Pickles become audio."""
    pickles = list(root.glob("*.pickle"))
    if not pickles:
        raise DatasetNotFoundError("no pickles.")
    for path in pickles:
        path.with_suffix(".wav").write_bytes(path.read_bytes())


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, name * 1000)
    return buffer.getvalue()


COMP, FUZZ = packed("comp.wav"), packed("fuzz.wav")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.files = {"/comp.zip": COMP, "/fuzz.zip": FUZZ, "/comp.wav": b"plain"}
        yield server


def md5(content: bytes) -> str:
    return "md5:" + hashlib.md5(content).hexdigest()


def dataset(*files: Remote | Manual, devices: tuple[str, ...] = ("comp",), **fields: Any) -> Dataset:
    return Dataset("toy-set", "Toy", "https://toy.example", "cc-by-4.0", "Nobody", devices, files, read, **fields)


def both(server: Server) -> Dataset:
    """A device behind an archive to download, another behind one to fetch by hand."""
    return dataset(
        Remote(server.url("/comp.zip"), "comp.zip", len(COMP), md5(COMP)),
        Manual("https://drive.example", "fuzz.zip", "Sign in and save it.", len(FUZZ), md5(FUZZ)),
        devices=("comp", "fuzz"),
    )


def visible(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_a_folder_that_reads_is_left_alone(tmp_path: Path, server: Server) -> None:
    (tmp_path / "comp.wav").write_bytes(b"mine")
    tmp_path.chmod(0o555)
    try:
        for download in (False, True):
            prepare(dataset(Remote(server.url("/comp.zip"), "comp.zip")), tmp_path, download)
    finally:
        tmp_path.chmod(0o755)
    assert visible(tmp_path) == {"comp.wav"}
    assert server.requests == []


def test_nothing_is_fetched_unasked_and_the_error_says_how_to_get_it(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        prepare(both(server), tmp_path / "data" / "toy-set")
    assert str(caught.value) == (
        f"toy-set is not in {tmp_path}/data/toy-set.\n"
        f"'neuralfx data download toy-set -o {tmp_path}/data/toy-set' fetches what is missing "
        f"({len(COMP) / 1000:.1f} kB, licence: cc-by-4.0).\n"
        "Open https://drive.example and: Sign in and save it. What is to be there then: "
        f"{tmp_path}/data/toy-set/fuzz.zip ({len(FUZZ) / 1000:.1f} kB)."
    )
    assert server.requests == []
    assert not (tmp_path / "data").exists()


def test_downloads_are_unpacked_and_archives_are_kept(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    toy = dataset(
        Remote(server.url("/comp.zip"), "comp.zip", len(COMP), md5(COMP)),
        Remote(server.url("/fuzz.zip"), "fuzz.zip"),
        devices=("comp", "fuzz"),
    )
    prepare(toy, tmp_path / "toy", download=True)
    assert visible(tmp_path / "toy") == {"comp.zip", "fuzz.zip", "comp.wav", "fuzz.wav"}
    assert "The archives (16.2 kB) are kept; remove them if you need the room: comp.zip, fuzz.zip." in caplog.text
    (tmp_path / "toy" / "comp.zip").unlink()
    prepare(toy, tmp_path / "toy", download=True)
    assert len(server.requests) == 2


def test_plain_files_need_no_unpacking(tmp_path: Path, server: Server) -> None:
    prepare(dataset(Remote(server.url("/comp.wav"), "comp.wav", 5, md5(b"plain"))), tmp_path, download=True)
    assert visible(tmp_path) == {"comp.wav"}


def test_archives_that_are_there_are_unpacked_without_being_asked_to_download(tmp_path: Path, server: Server) -> None:
    (tmp_path / "comp.zip").write_bytes(COMP)
    (tmp_path / "fuzz.zip").write_bytes(FUZZ)
    prepare(both(server), tmp_path)
    assert visible(tmp_path) == {"comp.zip", "fuzz.zip", "comp.wav", "fuzz.wav"}
    assert server.requests == []


def test_one_device_is_enough_unless_everything_is_asked_for(tmp_path: Path, server: Server) -> None:
    (tmp_path / "comp.zip").write_bytes(COMP)
    prepare(both(server), tmp_path)
    prepare(both(server), tmp_path, device="comp", download=True)
    with pytest.raises(DatasetNotFoundError, match=r"What is there does not do: no fuzz\.wav\.\nOpen https://drive"):
        prepare(both(server), tmp_path, device="fuzz")
    with pytest.raises(DatasetNotFoundError, match="Sign in"):
        prepare(both(server), tmp_path, download=True)


def test_what_can_be_fetched_is_fetched_and_the_rest_is_asked_for_at_once(tmp_path: Path, server: Server) -> None:
    more = Manual("https://drive.example", "more.wav", "Sign in and save it.")
    toy = dataclasses.replace(both(server), files=(*both(server).files, more))
    with pytest.raises(DatasetNotFoundError) as caught:
        prepare(toy, tmp_path, download=True)
    assert visible(tmp_path) == {"comp.zip", "comp.wav"}
    assert f"Sign in and save it. What is to be there then: {tmp_path}/fuzz.zip, {tmp_path}/more.wav" in str(
        caught.value
    )
    assert "neuralfx data download" not in str(caught.value)
    (tmp_path / "fuzz.zip").write_bytes(FUZZ)
    prepare(toy, tmp_path, download=True)
    assert len(server.requests) == 1


def test_files_fetched_by_hand_are_verified(tmp_path: Path, server: Server) -> None:
    (tmp_path / "fuzz.zip").write_bytes(FUZZ[:-1])
    with pytest.raises(DownloadError, match=rf"fuzz\.zip: expected {len(FUZZ)} bytes, got {len(FUZZ) - 1}; remove it"):
        prepare(both(server), tmp_path)
    (tmp_path / "fuzz.zip").write_bytes(FUZZ[::-1])
    with pytest.raises(DownloadError, match=r"fuzz\.zip: expected md5"):
        prepare(both(server), tmp_path, download=True)
    assert visible(tmp_path) == {"fuzz.zip"}
    assert server.requests == []


def test_what_does_not_read_although_everything_is_there_is_told(tmp_path: Path, server: Server) -> None:
    (tmp_path / "comp.wav").write_bytes(b"damaged")
    with pytest.raises(FormatError, match=r"^comp\.wav is damaged\.$"):
        prepare(dataset(Manual("https://drive.example", "comp.wav", "Save it.")), tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"does not do: comp\.wav is damaged\."):
        prepare(dataset(Manual("https://drive.example", "other.wav", "Save it.")), tmp_path)


def test_pickles_are_converted_once(tmp_path: Path) -> None:
    calls: list[Path] = []

    def counted(root: Path) -> None:
        calls.append(root)
        convert(root)

    (tmp_path / "set.zip").write_bytes(packed("comp.pickle"))
    toy = dataset(Manual("https://kaggle.example", "set.zip", "Save it."), convert=counted)
    for _ in range(2):
        prepare(toy, tmp_path)
    assert calls == [tmp_path]
    assert visible(tmp_path) == {"set.zip", "comp.pickle", "comp.wav"}


def test_pickles_unpacked_by_hand_do_without_their_archive(tmp_path: Path) -> None:
    toy = dataset(Manual("https://kaggle.example", "set.zip", "Save it."), convert=convert)
    with pytest.raises(DatasetNotFoundError, match="Save it"):
        prepare(toy, tmp_path)
    (tmp_path / "comp.pickle").write_bytes(b"1")
    prepare(toy, tmp_path)
    assert (tmp_path / "comp.wav").is_file()


@pytest.mark.parametrize("step", ["unpack", "convert"])
def test_after_an_interruption_the_folder_does_not_count_until_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    interrupted = True
    unpacked: list[str] = []

    def converting(root: Path) -> None:
        if interrupted and step == "convert":
            (root / "comp.wav").write_bytes(b"half")
            raise KeyboardInterrupt
        convert(root)

    def unpacking(archive: Path, folder: Path, *options: Any) -> None:
        if interrupted and step == "unpack" and unpacked:
            (folder / "comp.wav").write_bytes(b"half")
            raise KeyboardInterrupt
        unpack(archive, folder, *options)
        unpacked.append(archive.name)

    unpack = prepare_module.unpack
    monkeypatch.setattr(prepare_module, "unpack", unpacking)
    files = [Manual("https://kaggle.example", name, "Save it.") for name in ("a.zip", "b.zip")]
    for file, content in zip(files, (packed("comp.pickle"), packed("readme"))):
        (tmp_path / file.name).write_bytes(content)
    with pytest.raises(KeyboardInterrupt):
        prepare(dataset(*files, convert=converting), tmp_path)
    interrupted = False
    prepare(dataset(*files, convert=converting), tmp_path)
    assert (tmp_path / "comp.wav").read_bytes() == b"comp.pickle" * 1000
    assert unpacked == ["a.zip", "b.zip"]  # each of them once
    assert visible(tmp_path) == {"a.zip", "b.zip", "comp.pickle", "readme", "comp.wav"}


def test_an_interrupted_download_goes_on(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    server.replies = [Reply(stop_after=100)]
    toy = dataset(Remote(server.url("/comp.zip"), "comp.zip", len(COMP), md5(COMP)))
    with monkeypatch.context() as patch:
        patch.setattr("neuralfx.datasets.download.time.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(toy, tmp_path, download=True)
    with pytest.raises(DatasetNotFoundError):
        prepare(toy, tmp_path)
    prepare(toy, tmp_path, download=True)
    assert server.ranges() == [None, "bytes=100-"]
    assert visible(tmp_path) == {"comp.zip", "comp.wav"}


def test_a_hostile_archive_leaves_nothing_and_what_read_before_still_reads(tmp_path: Path, server: Server) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "fuzz.zip").write_bytes(packed("../evil", "fuzz.wav"))
    (tmp_path / "toy" / "comp.wav").write_bytes(b"mine")
    toy = dataset(Manual("https://drive.example", "fuzz.zip", "Save it."), devices=("comp", "fuzz"))
    with pytest.raises(ArchiveError, match="leads out of the folder"):
        prepare(toy, tmp_path / "toy", device="fuzz")
    assert visible(tmp_path) == {"toy"}
    assert visible(tmp_path / "toy") == {"fuzz.zip", "comp.wav"}
    prepare(toy, tmp_path / "toy", device="comp")


def test_bombs_are_measured_by_their_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "LIMIT_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("comp.wav", bytes(1_000_000))
    with pytest.raises(ArchiveError, match="larger than"):
        prepare(dataset(Manual("https://drive.example", "bomb.zip", "Save it.")), tmp_path)


def test_room_for_everything_is_asked_for_first(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * len(COMP)))
    toy = dataset(*(Remote(server.url(f"/{name}.zip"), f"{name}.zip", len(COMP)) for name in ("comp", "fuzz")))
    with pytest.raises(DiskSpaceError, match=r"toy-set needs 32\.5 kB"):
        prepare(toy, tmp_path, download=True)
    assert server.requests == []


def test_two_at_once_share_the_work(tmp_path: Path, server: Server) -> None:
    server.replies = [Reply(stop_after=100, stall_s=0.05)]
    toy = dataset(Remote(server.url("/comp.zip"), "comp.zip", len(COMP), md5(COMP)))
    workers = [threading.Thread(target=prepare, args=(toy, tmp_path / "toy", True)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert visible(tmp_path / "toy") == {"comp.zip", "comp.wav"}
    assert server.ranges() == [None, "bytes=100-"]


def test_sizes_are_honest_about_what_is_unknown() -> None:
    known, unknown = Remote("https://a.example", "a", 2_000_000), Remote("https://a.example", "b")
    assert known_size([known, known]) == "4.0 MB"
    assert known_size([known, unknown]) == "at least 2.0 MB"
    assert known_size([unknown]) == "size unknown"


def test_pages_are_named_once() -> None:
    files = [Manual("https://a.example", name, "Save it.", 1000) for name in ("a", "b")]
    (sentence,) = explain_manual([*files, Remote("https://a.example", "c")], Path("x"))
    assert sentence == "Open https://a.example and: Save it. What is to be there then: x/a, x/b (2.0 kB)."
