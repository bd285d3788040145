"""Examples from a run's test for the card of its model: pictures, and sounds where their licence allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neuralfx import audio
from neuralfx.reports.evaluation_figures import choose_colours, plot_transfer
from neuralfx.reports.figures import plot_signals

SIGNALS = ("dry", "target", "model")
MOST_TAKES = 3
SECONDS = 8.0

Sounds = Mapping[str, audio.Array]


def write_examples(run: Path, folder: Path, with_audio: bool) -> list[str]:
    """Write pictures of a run's test, and sounds of up to three takes.

    Args:
        run: Folder of a run whose ``test`` holds ``take<n>-dry.wav``, ``-target`` and ``-model``.
        folder: Where ``pictures`` and ``audio`` are made.
        with_audio: Whether to write sounds: they are excerpts of the recordings, whose licence counts.

    Returns:
        Paths of the files below ``folder``; none if the run has no test.
    """
    takes = sorted(path.name.removesuffix("-dry.wav") for path in (run / "test").glob("take*-dry.wav"))[:MOST_TAKES]
    written: list[str] = []
    for index, take in enumerate(takes):
        sounds, rate = _read(run / "test", take)
        if not index:
            written += _draw(sounds, rate, folder / "pictures")
        if with_audio:
            (folder / "audio").mkdir(exist_ok=True)
            loudest = max(float(np.abs(sound).max()) for sound in sounds.values())
            for name, sound in sounds.items():
                written.append(f"audio/{take}-{name}.flac")
                audio.write(folder / written[-1], sound / max(loudest, 1.0), rate, "PCM_16")
    return written


def _read(folder: Path, take: str) -> tuple[Sounds, int]:
    """The middle of a take, as it went in, came out, and came out of the model."""
    files = {name: folder / f"{take}-{name}.wav" for name in SIGNALS}
    header = audio.info(files["dry"])
    length = min(round(SECONDS * header.sample_rate), header.samples)
    start = (header.samples - length) // 2
    return {name: audio.read_span(path, start, start + length) for name, path in files.items()}, header.sample_rate


def _draw(sounds: Sounds, sample_rate: int, folder: Path) -> list[str]:
    dry, target, model = (sounds[name][0] for name in SIGNALS)
    figures = {
        "spectrum": plot_signals({"target": target, "model": model}, sample_rate),
        "transfer": plot_transfer(dry, target, {"model": model}, choose_colours(["model"])),
    }
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=100)
    return [f"pictures/{name}.png" for name in figures]
