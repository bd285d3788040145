"""Boss OD-3: 150 minutes of an overdrive pedal at five positions each of its gain and of its tone."""

from __future__ import annotations

import re
from pathlib import Path

from neuralfx.datasets.base import Dataset, Manual
from neuralfx.datasets.layout import audio_files, check_rates, choose_device, list_names, warn_left_out
from neuralfx.datasets.manifest import KnobValue, Recording, Take
from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import DatasetNotFoundError, FormatError

SAMPLE_RATE = 48_000
LEVELS = ("boss_od3_overdrive", "overdrive", "boss_od3")  # folders of the archive above x and y
SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # folders that pyneuralfx's preparation makes
# The numbers in the names are positions: 0 fully left, 4 fully right, the others equally far apart.
EFFECT = Effect(
    slug="od3",
    sample_rate=SAMPLE_RATE,
    knobs=Knobs((Knob("gain", 0.0, 4.0), Knob("tone", 0.0, 4.0))),
    device="Boss OD-3 overdrive",
)

_NAME = re.compile(r"(?P<side>[xy])_d(?P<gain>[0-4])_t(?P<tone>[0-4])\.wav")


def recognises(root: Path) -> bool:
    """Whether a folder, or the folders of the archive in it, hold x and y with files of this data set."""
    return bool(_parts(root))


def read(root: Path, device: str | None = None) -> Recording:
    """Read the 25 pairs, or the pieces of them that pyneuralfx's preparation cuts into train, valid and test.

    Where a folder holds both, the whole recordings are read. Of wet files with two channels the first is taken.

    Args:
        root: The folder with ``x`` and ``y``, the one with ``train``, ``valid`` and ``test``, or one of those above
            it in the archive.
        device: ``od3`` or None.

    Returns:
        Takes in the order of their positions, with knobs ``gain`` and ``tone`` from 0 to 4, the index of five
        equally spaced positions.

    Raises:
        DatasetNotFoundError: If the folder holds something else.
        FormatError: If nothing pairs, wet files are copies of dry ones, or a rate is not 48 kHz.
        AudioFileError: If a file cannot be read.
    """
    parts = _parts(root)
    if not parts:
        raise DatasetNotFoundError(
            f"no Boss OD-3 in {str(root)!r}: expected folders x and y with files such as x_d0_t0.wav and y_d0_t0.wav; "
            "unpack the archive there."
        )
    choose_device(device, [EFFECT.slug], root)
    takes: list[Take] = []
    left_out: list[Path] = []
    for folder, split in parts:
        copies = _files(folder / "y", "x")
        if copies:
            raise FormatError(
                f"{folder / 'y'}: expected files named y_..., got {list_names(list(copies.values()))}: copies of the "
                "input, which pyneuralfx's preparation wrote. Prepare again with the wet files, or pass x and y whole."
            )
        dry, wet = _files(folder / "x", "x"), _files(folder / "y", "y")
        for gain, tone in sorted(dry.keys() & wet.keys()):
            values: dict[str, KnobValue] = {"gain": float(gain), "tone": float(tone)}
            takes.append(Take(dry[gain, tone], wet[gain, tone], values, split=split, channel=0))
        left_out += [files[key] for files in (dry, wet) for key in sorted(dry.keys() ^ wet.keys()) if key in files]
    warn_left_out(root, left_out)
    if not takes:
        raise FormatError(f"{root}: no file in x has its partner in y; unpack the archive again.")
    check_rates([path for take in takes for path in (take.dry, take.wet)], SAMPLE_RATE)
    return Recording(EFFECT, tuple(takes), {})


def _parts(root: Path) -> list[tuple[Path, str | None]]:
    """Folders that hold x and y, each with its split; none where there are no such folders."""
    for first in range(len(LEVELS) + 1):
        base = root.joinpath(*LEVELS[first:])
        if _files(base / "x", "x"):
            return [(base, None)]
        parts: list[tuple[Path, str | None]] = [
            (base / name, split) for name, split in SPLITS.items() if _files(base / name / "x", "x")
        ]
        if parts:
            return parts
    return []


def _files(folder: Path, side: str) -> dict[tuple[int, int], Path]:
    """Files of a side, ``x`` or ``y``, by their positions of gain and tone."""
    found = {}
    for path in audio_files(folder):
        match = _NAME.fullmatch(path.name)
        if match and match["side"] == side:
            found[int(match["gain"]), int(match["tone"])] = path
    return found


DATASET = Dataset(
    name="boss-od3",
    title="Boss OD-3 overdrive data set",
    homepage="https://github.com/ytsrt66589/pyneuralfx",
    licence="not stated",
    citation="Yeh, Hsiao, Yang, 'Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect "
    "Modeling', DAFx 2024, https://arxiv.org/abs/2408.04829.",
    devices=(EFFECT.slug,),
    files=(
        Manual(
            "https://drive.google.com/file/d/1y3iQH94dAZbRgP33Pt4lJakgolvV7Xal/view",
            "boss_od3_overdrive.zip",
            "Download the archive with a browser and save it under this name, or unpack it in this folder.",
        ),
    ),
    read=read,
    notes=(
        "Gain and tone are given as the index, 0 to 4, of five equally spaced positions; the level knob stands still.",
        "Some wet files have two channels, of which the first is taken; lengths differ slightly, and what both files "
        "of a pair cover is used.",
        "Whole recordings have no split; the paper states 80/15/5 in time. pyneuralfx's preparation cuts 60/10/30 and, "
        "as published, writes the input in place of the output: such folders are refused.",
    ),
)
