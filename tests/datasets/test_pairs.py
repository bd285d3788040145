from __future__ import annotations

from pathlib import Path

import pytest

from neuralfx.datasets.pairs import (
    DATASET,
    read_single_pair,
    read_split_pairs,
    recognises_single_pair,
    recognises_split_pairs,
)
from neuralfx.errors import DatasetNotFoundError, FormatError
from tests.data.layouts import write_audio, write_single_pair, write_split_pairs


def test_split_pairs_are_read_by_device(tmp_path: Path) -> None:
    recording = read_split_pairs(write_split_pairs(tmp_path), "ht1")
    assert (recording.effect.slug, recording.effect.device) == ("ht1", "Blackstar HT-1")
    assert (recording.effect.sample_rate, recording.effect.channels, recording.effect.knobs) == (44_100, 1, ())
    assert [(take.dry.name, take.wet.name, take.split) for take in recording.takes] == [
        ("ht1-input.wav", "ht1-target.wav", split) for split in ("train", "validation", "test")
    ]


def test_names_without_hyphen_belong_to_the_same_device(tmp_path: Path) -> None:
    takes = read_split_pairs(write_split_pairs(tmp_path / "Data").parent, "muff").takes
    assert takes[-1].dry.name == "muffinput.wav"


def test_an_only_device_needs_no_name(tmp_path: Path) -> None:
    assert read_split_pairs(write_split_pairs(tmp_path, ("My Amp",))).effect.slug == "my-amp"
    with pytest.raises(FormatError, match="no device 'muff'; it holds my-amp"):
        read_split_pairs(tmp_path, "muff")


def test_a_file_without_partner_is_named(tmp_path: Path) -> None:
    write_split_pairs(tmp_path, ("ht1",))
    (tmp_path / "val" / "ht1-target.wav").unlink()
    with pytest.raises(FormatError, match=r"ht1-input\.wav: expected a file of the same name with target"):
        read_split_pairs(tmp_path)


def test_folders_without_split_pairs_say_what_is_expected(tmp_path: Path) -> None:
    assert not recognises_split_pairs(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="expected folders train, val and test"):
        read_split_pairs(tmp_path)


@pytest.mark.parametrize(
    ("dry", "wet"),
    [
        ("input.wav", "output.wav"),
        ("v3_0_0.wav", "my recording.wav"),
        ("in.wav", "out_ts9.wav"),
        ("riff DI.wav", "riff reamped.wav"),
        ("something.wav", "something-wet.wav"),
        ("clean.flac", "zzz.wav"),
    ],
)
def test_names_tell_input_and_output_apart(tmp_path: Path, dry: str, wet: str) -> None:
    recording = read_single_pair(write_single_pair(tmp_path / "My Amp", dry, wet))
    (take,) = recording.takes
    assert (take.dry.name, take.wet.name, take.split) == (dry, wet, None)
    assert (recording.effect.slug, recording.effect.knobs) == ("my-amp", ())


@pytest.mark.parametrize(("dry", "wet"), [("a.wav", "b.wav"), ("in 1.wav", "in 2.wav"), ("dry to wet.wav", "b.wav")])
def test_names_that_do_not_tell_are_listed(tmp_path: Path, dry: str, wet: str) -> None:
    write_single_pair(tmp_path, dry, wet)
    with pytest.raises(FormatError, match=rf"got {dry}, {wet}|got {wet}, {dry}"):
        read_single_pair(tmp_path)


def test_one_given_name_is_enough(tmp_path: Path) -> None:
    write_single_pair(tmp_path, "b.wav", "a.wav")
    for names in ({"input_file": "b.wav"}, {"output_file": "a.wav"}, {"input_file": "b.wav", "output_file": "a.wav"}):
        (take,) = read_single_pair(tmp_path, "amp", **names).takes
        assert (take.dry.name, take.wet.name) == ("b.wav", "a.wav")
    with pytest.raises(DatasetNotFoundError, match=r"no file 'c\.wav' .* it holds a\.wav, b\.wav"):
        read_single_pair(tmp_path, input_file="c.wav")
    with pytest.raises(FormatError, match="the same one twice"):
        read_single_pair(tmp_path, input_file="a.wav", output_file="a.wav")


def test_names_choose_among_many_files(tmp_path: Path) -> None:
    write_single_pair(tmp_path, "a.wav", "b.wav")
    write_audio(tmp_path / "c.wav", 48_000)
    assert not recognises_single_pair(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"found 3 audio file\(s\): a\.wav, b\.wav, c\.wav"):
        read_single_pair(tmp_path)
    assert read_single_pair(tmp_path, input_file="a.wav", output_file="c.wav").takes[0].wet.name == "c.wav"


def test_rates_must_agree_and_channels_need_not(tmp_path: Path) -> None:
    write_single_pair(tmp_path)
    write_audio(tmp_path / "output.wav", 48_000, channels=2)
    recording = read_single_pair(tmp_path)
    assert (recording.effect.channels, recording.takes[0].channel) == (1, 0)
    write_audio(tmp_path / "output.wav", 44_100)
    with pytest.raises(FormatError, match=r"output\.wav: expected 48000 Hz as in input\.wav, got 44100 Hz"):
        read_single_pair(tmp_path)


def test_the_public_pairs_are_listed_file_by_file(tmp_path: Path) -> None:
    write_split_pairs(tmp_path)
    (tmp_path / "test" / "muffinput.wav").rename(tmp_path / "test" / "muff-input.wav")
    (tmp_path / "test" / "mufftarget.wav").rename(tmp_path / "test" / "muff-target.wav")
    assert len(DATASET.files) == 12
    assert all((tmp_path / file.name).is_file() for file in DATASET.files)
