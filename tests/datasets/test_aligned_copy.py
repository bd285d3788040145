from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from neuralfx.datasets.aligned_copy import Correction, copy_span, write_aligned
from neuralfx.datasets.manifest import Recording, read_recording
from neuralfx.errors import ConfigError, FormatError
from tests.data.generate import RATE, music, write_recordings


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_recordings(tmp_path / "source", (0, 300, -200))


def aligned(source: Path, target: Path, recording: Recording | None = None) -> Recording:
    corrections = [Correction(0), Correction(300), Correction(-200)]
    write_aligned([(recording or read_recording(source), corrections)], [source], target)
    return read_recording(target)


def test_outputs_belong_sample_by_sample_to_their_inputs(source: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    copy = aligned(source, tmp_path / "new")
    for index, take in enumerate(copy.takes):
        dry, wet = soundfile.read(take.dry)[0], soundfile.read(take.wet)[0]
        length = min(len(dry), len(wet))
        np.testing.assert_allclose(wet[:length], np.tanh(4 * 0.25 * (1 + index) * dry[:length]), atol=1e-6)
        assert length > 23_000
    assert before == {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}


def test_device_knobs_and_splits_are_carried_over(source: Path, tmp_path: Path) -> None:
    recording = read_recording(source)
    held_out = {"validation": ((0.0, 0.01), (1.0, 1.5)), "test": ((2.0, 3.0),)}
    copy = aligned(source, tmp_path / "new", dataclasses.replace(recording, held_out_s=held_out))
    assert copy.effect == recording.effect
    assert [take.values for take in copy.takes] == [take.values for take in recording.takes]
    early = 200 / RATE  # what the inputs have lost at their beginning
    assert copy.held_out_s == {"validation": ((1.0 - early, 1.5 - early),), "test": ((2.0 - early, 3.0 - early),)}


def test_every_decision_is_in_the_log(source: Path, tmp_path: Path) -> None:
    aligned(source, tmp_path / "new")
    log = json.loads((tmp_path / "new" / "alignment.json").read_text())
    assert [row["offset_samples"] for row in log] == [0, 300, -200]
    assert [row["removed_from_output"] for row in log] == [200, 500, 0]
    assert len((tmp_path / "new" / "alignment.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_24"), ("a.wav", "FLOAT"), ("a.wav", "PCM_32")]
)
def test_samples_and_their_coding_are_kept(tmp_path: Path, name: str, subtype: str) -> None:
    audio = 1.2 * music(5_000) / np.abs(music(5_000)).max()
    (tmp_path / "new").mkdir()
    soundfile.write(tmp_path / name, audio, RATE, subtype)
    copy_span(tmp_path / name, tmp_path / "new" / name, 100, 4_900)
    old, new = (soundfile.read(folder / name, dtype="float64")[0] for folder in (tmp_path, tmp_path / "new"))
    np.testing.assert_array_equal(new, old[100:4_900])
    assert soundfile.info(tmp_path / "new" / name).subtype == subtype


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_channel_can_be_chosen_and_turned_upside_down(tmp_path: Path, subtype: str) -> None:
    both = np.stack([music(2_000, 0), music(2_000, 1)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype)
    copy_span(tmp_path / "a.wav", tmp_path / "b.wav", 0, 2_000, channel=1, invert=True)
    np.testing.assert_allclose(soundfile.read(tmp_path / "b.wav")[0], -both[:, 1], atol=1e-4)


def test_the_source_and_files_that_exist_are_safe(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not written into"):
        aligned(source, source / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        aligned(source, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    aligned(source, tmp_path / "empty")


def test_a_failure_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing is left"):
        write_aligned([(read_recording(source), [Correction(50_000)] * 3)], [source], tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
