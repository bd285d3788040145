"""Recordings of devices: read their manifest, align them, and stream them from disk in lanes."""

from __future__ import annotations

from neuralfx.datasets.alignment import Alignment, estimate_alignment
from neuralfx.datasets.lanes import AlignedTake, EvaluationLanes, Span, TrainingLanes
from neuralfx.datasets.manifest import Recording, Take, read_recording
from neuralfx.datasets.paired import PairedAudioDataModule

__all__ = [
    "AlignedTake",
    "Alignment",
    "EvaluationLanes",
    "PairedAudioDataModule",
    "Recording",
    "Span",
    "Take",
    "TrainingLanes",
    "estimate_alignment",
    "read_recording",
]
