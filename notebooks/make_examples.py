"""Makes the example clip that ships with neuralfx, and the picture in the README.

Run from the root of a checkout: ``python notebooks/make_examples.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import neuralfx
from neuralfx import audio
from neuralfx.reports.figures import plot_signals

SAMPLE_RATE = 48_000
ROOT = Path(__file__).parent.parent
Signal = npt.NDArray[np.float64]


def pluck(rng: np.random.Generator, pitch_hz: float, duration_s: float) -> Signal:
    """A plucked string by Karplus and Strong: noise around a loop with a gentle low-pass, shape (time,)."""
    period = round(SAMPLE_RATE / pitch_hz)
    loop = rng.uniform(-1, 1, period)
    loop = np.convolve(np.concatenate([loop, loop]), np.hanning(10) / np.hanning(10).sum(), "same")[
        :period
    ]  # a soft plectrum
    out = np.empty(round(duration_s * SAMPLE_RATE))
    for start in range(0, len(out), period):
        part = out[start : start + period]
        part[:] = loop[: len(part)]
        loop = 0.998 * (0.75 * loop + 0.25 * np.roll(loop, 1))
    return out


def riff() -> npt.NDArray[np.float32]:
    """Four seconds of single notes and a last chord, peak 0.5, shape (1, time)."""
    rng = np.random.default_rng(7)
    notes = [(40, 0.0), (40, 0.25), (43, 0.5), (45, 1.0), (40, 1.5), (40, 1.75), (46, 2.0), (45, 2.25)]
    chord = [(pitch, 2.5) for pitch in (40, 47, 52)]
    mix = np.zeros(4 * SAMPLE_RATE)
    for midi, start_s in notes + chord:
        start = round(start_s * SAMPLE_RATE)
        length_s = min(0.5 if start_s < 2.5 else 1.5, 4 - start_s)
        note = pluck(rng, 440 * 2 ** ((midi - 69) / 12), length_s)
        fade = np.minimum(1, np.arange(len(note))[::-1] / (0.02 * SAMPLE_RATE))
        mix[start : start + len(note)] += note * fade
    return (0.5 * mix / np.abs(mix).max()).astype(np.float32)[np.newaxis]


def main() -> None:
    """Write the clip, process it with the first bundled model, and draw both."""
    dry = riff()
    audio.write(ROOT / "neuralfx/examples/riff.flac", dry, SAMPLE_RATE, subtype="PCM_16")
    model = neuralfx.load("od300-lstm")
    wet = model.process(dry, {"level": 0.5, "tone": 0.5}, sample_rate=SAMPLE_RATE)
    signals = {"dry": dry[0], "wet": wet[0]}
    figure = plot_signals(signals, SAMPLE_RATE, "neuralfx/examples/riff.flac through od300-lstm")
    figure.savefig(ROOT / "model_cards/od300-lstm.png", dpi=110)


if __name__ == "__main__":
    main()
