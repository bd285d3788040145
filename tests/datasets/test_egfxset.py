from __future__ import annotations

import logging
from pathlib import Path

import pytest

from neuralfx.datasets.egfxset import DATASET, DEVICES, read, recognises
from neuralfx.errors import DatasetNotFoundError, FormatError
from tests.data.layouts import write_audio, write_egfxset


def test_notes_pair_by_their_place_below_clean(tmp_path: Path) -> None:
    recording = read(write_egfxset(tmp_path), "rat")
    assert len(recording.takes) == 5 * 6 * 2
    assert recording.effect.slug == "rat"
    assert recording.effect.device == "ProCo RAT2 distortion"
    assert (recording.effect.sample_rate, recording.effect.knobs) == (48_000, ())
    for take in recording.takes:
        assert take.dry.relative_to(tmp_path / "Clean") == take.wet.relative_to(tmp_path / "RAT")
        assert take.values == {}


def test_a_point_in_place_of_the_hyphen_is_matched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    takes = read(write_egfxset(tmp_path), "BluesDriver").takes
    assert (takes[-1].dry.name, takes[-1].wet.name) == ("6-1.wav", "6.1.wav")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_frets_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    takes = read(write_egfxset(tmp_path, ("Chorus",), frets=11)).takes
    assert [take.dry.stem for take in takes[:11]] == [f"1-{fret}" for fret in range(11)]


def test_the_only_device_needs_no_name_and_the_parent_will_do(tmp_path: Path) -> None:
    write_egfxset(tmp_path / "egfx", ("TapeEcho",))
    assert read(tmp_path).effect.slug == "tape-echo"


def test_notes_without_partner_are_left_out_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_egfxset(tmp_path)
    (tmp_path / "Clean" / "Bridge" / "1-0.wav").unlink()
    (tmp_path / "RAT" / "Bridge" / "1-1.wav").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path, "rat").takes) == 5 * 6 * 2 - 2
    (record,) = caplog.records
    assert "2 file(s)" in record.message


def test_a_device_that_is_not_there_is_told_from_one_that_does_not_exist(tmp_path: Path) -> None:
    write_egfxset(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="no files of phaser"):
        read(tmp_path, "phaser")
    with pytest.raises(FormatError, match="no device 'wah'"):
        read(tmp_path, "wah")
    with pytest.raises(FormatError, match="pass device as one of blues-driver, rat"):
        read(tmp_path)


def test_a_device_without_clean_notes_is_no_data_set(tmp_path: Path) -> None:
    write_audio(tmp_path / "RAT" / "Neck" / "1-0.wav", 48_000)
    assert not recognises(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="expected the folder Clean"):
        read(tmp_path)
    write_audio(tmp_path / "Clean" / "Bridge" / "1-0.wav", 48_000)
    with pytest.raises(FormatError, match="no note has its clean partner"):
        read(tmp_path)


def test_twelve_devices_have_archives_with_checksums() -> None:
    assert len(DATASET.devices) == len(DEVICES) == 12
    assert len({file.checksum for file in DATASET.files}) == 13
    assert all(len(file.checksum) == len("md5:") + 32 for file in DATASET.files)
    assert [file.name for file in DATASET.files_for("tape-echo")] == ["Clean.zip", "TapeEcho.zip"]
