from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from neuralfx.datasets.alignment import (
    Alignment,
    cross_correlation,
    envelope_onsets,
    estimate_alignment,
    phase_transform,
)
from neuralfx.errors import ShapeError
from tests.data.generate import RATE, music, shift

RECORDINGS = os.environ.get("NEURALFX_RECORDINGS", "")


@pytest.mark.parametrize("offset", [-1500, -3, 0, 7, 3000])
@pytest.mark.parametrize("polarity", [1, -1])
def test_distortion_leaves_offset_and_polarity_clear(offset: int, polarity: int) -> None:
    dry = music(32_000)
    found = estimate_alignment(dry, polarity * shift(np.tanh(8 * dry), offset), RATE)
    assert offset - 2 <= found.offset_samples <= offset
    assert found.polarity == polarity
    assert found.confidence > 0.5


@pytest.mark.parametrize("coefficient", [0.5, 0.9, 0.97], ids=str)
def test_a_low_pass_is_aligned_by_its_onset_and_not_by_its_group_delay(coefficient: float) -> None:
    dry = music(32_000)
    response = coefficient ** np.arange(400)
    wet = np.convolve(np.convolve(dry, response)[: len(dry)], response)[: len(dry)]
    found = estimate_alignment(dry, shift(wet, 500), RATE)
    assert 490 <= found.offset_samples <= 502
    assert found.polarity == 1


def test_level_control_is_aligned() -> None:
    dry = music(32_000)
    level = np.sqrt(np.convolve(dry**2, np.full(400, 1 / 400))[: len(dry)])
    found = estimate_alignment(dry, shift(dry / (0.05 + level), 1024), RATE)
    assert 1020 <= found.offset_samples <= 1024


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_signals_have_no_confidence(seed: int) -> None:
    found = estimate_alignment(music(32_000, seed), np.random.default_rng(100 + seed).standard_normal(32_000), RATE)
    assert found.confidence < 0.2


def test_silence_is_not_aligned() -> None:
    assert estimate_alignment(music(4_000), np.zeros(4_000), RATE) == Alignment(0, 1, 0.0)
    assert estimate_alignment(np.zeros(4_000), music(4_000), RATE) == Alignment(0, 1, 0.0)


@pytest.mark.parametrize("samples", [1024, 2000, 9000])
def test_short_audio_is_aligned_within_its_length(samples: int) -> None:
    found = estimate_alignment(music(samples), music(samples + 5), RATE)
    assert abs(found.offset_samples) <= samples // 2


def test_stereo_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected dry of shape \(time,\)"):
        estimate_alignment(np.zeros((2, 4_000)), np.zeros(4_000), RATE)


def test_where_no_filter_fits_the_phase_transform_decides() -> None:
    dry = music(32_000)
    time = np.arange(len(dry))
    hum = 3.0 * np.sin(0.05 * time + 3 * np.sin(0.002 * time))  # an oscillator that buries the signal
    found = estimate_alignment(dry, shift(dry, 700) + np.cumsum(hum) * 0.02, RATE)
    assert abs(found.offset_samples - 700) <= 2
    assert found.confidence > 0.25


def test_the_envelope_is_blind_to_polarity_and_level() -> None:
    dry = music(32_000)
    assert abs(envelope_onsets(dry, -0.01 * shift(np.tanh(4 * dry), 1_000), 4_000).lag - 1_000) <= 64


def test_a_cut_in_the_middle_of_a_sound_is_no_offset_of_zero() -> None:
    dry, generator = music(32_000), np.random.default_rng(0)
    wet = shift(dry, 800) + 0.05 * generator.standard_normal(len(dry))
    assert phase_transform(dry[5:] + 1.0, wet[5:] + 1.0, 4_000).lag == 800


def test_group_delay_moves_the_peak_of_the_correlation_but_not_the_onset() -> None:
    dry = np.random.default_rng(0).standard_normal(32_000)
    response = np.arange(200) * 0.97 ** np.arange(200)
    wet = shift(np.convolve(dry, response)[: len(dry)], 500)
    assert cross_correlation(dry, wet, 4_000).lag > 520
    assert 495 <= estimate_alignment(dry, wet, RATE).offset_samples <= 505


@pytest.mark.skipif(not RECORDINGS, reason="NEURALFX_RECORDINGS names no folder of recordings")
def test_real_takes_are_causally_predictable_after_alignment() -> None:
    root = Path(RECORDINGS)
    most = {"cl1b": 0.03, "la2a": 0.13, "pultec": 0.08, "helper-saturator": 0.31, "neutron-od": 0.19}
    for name, device in json.loads((root / "recordings.json").read_text()).items():
        dry, rate = soundfile.read(root / name / device["input"])
        for take in device["takes"]:
            wet, _ = soundfile.read(root / name / take["file"])
            found = estimate_alignment(dry, wet, rate)
            if name in most:
                assert found.confidence > 0.5
                assert linear_error(dry, wet, found.offset_samples) < most[name]


@pytest.mark.skipif(not RECORDINGS, reason="NEURALFX_RECORDINGS names no folder of recordings")
def test_takes_of_one_device_differ_by_whole_blocks_of_512_samples() -> None:
    root = Path(RECORDINGS)
    for name, device in json.loads((root / "recordings.json").read_text()).items():
        dry, rate = soundfile.read(root / name / device["input"])
        offsets = [
            estimate_alignment(dry, soundfile.read(root / name / take["file"])[0], rate).offset_samples
            for take in device["takes"]
        ]
        apart = [(offset - offsets[0] + 256) % 512 - 256 for offset in offsets]
        assert max(map(abs, apart)) <= 8, (name, offsets)


def linear_error(dry: npt.NDArray[np.float64], wet: npt.NDArray[np.float64], offset: int, taps: int = 257) -> float:
    """Part of the wet energy that a causal FIR filter leaves, from the normal equations in the frequency domain."""
    size = 1 << (len(dry) + 16_384).bit_length()
    x, y = np.fft.rfft(dry, size), np.fft.rfft(wet, size)
    auto, cross = np.fft.irfft(abs(x) ** 2), np.fft.irfft(x.conj() * y)[np.arange(offset, offset + taps)]
    matrix = auto[abs(np.subtract.outer(np.arange(taps), np.arange(taps)))] + 1e-6 * auto[0] * np.eye(taps)
    return 1.0 - float(np.linalg.solve(matrix, cross) @ cross / (wet @ wet))
