"""Excerpts as the sounds of a player: coded, matched in loudness, with the gains that were needed."""

from __future__ import annotations

import base64
import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from neuralfx import audio
from neuralfx.evaluation.excerpts import Excerpt, Signal
from neuralfx.reports.loudness import SILENCE_LUFS, loudness_lufs

LOUDNESS_LUFS = -20.0  # of matched sounds, unless the peaks of one forbid it
HEADROOM = 0.89  # full scale less 1 dB
MOST_MATCH_DB = 40.0  # beyond it only noise would get louder


@dataclasses.dataclass(frozen=True)
class Voice:
    """One sound of an excerpt.

    Attributes:
        name: What a listener chooses: ``dry``, ``target`` or the name of a model.
        audio: The sound as 16-bit FLAC in base64, at full scale.
        recorded: Factor that brings it to its recorded level, below full scale together with the other voices.
        matched: Factor that brings it to the loudness of the target.
        match_db: Gain of the match, in dB relative to the recorded levels.
    """

    name: str
    audio: str
    recorded: float
    matched: float
    match_db: float

    def to_dict(self) -> dict[str, Any]:
        """What the player of a page reads."""
        return {
            "name": self.name,
            "audio": self.audio,
            "recorded": round(self.recorded, 6),
            "matched": round(self.matched, 6),
        }


def voices_of(excerpt: Excerpt) -> list[Voice]:
    """The sounds of an excerpt: dry, target, and every estimate that is not simply the dry sound."""
    signals = {"dry": excerpt.dry, "target": excerpt.target, **heard_estimates(excerpt)}
    peaks = {name: float(np.abs(signal).max(initial=0.0)) or 1.0 for name, signal in signals.items()}
    loudness = {name: loudness_lufs(signal, excerpt.sample_rate) for name, signal in signals.items()}
    match = {name: _match(loudness["target"], level) for name, level in loudness.items()}
    matched_level = min(
        10 ** ((LOUDNESS_LUFS - loudness["target"]) / 20), HEADROOM / max(peaks[name] * match[name] for name in signals)
    )
    recorded_level = HEADROOM / max(peaks.values())
    return [
        Voice(
            name=name,
            audio=_encode(signal / peaks[name], excerpt.sample_rate),
            recorded=peaks[name] * recorded_level,
            matched=peaks[name] * match[name] * matched_level,
            match_db=20 * math.log10(match[name]),
        )
        for name, signal in signals.items()
    ]


def heard_estimates(excerpt: Excerpt) -> dict[str, Signal]:
    """The estimates that are not simply the dry sound."""
    return {name: signal for name, signal in excerpt.estimates.items() if not np.array_equal(signal, excerpt.dry)}


def _match(target_lufs: float, own_lufs: float) -> float:
    """The factor between two loudnesses; 1 where one of the sounds is silent."""
    if SILENCE_LUFS in (target_lufs, own_lufs):
        return 1.0
    return float(10 ** (np.clip(target_lufs - own_lufs, -MOST_MATCH_DB, MOST_MATCH_DB) / 20))


def _encode(signal: Signal, sample_rate: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.flac"
        audio.write(path, 0.9999 * signal[np.newaxis], sample_rate, subtype="PCM_16")
        return base64.b64encode(path.read_bytes()).decode("ascii")
