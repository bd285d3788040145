"""Writes a corrected copy of recordings: every output trimmed so that its sample n belongs to sample n of its input.

All inputs of a device lose the same number of samples at their beginning, as many as its earliest output needs, so that
takes keep sharing an input and ranges of splits move by one constant. Samples are copied as they are coded.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from neuralfx.audio import format_of, info, writer
from neuralfx.datasets.manifest import Ranges, Recording, Take
from neuralfx.errors import AudioFileError, ConfigError, FormatError

BLOCK_SAMPLES = 65_536


@dataclasses.dataclass(frozen=True)
class Correction:
    """What is done to a take.

    Attributes:
        offset_samples: Samples by which its output is late, negative if early.
        invert: Whether its output is turned upside down.
        log: What led to this, as plain strings and numbers, for the log.
    """

    offset_samples: int = 0
    invert: bool = False
    log: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def write_aligned(
    devices: Sequence[tuple[Recording, Sequence[Correction]]], sources: Sequence[Path], target: Path
) -> list[dict[str, Any]]:
    """Write a data-set folder with ``recordings.json``, ``splits.json`` and ``alignment.json`` and ``.csv``.

    Args:
        devices: Each device's takes, and a correction per take.
        sources: Folders that are read and must not be written into.
        target: Folder to write; appears when it is complete.

    Returns:
        The log: one row per take.

    Raises:
        ConfigError: If the target lies in a source or holds files.
        FormatError: If devices differ in their splits, or a take has nothing left after trimming.
        AudioFileError: If a file cannot be read or written.
    """
    _check_target(sources, target)
    splits = [recording.held_out_s for recording, _ in devices]
    if any(other != splits[0] for other in splits):
        raise FormatError("the devices have different splits; align one at a time, with --device.")
    earliest_s = [_cut(corrections) / recording.effect.sample_rate for recording, corrections in devices]
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        part.mkdir(parents=True)
        manifest, log = {}, []
        for (recording, corrections), own_s in zip(devices, earliest_s):
            # With shared splits, one cut for all devices.
            cut = math.ceil((max(earliest_s) if splits[0] else own_s) * recording.effect.sample_rate - 1e-6)
            fields, rows = _write_device(recording, corrections, part / recording.effect.slug, cut)
            manifest[recording.effect.slug] = fields
            log += rows
        _write_json(part / "recordings.json", manifest)
        if splits[0]:
            moved = {name: _earlier(ranges, max(earliest_s)) for name, ranges in splits[0].items()}
            _write_json(part / "splits.json", moved)
        _write_json(part / "alignment.json", log)
        with (part / "alignment.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(log[0]))
            table.writeheader()
            table.writerows(log)
        if target.is_dir():
            target.rmdir()  # empty, as checked
        os.replace(part, target)
    except OSError as error:
        if isinstance(error, AudioFileError):
            raise
        raise AudioFileError(f"cannot write {target}: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return log


def copy_span(
    source: Path, target: Path, start: int, stop: int, channel: int | None = None, invert: bool = False
) -> None:
    """Copy samples from one file to another of the same coding, without a change to them.

    Args:
        source: File to read.
        target: File to write, with the same ending.
        start: First sample.
        stop: Sample after the last one.
        channel: The one channel to copy, from 0; None for all.
        invert: Whether to turn the samples upside down.

    Raises:
        AudioFileError: If a file cannot be read or written.
    """
    header = info(source)
    # As integers, because libsndfile divides by 2^15 and multiplies by 2^15 - 1 between them and floats.
    whole = header.subtype.startswith("PCM_")
    dtype = "int32" if whole else "float64"
    if not soundfile.check_format(format_of(target), header.subtype):
        raise AudioFileError(f"cannot write {target}: its format does not hold {header.subtype}; convert {source}.")
    if not whole:
        _copy_floats(source, target, start, stop, channel, invert)
        return
    channels = 1 if channel is not None else header.channels
    with (
        soundfile.SoundFile(source) as reading,
        soundfile.SoundFile(
            target, "x", header.sample_rate, channels, header.subtype, format=format_of(target)
        ) as writing,
    ):
        reading.seek(start)
        while start < stop:
            samples = reading.read(min(BLOCK_SAMPLES, stop - start), dtype=dtype, always_2d=True)
            if not len(samples):
                raise AudioFileError(f"{source}: ends at sample {start}, before {stop}; the file is damaged.")
            start += len(samples)
            samples = samples if channel is None else samples[:, channel : channel + 1]
            writing.write(-np.maximum(samples, -(2**31) + 1) if invert else samples)


def _copy_floats(source: Path, target: Path, start: int, stop: int, channel: int | None, invert: bool) -> None:
    header = info(source)
    channels = 1 if channel is not None else header.channels
    with (
        soundfile.SoundFile(source) as reading,
        writer(target, header.sample_rate, channels, header.subtype) as add,
    ):
        reading.seek(start)
        for begin in range(start, stop, BLOCK_SAMPLES):
            samples = reading.read(min(BLOCK_SAMPLES, stop - begin), dtype="float64", always_2d=True).T
            samples = samples if channel is None else samples[channel : channel + 1]
            add(-samples if invert else samples)


def _write_device(
    recording: Recording, corrections: Sequence[Correction], folder: Path, cut: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write one device's files; returns its fields in the manifest and its rows in the log."""
    effect = recording.effect
    common = Path(os.path.commonpath([path.parent.absolute() for take in recording.takes for path in _paths(take)]))
    written: dict[Path, tuple[int, bool]] = {}
    takes, log = [], []
    for take, correction in zip(recording.takes, corrections):
        dry, wet = info(take.dry), info(take.wet)
        begin = cut + correction.offset_samples
        stop = min(wet.samples, dry.samples + correction.offset_samples)
        if stop <= begin or dry.samples <= cut:
            raise FormatError(f"{take.wet}: nothing is left after an offset of {correction.offset_samples} samples.")
        names = []
        for path, channels, start, end, invert in (
            (take.dry, dry.channels, cut, dry.samples, False),
            (take.wet, wet.channels, begin, stop, correction.invert),
        ):
            channel = take.channel if take.channel is not None and channels > take.channel else None
            name = path.absolute().relative_to(common)
            if channel is not None:
                name = name.with_name(f"{name.stem}-channel{channel}{name.suffix}")
            names.append(name.as_posix())
            if name in written:
                if written[name] != (start, invert):
                    raise FormatError(f"{path}: used by two takes with different offsets; copy it for one of them.")
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy_span(path, folder / name, start, end, channel, invert)
            written[name] = (start, invert)
        row = {"input": names[0], "file": names[1], "knobs": dict(take.values), "split": take.split}
        unused = _earlier(take.unused_s, cut / effect.sample_rate)
        takes.append(row | ({"unused_s": unused} if unused else {}))
        log.append(
            {
                "device": effect.slug,
                "file": names[1],
                "input": names[0],
                "offset_samples": correction.offset_samples,
                "inverted": correction.invert,
                "removed_from_input": cut,
                "removed_from_output": begin,
                "samples": stop - begin,
                **correction.log,
            }
        )
    fields = {
        "device": effect.device,
        "sample_rate": effect.sample_rate,
        "knobs": [knob.to_dict() for knob in effect.knobs],
        "takes": takes,
    }
    return fields, log


def _check_target(sources: Sequence[Path], target: Path) -> None:
    real = target.resolve()
    for source in sources:
        if real == source.resolve() or source.resolve() in real.parents:
            raise ConfigError(f"{target} lies in {source}, which is not written into; pass another folder as -o.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} exists and is not an empty folder; pass the name of a new one as -o.")


def _cut(corrections: Sequence[Correction]) -> int:
    """Samples that the inputs of a device lose, so that its earliest output has a beginning."""
    return max(0, *(-correction.offset_samples for correction in corrections))


def _earlier(ranges: Ranges, seconds: float) -> list[list[float]]:
    """Ranges after so much has been cut off the beginning."""
    moved = [[round(max(start - seconds, 0.0), 6), round(stop - seconds, 6)] for start, stop in ranges]
    return [bounds for bounds in moved if bounds[1] > bounds[0]]


def _paths(take: Take) -> tuple[Path, Path]:
    return take.dry, take.wet


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
