"""``neuralfx data`` lists and downloads public data sets, and hands folders of recordings on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from neuralfx import cli
from neuralfx.commands import data
from neuralfx.datasets import catalogue
from neuralfx.datasets.base import Dataset, Manual, Remote
from neuralfx.datasets.manifest import Recording
from neuralfx.errors import ConfigError, DatasetNotFoundError
from tests.servers import Server, serving

AUDIO = b"RIFF"


def read(root: Path, device: str | None) -> Recording:
    if not (root / "comp.wav").is_file():
        raise DatasetNotFoundError(f"no comp.wav in {root}.")
    return cast(Recording, None)


def dataset(name: str, *files: Remote | Manual, devices: tuple[str, ...] = ("comp",)) -> Dataset:
    return Dataset(name, f"The {name}", "https://toy.example", "cc-by-4.0", "Nobody, 2026.", devices, files, read)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.files["/comp.wav"] = AUDIO
        yield server


@pytest.fixture(autouse=True)
def sets(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = "md5:" + hashlib.md5(AUDIO).hexdigest()
    remote = Remote(server.url("/comp.wav"), "comp.wav", len(AUDIO), checksum)
    manual = Manual("https://drive.example", "comp.wav", "Sign in and save it.")
    known = {
        "web-set": dataset("web-set", remote),
        "hand-set": dataset("hand-set", manual, devices=("a", "b", "c", "d")),
        "mixed-set": dataset("mixed-set", remote, manual._replace(name="more.zip")),
    }
    monkeypatch.setattr(catalogue, "names", lambda: list(known))
    monkeypatch.setattr(catalogue, "find", known.__getitem__)
    monkeypatch.chdir(tmp_path)


def test_each_data_set_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert data.main(["list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "title", "devices", "size", "licence", "how"]
    assert [line.split()[0] for line in lines] == ["web-set", "hand-set", "mixed-set"]
    assert "comp" in lines[0] and "4 B" in lines[0] and lines[0].endswith("download")
    assert "4 devices" in lines[1] and "size unknown" in lines[1] and lines[1].endswith("by hand")
    assert "at least 4 B" in lines[2] and "cc-by-4.0" in lines[2] and lines[2].endswith("download and by hand")


def test_a_download_ends_in_a_folder_that_reads(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert data.main(["download", "web-set"]) == 0
        assert Path("data/web-set/comp.wav").read_bytes() == AUDIO
        printed = capsys.readouterr().out
        assert "ready" in printed and "cc-by-4.0" in printed and "Nobody, 2026." in printed
    assert len(server.requests) == 1
    data.main(["download", "web-set", "-o", "else where"])
    assert Path("else where/comp.wav").is_file()


def test_a_dry_run_fetches_and_writes_nothing(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data.main(["download", "mixed-set", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for text in ("cc-by-4.0", "to fetch  4 B", server.url("/comp.wav"), "Sign in", "https://drive.example", "free"):
        assert text in printed
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_sees_what_is_there(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    data.main(["download", "web-set"])
    data.main(["download", "web-set", "--dry-run"])
    assert "to fetch  nothing, it is there" in capsys.readouterr().out


def test_what_only_a_person_can_fetch_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "download", "hand-set"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "Open https://drive.example and: Sign in and save it." in lines[0]
    assert str(Path("data/hand-set/comp.wav")) in lines[0]


def test_check_and_align_get_the_remaining_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    module = types.SimpleNamespace(
        check=lambda argv: calls.append(("check", argv)) or 3, align=lambda argv: calls.append(("align", argv)) or 4
    )
    monkeypatch.setitem(sys.modules, "neuralfx.commands.data_check", cast(Any, module))
    monkeypatch.setattr("neuralfx.commands.data_check", module, raising=False)
    assert data.main(["check", "folder", "--json"]) == 3
    assert data.main(["align", "--help"]) == 4
    assert calls == [("check", ["folder", "--json"]), ("align", ["--help"])]


def test_bad_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="no action 'downlaod'; did you mean download"):
        data.main(["downlaod"])
    with pytest.raises(ConfigError, match="the following arguments are required: name"):
        data.main(["download"])
    assert data.main([]) == 2
    assert data.main(["--help"]) == 0
    assert "neuralfx data ACTION" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["list"], ["download", "signaltrain-la2a", "--dry-run"]], ids=" ".join)
def test_it_needs_no_torch(arguments: list[str]) -> None:
    code = f"import sys; from neuralfx.cli import main; main(['data', *{arguments}]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert "signaltrain-la2a" in done.stdout
