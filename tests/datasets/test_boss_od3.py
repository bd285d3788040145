from __future__ import annotations

import logging
from pathlib import Path

import pytest

from neuralfx.datasets.boss_od3 import DATASET, LEVELS, read, recognises
from neuralfx.errors import DatasetNotFoundError, FormatError
from tests.data.layouts import write_audio, write_boss_od3, write_prepared_od3


def test_25_pairs_are_read_by_their_positions(tmp_path: Path) -> None:
    recording = read(write_boss_od3(tmp_path))
    assert len(recording.takes) == 25
    assert recording.effect.slug == "od3"
    assert (recording.effect.sample_rate, recording.effect.channels) == (48_000, 1)
    assert [knob.describe_range() for knob in recording.effect.knobs] == ["0 to 4", "0 to 4"]
    take = recording.takes[7]
    assert (take.dry.name, take.wet.name) == ("x_d1_t2.wav", "y_d1_t2.wav")
    assert take.values == {"gain": 1.0, "tone": 2.0}
    assert take.split is None


@pytest.mark.parametrize("levels", range(4))
def test_every_level_of_the_archive_may_be_given(tmp_path: Path, levels: int) -> None:
    write_boss_od3(tmp_path, (0, 4))
    assert len(read(tmp_path.joinpath(*LEVELS[:levels]), "od3").takes) == 4


def test_the_first_of_two_channels_is_taken(tmp_path: Path) -> None:
    assert all(take.channel == 0 for take in read(write_boss_od3(tmp_path, (0, 1))).takes)


def test_prepared_pieces_keep_their_splits(tmp_path: Path) -> None:
    takes = read(write_prepared_od3(tmp_path)).takes
    assert [take.split for take in takes] == ["train", "train", "validation", "validation", "test", "test"]
    assert takes[3].values == {"gain": 4.0, "tone": 2.0}
    assert takes[3].dry == tmp_path / "valid" / "x" / "x_d4_t2.wav"


def test_whole_recordings_come_before_prepared_pieces(tmp_path: Path) -> None:
    assert len(read(write_prepared_od3(write_boss_od3(tmp_path))).takes) == 25


def test_a_preparation_that_copied_the_input_is_refused(tmp_path: Path) -> None:
    write_prepared_od3(tmp_path, wet="x")
    with pytest.raises(FormatError, match=r"copies of the input"):
        read(tmp_path)


def test_files_without_partner_are_left_out_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = write_boss_od3(tmp_path, (0, 1))
    (base / "y" / "y_d0_t1.wav").unlink()
    (base / "x" / "x_d1_t1.wav").unlink()
    with caplog.at_level(logging.WARNING):
        assert [take.wet.name for take in read(base).takes] == ["y_d0_t0.wav", "y_d1_t0.wav"]
    (record,) = caplog.records
    assert "x_d0_t1.wav" in record.message and "y_d1_t1.wav" in record.message


def test_other_folders_and_rates_are_refused(tmp_path: Path) -> None:
    assert not recognises(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="expected folders x and y"):
        read(tmp_path)
    base = write_boss_od3(tmp_path, (0,))
    write_audio(base / "y" / "y_d0_t0.wav", 44_100)
    with pytest.raises(FormatError, match="expected 48000 Hz"):
        read(base)
    (base / "y" / "y_d0_t0.wav").unlink()
    with pytest.raises(FormatError, match="no file in x has its partner"):
        read(base)


def test_the_archive_has_to_be_fetched_by_hand() -> None:
    (file,) = DATASET.files
    assert "drive.google.com" in file.page and DATASET.licence == "not stated"  # type: ignore[union-attr]
