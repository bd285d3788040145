from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from neuralfx.datasets.manifest import read_recording
from neuralfx.errors import DatasetNotFoundError, FormatError
from tests.data.generate import RATE, write_recordings

CSV = """device,file,input_file,cutoff,mode,cutoff_01,mode_01,peak_dbfs
soft_comp,soft_0.wav,dry.wav,200.0,0.0,0.1,0.0,-3
soft_comp,soft_1.wav,dry.wav,2000.0,1.0,0.9,1.0,-3
tube,tube_0.wav,dry.wav,,,,,-3
"""
KNOBS = """device,knob,min,max,scale,unit
soft_comp,cutoff,20,20000,log,Hz
soft_comp,mode,0,1,enum,0 compress 1 limit
"""


def write_csv(root: Path, manifest: str = CSV, knobs: str = KNOBS) -> Path:
    for name in ("dry", "soft_0", "soft_1", "tube_0"):
        soundfile.write(root / f"{name}.wav", np.zeros(100), RATE)
    (root / "manifest.csv").write_text(manifest, encoding="utf-8")
    if knobs:
        (root / "knobs.csv").write_text(knobs, encoding="utf-8")
    return root


def edit(root: Path, **fields: Any) -> None:
    path = root / "recordings.json"
    data = json.loads(path.read_text())
    data["toy_amp"].update(fields)
    path.write_text(json.dumps(data))


def test_recordings_json_is_read(tmp_path: Path) -> None:
    recording = read_recording(write_recordings(tmp_path))
    assert recording.effect.slug == "toy-amp"
    assert recording.effect.device == "Toy amplifier"
    assert recording.effect.sample_rate == RATE
    assert recording.effect.knobs["gain"].describe_range() == "0 to 1"
    assert [take.values for take in recording.takes] == [{"gain": 0.25}, {"gain": 0.5}]
    assert recording.takes[0].dry == tmp_path / "toy_amp" / "input.wav"


def test_the_folder_of_the_device_is_enough(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    assert read_recording(tmp_path / "toy_amp") == read_recording(tmp_path, "toy-amp")


def test_a_single_device_is_read_from_its_own_folder(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    fields = json.loads((tmp_path / "recordings.json").read_text())["toy_amp"]
    (tmp_path / "recordings.json").unlink()
    (tmp_path / "toy_amp" / "recordings.json").write_text(json.dumps(fields))
    assert read_recording(tmp_path / "toy_amp").effect.slug == "toy-amp"


def test_takes_may_have_their_own_input_and_split(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    takes = [{"file": "take0.wav", "input": "take1.wav", "split": "val", "knobs": {"gain": 0}}]
    edit(tmp_path, takes=takes)
    (take,) = read_recording(tmp_path).takes
    assert (take.dry.name, take.split) == ("take1.wav", "validation")


def test_takes_may_state_offset_channel_and_what_is_unused(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    takes = [{"file": "take0.wav", "offset_samples": -12, "channel": 1, "unused_s": [[0, 1]], "knobs": {"gain": 0}}]
    edit(tmp_path, takes=takes)
    recording = read_recording(tmp_path)
    assert (recording.takes[0].offset_samples, recording.takes[0].channel) == (-12, 1)
    assert recording.takes[0].unused_s == ((0.0, 1.0),)
    assert recording.effect.channels == 1
    edit(tmp_path, takes=[{**takes[0], "unused_s": 3}])
    with pytest.raises(FormatError, match="unused_s: expected"):
        read_recording(tmp_path)
    for field, value in (("offset_samples", 0.5), ("channel", -1), ("channel", "left")):
        edit(tmp_path, takes=[{**takes[0], field: value}])
        with pytest.raises(FormatError, match=f"expected a whole number as {field}"):
            read_recording(tmp_path)


def test_offsets_in_a_table_are_no_knob(tmp_path: Path) -> None:
    lines = CSV.splitlines()
    table = "\n".join([lines[0] + ",offset_samples", *(line + ",7" for line in lines[1:])])
    recording = read_recording(write_csv(tmp_path, table, knobs=""), "soft_comp")
    assert {take.offset_samples for take in recording.takes} == {7}
    assert recording.effect.knobs.names() == ("cutoff", "mode")


def test_knobs_of_the_manifest_are_used(tmp_path: Path) -> None:
    write_recordings(tmp_path, knobs=[{"name": "gain", "maximum": 0.5, "unit": "dB"}])
    assert read_recording(tmp_path).effect.knobs["gain"].describe_range() == "0 to 0.5 dB"


def test_undeclared_knobs_beyond_one_get_their_span(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    edit(tmp_path, takes=[{"file": "take0.wav", "knobs": {"gain": -3}}, {"file": "take1.wav", "knobs": {"gain": 9}}])
    assert read_recording(tmp_path).effect.knobs["gain"].describe_range() == "-3 to 9"


def test_passed_knobs_rename_scale_and_name_positions(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    knobs = [
        {"name": "reduction", "column": "gain", "factor": 100, "maximum": 100, "unit": "%"},
        {"name": "mode", "column": "gain", "factor": 2, "positions": ["compress", "limit"]},
    ]
    recording = read_recording(tmp_path, knobs=knobs, slug="la2a", device_name="LA-2A")
    assert [take.values for take in recording.takes] == [
        {"reduction": 25.0, "mode": "compress"},
        {"reduction": 50.0, "mode": "limit"},
    ]
    assert (recording.effect.slug, recording.effect.device) == ("la2a", "LA-2A")


def test_manifest_csv_is_read_with_its_ranges(tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text('{"validation": [[1, 2]], "test": [[3, 4.5]]}')
    recording = read_recording(write_csv(tmp_path), "soft-comp")
    cutoff = recording.effect.knobs["cutoff"]
    assert (cutoff.minimum, cutoff.maximum, cutoff.taper, cutoff.unit) == (20, 20_000, "logarithmic", "Hz")
    assert recording.effect.knobs["mode"].positions == ("compress", "limit")
    assert recording.takes[1].values == {"cutoff": 2000.0, "mode": "limit"}
    assert recording.held_out_s == {"validation": ((1.0, 2.0),), "test": ((3.0, 4.5),)}


def test_manifest_csv_without_ranges_takes_columns_with_values_as_knobs(tmp_path: Path) -> None:
    root = write_csv(tmp_path, knobs="")
    assert read_recording(root, "soft_comp").effect.knobs.names() == ("cutoff", "mode")
    assert read_recording(root, "tube").effect.knobs == ()


@pytest.mark.parametrize(
    ("device", "message"),
    [(None, "pass device as one of soft-comp, tube"), ("soft_camp", "did you mean soft-comp")],
)
def test_an_unclear_device_is_answered_with_those_there_are(tmp_path: Path, device: str | None, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_recording(write_csv(tmp_path), device)


def test_missing_folders_manifests_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no folder"):
        read_recording(tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError, match="no manifest"):
        read_recording(tmp_path)
    write_recordings(tmp_path)
    (tmp_path / "toy_amp" / "take1.wav").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"take1\.wav"):
        read_recording(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"takes": []}, "at least one"),
        ({"takes": [{"knobs": {}}]}, "name of an audio file"),
        ({"takes": [{"file": "take0.wav", "knobs": {"gain": 5}}]}, "every take has 5"),
        ({"takes": [{"file": "take0.wav", "split": "exam"}]}, "expected a split among"),
        ({"knobs": [{"name": "drive"}]}, "no value for knob 'drive'; it has gain"),
        ({"knobs": [{"name": "gain", "maximum": 0.3}]}, "expected a value of gain: 0 to 0.3, got 0.5"),
        ({"knobs": [{"name": "gain", "factor": 0}]}, "other than 0"),
        ({"knobs": ["gain"]}, "mapping of a knob's fields"),
    ],
)
def test_damaged_manifests_say_what_is_wrong(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    write_recordings(tmp_path)
    edit(tmp_path, **fields)
    with pytest.raises(FormatError, match=message):
        read_recording(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}'])
def test_json_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "recordings.json").write_text(text)
    with pytest.raises(FormatError, match=r"recordings\.json: expected"):
        read_recording(tmp_path)


def test_a_table_without_the_file_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no column file; the columns are name"):
        read_recording(write_csv(tmp_path, "name\na.wav\n"))
