from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuralfx import audio
from neuralfx.datasets import simionato_optical, simionato_vol1
from neuralfx.datasets.base import Dataset, Manual
from neuralfx.errors import DatasetNotFoundError, DiskSpaceError, FormatError
from tests.data.simionato import GRIDS, SAMPLES, arrays, settings, write_pickles

DATASETS = [simionato_vol1.DATASET, simionato_optical.DATASET]
OWNERS = {
    "OD": (simionato_vol1.DATASET, "od300"),
    "ODNeutron": (simionato_vol1.DATASET, "neutron-od"),
    "FilterNeutron": (simionato_vol1.DATASET, "neutron-filter"),
    "Saturator": (simionato_vol1.DATASET, "helper-saturator"),
    "Pultec": (simionato_vol1.DATASET, "pultec"),
    "LA2A": (simionato_optical.DATASET, "la2a"),
    "CL1B": (simionato_optical.DATASET, "cl1b"),
}


def convert(root: Path, name: str) -> tuple[Dataset, str]:
    dataset, device = OWNERS[name]
    assert dataset.convert is not None
    dataset.convert(root)
    return dataset, device


def notes(root: Path, device: str) -> str:
    found = json.loads((root / "recordings.json").read_text(encoding="utf-8"))[device]["notes"]
    return "\n".join(found)


def contents(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_every_device_is_converted_without_loss(tmp_path: Path, name: str) -> None:
    root = write_pickles(tmp_path / "set", name)
    dataset, device = convert(root, name)
    recording = dataset.read(root, None)
    effect, z = recording.effect, settings(name)
    assert (effect.slug, len(effect.knobs)) == (device, z.shape[1])
    assert effect.sample_rate == (44_100 if device == "la2a" else 48_000)
    assert [take.split for take in recording.takes] == ["test"] * len(z) + ["train"] * len(z)
    expected = arrays(z)
    for index in (0, len(z) // 2, len(z) - 1):
        take = recording.takes[len(z) + index]
        np.testing.assert_array_equal(audio.read(take.wet)[0][0], expected["y"][index])
        np.testing.assert_array_equal(audio.read(take.dry)[0], expected["x"])
        normalised = effect.normalise(take.values)
        np.testing.assert_allclose(normalised, z[index] / ([10, 1] if device == "la2a" else 1), atol=1e-6)
    assert len({take.dry for take in recording.takes}) == 2
    assert audio.info(recording.takes[0].wet).subtype == "FLOAT"


def test_values_are_in_the_units_of_the_device(tmp_path: Path) -> None:
    dataset, _ = convert(write_pickles(tmp_path, "LA2A"), "LA2A")
    takes = dataset.read(tmp_path, "la2a").takes
    assert takes[0].values == {"peak_reduction": 10.0, "mode": "compress"}
    assert takes[7].values == {"peak_reduction": 40.0, "mode": "limit"}


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("OD", "od300_train"),
        ("OD", "OD_test1"),
        ("CL1B", "CL1B_analog_train"),
        ("LA2A", "LA2A_analog_val"),
        ("LA2A", "la2a_validation"),
    ],
)
def test_names_come_in_variants(tmp_path: Path, name: str, stem: str) -> None:
    write_pickles(tmp_path, name, ["train"])
    (tmp_path / "CL1B").mkdir()
    (tmp_path / f"{name}_train.pickle").rename(tmp_path / "CL1B" / f"{stem}.pickle")
    dataset, device = convert(tmp_path, name)
    split = {"train": "train", "test1": "test", "val": "validation", "validation": "validation"}[stem.split("_")[-1]]
    assert {take.split for take in dataset.read(tmp_path, device).takes} == {split}


def test_other_pickles_are_left_out_and_devices_may_be_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pickles(tmp_path, "Saturator", ["train"])
    write_pickles(tmp_path, "CL1B", ["train"])
    (tmp_path / "._Saturator_train.pickle").write_bytes(b"of an archiver")
    (tmp_path / "notes.pickle").write_bytes(b"")
    convert(tmp_path, "Saturator")
    assert simionato_vol1.DATASET.read(tmp_path, None).effect.slug == "helper-saturator"
    left = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert [message.split(": ")[0] for message in left] == [
        str(tmp_path / "CL1B_train.pickle"),
        str(tmp_path / "notes.pickle"),
    ]


def test_a_device_that_comes_later_joins_the_others(tmp_path: Path) -> None:
    convert(write_pickles(tmp_path, "Saturator"), "Saturator")
    for path in tmp_path.glob("*.pickle"):
        path.unlink()
    convert(write_pickles(tmp_path, "OD"), "OD")
    for device in ("od300", "helper-saturator"):
        assert simionato_vol1.DATASET.read(tmp_path, device).effect.slug == device
    assert contents(tmp_path) >= {"od300", "helper-saturator", "recordings.json"}
    assert not [name for name in contents(tmp_path) if name.startswith(".")]


def test_what_was_converted_is_converted_again_only_if_it_has_to_be(tmp_path: Path) -> None:
    def converted() -> dict[Path, int]:
        return {path: path.stat().st_ino for path in sorted((tmp_path / "helper-saturator").iterdir())}

    write_pickles(tmp_path, "Saturator", ["train"])
    convert(tmp_path, "Saturator")
    first = converted()
    write_pickles(tmp_path, "OD")
    convert(tmp_path, "OD")
    assert converted() == first
    next(iter(first)).unlink()
    convert(tmp_path, "Saturator")
    assert converted().keys() == first.keys()
    write_pickles(tmp_path, "Saturator", ["test"])
    convert(tmp_path, "Saturator")
    assert len(converted()) == 2 * len(first)
    assert not [name for name in contents(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_transposed_knobs_are_turned(tmp_path: Path, name: str) -> None:
    write_pickles(tmp_path / "a", name, ["train"])
    write_pickles(tmp_path / "b", name, ["train"], z=settings(name).T)
    takes = []
    for folder in ("a", "b"):
        dataset, device = convert(tmp_path / folder, name)
        takes.append([take.values for take in dataset.read(tmp_path / folder, device).takes])
    assert takes[0] == takes[1]


def test_one_knob_may_be_a_plain_list(tmp_path: Path) -> None:
    write_pickles(tmp_path, "Saturator", z=settings("Saturator")[:, 0].tolist())
    dataset, device = convert(tmp_path, "Saturator")
    assert dataset.read(tmp_path, device).takes[1].values == {"saturation": pytest.approx(0.15)}


def test_inputs_are_shared_where_they_are_the_same(tmp_path: Path) -> None:
    content = arrays(settings("OD"))
    write_pickles(tmp_path, "OD", ["train"], x=np.repeat(content["x"], 25, axis=0))
    different = np.repeat(content["x"], 25, axis=0) * np.linspace(1, 2, 25, dtype=np.float32)[:, np.newaxis]
    write_pickles(tmp_path, "OD", ["test"], x=different)
    dataset, device = convert(tmp_path, "OD")
    takes = dataset.read(tmp_path, device).takes
    assert len({take.dry for take in takes[25:]}) == 1
    assert len({take.dry for take in takes[:25]}) == 25
    np.testing.assert_array_equal(audio.read(takes[24].dry)[0][0], different[24])


def test_the_threshold_is_the_column_with_four_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    z = settings("CL1B")
    write_pickles(tmp_path, "CL1B", z=z[:, [1, 0, 2, 3]])
    dataset, device = convert(tmp_path, "CL1B")
    assert dataset.read(tmp_path, device).takes[30].values["threshold"] == pytest.approx(z[30, 0])
    assert "the first two are exchanged" in notes(tmp_path, device)
    assert "3 x 4 x 3 x 3" in caplog.text


@pytest.mark.parametrize("columns", [[1, 2, 0, 3], [1, 2, 3, 0], [1, 1, 2, 3]])
def test_an_order_that_cannot_be_told_is_refused(tmp_path: Path, columns: list[int]) -> None:
    write_pickles(tmp_path, "CL1B", z=settings("CL1B")[:, columns])
    with pytest.raises(FormatError, match=r"cl1b: expected columns of z with 4 x 3 x 3 x 3 .*cannot be told"):
        convert(tmp_path, "CL1B")
    assert contents(tmp_path) == {"CL1B_train.pickle", "CL1B_test.pickle"}


def test_the_switch_of_the_la2a_may_come_first(tmp_path: Path) -> None:
    write_pickles(tmp_path, "LA2A", z=settings("LA2A")[:, ::-1])
    dataset, device = convert(tmp_path, "LA2A")
    assert dataset.read(tmp_path, device).takes[7].values == {"peak_reduction": 40.0, "mode": "limit"}
    assert "exchanged" in notes(tmp_path, device)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_another_scale_of_peak_reduction_is_understood_and_told(tmp_path: Path, scale: float) -> None:
    write_pickles(tmp_path, "LA2A", z=settings("LA2A") * np.array([scale, 1.0]))
    dataset, device = convert(tmp_path, "LA2A")
    assert dataset.read(tmp_path, device).takes[7].values["peak_reduction"] == pytest.approx(40.0)
    assert f"taken as 0 to {10 * scale:g}" in notes(tmp_path, device)


def test_scale_and_order_are_told_from_all_splits_together(tmp_path: Path) -> None:
    write_pickles(tmp_path, "LA2A", ["train"])
    content = arrays(settings("LA2A")[:2])  # 1 in both columns at most
    (tmp_path / "LA2A_test.pickle").write_bytes(pickle.dumps(content))
    dataset, device = convert(tmp_path, "LA2A")
    assert [take.values for take in dataset.read(tmp_path, device).takes[:2]] == [
        {"peak_reduction": 10.0, "mode": "compress"},
        {"peak_reduction": 10.0, "mode": "limit"},
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OD", "z is taken as level, tone; the order is not published"),
        ("ODNeutron", "z is taken as level, tone; the order is not published"),
        ("Pultec", "z is taken as boost, attenuation; the order is not published"),
        ("FilterNeutron", "10 x 5 settings of cutoff and resonance, its table 100"),
        ("LA2A", "0 compress, 1 limit"),
        ("CL1B", "0 seems to stand for 0 dB"),
    ],
)
def test_what_is_not_verified_is_said_in_log_and_manifest(
    tmp_path: Path, name: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, device = convert(write_pickles(tmp_path, name), name)
    assert expected in notes(tmp_path, device)
    assert expected in caplog.text


def test_complete_grids_bring_no_further_doubts(tmp_path: Path) -> None:
    for name in GRIDS:
        _, device = convert(write_pickles(tmp_path / name, name), name)
        assert "expected" not in notes(tmp_path / name, device)


@pytest.mark.parametrize(
    ("name", "z", "messages"),
    [
        (
            "Pultec",
            np.array([[boost, cut] for boost in (0.125, 0.375, 0.625, 0.875) for cut in (0.125, 0.375, 0.625, 0.875)]),
            [
                "boost: expected 5 values in steps of 0.125, found 4: 0.125, 0.375, 0.625, 0.875",
                "expected 25 settings of the knobs, found 16",
            ],
        ),
        (
            "FilterNeutron",
            np.array([[cutoff, resonance] for cutoff in range(10) for resonance in range(10)]) / 10,
            ["z is taken as cutoff, resonance, which is not verified", "resonance: expected 5 values, found 10"],
        ),
        ("FilterNeutron", settings("FilterNeutron")[:, ::-1], ["the first two are exchanged"]),
        ("Saturator", np.array([[0.1], [0.3]]), ["saturation: expected 10 values in steps of 0.1, found 2: 0.1, 0.3"]),
        ("Saturator", settings("Saturator") ** 2, ["expected 10 values in steps of 0.1, found 10"]),
    ],
    ids=["pultec page", "filter table", "filter exchanged", "few", "uneven"],
)
def test_unexpected_grids_are_kept_and_told(
    tmp_path: Path, name: str, z: np.ndarray[Any, Any], messages: list[str]
) -> None:
    write_pickles(tmp_path, name, **arrays(z))
    _, device = convert(tmp_path, name)
    for message in messages:
        assert message in notes(tmp_path, device)


def test_different_lengths_are_kept_and_told(tmp_path: Path) -> None:
    content = arrays(settings("OD"))
    write_pickles(tmp_path, "OD", x=content["x"][:, :-100])
    dataset, device = convert(tmp_path, "OD")
    take = dataset.read(tmp_path, device).takes[0]
    assert (audio.info(take.dry).samples, audio.info(take.wet).samples) == (SAMPLES - 100, SAMPLES)
    assert f"OD_test.pickle: x has {SAMPLES - 100} samples and y {SAMPLES}" in notes(tmp_path, device)


def test_double_precision_and_a_trailing_axis_are_accepted(tmp_path: Path) -> None:
    content = arrays(settings("OD"))
    write_pickles(tmp_path, "OD", x=content["x"][..., None].astype(np.float64), y=content["y"][..., None])
    dataset, device = convert(tmp_path, "OD")
    np.testing.assert_array_equal(audio.read(dataset.read(tmp_path, device).takes[3].wet)[0][0], content["y"][3])


def nan(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    damaged = array.copy()
    damaged[-1, -1] = np.nan
    return damaged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"y": nan(d["y"])}, r"OD_test\.pickle: the audio for od_test_024\.wav .* got NaN or infinity"),
        (lambda d: {"x": nan(d["x"])}, r"the audio for od_test_000_input\.wav"),
        (lambda d: {"z": nan(d["z"])}, "expected z of finite numbers"),
        (lambda d: {"y": (d["y"] * 32767).astype(np.int16)}, "expected y as floating-point numbers .* got int16"),
        (lambda d: {"y": d["y"].T}, r"expected y of shape \(settings, time\), got \(2000, 25\)"),
        (lambda d: {"y": d["y"][0]}, r"expected y of shape \(settings, time\), got \(2000,\)"),
        (lambda d: {"x": np.repeat(d["x"], 3, axis=0)}, "one row or the 25 rows of y, got 3"),
        (lambda d: {"z": d["z"][:-1]}, r"shape \(25, 2\) .* got float32 of shape \(24, 2\)"),
        (lambda d: {"z": d["z"][:, :1]}, r"got float32 of shape \(25, 1\)"),
        (lambda d: {"z": d["z"] * 10}, "knob level: expected 0 to 1 in z, got 0, 2.5, 5, 7.5, 10"),
        (lambda d: {"z": d["z"] - 0.5}, "knob level: expected 0 to 1 in z, got -0.5"),
        (lambda d: {"z": None}, "expected arrays 'x', 'y' and 'z', found 'x' and 'y'"),
    ],
)
def test_damaged_pickles_are_refused_and_leave_nothing(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    write_pickles(tmp_path, "OD", **change(arrays(settings("OD"))))
    with pytest.raises(FormatError, match=message):
        convert(tmp_path, "OD")
    assert contents(tmp_path) == {"OD_train.pickle", "OD_test.pickle"}


def test_a_switch_between_its_positions_is_refused(tmp_path: Path) -> None:
    write_pickles(tmp_path, "LA2A", z=settings("LA2A") * np.array([1, 0.5]))
    with pytest.raises(FormatError, match=r"knob mode: expected 0 \(compress\) or 1 \(limit\) in z, got 0, 0.5"):
        convert(tmp_path, "LA2A")


class Burglar:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_is_refused_with_nothing_run(tmp_path: Path) -> None:
    root = write_pickles(tmp_path / "set", "OD", ["train"])
    write_pickles(root, "OD", ["test"], extra=Burglar(tmp_path / "ran"))
    with pytest.raises(FormatError, match=r"OD_test\.pickle: asks for \w+\.mkdir"):
        convert(root, "OD")
    assert contents(tmp_path) == {"set"}
    assert contents(root) == {"OD_train.pickle", "OD_test.pickle"}


@pytest.mark.parametrize("after", [0, 1, 30])
def test_an_interrupted_conversion_leaves_nothing_and_starts_anew(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pickles(tmp_path, "OD")
    write = audio.write
    written: list[Any] = []

    def interrupted(*arguments: Any) -> None:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(arguments)
        write(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(audio, "write", interrupted)
        convert(tmp_path, "OD")
    assert contents(tmp_path) == {"OD_train.pickle", "OD_test.pickle"}
    (tmp_path / ".converting" / "od300").mkdir(parents=True)  # as if the power had failed
    (tmp_path / ".converting" / "od300" / "od_test_000.wav").write_bytes(b"half")
    (tmp_path / "od300").mkdir()
    (tmp_path / "od300" / "old.wav").write_bytes(b"without a manifest")
    dataset, device = convert(tmp_path, "OD")
    assert len(dataset.read(tmp_path, device).takes) == 50
    assert ".converting" not in contents(tmp_path)
    assert "old.wav" not in contents(tmp_path / "od300")


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pickles(tmp_path, "OD")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1_000))
    with pytest.raises(DiskSpaceError, match="the audio of od300 needs"):
        convert(tmp_path, "OD")
    assert contents(tmp_path) == {"OD_train.pickle", "OD_test.pickle"}


def test_an_empty_folder_is_told_what_should_be_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"od_train\.pickle, odneutron_train\.pickle"):
        convert(tmp_path, "OD")
    with pytest.raises(DatasetNotFoundError, match=r"recordings\.json"):
        simionato_vol1.DATASET.read(tmp_path, None)


@pytest.mark.parametrize("text", ["{", "[]", '{"takes": []}'])
def test_a_manifest_of_something_else_is_not_replaced(tmp_path: Path, text: str) -> None:
    write_pickles(tmp_path, "OD", ["train"])
    (tmp_path / "recordings.json").write_text(text)
    with pytest.raises(FormatError, match="remove it or choose another folder"):
        convert(tmp_path, "OD")
    assert (tmp_path / "recordings.json").read_text() == text


def test_two_pickles_of_one_name_are_refused(tmp_path: Path) -> None:
    write_pickles(tmp_path, "OD", ["train"])
    write_pickles(tmp_path / "copy", "OD", ["train"])
    with pytest.raises(FormatError, match="one pickle of each name"):
        convert(tmp_path, "OD")


def test_two_pickles_of_a_split_are_used_and_told(tmp_path: Path) -> None:
    write_pickles(tmp_path, "OD", ["test", "test1"])
    dataset, device = convert(tmp_path, "OD")
    assert len(dataset.read(tmp_path, device).takes) == 50
    assert "OD_test.pickle and OD_test1.pickle: more than one of a split" in notes(tmp_path, device)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_the_facts_are_there(dataset: Dataset) -> None:
    assert dataset.citation
    assert dataset.licence.startswith("not verified")
    assert all(isinstance(file, Manual) and file.page.startswith("https://www.kaggle.com/") for file in dataset.files)
    assert dataset.notes
