from __future__ import annotations

import logging
from pathlib import Path

import pytest

from neuralfx.datasets.layout import audio_files, choose_device, folders, slug_of, warn_left_out
from neuralfx.errors import DatasetNotFoundError, FormatError
from tests.data.layouts import write_audio


def test_hidden_files_and_what_is_no_audio_are_passed_over(tmp_path: Path) -> None:
    write_audio(tmp_path / "b.wav", 8_000)
    write_audio(tmp_path / "a.flac", 8_000)
    for name in ("._b.wav", "notes.txt"):
        (tmp_path / name).write_text("")
    for name in (".cache", "__MACOSX", "takes"):
        (tmp_path / name).mkdir()
    assert [path.name for path in audio_files(tmp_path)] == ["a.flac", "b.wav"]
    assert [path.name for path in folders(tmp_path)] == ["takes"]
    assert audio_files(tmp_path / "nowhere") == folders(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["BluesDriver", "blues-driver", "Blues Driver"])
def test_a_device_is_found_in_any_spelling(name: str) -> None:
    assert choose_device(name, ["rat", "blues-driver"], Path("here")) == "blues-driver"


def test_devices_that_are_unclear_unknown_or_absent_are_told_apart() -> None:
    with pytest.raises(FormatError, match="pass device as one of rat, chorus"):
        choose_device(None, ["rat", "chorus"], Path("here"))
    with pytest.raises(FormatError, match="no device 'chorous'; did you mean chorus"):
        choose_device("chorous", ["rat"], Path("here"), ["rat", "chorus"])
    with pytest.raises(DatasetNotFoundError, match="no files of chorus; it holds rat"):
        choose_device("Chorus", ["rat"], Path("here"), ["rat", "chorus"])


def test_a_folder_that_may_not_be_opened_counts_as_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert audio_files(tmp_path) == folders(tmp_path) == []


def test_slugs_have_letters_digits_and_hyphens() -> None:
    assert [slug_of(name) for name in ("Ampeg-OptoComp", "my amp, 2nd!", "++")] == [
        "ampeg-optocomp",
        "my-amp-2nd",
        "device",
    ]


def test_files_left_out_are_named_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_left_out(Path("here"), [])
        warn_left_out(Path("here"), [Path(f"{number}.wav") for number in range(10)])
    (record,) = caplog.records
    assert "10 file(s)" in record.message and record.message.endswith("7.wav and 2 more")
