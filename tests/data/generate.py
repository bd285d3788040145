"""Generates recordings of small imaginary devices in the layout of real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 8_000
Array = npt.NDArray[np.float64]


def music(samples: int, seed: int = 0) -> Array:
    """Decaying notes over a little noise, shape (samples,): a spectrum that falls, and onsets."""
    generator = np.random.default_rng(seed)
    audio = 0.003 * generator.standard_normal(samples)
    for start in range(0, samples, RATE // 8):
        time = np.arange(min(RATE // 2, samples - start)) / RATE
        pitch = 110.0 * 2.0 ** generator.uniform(0, 2)
        for harmonic in range(1, 12):
            audio[start : start + len(time)] += (
                0.1 / harmonic * np.exp(-8 * time) * np.sin(6.28 * pitch * harmonic * time)
            )
    return audio


def shift(audio: Array, offset: int) -> Array:
    """Audio that is late by ``offset`` samples, same length."""
    shifted = np.zeros_like(audio)
    if offset >= 0:
        shifted[offset:] = audio[: len(audio) - offset]
    else:
        shifted[:offset] = audio[-offset:]
    return shifted


def write_recordings(root: Path, offsets: tuple[int, ...] = (0, 0), samples: int = 24_000, **fields: Any) -> Path:
    """Write ``recordings.json`` with the device ``toy_amp``: one take per offset, knob ``gain`` from 0.25 on."""
    folder = root / "toy_amp"
    folder.mkdir(parents=True)
    dry = music(samples)
    soundfile.write(folder / "input.wav", dry, RATE, "FLOAT")
    takes = []
    for index, offset in enumerate(offsets):
        gain = 0.25 * (1 + index)
        soundfile.write(folder / f"take{index}.wav", shift(np.tanh(4 * gain * dry), offset), RATE, "FLOAT")
        takes.append({"file": f"take{index}.wav", "knobs": {"gain": gain}})
    device = {"device": "Toy amplifier", "sample_rate": RATE, "input": "input.wav", "takes": takes, **fields}
    (root / "recordings.json").write_text(json.dumps({"toy_amp": device}), encoding="utf-8")
    return root


def saturate(dry: Array, drive: float, tone: float) -> Array:
    """A one-pole low-pass behind a hyperbolic tangent: knobs from 0 to 1, memory of a few samples."""
    pole, memory = 0.9 - 0.8 * tone, 0.0
    wet = np.tanh((1 + 4 * drive) * dry)
    for index, sample in enumerate(wet):
        memory = pole * memory + (1 - pole) * sample
        wet[index] = memory
    return wet


def write_saturator(root: Path, samples: int = 24_000) -> Path:
    """Write ``recordings.json`` with the device ``saturator``: knobs ``drive`` and ``tone``, the second take late."""
    folder = root / "saturator"
    folder.mkdir(parents=True)
    dry = music(samples)
    soundfile.write(folder / "input.wav", dry, RATE, "FLOAT")
    takes = []
    for index, (drive, tone) in enumerate([(0.25, 0.75), (0.75, 0.25)]):
        soundfile.write(folder / f"take{index}.wav", shift(saturate(dry, drive, tone), 37 * index), RATE, "FLOAT")
        takes.append({"file": f"take{index}.wav", "knobs": {"drive": drive, "tone": tone}})
    device = {
        "device": "One-pole saturator",
        "sample_rate": RATE,
        "input": "input.wav",
        "knobs": [{"name": "drive"}, {"name": "tone"}],
        "takes": takes,
    }
    (root / "recordings.json").write_text(json.dumps({"saturator": device}), encoding="utf-8")
    return root
