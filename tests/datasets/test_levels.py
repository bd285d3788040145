from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from neuralfx.datasets.levels import measure_levels, measure_noise
from neuralfx.errors import AudioFileError
from tests.data.generate import RATE, music


def write(path: Path, audio: npt.NDArray[Any], subtype: str = "FLOAT") -> Path:
    soundfile.write(path, audio, RATE, subtype)
    return path


def test_levels_are_those_of_the_whole_file(tmp_path: Path) -> None:
    audio = music(50_000) + 0.02
    found = measure_levels(write(tmp_path / "a.wav", audio))
    assert found.peak == pytest.approx(np.abs(audio).max(), rel=1e-6)
    assert found.rms == pytest.approx(np.sqrt(np.mean(audio**2)), rel=1e-6)
    assert found.dc == pytest.approx(audio.mean(), rel=1e-5)
    assert (found.samples, found.sample_rate, found.channels, found.not_finite) == (50_000, RATE, 1, 0)


@pytest.mark.parametrize("level", [1.0, 0.6])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_flat_tops_are_clipping_at_any_level(tmp_path: Path, level: float, subtype: str) -> None:
    audio = np.clip(8 * music(20_000), -1, 1) * level
    found = measure_levels(write(tmp_path / "a.wav", audio, subtype))
    assert found.clip_level == pytest.approx(level, abs=1e-3)
    assert found.clipped_runs > 10 and found.clipped_samples >= 3 * found.clipped_runs


@pytest.mark.parametrize("peak", [1.0, 0.1, 0.02])
def test_round_tops_are_no_clipping(tmp_path: Path, peak: float) -> None:
    low = np.sin(2 * np.pi * 20 * np.arange(20_000) / RATE)  # stays at the top for several samples of 16 bit
    assert measure_levels(write(tmp_path / "a.wav", peak * low, "PCM_16")).clipped_samples == 0
    assert measure_levels(write(tmp_path / "b.wav", peak * np.tanh(3 * music(20_000)), "PCM_16")).clipped_samples == 0


def test_digital_silence_is_counted_inside_and_at_both_ends(tmp_path: Path) -> None:
    audio = np.concatenate([np.zeros(1_000), np.full(500, 0.5), np.zeros(8_000), np.full(300, 0.5), np.zeros(200)])
    found = measure_levels(write(tmp_path / "a.wav", audio))
    assert (found.leading_zeros, found.trailing_zeros) == (1_000, 200)
    assert found.zeros == pytest.approx(0.92)
    ((start, stop),) = found.silent
    assert abs(start - 1_500) < 80 and abs(stop - 9_500) < 160


def test_a_silent_file_is_silent_from_end_to_end(tmp_path: Path) -> None:
    found = measure_levels(write(tmp_path / "a.wav", np.zeros(12_345)))
    assert (found.peak, found.rms, found.zeros, found.silent) == (0.0, 0.0, 1.0, ((0, 12_345),))


def test_samples_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    audio = music(20_000)
    audio[7], audio[15_000] = np.nan, np.inf
    found = measure_levels(write(tmp_path / "a.wav", audio))
    assert found.not_finite == 2
    assert np.isfinite([found.peak, found.rms, found.dc]).all()


def test_the_digest_is_of_the_samples_and_not_of_the_container(tmp_path: Path) -> None:
    audio = music(20_000)
    digests = [
        measure_levels(write(tmp_path / name, np.round(audio * gain * 32_768).astype(np.int16), "PCM_16")).digest
        for name, gain in (("a.wav", 1.0), ("b.flac", 1.0), ("c.wav", 0.9))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_one_channel_of_two_can_be_measured(tmp_path: Path) -> None:
    both = np.stack([music(20_000), np.zeros(20_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE, "FLOAT")
    assert measure_levels(tmp_path / "a.wav", 1).rms == 0.0
    assert measure_levels(tmp_path / "a.wav", 0).rms > 0.0


def test_noise_is_measured_where_the_input_is_silent(tmp_path: Path) -> None:
    noise = 1e-3 * np.random.default_rng(0).standard_normal(40_000)
    noise[:20_000] += music(20_000)
    path = write(tmp_path / "a.wav", noise)
    assert measure_noise(path, [(20_000, 40_000)]) == pytest.approx(1e-3, rel=0.05)
    assert measure_noise(path, []) is None
    assert measure_noise(path, [(20_000, 21_000)]) is None  # the device may still ring


def test_a_file_that_is_no_audio_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    with pytest.raises(AudioFileError):
        measure_levels(tmp_path / "a.wav")
