"""Reads what a folder of recordings says about itself: the device, its knobs, and each take's files and knob values.

Two forms are understood. ``recordings.json`` maps a device to its fields, with the files in a folder of the device's
name, or holds the fields of a single device::

    {"my-amp": {"device": "My amplifier", "sample_rate": 48000, "input": "input.wav",
                "knobs": [{"name": "gain", "minimum": 0, "maximum": 10}],
                "takes": [{"file": "gain_5.wav", "knobs": {"gain": 5}, "split": "train"}]}}

``manifest.csv`` has a row per take with the columns ``file``, ``input_file``, a column per knob and optionally
``device`` and ``split``; ``knobs.csv`` beside it declares ranges (device, knob, min, max, scale, unit). ``splits.json``
beside either holds the ranges of ``validation`` and ``test``, in seconds.

A take may also state ``offset_samples``, by which its output is known to be late, and ``channel``, the one to take of
files with several; in ``recordings.json`` also ``unused_s``, ranges in seconds of the input that nothing is done with.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuralfx.audio import info
from neuralfx.datasets.layout import slug_of
from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import DatasetNotFoundError, FormatError, KnobError, closest

KnobValue = float | str
Ranges = tuple[tuple[float, float], ...]

SPLITS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}
TAPERS = {"lin": "linear", "linear": "linear", "log": "logarithmic", "logarithmic": "logarithmic"}
_FIELDS = frozenset({"device", "file", "input_file", "input", "split", "sample_rate", "channel", "offset_samples"})
# Columns of measurements that a capture writes beside the knobs.
_MEASURED = frozenset(
    "output_gain_db peak_dbfs rms_dbfs xcorr_lag_samples click_onset_samples esr_dry_wet esr_after_best_gain".split()
)


@dataclasses.dataclass(frozen=True)
class Take:
    """One recording of the device at one setting of its knobs.

    Attributes:
        dry: File with what went in.
        wet: File with what came out.
        values: Value of every knob, in the knob's unit or as a position.
        split: ``train``, ``validation`` or ``test`` if the manifest gives the whole take to one; else None.
        channel: Channel that is taken of files with more than the effect has, from 0; None takes files as they are.
        offset_samples: Samples by which the output is known to be late (early if negative); None where it is unknown.
        unused_s: Ranges that neither train nor test, such as impulses for synchronisation, in seconds of the input.
    """

    dry: Path
    wet: Path
    values: dict[str, KnobValue]
    split: str | None = None
    channel: int | None = None
    offset_samples: int | None = None
    unused_s: Ranges = ()

    def is_at(self, setting: Mapping[str, KnobValue]) -> bool:
        """Whether it was recorded at the values that a setting names; knobs that it leaves out may stand anywhere."""
        return all(name in self.values and _is_same(self.values[name], value) for name, value in setting.items())


@dataclasses.dataclass(frozen=True)
class Recording:
    """All takes of one device.

    Attributes:
        effect: The device and its knobs.
        takes: The takes in the order of the manifest, at least one.
        held_out_s: From ``splits.json``: ranges of ``validation`` and ``test``, in seconds of the input; empty without.
    """

    effect: Effect
    takes: tuple[Take, ...]
    held_out_s: dict[str, Ranges]


def read_recording(
    root: str | os.PathLike[str],
    device: str | None = None,
    knobs: Sequence[Mapping[str, Any]] | None = None,
    slug: str | None = None,
    device_name: str | None = None,
) -> Recording:
    """Read the manifest of a folder of recordings; of the audio, only the header of one file.

    Args:
        root: Folder with ``recordings.json`` or ``manifest.csv``, or a device's folder below ``recordings.json``.
        device: Which device of the manifest; may be left out if there is one.
        knobs: Takes the place of the manifest's declarations: the fields of :class:`~neuralfx.effect.Knob` and
            optionally ``column`` (name in the manifest, else the knob's name) and ``factor`` (recorded value times
            factor is the value in the knob's unit, or the index of a position; else 1). Others are left out.
        slug: Slug of the effect; the manifest's name of the device if None.
        device_name: Full name of the device; the manifest's if None.

    Returns:
        The device with its takes.

    Raises:
        DatasetNotFoundError: If the folder, its manifest or a file named there is missing.
        FormatError: If the manifest is damaged or the device is not clear from it.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetNotFoundError(
            f"no folder {str(root)!r}; pass the folder that holds recordings.json or manifest.csv."
        )
    for path in (root / "recordings.json", root / "manifest.csv", root.parent / "recordings.json"):
        if not path.is_file():
            continue
        if path.parent != root:  # the folder of one device
            found = _read_json(path)
            device = device or root.name
            if slug_of(device) not in map(slug_of, found):
                continue
        entry = _choose(_read_json(path) if path.suffix == ".json" else _read_csv(path), device, path)
        return _assemble(entry, path, knobs, slug, device_name)
    raise DatasetNotFoundError(
        f"no manifest in {str(root)!r}: expected recordings.json or manifest.csv with the device and its takes."
    )


def devices(root: str | os.PathLike[str]) -> list[str]:
    """The devices that the manifest in a folder names, in its order.

    Args:
        root: Folder with ``recordings.json`` or ``manifest.csv``.

    Returns:
        Their names as :func:`read_recording` takes them; empty without a manifest in this folder.

    Raises:
        FormatError: If the manifest is damaged.
    """
    for name, read in (("recordings.json", _read_json), ("manifest.csv", _read_csv)):
        if (path := Path(root) / name).is_file():
            return [entry.slug for entry in read(path).values()]
    return []


@dataclasses.dataclass(frozen=True)
class _Entry:
    """One device as a manifest has it, before anything is checked."""

    slug: str
    folder: Path
    fields: Mapping[str, Any]


def _assemble(
    entry: _Entry,
    path: Path,
    knobs: Sequence[Mapping[str, Any]] | None,
    slug: str | None,
    device_name: str | None,
) -> Recording:
    """Turn one device's fields into an effect and its takes."""
    rows = entry.fields.get("takes")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise FormatError(
            f"{path}: device {entry.slug}: expected a list 'takes' of mappings, at least one, got {rows!r}."
        )
    recorded = [row.get("knobs", {}) for row in rows]
    if not all(isinstance(values, Mapping) for values in recorded):
        raise FormatError(
            f"{path}: device {entry.slug}: expected a mapping of names to values as 'knobs' of every take."
        )
    declared = knobs if knobs is not None else entry.fields.get("knobs")
    if declared is None:
        declared = [_guess_knob(name, [values.get(name) for values in recorded]) for name in recorded[0]]
    columns = [_Column.from_dict(declaration) for declaration in declared]
    takes = []
    for row, values in zip(rows, recorded):
        takes.append(
            Take(
                dry=_file(entry.folder, row.get("input", entry.fields.get("input")), path),
                wet=_file(entry.folder, row.get("file"), path),
                values={column.knob.name: column.value(values, row.get("file")) for column in columns},
                split=_split(row.get("split"), path),
                channel=_whole(row, "channel", path),
                offset_samples=_whole(row, "offset_samples", path),
                unused_s=_ranges(row.get("unused_s"), f"{path}: take {row.get('file')!r}: unused_s"),
            )
        )
    header = info(takes[0].wet)
    effect = Effect(
        slug=slug or entry.slug,
        sample_rate=entry.fields.get("sample_rate", header.sample_rate),
        knobs=Knobs(column.knob for column in columns),
        device=device_name or str(entry.fields.get("device", "")),
        channels=1 if any(take.channel is not None for take in takes) else header.channels,
    )
    return Recording(effect, tuple(takes), _read_splits(path.parent / "splits.json"))


@dataclasses.dataclass(frozen=True)
class _Column:
    """A knob and how a manifest writes its values."""

    knob: Knob
    name: str
    factor: float

    @classmethod
    def from_dict(cls, declaration: object) -> _Column:
        if not isinstance(declaration, Mapping):
            raise FormatError(f"knobs: expected a mapping of a knob's fields, got {declaration!r}.")
        fields = dict(declaration)
        name, factor = fields.pop("column", None), fields.pop("factor", 1.0)
        if not isinstance(factor, (int, float)) or isinstance(factor, bool) or not factor:
            raise FormatError(
                f"knobs: expected a number other than 0 as factor of {fields.get('name')!r}, got {factor!r}."
            )
        knob = Knob.from_dict(fields)
        return cls(knob, name or knob.name, float(factor))

    def value(self, recorded: Mapping[str, Any], take: object) -> KnobValue:
        """The value in the knob's unit, or its position."""
        value = recorded.get(self.name)
        if value is None or value == "":
            raise FormatError(
                f"take {take!r}: no value for knob {self.name!r}; it has {', '.join(recorded) or 'none'}."
            )
        positions = self.knob.positions
        if value in positions:
            return str(value)
        try:
            number = float(value) * self.factor
            index = round(number) if positions else 0
            if positions and not 0 <= index < len(positions):
                raise KnobError.out_of_range(self.knob, value)
            checked: KnobValue = positions[index] if positions else number
            self.knob.normalise(checked)
        except (TypeError, ValueError, OverflowError) as error:
            hint = "" if self.factor == 1.0 else f" (recorded value times {self.factor:g})"
            expected = f"{self.knob.name}: {self.knob.describe_range()}{hint}"
            raise FormatError(
                f"take {take!r}: expected a value of {expected}, got {value!r}; correct one of them."
            ) from error
        return checked


def _guess_knob(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Declare a knob by its values: 0 to 1 if they lie there, else their span; positions if they are words."""
    numbers = [number for number in map(_number, values) if number is not None]
    if not numbers:
        return {
            "name": name,
            "positions": list(dict.fromkeys(str(value) for value in values if value not in (None, ""))),
        }
    low, high = min(numbers), max(numbers)
    if 0.0 <= low and high <= 1.0:
        low, high = 0.0, 1.0
    if low == high:
        raise FormatError(
            f"knob {name!r}: every take has {low:g} and no range is declared; declare it in the manifest "
            "or pass knobs, or leave the knob out."
        )
    return {"name": name, "minimum": low, "maximum": high}


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _choose(entries: Mapping[str, _Entry], device: str | None, path: Path) -> _Entry:
    """The entry of the wanted device, or the only one."""
    by_slug = {slug_of(name): entry for name, entry in entries.items()}
    listed = ", ".join(by_slug)
    if not by_slug:
        raise FormatError(f"{path}: expected at least one device, got none.")
    if device is None:
        if len(by_slug) > 1:
            raise FormatError(f"{path} holds {len(by_slug)} devices; pass device as one of {listed}.")
        return next(iter(by_slug.values()))
    if slug_of(device) not in by_slug:
        close = closest(slug_of(device), by_slug)
        hint = f"did you mean {' or '.join(close)}?" if close else f"it holds {listed}."
        raise FormatError(f"{path} has no device {device!r}; {hint}")
    return by_slug[slug_of(device)]


def _read_json(path: Path) -> dict[str, _Entry]:
    data = _parse_json(path)
    if isinstance(data, Mapping) and isinstance(data.get("takes"), list):  # a single device
        slug = data.get("slug") or path.parent.name
        return {slug: _Entry(slug_of(slug), path.parent, data)}
    if not isinstance(data, Mapping) or not all(isinstance(fields, Mapping) for fields in data.values()):
        raise FormatError(f"{path}: expected devices by name, or the fields of one device with 'takes'.")
    entries = {}
    for name, fields in data.items():
        folder = path.parent / name
        entries[name] = _Entry(slug_of(name), folder if folder.is_dir() else path.parent, fields)
    return entries


def _read_csv(path: Path) -> dict[str, _Entry]:
    declared = _read_knobs_csv(path.parent / "knobs.csv")
    devices: dict[str, list[dict[str, str]]] = {}
    for row in _rows(path, ("file",)):
        devices.setdefault(row.get("device") or path.parent.resolve().name, []).append(row)
    entries = {}
    for name, rows in devices.items():
        names = [knob["name"] for knob in declared.get(name, [])] or [
            column
            for column in rows[0]
            if column not in _FIELDS | _MEASURED
            and not (column.endswith("_01") and column[:-3] in rows[0])
            and any(row[column] for row in rows)
        ]
        takes = [
            {
                "file": row["file"],
                "input": row.get("input_file") or row.get("input"),
                "split": row.get("split") or None,
                "channel": row.get("channel"),
                "offset_samples": row.get("offset_samples"),
                "knobs": {knob: row.get(knob, "") for knob in names},
            }
            for row in rows
        ]
        fields = {"device": name, "takes": takes, "knobs": declared.get(name)}
        entries[name] = _Entry(slug_of(name), path.parent, fields)
    return entries


def _read_knobs_csv(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Declarations of knobs by device: name, range, taper and unit, or positions as in ``0 compress 1 limit``."""
    declared: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(path, ("device", "knob", "min", "max", "scale")) if path.is_file() else ():
        unit, scale = row.get("unit", ""), row["scale"]
        if scale == "enum":
            positions = [word.strip() for word in re.split(r"(?:^|\s)\d+\s+", unit) if word.strip()]
            knob: dict[str, Any] = {"name": row["knob"], "positions": positions}
        elif scale in TAPERS and (low := _number(row["min"])) is not None and (high := _number(row["max"])) is not None:
            # A range written downwards, such as a threshold of -10 to -50 dB, keeps its values and loses its direction.
            knob = {
                "name": row["knob"],
                "minimum": min(low, high),
                "maximum": max(low, high),
                "unit": unit,
                "taper": TAPERS[scale],
            }
        else:
            raise FormatError(
                f"{path}: knob {row['knob']!r}: expected numbers as min and max and a scale among lin, log, enum."
            )
        declared.setdefault(row["device"], []).append(knob)
    return declared


def _rows(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in csv.DictReader(file)]
    except (csv.Error, UnicodeDecodeError, AttributeError) as error:
        raise FormatError(f"{path}: expected a CSV table in UTF-8 with a heading; {error}.") from error
    missing = [column for column in required if rows and column not in rows[0]]
    if missing:
        raise FormatError(f"{path}: no column {', '.join(missing)}; the columns are {', '.join(rows[0])}.")
    return rows


def _read_splits(path: Path) -> dict[str, Ranges]:
    if not path.is_file():
        return {}
    data = _parse_json(path)
    if not isinstance(data, Mapping) or not {"validation", "test"} <= {*data}:
        raise FormatError(f"{path}: expected lists of ranges in seconds as 'validation' and 'test'.")
    return {name: _ranges(data[name], f"{path}: {name}") for name in ("validation", "test")}


def _parse_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise FormatError(f"{path}: expected JSON in UTF-8; {error}.") from error


def _file(folder: Path, name: object, manifest: Path) -> Path:
    if not isinstance(name, str) or not name:
        raise FormatError(
            f"{manifest}: expected the name of an audio file as 'file' and as 'input' of every take, got {name!r}."
        )
    if not (folder / name).is_file():
        raise DatasetNotFoundError(
            f"{manifest} names {name!r}, but {folder} has no such file; add it or correct the manifest."
        )
    return folder / name


def _split(value: object, manifest: Path) -> str | None:
    if value is None:
        return None
    if value not in SPLITS:
        raise FormatError(f"{manifest}: expected a split among train, validation, test, got {value!r}.")
    return SPLITS[str(value)]


def _whole(row: Mapping[str, Any], name: str, manifest: Path) -> int | None:
    """A whole number that a take may state."""
    value = row.get(name)
    if value is None or value == "":
        return None
    number = _number(value)
    if isinstance(value, bool) or number is None or not number.is_integer() or (name == "channel" and number < 0):
        raise FormatError(f"{manifest}: take {row.get('file')!r}: expected a whole number as {name}, got {value!r}.")
    return int(number)


def _ranges(value: object, what: str) -> Ranges:
    """Ranges in seconds."""
    if value is None:
        return ()
    try:
        return tuple((float(start), float(stop)) for start, stop in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise FormatError(f"{what}: expected [[start, stop], ...] in seconds, got {value!r}.") from error


def _is_same(recorded: KnobValue, wanted: KnobValue) -> bool:
    if isinstance(recorded, str) or isinstance(wanted, str):
        return recorded == wanted
    return math.isclose(recorded, wanted, rel_tol=1e-6, abs_tol=1e-9)
