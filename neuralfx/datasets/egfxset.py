"""EGFxSet: 690 notes of an electric guitar, clean and through twelve pedals and amplifiers at one setting each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from neuralfx.audio import info
from neuralfx.datasets.base import Dataset, Remote
from neuralfx.datasets.layout import audio_files, choose_device, folders, warn_left_out
from neuralfx.datasets.manifest import Recording, Take
from neuralfx.effect import Effect
from neuralfx.errors import DatasetNotFoundError, FormatError

CLEAN = "Clean"
RECORD = "https://zenodo.org/records/7044411"

_NOTE = re.compile(r"(?P<string>\d)[-.](?P<fret>\d+)")


class _Processed(NamedTuple):
    """Where a device's files are: the folder, which is also the name of the archive."""

    folder: str
    device: str
    md5: str


# Hardware as the data set's page names it; MD5 sums as mirdata's loader lists them.
DEVICES = {
    "blues-driver": _Processed("BluesDriver", "Boss BD-2 Blues Driver", "b1d6dce9064a25a1cff2a0c40c30a2e4"),
    "tube-screamer": _Processed("TubeScreamer", "Ibanez Mini Tube Screamer", "b9c46ed65037d0bd17bdf82dc3125beb"),
    "rat": _Processed("RAT", "ProCo RAT2 distortion", "afe9fc757a51d04126c23159706f4e8e"),
    "chorus": _Processed("Chorus", "Boss CE-3 chorus", "3698b3b1756917f93dadf27517d48479"),
    "phaser": _Processed("Phaser", "MXR Phase 45 phaser", "1842e2643dd34d7285a77506ca540df3"),
    "flanger": _Processed("Flanger", "Mooer E-Lady flanger", "f3f7b39c895a400d35c5b1314a1122bd"),
    "digital-delay": _Processed("Digital-Delay", "Line 6 DL4, digital delay", "4a25d57bcb0083667bade7b3c42460bc"),
    "tape-echo": _Processed("TapeEcho", "Line 6 DL4, tape echo", "77adf4a6a8ed4eb566b2b8e77735c7dc"),
    "sweep-echo": _Processed("Sweep-Echo", "Line 6 DL4, sweep echo", "ea6dda440e9af6a19173facdf2bf17ac"),
    "plate-reverb": _Processed("Plate-Reverb", "Orange CR-60, plate reverb", "abbcc68d692f323e8af6aeb8d478c40d"),
    "hall-reverb": _Processed("Hall-Reverb", "Orange CR-60, hall reverb", "c173bebdcbed50d4bc8803e0b30d6517"),
    "spring-reverb": _Processed("Spring-Reverb", "Orange CR-60, spring reverb", "21afc47594ed8f37db008f313e50c634"),
}


def recognises(root: Path) -> bool:
    """Whether a folder, or a folder in it, holds Clean and the folder of a device, with notes by pickup."""
    return _find(root) is not None


def read(root: Path, device: str | None = None) -> Recording:
    """Read the notes of a device, each with the clean note at the same place below ``Clean``.

    A point between string and fret in a file's name counts as a hyphen. Of the audio, one header is read.

    Args:
        root: The folder that holds ``Clean`` and the folders of devices, or its parent.
        device: One of ``DEVICES``; None where one is there.

    Returns:
        Up to 690 takes in the order of pickup, string and fret, without knobs.

    Raises:
        DatasetNotFoundError: If the folder holds something else, or not this device.
        FormatError: If it is not clear which device is meant, or nothing pairs.
        AudioFileError: If the first file cannot be read.
    """
    base = _find(root)
    if base is None:
        raise DatasetNotFoundError(
            f"no EGFxSet in {str(root)!r}: expected the folder {CLEAN} and at least one of "
            f"{', '.join(entry.folder for entry in DEVICES.values())}; unpack their archives there."
        )
    slug = choose_device(device, _present(base), base, DEVICES)
    folder = base / DEVICES[slug].folder
    dry, wet = _notes(base / CLEAN), _notes(folder)
    takes = tuple(Take(dry[note], wet[note], {}) for note in sorted(dry.keys() & wet.keys()))
    unpaired = sorted(dry.keys() ^ wet.keys())
    warn_left_out(folder, [(wet if note in wet else dry)[note] for note in unpaired])
    if not takes:
        raise FormatError(f"{folder}: no note has its clean partner below {base / CLEAN}; unpack the archives again.")
    header = info(takes[0].wet)
    effect = Effect(slug, header.sample_rate, device=DEVICES[slug].device, channels=header.channels)
    return Recording(effect, takes, {})


def _find(root: Path) -> Path | None:
    """The folder that holds Clean and at least one device: the given one, or one in it."""
    for folder in (root, *folders(root)):
        if _notes(folder / CLEAN) and _present(folder):
            return folder
    return None


def _present(base: Path) -> list[str]:
    """Slugs of the devices that have a folder with notes."""
    return [slug for slug, entry in DEVICES.items() if _notes(base / entry.folder)]


def _notes(folder: Path) -> dict[tuple[str, int, int], Path]:
    """Files by pickup, string and fret, such as ("Neck", 6, 22)."""
    found = {}
    for path in (path for pickup in folders(folder) for path in audio_files(pickup)):
        if match := _NOTE.fullmatch(path.stem):
            found[path.parent.name, int(match["string"]), int(match["fret"])] = path
    return found


def _remote(name: str, md5: str, *devices: str) -> Remote:
    return Remote(f"{RECORD}/files/{name}?download=1", name, checksum=f"md5:{md5}", devices=devices)


DATASET = Dataset(
    name="egfxset",
    title="EGFxSet: electric guitar tones through real effects",
    homepage=RECORD,
    licence="cc-by-4.0",
    citation="Pedroza, Meza, Roman, 'EGFxSet: Electric guitar tones processed through real effects of distortion, "
    "modulation, delay and reverb', ISMIR 2022 late-breaking demo; doi:10.5281/zenodo.7044411.",
    devices=tuple(DEVICES),
    files=(
        _remote(f"{CLEAN}.zip", "cdb1b401960f56becc8640387910e78a"),
        *(_remote(f"{entry.folder}.zip", entry.md5, slug) for slug, entry in DEVICES.items()),
    ),
    read=read,
    notes=(
        "Each device stands at one setting, so that its model has no knobs.",
        "Some names have a point in place of the hyphen between string and fret; they are matched all the same.",
        "Whether clean and processed notes are aligned to the sample is not stated; each take's offset is estimated.",
        "A take is one note of 5 s, and there is no official split: split by take rather than in time.",
    ),
)
