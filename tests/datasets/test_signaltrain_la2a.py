from __future__ import annotations

import logging
from pathlib import Path

import pytest

from neuralfx.datasets.signaltrain_la2a import DATASET, HYPER_RNN_IDS, hyper_rnn_subset, read, recognises
from neuralfx.errors import AudioFileError, DatasetNotFoundError, FormatError
from tests.data.layouts import signaltrain_pairs, write_audio, write_signaltrain

FEW = (138, 148, 179, 235)


def test_all_84_pairs_are_read_with_knobs_and_official_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording = read(write_signaltrain(tmp_path))
    splits = [take.split for take in recording.takes]
    assert [splits.count(name) for name in ("train", "validation", "test")] == [66, 15, 3]
    assert len(recording.takes) == len(signaltrain_pairs()) == 84
    assert recording.effect.slug == "la2a"
    assert recording.effect.sample_rate == 44_100
    assert recording.effect.knobs["peak_reduction"].describe_range() == "0 to 100 %"
    assert recording.effect.knobs["mode"].positions == ("compress", "limit")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_parent_and_the_slug_are_accepted(tmp_path: Path) -> None:
    base = write_signaltrain(tmp_path, FEW)
    assert read(tmp_path, "la2a") == read(base)
    with pytest.raises(FormatError, match="no device 'cl1b'"):
        read(base, "cl1b")


def test_values_come_from_the_target_and_pairs_from_the_id(tmp_path: Path) -> None:
    takes = read(write_signaltrain(tmp_path, FEW)).takes
    assert [take.wet.name for take in takes] == [
        "target_138_LA2A_3c__0__0.wav",
        "target_148_LA2A_3c__0__50.wav",
        "target_179_LA2A_3c__1__100.wav",
        "target_235_LA2A_2c__0__65.wav",
    ]
    assert [take.dry.name for take in takes] == [f"input_{number}_.wav" for number in FEW]
    assert takes[2].values == {"peak_reduction": 100.0, "mode": "limit"}
    assert [take.split for take in takes] == ["train", "validation", "train", "test"]


def test_offsets_are_left_to_the_estimate(tmp_path: Path) -> None:
    assert all(take.offset_samples is None for take in read(write_signaltrain(tmp_path, FEW)).takes)


def test_the_defects_of_version_1_0_are_survived_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = write_signaltrain(tmp_path, (138, 235, 245))
    (base / "Train").mkdir(exist_ok=True)
    (base / "Val" / "input_245_.wav").rename(base / "Train" / "input_245_.wav")  # in another folder than its target
    write_audio(base / "Train" / "target_235_LA2A_2c__0__70.wav", 44_100)  # a second target of the id, without input
    write_audio(base / "Val" / "input_236_.wav", 44_100)  # without target
    with caplog.at_level(logging.WARNING):
        takes = read(base).takes
    assert [(take.dry.name, take.split) for take in takes] == [
        ("input_138_.wav", "train"),
        ("input_235_.wav", "test"),
        ("input_245_.wav", "validation"),
    ]
    assert takes[1].values["peak_reduction"] == 65.0
    (record,) = caplog.records
    assert "target_235_LA2A_2c__0__70.wav" in record.message and "input_236_.wav" in record.message


def test_an_id_that_does_not_tell_pairs_apart_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = write_signaltrain(tmp_path, (138, 139))
    write_audio(base / "Train" / "target_139_LA2A_3c__0__10.wav", 44_100)
    with caplog.at_level(logging.WARNING):
        assert [take.dry.name for take in read(base).takes] == ["input_138_.wav"]
    assert "3 file(s)" in caplog.text


def test_other_rates_and_damaged_files_are_named(tmp_path: Path) -> None:
    base = write_signaltrain(tmp_path, FEW)
    write_audio(base / "Train" / "input_179_.wav", 48_000)
    with pytest.raises(FormatError, match=r"input_179_\.wav: expected 44100 Hz .* got 48000 Hz"):
        read(base)
    (base / "Train" / "input_138_.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioFileError, match=r"input_138_\.wav"):
        read(base)


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    assert not recognises(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="expected folders Train, Val and Test"):
        read(tmp_path)
    write_audio(tmp_path / "Train" / "target_138_LA2A_3c__0__0.wav", 44_100)
    with pytest.raises(FormatError, match="no input has a target"):
        read(tmp_path)


def test_effect_info_is_never_evaluated(tmp_path: Path) -> None:
    base = write_signaltrain(tmp_path, FEW)
    (base / "effect_info.ini").write_text(f"[effect]\nname = open({str(tmp_path / 'made')!r}, 'w')\n")
    read(base)
    assert not (tmp_path / "made").exists()


def test_the_subset_of_the_hyper_rnn_paper_has_eleven_takes_and_one_knob(tmp_path: Path) -> None:
    subset = hyper_rnn_subset(read(write_signaltrain(tmp_path)))
    assert subset.effect.knobs.names() == ("peak_reduction",)
    assert [take.values for take in subset.takes] == [{"peak_reduction": 10.0 * step} for step in range(11)]
    assert {take.split for take in subset.takes} == {None}
    assert all("_3c__0__" in take.wet.name for take in subset.takes)


def test_an_incomplete_subset_names_what_is_missing(tmp_path: Path) -> None:
    recording = read(write_signaltrain(tmp_path, HYPER_RNN_IDS[:-2]))
    with pytest.raises(DatasetNotFoundError, match="156, 158 is missing"):
        hyper_rnn_subset(recording)


def test_the_facts_are_stated() -> None:
    assert DATASET.devices == ("la2a",) and DATASET.licence == "cc-by-4.0"
    assert DATASET.files[0].name == "SignalTrain_LA2A_Dataset_1.1.tgz"
