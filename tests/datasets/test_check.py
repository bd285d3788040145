from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from neuralfx.datasets.check import check_recording, count_files, measure_coverage
from neuralfx.datasets.manifest import Recording, Take
from neuralfx.effect import Effect, Knob, Knobs
from tests.data.generate import RATE, music, shift

EFFECT = Effect("amp", RATE, Knobs([Knob("gain"), Knob("mode", positions=("soft", "hard"))]))


def recording(tmp_path: Path, outputs: list[Any], settings: list[tuple[float, str]] | None = None) -> Recording:
    """Takes of one input, one per output."""
    dry = tmp_path / "input.wav"
    soundfile.write(dry, music(32_000), RATE, "FLOAT")
    takes = []
    for index, wet in enumerate(outputs):
        soundfile.write(tmp_path / f"take{index}.wav", wet, RATE, "FLOAT")
        gain, mode = settings[index] if settings else (index / 4, "soft")
        takes.append(Take(dry, tmp_path / f"take{index}.wav", {"gain": gain, "mode": mode}))
    return Recording(EFFECT, tuple(takes), {})


def test_each_take_is_measured(tmp_path: Path) -> None:
    dry = music(32_000)
    takes = recording(tmp_path, [shift(np.tanh(3 * dry), 250), -np.tanh(5 * dry)])
    done: list[int] = []
    found = check_recording(takes, done.append)
    offsets = [take.offset for take in found.takes]
    assert offsets[0] and offsets[0].samples is not None and abs(offsets[0].samples - 250) <= 2
    assert [offset.polarity for offset in offsets if offset] == [1, -1]
    assert sum(done) == count_files(takes) == 3
    assert found.duplicates == found.repeats == ()


def test_an_unreadable_file_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    takes = recording(tmp_path, [music(32_000), np.tanh(music(32_000))])
    (tmp_path / "take0.wav").write_bytes(b"no audio")
    first, second = check_recording(takes).takes
    assert "take0.wav" in first.problem and first.wet is None and first.dry is not None
    assert second.problem == "" and second.offset is not None


def test_a_second_take_of_a_setting_tells_how_well_it_repeats(tmp_path: Path) -> None:
    wet = np.tanh(3 * music(32_000))
    noisy = wet + 0.01 * wet.std() * np.random.default_rng(0).standard_normal(len(wet))
    (repeat,) = check_recording(recording(tmp_path, [wet, shift(noisy, 100)], [(0.5, "soft")] * 2)).repeats
    assert repeat.takes == (0, 1)
    assert repeat.esr == pytest.approx(1e-4, rel=0.1)


def test_the_same_audio_under_two_settings_is_found(tmp_path: Path) -> None:
    wet = np.tanh(3 * music(32_000))
    found = check_recording(recording(tmp_path, [wet, 0.9 * wet, wet]))
    assert found.duplicates == ((0, 2),)


def test_a_bypassed_device_is_a_copy_of_its_input(tmp_path: Path) -> None:
    first, second = check_recording(recording(tmp_path, [0.3 * music(32_000), np.tanh(9 * music(32_000))])).takes
    assert first.copy_esr is not None and first.copy_esr < 1e-9
    assert second.copy_esr is not None and second.copy_esr > 1e-3


def test_noise_limits_what_a_model_can_reach(tmp_path: Path) -> None:
    dry = np.concatenate([music(24_000), np.zeros(16_000)])
    wet = np.tanh(3 * dry) + 0.01 * np.random.default_rng(0).standard_normal(len(dry))
    takes = recording(tmp_path, [wet])
    soundfile.write(tmp_path / "input.wav", dry, RATE, "FLOAT")
    (take,) = check_recording(takes).takes
    assert take.noise_rms == pytest.approx(0.01, rel=0.05)
    assert take.best_esr == pytest.approx(1e-4 / np.mean(wet**2), rel=0.1)


def test_one_channel_of_a_stereo_output_counts(tmp_path: Path) -> None:
    wet = np.tanh(3 * music(32_000))
    takes = recording(tmp_path, [np.stack([np.zeros_like(wet), shift(wet, 40)], axis=1)])
    chosen = Take(takes.takes[0].dry, takes.takes[0].wet, takes.takes[0].values, channel=1)
    (take,) = check_recording(Recording(EFFECT, (chosen,), {})).takes
    assert take.offset and take.offset.samples is not None and abs(take.offset.samples - 40) <= 2


def test_holes_and_corners_of_a_grid_are_named() -> None:
    settings = [(0.0, "soft"), (0.5, "soft"), (1.0, "soft"), (0.0, "hard"), (0.5, "hard")]
    takes = [Take(Path("a"), Path("b"), {"gain": gain, "mode": mode}) for gain, mode in settings]
    found = measure_coverage(EFFECT, takes)
    assert (found.settings, found.cells) == (5, 6)
    assert found.missing == found.missing_corners == ({"gain": 1.0, "mode": "hard"},)
    assert found.values == {"gain": (0.0, 0.5, 1.0), "mode": ("soft", "hard")}
    assert not found.tied


def test_scattered_settings_are_no_grid() -> None:
    takes = [Take(Path("a"), Path("b"), {"gain": gain / 7, "mode": "soft"}) for gain in range(7)]
    takes += [Take(Path("a"), Path("b"), {"gain": 0.95, "mode": "hard"})]
    assert measure_coverage(EFFECT, takes).missing_corners
    assert len(measure_coverage(EFFECT, takes).missing) == 8
    assert not measure_coverage(Effect("plain", RATE), [Take(Path("a"), Path("b"), {})]).values
