"""Checksums and locks of files."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from neuralfx.files import lock, sha256


def test_the_checksum_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_lock_is_held_by_one_until_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    held = lock(path)
    assert held is not None
    assert lock(path) is None
    held.close()
    again = lock(path)
    assert again is not None
    again.close()


def test_a_file_system_without_locks_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    module, name = ("msvcrt", "locking") if sys.platform == "win32" else ("fcntl", "flock")
    monkeypatch.setattr(f"{module}.{name}", unsupported)
    held = lock(tmp_path / "lock")
    assert held is not None
    held.close()
