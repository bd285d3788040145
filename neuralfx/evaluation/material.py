"""What is evaluated: the takes of a device, aligned, with the ranges of one split and the kinds of sound in them."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from neuralfx.datasets.lanes import AlignedTake, Span
from neuralfx.datasets.manifest import Take
from neuralfx.datasets.paired import PairedAudioDataModule
from neuralfx.effect import Effect
from neuralfx.errors import FormatError

SPLITS = ("test", "validation", "train", "all")
SOUNDS_FILE = "segments.csv"


class Sound(NamedTuple):
    """A stretch of a take with one kind of sound.

    Attributes:
        name: The kind, such as ``drum loop``.
        start: First position of the aligned take.
        stop: Position after the last one.
    """

    name: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Material:
    """Recordings as an evaluation plays them.

    Attributes:
        effect: The device and its knobs.
        names: A name for each take: the path of its output below the folder.
        recorded: The takes with their files and knob values.
        aligned: The takes as they are read.
        spans: What is scored of each take, in order; empty for takes outside of the split.
        training: What each take trains with.
        sounds: Kinds of sound in each take; empty without a table of them.
        split: Name of the split.
        folder: Where the recordings lie, for people.
    """

    effect: Effect
    names: tuple[str, ...]
    recorded: tuple[Take, ...]
    aligned: tuple[AlignedTake, ...]
    spans: tuple[tuple[Span, ...], ...]
    training: tuple[tuple[Span, ...], ...]
    sounds: tuple[tuple[Sound, ...], ...]
    split: str
    folder: str

    @property
    def samples(self) -> int:
        """Samples that are scored, of all takes."""
        return sum(span.stop - span.start for spans in self.spans for span in spans)


def read_material(data: PairedAudioDataModule, folder: str | os.PathLike[str], split: str = "test") -> Material:
    """Align and split recordings.

    Args:
        data: The recordings; nothing of them needs to have been played before.
        folder: Their folder. A table ``segments.csv`` in it, with the columns ``segment``, ``start_s`` and ``end_s``
            in seconds of the input, names the kinds of sound.
        split: ``test``, ``validation``, ``train``, or ``all`` for whole takes.

    Raises:
        FormatError: If the recordings or the table are damaged, or the split is empty.
        AudioFileError: If a file cannot be read.
        DatasetNotFoundError: If files are missing.
    """
    data.setup()  # so that what is wrong with the recordings is said here
    lanes = {name: found for name in SPLITS[:-1] if (found := _find_lanes(data, name)) is not None}
    if split != "all" and split not in lanes:
        raise FormatError(f"{folder}: no part of the takes is in the split {split!r}; pass other ranges, or split all.")
    aligned = next(iter(lanes.values())).takes
    rate = data.effect.sample_rate
    if split == "all":
        scored = [Span(index, 0, take.samples) for index, take in enumerate(aligned)]
    else:
        longest = round(data.evaluation_warmup_s * rate)
        scored = [span._replace(warmup=min(span.warmup, longest)) for span in lanes[split].spans]
    sounds = _read_sounds(Path(folder) / SOUNDS_FILE)
    return Material(
        effect=data.effect,
        names=tuple(_name(take, Path(folder)) for take in data.recording.takes),
        recorded=data.recording.takes,
        aligned=aligned,
        spans=_by_take(scored, len(aligned)),
        training=_by_take(lanes["train"].spans if "train" in lanes else (), len(aligned)),
        sounds=tuple(_place_sounds(sounds, take, rate) for take in aligned),
        split=split,
        folder=str(folder),
    )


def _find_lanes(data: PairedAudioDataModule, split: str) -> Any:
    """The lanes of a split; None if nothing is in it."""
    loaders = {"test": data.test_dataloader, "validation": data.val_dataloader, "train": data.train_dataloader}
    try:
        return loaders[split]().lanes
    except FormatError:
        return None


def _by_take(spans: Iterable[Span], takes: int) -> tuple[tuple[Span, ...], ...]:
    found: list[list[Span]] = [[] for _ in range(takes)]
    for span in spans:
        found[span.take].append(span)
    return tuple(tuple(sorted(group)) for group in found)


def _name(take: Take, folder: Path) -> str:
    try:
        return take.wet.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return take.wet.name


def _place_sounds(sounds: Iterable[tuple[str, float, float]], take: AlignedTake, rate: int) -> tuple[Sound, ...]:
    placed = (
        Sound(
            name,
            max(round(start_s * rate) - take.dry_start, 0),
            min(round(stop_s * rate) - take.dry_start, take.samples),
        )
        for name, start_s, stop_s in sounds
    )
    return tuple(sound for sound in placed if sound.start < sound.stop)


def _read_sounds(path: Path) -> list[tuple[str, float, float]]:
    """Names, starts and ends in seconds of the input; none without a file."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [(row["segment"], float(row["start_s"]), float(row["end_s"])) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise FormatError(
            f"{path}: expected a CSV table with the columns segment, start_s and end_s, in seconds; {error}."
        ) from error
