from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from neuralfx.commands.data_check import align, check
from neuralfx.datasets.manifest import read_recording
from neuralfx.errors import ConfigError, DatasetNotFoundError, FormatError
from tests.data.generate import RATE, music, write_recordings

RECORDINGS = os.environ.get("NEURALFX_RECORDINGS", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_recordings(tmp_path / "source", (0, 300, -200), samples=40_000)


def jump(folder: Path) -> None:
    """Drop a block of the first output."""
    path = folder / "toy_amp" / "take0.wav"
    audio, rate = soundfile.read(path)
    soundfile.write(path, np.concatenate([audio[:20_000], audio[20_064:]]), rate, "FLOAT")


def test_good_recordings_pass_with_advice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("toy-amp: Toy amplifier, 3 takes, 8000 Hz")
    assert "note: take1.wav: output is 300 samples late; neuralfx fit corrects this by itself" in printed


def test_a_lost_block_fails_with_file_and_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jump(folder)
    assert check([str(folder)]) == 1
    assert "error: take0.wav: output is 64 samples earlier from 2.5" in capsys.readouterr().out


def test_a_report_is_written(folder: Path, tmp_path: Path) -> None:
    check([str(folder), "-o", str(tmp_path / "report")])
    (device,) = json.loads((tmp_path / "report" / "check.json").read_text())["devices"]
    assert device["device"] == "toy-amp"
    assert (tmp_path / "report" / "toy-amp-offset.png").is_file()


def test_all_devices_of_a_manifest_are_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((folder / "recordings.json").read_text())
    shutil.copytree(folder / "toy_amp", folder / "other")
    (folder / "recordings.json").write_text(json.dumps(manifest | {"other": manifest["toy_amp"]}))
    check([str(folder)])
    both = capsys.readouterr().out
    check([str(folder), "--device", "other"])
    one = capsys.readouterr().out
    assert "toy-amp: " in both and "\nother: " in both
    assert "toy-amp: " not in one and one.startswith("other: ")


def test_an_aligned_copy_needs_no_alignment(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align([str(folder), "-o", str(tmp_path / "new")]) == 0
    assert "toy-amp/take1.wav: moved by -300 samples" in capsys.readouterr().out
    for take in read_recording(tmp_path / "new").takes:
        dry, wet = soundfile.read(take.dry)[0], soundfile.read(take.wet)[0]
        length = min(len(dry), len(wet))
        gain = float(take.values["gain"])
        np.testing.assert_allclose(wet[:length], np.tanh(4 * gain * dry[:length]), atol=0.25)
    check([str(tmp_path / "new")])
    assert "neuralfx fit corrects" not in capsys.readouterr().out


def test_what_no_constant_offset_corrects_is_refused_unless_forced(folder: Path, tmp_path: Path) -> None:
    jump(folder)
    with pytest.raises(FormatError, match=r"take0\.wav jumps at 2\.5"):
        align([str(folder), "-o", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
    assert align([str(folder), "-o", str(tmp_path / "new"), "--force"]) == 0


def test_a_single_inverted_take_is_turned_around_on_request(folder: Path, tmp_path: Path) -> None:
    path = folder / "toy_amp" / "take2.wav"
    audio, rate = soundfile.read(path)
    soundfile.write(path, -audio, rate, "FLOAT")
    assert check([str(folder)]) == 1
    align([str(folder), "-o", str(tmp_path / "same")])
    align([str(folder), "-o", str(tmp_path / "turned"), "--polarity"])
    same, turned = (soundfile.read(read_recording(tmp_path / name).takes[2].wet)[0] for name in ("same", "turned"))
    np.testing.assert_array_equal(turned, -same)
    assert check([str(tmp_path / "turned")]) == 0


def test_bad_use_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError):
        check([str(tmp_path / "nowhere")])
    with pytest.raises(FormatError, match="no device"):
        check([str(folder), "--device", "unknown"])
    with pytest.raises(ConfigError, match="not written into"):
        align([str(folder), "-o", str(folder / "new")])
    with pytest.raises(ConfigError, match="required"):
        align([str(folder)])


def test_checking_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; from neuralfx.commands.data_check import check; check(sys.argv[1:]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_long_takes_need_no_more_memory_than_short_ones(tmp_path: Path) -> None:
    code = (
        "import sys, resource; from neuralfx.commands.data_check import check; check(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for name, minutes in (("short", 1), ("long", 20)):
        folder = tmp_path / name
        folder.mkdir()
        dry = music(60 * RATE)
        for file, audio in (("input.wav", dry), ("output.wav", np.tanh(3 * dry))):
            with soundfile.SoundFile(folder / file, "w", RATE, 1, "PCM_16") as writing:
                for _ in range(minutes):
                    writing.write(audio)
        (folder / "recordings.json").write_text(
            json.dumps({"input": "input.wav", "takes": [{"file": "output.wav", "knobs": {}}]})
        )
        done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.skipif(not RECORDINGS, reason="NEURALFX_RECORDINGS names no folder of recordings")
def test_real_recordings_are_said_to_start_at_different_points(capsys: pytest.CaptureFixture[str]) -> None:
    assert check([RECORDINGS]) == 0
    printed = capsys.readouterr().out
    assert "od300: takes start at different points: their offsets go from -1473 to -449 samples" in printed
    assert "neutron-od: the device inverts polarity in all 3 takes" in printed
