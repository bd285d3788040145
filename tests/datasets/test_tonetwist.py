from __future__ import annotations

import logging
from pathlib import Path

import pytest

from neuralfx.datasets.base import Manual, Remote
from neuralfx.datasets.tonetwist import DATASET, DEVICES, parse_settings, read, recognises
from neuralfx.errors import DatasetNotFoundError, FormatError, KnobError
from tests.data.layouts import (
    OPTOCOMP,
    write_audio,
    write_single_pair,
    write_tonetwist,
    write_tonetwist_big_muff,
    write_tonetwist_dry,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The shared inputs alone."""
    return write_tonetwist_dry(tmp_path).parent


def test_recordings_pair_with_inputs_by_name(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tonetwist(root)
    recording = read(root)
    assert recording.effect.slug == "ampeg-optocomp"
    assert recording.effect.sample_rate == 48_000
    assert len(recording.takes) == len(OPTOCOMP) * 6
    for take in recording.takes:
        assert f".{take.dry.name.removesuffix('.input.wav')}." in take.wet.name
        assert take.dry.parent.name == take.wet.parent.parent.name
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_settings_become_knobs_and_what_stands_still_is_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tonetwist(root)
    with caplog.at_level(logging.INFO):
        recording = read(root)
    assert [(knob.name, knob.describe_range()) for knob in recording.effect.knobs] == [
        ("compression", "0 to 10"),
        ("release", "0 to 10"),
    ]
    settings = {(take.values["compression"], take.values["release"]) for take in recording.takes}
    assert settings == {(3.0, 5.0), (5.0, 0.0), (5.0, 5.0), (5.0, 10.0), (10.0, 10.0)}
    assert "knob level stands at 6.0 in all takes" in caplog.text


def test_the_device_s_own_folder_will_do(root: Path) -> None:
    folder = write_tonetwist(root, settings=OPTOCOMP[:2])
    assert read(folder) == read(root, "Ampeg OptoComp")


def test_archives_unpacked_in_folders_of_their_own_are_found(tmp_path: Path) -> None:
    write_tonetwist_dry(tmp_path / "DRY-with-markers")
    write_tonetwist(tmp_path / "Ampeg-OptoComp", settings=OPTOCOMP[:1])
    assert len(read(tmp_path).takes) == 6


def test_the_ends_with_impulses_are_not_used(root: Path) -> None:
    write_tonetwist(root, settings=OPTOCOMP[:1])
    assert {take.unused_s for take in read(root).takes} == {((0.0, 2.0), (3.0, 5.0))}


def test_inputs_shorter_than_their_impulses_are_refused(tmp_path: Path) -> None:
    write_tonetwist_dry(tmp_path, seconds=4.0)
    write_tonetwist(tmp_path, settings=OPTOCOMP[:1])
    with pytest.raises(FormatError, match="more than the 4 s that hold impulses"):
        read(tmp_path)


def test_one_recording_validates_and_those_of_test_test(root: Path) -> None:
    write_tonetwist(root, settings=OPTOCOMP[:1])
    splits = {take.dry.name.split(".")[0]: take.split for take in read(root).takes}
    assert splits == {
        "idmt-gtr2": "train",
        "idmt-gtr4-sg": "validation",
        "nam": "train",
        "prvt-gtr": "train",
        "yt-bass": "train",
        "idmt-bass": "test",
    }


def test_the_folder_s_settings_count_where_a_file_s_name_differs(root: Path) -> None:
    write_tonetwist(root, "HarleyBenton-Rodent", ("V100_F050_D050_MNormal", "V100_F050_D030_MTurbo"))
    recording = read(root)
    assert recording.effect.knobs.names() == ("distortion", "mode")
    assert recording.effect.knobs["mode"].positions == ("Normal", "Turbo")
    assert recording.takes[-1].values == {"distortion": 5.0, "mode": "Normal"}


def test_a_switch_may_have_a_number_among_its_positions(root: Path) -> None:
    write_tonetwist(root, "HarleyBenton-Rodent", ("V100_M000", "V100_MTurbo"))
    assert read(root).effect.knobs["mode"].positions == ("0.0", "Turbo")


def test_letters_without_a_documented_meaning_name_the_knob(root: Path) -> None:
    write_tonetwist(root, "Fulltone-FullDrive2", ("V100_T050_O050_B000", "V100_T050_O100_B000"))
    assert read(root).effect.knobs.names() == ("o",)


def test_a_device_with_its_own_inputs_uses_those(root: Path) -> None:
    write_tonetwist_big_muff(root / "ElectroHarmonix-BigMuff")
    recording = read(root)
    assert recording.effect.slug == "electroharmonix-bigmuff"
    assert (recording.effect.sample_rate, recording.effect.knobs) == (44_100, ())
    assert [(take.dry.name, take.split) for take in recording.takes] == [
        ("train.input.wav", "train"),
        ("val.input.wav", "validation"),
        ("test.input.wav", "test"),
    ]
    assert all(take.unused_s == () for take in recording.takes)


def test_one_nameless_input_without_folders_of_splits_is_enough(tmp_path: Path) -> None:
    write_audio(tmp_path / "DRY" / "input.wav", 44_100)
    for setting in ("Vol=6_Tone=2_Sustain=5", "Vol=6_Tone=2.5_Sustain=5"):
        write_audio(tmp_path / "DIY-ElectroHarmonix-BigMuff" / setting / "target.wav", 44_100)
    recording = read(tmp_path)
    assert [(take.values, take.split) for take in recording.takes] == [({"tone": 2.5}, None), ({"tone": 2.0}, None)]


def test_devices_that_are_not_listed_are_read_too(root: Path) -> None:
    write_tonetwist(root, "Acme-Fuzz", ("G010", "G055"))
    recording = read(root, "acme-fuzz")
    assert recording.effect.device == "Acme-Fuzz"
    assert recording.takes[-1].values == {"g": 5.5}


def test_several_devices_need_a_choice(root: Path) -> None:
    write_tonetwist(root, settings=OPTOCOMP[:1])
    write_tonetwist(root, "HarleyBenton-BigFur", ("S050",))
    with pytest.raises(FormatError, match="pass device as one of ampeg-optocomp, harleybenton-bigfur"):
        read(root)
    assert read(root, "HarleyBenton-BigFur").effect.device == "Harley Benton Big Fur"
    with pytest.raises(DatasetNotFoundError, match="no files of ibanez-ts9"):
        read(root, "ibanez-ts9")


def test_missing_inputs_name_their_archive(tmp_path: Path) -> None:
    write_tonetwist(tmp_path, settings=OPTOCOMP[:1])
    with pytest.raises(DatasetNotFoundError, match=r"unpack that of DRY-with-markers\.zip"):
        read(tmp_path)


def test_recordings_without_input_are_left_out_with_one_warning(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_tonetwist(root, settings=OPTOCOMP[:2])
    write_audio(folder / "trainval" / OPTOCOMP[0] / f"{OPTOCOMP[0]}.banjo.target.wav", 48_000)
    with caplog.at_level(logging.WARNING):
        assert len(read(root).takes) == 12
    (record,) = caplog.records
    assert "banjo" in record.message


def test_settings_that_disagree_or_leave_the_range_are_refused(root: Path) -> None:
    write_tonetwist(root, settings=("C030_R050", "C030_L050"))
    with pytest.raises(FormatError, match="the same knobs in all settings, got 'C030_L050' and 'C030_R050'"):
        read(root)
    write_tonetwist(root, "HarleyBenton-BigFur", ("S050", "S120"))
    with pytest.raises(KnobError, match=r"0 to 10, got 12\.0"):
        read(root, "harleybenton-bigfur")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("C100_R050_L060", {"C": 10.0, "R": 5.0, "L": 6.0}),
        ("M050_M025", {"M": 5.0, "M2": 2.5}),
        ("trainval", None),
        ("C100-R050", None),
        ("C1000", None),
        ("", None),
    ],
)
def test_settings_are_read_from_names(name: str, settings: dict[str, float] | None) -> None:
    assert parse_settings(name) == settings


def test_other_folders_are_refused(tmp_path: Path) -> None:
    assert not recognises(write_single_pair(tmp_path))
    with pytest.raises(DatasetNotFoundError, match="no ToneTwist AFx device"):
        read(tmp_path)


def test_each_device_names_its_archives() -> None:
    assert [file.name for file in DATASET.files_for("ampeg-optocomp")] == ["DRY-with-markers.zip", "Ampeg-OptoComp.zip"]
    assert [file.name for file in DATASET.files_for("ibanez-ts9")] == ["Ibanez-TS9.zip"]
    assert [file.name for file in DATASET.files_for("amplitube-dcomp")] == ["DRY.zip", "Amplitube-DComp.zip"]
    assert isinstance(DATASET.files_for("multidrivepedalpro-f-fuzz")[1], Manual)
    assert len(DATASET.files) == len(DEVICES) + 2
    urls = [file.url for file in DATASET.files if isinstance(file, Remote)]
    assert len(set(urls)) == len(urls) == len(DEVICES) - 4 + 2
    assert all(url.startswith("https://zenodo.org/records/") and url.endswith("?download=1") for url in urls)
