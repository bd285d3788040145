"""Converts the layout in which Simionato publishes recordings: a pickled dictionary per device and split.

``<Device>_train.pickle`` and ``<Device>_test.pickle`` hold ``x``, what went in, of shape (settings, time) or (1, time);
``y``, what came out, (settings, time); and ``z``, the knobs, (settings, knobs) or (knobs, settings). They become audio
in 32-bit float and ``recordings.json``, once. Which column of ``z`` is which knob is not published: the number of
values of each tells where those differ, and what stays unclear is logged and noted in the manifest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from neuralfx import audio
from neuralfx.datasets.manifest import SPLITS, KnobValue, read_recording
from neuralfx.datasets.pickles import load_arrays
from neuralfx.datasets.storage import progress_bar, require_space
from neuralfx.effect import Knob
from neuralfx.errors import AudioError, DatasetNotFoundError, FormatError, NeuralfxError, join_words

Array = npt.NDArray[Any]

_STAGING = ".converting"
_MANIFEST = "recordings.json"
_NAME = re.compile(r"(?P<device>.+)_(?P<split>train|val|validation|test)\d*", re.IGNORECASE)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of ``z``: a knob and how its values are written.

    Attributes:
        knob: The knob, from 0 on.
        count: Number of values that the paper states.
        step: Distance of neighbouring values, in the knob's unit; 0 where it is not stated.
        full_scale: Recorded values that may stand for the knob's maximum, the published one first.
    """

    knob: Knob
    count: int
    step: float = 0.0
    full_scale: tuple[float, ...] = (1.0,)


@dataclasses.dataclass(frozen=True)
class Device:
    """What is known about the recordings of a device.

    Attributes:
        slug: Its short name.
        name: Its full name.
        sample_rate: Rate of the recordings, in Hz; the pickles do not state it.
        stems: Heads of the names of its pickles, in lower case, without ``_analog`` and punctuation.
        columns: The columns of ``z`` as documented or assumed. If the first has more values than any other, that checks
            their order.
        needs_order: Whether pickles are refused in which that check leaves the order open.
        notes: Doubts that no check can settle.
    """

    slug: str
    name: str
    sample_rate: int
    stems: tuple[str, ...]
    columns: tuple[Column, ...]
    needs_order: bool = False
    notes: tuple[str, ...] = ()


def convert(root: Path, devices: Sequence[Device]) -> None:
    """Convert the pickles in a folder to ``recordings.json`` and a folder of audio per device.

    All appears once everything is complete; an interrupted conversion leaves nothing and starts anew. Devices without
    pickles are left out; those that were converted before stay, unless their pickles have other names or sizes than
    then. The pickles are not touched.

    Args:
        root: Folder with the pickles, in it or below.
        devices: The devices of the data set.

    Raises:
        DatasetNotFoundError: If there are no pickles of these devices.
        FormatError: If a pickle is damaged, asks for more than arrays, or does not fit its device.
        DiskSpaceError: If the disk has too little room.
        AudioFileError: If a file cannot be written.
    """
    manifest = _manifest(root)
    found = _find(root, devices).items()
    plans = [_plan(device, paths) for device, paths in found if not _is_converted(root, device, paths, manifest)]
    if not plans:
        return
    names = join_words([plan.device.slug for plan in plans])
    needed_bytes = sum(plan.needed_bytes for plan in plans)
    require_space(root, needed_bytes, f"the audio of {names}")
    with _staging(root) as folder, progress_bar(f"converting {root.name}", needed_bytes, True) as bar:
        entries = {plan.device.slug: _write(folder / plan.device.slug, plan, bar) for plan in plans}
        (folder / _MANIFEST).write_text(json.dumps({**manifest, **entries}, indent=1), encoding="utf-8")
        for slug in entries:
            if (root / slug).exists():  # of an earlier conversion
                os.replace(root / slug, folder / f"{slug}.old")
            os.replace(folder / slug, root / slug)
        os.replace(folder / _MANIFEST, root / _MANIFEST)  # last: what it names is there
    _log.info("%s: converted %s; the pickles are not needed any more.", root, names)


@dataclasses.dataclass(frozen=True)
class _Part:
    """The checked arrays of a pickle, views of the file: x (1 or settings, time), y (settings, time), z."""

    path: Path
    split: str
    x: Array
    y: Array
    z: Array


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is written for a device: column ``order[n]`` of ``z`` times ``factors[n]`` is the value of knob n."""

    device: Device
    parts: list[_Part]
    order: list[int]
    factors: list[float]
    doubts: list[str]

    @property
    def needed_bytes(self) -> int:
        return sum(4 * (part.x.size + part.y.size) for part in self.parts)

    def values(self, row: Array) -> dict[str, KnobValue]:
        """Knob values by name, of one row of ``z``."""
        values: dict[str, KnobValue] = {}
        for column, index, factor in zip(self.device.columns, self.order, self.factors):
            positions = column.knob.positions
            value = round(float(row[index]) * factor, 6)  # float32 writes 0.1 as 0.10000000149
            values[column.knob.name] = positions[round(value)] if positions else value
        return values


def _manifest(root: Path) -> dict[str, dict[str, Any]]:
    """The devices that were converted before."""
    path = root / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or not all(isinstance(entry, dict) for entry in manifest.values()):
        raise FormatError(f"{path}: expected the devices of this data set by name; remove it or choose another folder.")
    return manifest


def _find(root: Path, devices: Sequence[Device]) -> dict[Device, list[tuple[Path, str]]]:
    """The pickles of each device with their splits."""
    found: dict[Device, list[tuple[Path, str]]] = {device: [] for device in devices}
    seen: dict[str, Path] = {}
    for path in sorted(root.rglob("*.pickle")):
        match = _NAME.fullmatch(path.stem)
        if path.name.startswith("."):  # of the archiver of macOS
            continue
        stem = re.sub(r"[^a-z0-9]", "", match["device"].lower()).removesuffix("analog") if match else ""
        owner = next((device for device in devices if stem in device.stems), None)
        if match is None or owner is None:
            _log.warning("%s: left out; its name is of no device of this data set.", path)
            continue
        other = seen.setdefault(path.stem.lower(), path)
        if other != path:
            raise FormatError(f"expected one pickle of each name, got {other} and {path}; remove one of them.")
        found[owner].append((path, SPLITS[match["split"].lower()]))
    if not any(found.values()):
        expected = join_words([f"{device.stems[0]}_train.pickle" for device in devices], "or")
        raise DatasetNotFoundError(
            f"no pickles of this data set in {str(root)!r}: expected names like {expected}, and the same with test."
        )
    return {device: paths for device, paths in found.items() if paths}


def _is_converted(
    root: Path, device: Device, paths: Sequence[tuple[Path, str]], manifest: dict[str, dict[str, Any]]
) -> bool:
    if manifest.get(device.slug, {}).get("pickles") != _sizes(path for path, _ in paths):
        return False
    try:
        read_recording(root, device.slug)
    except NeuralfxError:
        return False
    return True


def _sizes(paths: Iterable[Path]) -> dict[str, int]:
    """Sizes of files by name, in bytes."""
    return {path.name: path.stat().st_size for path in paths}


def _plan(device: Device, paths: Sequence[tuple[Path, str]]) -> _Plan:
    """Check the pickles of a device against what is known about it."""
    parts = [_read(path, split, device) for path, split in paths]
    doubts = list(device.notes)
    doubts += [
        f"{part.path.name}: x has {part.x.shape[1]} samples and y {part.y.shape[1]}; both are kept as they are."
        for part in parts
        if part.x.shape[1] != part.y.shape[1]
    ]
    if len({part.split for part in parts}) < len(parts):
        doubts.append(f"{join_words([part.path.name for part in parts])}: more than one of a split; all are used.")
    z = np.concatenate([part.z for part in parts])
    order = _order(device, z, doubts)
    factors = [_factor(column, values, doubts) for column, values in zip(device.columns, z.T[order])]
    settings, expected = len(np.unique(z, axis=0)), math.prod(column.count for column in device.columns)
    if settings != expected:
        doubts.append(f"expected {expected} settings of the knobs, found {settings}.")
    for doubt in doubts:
        _log.warning("%s: %s", device.slug, doubt)
    return _Plan(device, parts, order, factors, doubts)


def _read(path: Path, split: str, device: Device) -> _Part:
    """The arrays of a pickle in their documented shapes."""
    arrays = load_arrays(path)
    if not {"x", "y", "z"} <= arrays.keys():
        found = join_words([repr(key[:20]) for key in sorted(arrays)[:9]]) or "none"
        raise FormatError(f"{path}: expected arrays 'x', 'y' and 'z', found {found}.")
    x, y = _signals(path, "x", arrays["x"]), _signals(path, "y", arrays["y"])
    if len(x) not in (1, len(y)):
        raise FormatError(f"{path}: expected x with one row or the {len(y)} rows of y, got {len(x)}.")
    if all(np.array_equal(x[0], row) for row in x[1:]):
        x = x[:1]
    return _Part(path, split, x, y, _settings(path, arrays["z"], len(y), len(device.columns)))


def _signals(path: Path, key: str, array: Array) -> Array:
    """Audio of shape (settings, time)."""
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 or not 0 < array.shape[0] < array.shape[1]:
        raise FormatError(f"{path}: expected {key} of shape (settings, time), got {array.shape}.")
    if array.dtype.kind != "f":
        raise FormatError(f"{path}: expected {key} as floating-point numbers of full scale 1, got {array.dtype}.")
    return array


def _settings(path: Path, z: Array, settings: int, knobs: int) -> Array:
    """Knob values, float64, shape (settings, knobs)."""
    if z.ndim == 1 and z.size == settings * knobs:
        z = z.reshape(settings, knobs) if 1 in (settings, knobs) else z
    elif z.shape == (knobs, settings) != (settings, knobs):
        z = z.T
    if z.shape != (settings, knobs) or z.dtype.kind not in "iuf" or not np.isfinite(z).all():
        raise FormatError(
            f"{path}: expected z of finite numbers, shape ({settings}, {knobs}) for the rows of y and the knobs of the "
            f"device, or ({knobs}, {settings}), got {z.dtype} of shape {z.shape}."
        )
    return z.astype(np.float64)


def _order(device: Device, z: Array, doubts: list[str]) -> list[int]:
    """Which column of ``z`` belongs to each knob."""
    names = ", ".join(column.knob.name for column in device.columns)
    stated = [column.count for column in device.columns]
    found = [len(np.unique(np.round(column, 6))) for column in z.T]
    order = list(range(len(stated)))
    if len(order) == 1:
        return order
    described = f"columns of z with {_listed(stated)} values ({names}), found {_listed(found)}"
    if stated[0] == max(stated[1:]):
        doubts.append(f"z is taken as {names}; the order is not published, and the values do not tell.")
    elif found[1] > max(found[:1] + found[2:]):
        order[:2] = 1, 0
        doubts.append(f"expected {described}; the first two are exchanged.")
    elif found[0] <= max(found[1:]):
        if device.needs_order:
            raise FormatError(f"{device.slug}: expected {described}; which knob is which cannot be told.")
        doubts.append(f"expected {described}; z is taken as {names}, which is not verified.")
    return order


def _factor(column: Column, values: Array, doubts: list[str]) -> float:
    """Knob's unit per recorded value; compares the values with those that are stated."""
    knob = column.knob
    if knob.positions:
        if not np.isin(values, range(len(knob.positions))).all():
            expected = join_words([f"{number} ({name})" for number, name in enumerate(knob.positions)], "or")
            raise FormatError(f"knob {knob.name}: expected {expected} in z, got {_numbers(values)}.")
        return 1.0
    scale = next((scale for scale in sorted(column.full_scale) if values.max() <= scale + 1e-6), None)
    if scale is None or values.min() < 0:
        raise FormatError(f"knob {knob.name}: expected 0 to {column.full_scale[0]:g} in z, got {_numbers(values)}.")
    if scale != column.full_scale[0]:
        doubts.append(f"{knob.name}: expected 0 to {column.full_scale[0]:g} in z, taken as 0 to {scale:g}.")
    factor = knob.maximum / scale
    found = np.unique(np.round(values * factor, 4))
    spaced = not column.step or np.allclose(np.diff(found), column.step, rtol=0, atol=1e-3 * knob.maximum)
    if len(found) != column.count or not spaced:
        steps = f" in steps of {column.step:g}" if column.step else ""
        doubts.append(f"{knob.name}: expected {column.count} values{steps}, found {len(found)}: {_numbers(found)}.")
    return factor


def _listed(counts: Sequence[int]) -> str:
    return " x ".join(map(str, counts))


def _numbers(values: Array) -> str:
    """A dozen values at most, for people."""
    distinct = np.unique(values)
    return ", ".join(f"{value:g}" for value in distinct[:12]) + (", ..." if len(distinct) > 12 else "")


@contextlib.contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder for what is not complete yet; takes away what an interruption has left, also of an earlier run."""
    folder = root / _STAGING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, plan: _Plan, bar: tqdm[Any]) -> dict[str, Any]:
    """Write the audio of a device; returns its entry of the manifest."""
    folder.mkdir()
    takes = []
    for part in plan.parts:
        stem, rate = part.path.stem.lower(), plan.device.sample_rate
        _log.info("%s: %d settings of %.1f s", part.path.name, len(part.y), part.y.shape[1] / rate)
        inputs = [f"{stem}_{number:03}_input.wav" for number in range(len(part.x))]
        for name, row in zip(inputs, part.x):
            _write_row(folder / name, row, rate, part.path, bar)
        for number, (row, setting) in enumerate(zip(part.y, part.z)):
            name = f"{stem}_{number:03}.wav"
            _write_row(folder / name, row, rate, part.path, bar)
            dry = inputs[number % len(inputs)]
            takes.append({"file": name, "input": dry, "split": part.split, "knobs": plan.values(setting)})
    return {
        "device": plan.device.name,
        "sample_rate": plan.device.sample_rate,
        "knobs": [column.knob.to_dict() for column in plan.device.columns],
        "notes": plan.doubts,
        "pickles": _sizes(part.path for part in plan.parts),
        "takes": takes,
    }


def _write_row(path: Path, row: Array, rate: int, source: Path, bar: tqdm[Any]) -> None:
    try:
        audio.write(path, row.astype(np.float32), rate, "FLOAT")
    except AudioError as error:
        raise FormatError(f"{source}: the audio for {path.name} cannot be used: {error}") from error
    bar.update(4 * len(row))
