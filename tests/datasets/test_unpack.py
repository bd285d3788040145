"""Archives, good and hostile: what is inside stays inside, and all of it arrives or nothing."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neuralfx.datasets import unpack as unpack_module
from neuralfx.datasets.unpack import is_archive, unpack
from neuralfx.errors import ArchiveError, DiskSpaceError

FILES = {"Train/input_1_.wav": b"dry" * 1000, "Train/target_1_.wav": b"wet" * 1000, "./info.ini": b"[a]", "Val//x": b""}
LIMIT = 1_000_000
KINDS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")

Writer = Callable[..., Path]


def write_zip(path: Path, files: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.filename = name  # as it is, also with NUL
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], **fields: Any) -> Path:
    with tarfile.open(
        path, "w:" + {"gz": "gz", "bz2": "bz2", "xz": "xz", "tgz": "gz"}.get(path.suffix[1:], "")
    ) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for field, value in fields.items():
                setattr(entry, field, value)
            archive.addfile(entry, io.BytesIO(content))
    return path


def write(path: Path, files: dict[str, bytes]) -> Path:
    return write_zip(path, files) if path.suffix == ".zip" else write_tar(path, files)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refuse(archive: Path, message: str, limit_bytes: int = LIMIT) -> None:
    """The archive is refused with this message, and nothing changes anywhere near."""
    before = tree(archive.parent)
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, archive.parent / "data", limit_bytes, progress=False)
    assert tree(archive.parent) == before
    assert not list((archive.parent / "data").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_archive_arrives_complete(tmp_path: Path, kind: str) -> None:
    archive = write(tmp_path / f"data{kind}", FILES)
    assert is_archive(archive.name)
    unpack(archive, tmp_path / "data", LIMIT, progress=False)
    assert tree(tmp_path / "data") == {os.path.normpath(name): content for name, content in FILES.items()}
    assert archive.is_file()


def test_audio_is_no_archive() -> None:
    assert not is_archive("tar.wav")
    assert is_archive("A.ZIP")


def test_archives_may_share_folders_and_lie_in_the_destination(tmp_path: Path) -> None:
    unpack(write_zip(tmp_path / "a.zip", {"Train/a.wav": b"a"}), tmp_path, LIMIT)
    unpack(write_zip(tmp_path / "b.zip", {"Train/b.wav": b"b", "c/": b"", "readme": b""}), tmp_path, LIMIT)
    assert set(tree(tmp_path)) == {"a.zip", "b.zip", "Train/a.wav", "Train/b.wav", "readme"}
    assert (tmp_path / "c").is_dir()


def test_unpacking_twice_changes_nothing_and_other_files_are_not_replaced(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES)
    for _ in range(2):
        unpack(archive, tmp_path / "data", LIMIT)
    mine = tmp_path / "data" / "Train" / "input_1_.wav"
    mine.write_bytes(b"mine")
    (tmp_path / "data" / "info.ini").unlink()
    before = tree(tmp_path)
    with pytest.raises(ArchiveError, match=r"input_1_\.wav is there already with another content; move it away"):
        unpack(archive, tmp_path / "data", LIMIT)
    assert tree(tmp_path) == before


def test_leftovers_of_file_managers_are_skipped(tmp_path: Path) -> None:
    litter = {"__MACOSX/Train/._a.wav": b"x", "Train/.DS_Store": b"x", "Train/._a.wav": b"x", "Thumbs.db": b"x"}
    unpack(write_zip(tmp_path / "a.zip", {**litter, "Train/a.wav": b"a"}), tmp_path / "data", LIMIT)
    assert set(tree(tmp_path / "data")) == {"Train/a.wav"}


def test_permissions_of_an_archive_are_not_taken_over(tmp_path: Path) -> None:
    unpack(write_tar(tmp_path / "a.tar", {"a": b"a"}, mode=0o6777, uid=0), tmp_path / "data", LIMIT)
    assert not (tmp_path / "data" / "a").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tgz"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil", "leads out of the folder"),
        ("a/../../evil", "leads out of the folder"),
        ("a/../b", "leads out of the folder"),
        ("/tmp/evil-of-neuralfx", "leads out of the folder"),
        ("C:/evil", "leads out of the folder"),
        ("a/c:evil", "leads out of the folder"),
        ("a/.. /evil", "leads out of the folder"),
        ("..\\evil", "a backslash"),
        ("a\nb", "a control character"),
        ("/".join(["a"] * 70), "folders deep"),
        ("a" * 300, "cannot be written"),
    ],
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, kind: str, name: str, message: str) -> None:
    refuse(write(tmp_path / f"evil{kind}", {"good": b"good", name: b"evil"}), message)
    assert not Path("/tmp/evil-of-neuralfx").exists()


def test_names_with_nul_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "evil.zip", {"good.wav_.exe": b"evil"})
    archive.write_bytes(archive.read_bytes().replace(b"good.wav_.exe", b"good.wav\0.exe"))
    refuse(archive, "control character")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]
)
def test_links_and_devices_in_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    refuse(write_tar(tmp_path / "evil.tar", {"link": b""}, type=kind, linkname="../../etc"), "is a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_zip_are_refused(tmp_path: Path, kind: int) -> None:
    refuse(write_zip(tmp_path / "evil.zip", {"link": b"/etc"}, mode=kind | 0o777), "is a link or a device")


@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.parametrize(
    "names",
    [
        ("a.wav", "A.WAV"),
        ("Train/a", "train/A"),
        ("a", "./a"),
        ("a", "a."),
        ("a", "a/b"),
        ("a/b", "a"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
    ],
    ids=str,
)
def test_members_that_overwrite_each_other_are_refused(tmp_path: Path, kind: str, names: tuple[str, str]) -> None:
    refuse(write(tmp_path / f"evil{kind}", {names[0]: b"1", names[1]: b"2"}), "would overwrite another member")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_the_same_name_twice_is_refused(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"evil{kind}", {"a": b"1"})
    if kind == ".zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("a", b"2")
    else:
        with tarfile.open(path, "a") as archive_tar:
            archive_tar.addfile(tarfile.TarInfo("a"))
    refuse(path, "would overwrite another member")


@pytest.mark.parametrize("kind", [".zip", ".tgz", ".tar.xz"])
def test_bombs_are_refused(tmp_path: Path, kind: str) -> None:
    bomb = write(tmp_path / f"bomb{kind}", {"a": bytes(600_000), "b": bytes(600_000)})
    assert bomb.stat().st_size < 10_000
    refuse(bomb, r"larger than 1\.0 MB together")
    unpack(bomb, tmp_path / "data", 1_200_000)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_zip_that_lies_about_sizes_is_refused(tmp_path: Path, change: int) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", {"a": bytes(70_000)})
    content = bomb.read_bytes()
    bomb.write_bytes(content.replace((70_000).to_bytes(4, "little"), (70_000 + 60_000 * change).to_bytes(4, "little")))
    refuse(bomb, "damaged|another size")


def test_skipped_members_count_too(tmp_path: Path) -> None:
    refuse(write_tar(tmp_path / "bomb.tgz", {"__MACOSX/a": bytes(2_000_000)}), "larger than")


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "MAX_MEMBERS", 3)
    refuse(write_zip(tmp_path / "bomb.zip", {f"{number}/": b"" for number in range(4)}), "more than 3 members")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_headers_that_fill_the_memory_are_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = kind, 1 << 40
    (tmp_path / "bomb.tar").write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    refuse(tmp_path / "bomb.tar", "a header has a size of")


def test_negative_sizes_are_refused(tmp_path: Path) -> None:
    header = bytearray(write_tar(tmp_path / "evil.tar", {"a": b"1"}).read_bytes())
    header[124:136] = b"\xff" * 12  # -1 in base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    (tmp_path / "evil.tar").write_bytes(header)
    refuse(tmp_path / "evil.tar", "negative size|damaged")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "secret.zip", {"a": b"1"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    refuse(archive, "'a' is encrypted; unpack it by hand")


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tgz", ".tar.bz2", ".tar.xz"])
def test_damaged_archives_are_refused(tmp_path: Path, kind: str) -> None:
    archive = write(tmp_path / f"a{kind}", {"a": os.urandom(50_000), "b": os.urandom(50_000)})
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    refuse(archive, "damaged")
    archive.write_bytes(b"<html>not found</html>")
    refuse(archive, "damaged")
    archive.write_bytes(b"")
    refuse(archive, "damaged")


def test_a_damaged_header_is_not_the_end_of_a_tar(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {"a": b"1", "b": b"2"})
    content = bytearray(archive.read_bytes())
    content[1024] ^= 1
    archive.write_bytes(content)
    refuse(archive, "ends where another member should begin")


def test_a_bit_that_fell_over_is_noticed(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": os.urandom(5000)})
    content = bytearray(archive.read_bytes())
    content[2000] ^= 1
    archive.write_bytes(content)
    refuse(archive, "damaged")


def test_a_full_disk_is_noticed_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_tar(tmp_path / "a.tgz", {"a": bytes(100_000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    with pytest.raises(DiskSpaceError, match=r"unpacking a\.tgz needs 100\.0 kB"):
        unpack(archive, tmp_path / "data", LIMIT)
    assert tree(tmp_path / "data") == {}


def test_an_interrupted_call_leaves_nothing_and_a_killed_one_is_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_zip(tmp_path / "a.zip", FILES)

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(unpack_module, "_move", interrupt)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, tmp_path / "data", LIMIT)
    assert list((tmp_path / "data").iterdir()) == []
    leftover = tmp_path / "data" / ".a.zip.unpacking"
    leftover.mkdir()
    (leftover / "half").write_bytes(b"half")
    unpack(archive, tmp_path / "data", LIMIT)
    assert len(tree(tmp_path / "data")) == len(FILES)
