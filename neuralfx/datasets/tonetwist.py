"""ToneTwist AFx: pedals, amplifiers, compressors and plug-ins, recorded with the same files of guitar and bass."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from neuralfx.audio import info
from neuralfx.datasets.base import Dataset, Manual, Remote
from neuralfx.datasets.layout import audio_files, choose_device, folders, slug_of, warn_left_out
from neuralfx.datasets.manifest import KnobValue, Ranges, Recording, Take
from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import DatasetNotFoundError, FormatError

HOMEPAGE = "https://github.com/mcomunita/tonetwist-afx-dataset"
SPLITS = ("trainval", "test", "trainvaltest")  # folders of a device
# Recordings below trainval that validate; the data set itself names none.
VALIDATION_SOURCES = ("idmt-gtr4-sg", "val")
MARKED = "DRY-with-markers"  # inputs of most devices, with impulses to synchronise by
PLAIN = "DRY"  # inputs of some plug-ins; also the folder of inputs that come with a device
# Users of the files place the first impulses at 0.5 and 1.5 s; those at the end are taken to lie as far from it.
MARKER_S = 2.0

_log = logging.getLogger(__name__)
_FIELD = re.compile(
    r"(?P<letter>[A-Z])(?:(?P<tenths>\d{3})|(?P<position>[A-Z][A-Za-z]+))|(?P<word>[A-Za-z]+)=(?P<value>\d+(?:\.\d+)?)"
)


class Device(NamedTuple):
    """A device of the data set.

    Attributes:
        folder: Name of its folder and of its archive.
        record: Number of its record at Zenodo.
        name: Full name for people.
        dry: Folder of its inputs.
        brings_dry: Whether its archive holds its own inputs.
        knobs: What letters of its settings mean, where that is documented.
        parts: Whether the archive is cut into several files, whose number is not known.
    """

    folder: str
    record: int
    name: str
    dry: str = MARKED
    brings_dry: bool = False
    knobs: Mapping[str, str] = {}
    parts: bool = False


def _own(folder: str, record: int, name: str, **fields: object) -> Device:
    """A device whose recordings came from elsewhere, with their own inputs."""
    return Device(folder, record, name, dry=PLAIN, brings_dry=True, **fields)  # type: ignore[arg-type]


# Folders and records: the lists of addresses in the data set's repository. Meanings of letters: the data set's own
# descriptions of the devices.
DEVICES = {
    slug_of(device.folder): device
    for device in (
        _own("Blackstar-HT1-ChOverdrive", 10794425, "Blackstar HT-1, overdrive", knobs={"G": "gain", "V": "volume"}),
        _own("Blackstar-HT5M-ChOverdrive", 10796501, "Blackstar HT-5 Metal, overdrive"),
        _own("Engl-RetroTube50-ChDrive", 10796525, "Engl Retro Tube 50, drive"),
        _own("Fender-BluesJr", 10797977, "Fender Blues Junior"),
        _own("Ibanez-TSA15-ChCrunch", 10796536, "Ibanez TSA15, crunch"),
        _own("MesaBoogie-550-ChClean", 10796557, "Mesa Boogie 5:50, clean"),
        _own("MesaBoogie-550-ChCrunch", 10796819, "Mesa Boogie 5:50, crunch"),
        _own("MesaBoogie-550-ChBurn", 10796547, "Mesa Boogie 5:50, burn"),
        _own("MesaBoogie-MarkV-ChClean", 10796829, "Mesa Boogie Mark V, clean"),
        _own("MesaBoogie-MarkV-ChCrunch", 10796841, "Mesa Boogie Mark V, crunch"),
        _own("MesaBoogie-MarkV-ChExtreme", 10796864, "Mesa Boogie Mark V, extreme"),
        _own("UA-6176VintageChannelStrip-610B-MicPreamp", 10798111, "Universal Audio 6176, 610-B preamplifier"),
        Device("LandlordBrewers-DroopChorus", 10796408, "Landlord Brewers Droop chorus"),
        Device(
            "Ampeg-OptoComp",
            10465454,
            "Ampeg Opto Comp compressor",
            knobs={"C": "compression", "R": "release", "L": "level"},
        ),
        Device("Flamma-AnalogComp", 10794703, "Flamma Analog Comp compressor"),
        Device("Yuer-DynaCompressor", 10796426, "Yuer Dyna Compressor"),
        _own("UA-6176VintageChannelStrip-1176LN-Limiter", 10798151, "Universal Audio 6176, 1176LN limiter"),
        _own("DIY-ElectroHarmonix-BigMuff", 10797916, "Electro-Harmonix Big Muff, home-made"),
        _own(
            "ElectroHarmonix-BigMuff",
            10891515,
            "Electro-Harmonix Big Muff",
        ),
        Device("ElectroHarmonix-MetalMuff", 10794659, "Electro-Harmonix Metal Muff"),
        Device("HarleyBenton-BigFur", 10794737, "Harley Benton Big Fur"),
        Device("HarleyBenton-DropKick", 10794776, "Harley Benton Drop Kick"),
        Device("HarleyBenton-Plexicon", 10796359, "Harley Benton Plexicon"),
        Device(
            "HarleyBenton-Rodent",
            10796378,
            "Harley Benton Rodent",
            knobs={"V": "volume", "F": "filter", "D": "distortion", "M": "mode"},
        ),
        Device(
            "HarleyBenton-FuzzyLogic",
            10796322,
            "Harley Benton Fuzzy Logic",
        ),
        Device("HarleyBenton-SillyFuzz", 10796394, "Harley Benton Silly Fuzz"),
        _own("DIY-Klon-Centaur", 10797932, "Klon Centaur, home-made"),
        Device(
            "Fulltone-FullDrive2",
            10794615,
            "Fulltone Full-Drive 2",
        ),
        _own("Ibanez-TS9", 10797988, "Ibanez TS9"),
        Device("HarleyBenton-GreenTint", 10796333, "Harley Benton Green Tint"),
        Device("Mooer-Trelicopter", 10796416, "Mooer Trelicopter tremolo"),
        _own("Marshall-JVM410H-ChOD1", 10892012, "Marshall JVM410H, OD1"),
        Device("Amplitube-DComp", 10901328, "AmpliTube DComp compressor", dry=PLAIN),
        Device("Amplitube-FenderComp", 10901340, "AmpliTube Fender compressor", dry=PLAIN),
        Device("Arturia-RevSpring636Preamp", 10901350, "Arturia Rev Spring 636, preamplifier", dry=PLAIN),
        Device("Custom-DynamicFuzz", 10901357, "Custom dynamic fuzz", dry=PLAIN),
        Device("MultidrivePedalPro-M-Distortion", 10901455, "Multidrive Pedal Pro M-Distortion", parts=True),
        Device("MultidrivePedalPro-F-Fuzz", 10901450, "Multidrive Pedal Pro F-Fuzz", parts=True),
        Device("MultidrivePedalPro-808-Scream", 10901401, "Multidrive Pedal Pro 808-Scream", parts=True),
        Device("MultidrivePedalPro-B-Drive", 10901417, "Multidrive Pedal Pro B-Drive", parts=True),
    )
}


def recognises(root: Path) -> bool:
    """Whether a folder is that of a device, or holds such folders one or two levels below."""
    return bool(_device_folders(root))


def read(root: Path, device: str | None = None) -> Recording:
    """Read a device's recordings, each with the input of the same name.

    The settings come from the folder above a file, the input from the middle of the file's name. A setting is a
    letter and three digits, ten times a value from 0 to 10, or a letter and the word of a switch's position. A knob
    that stands still in all recordings is left out.

    Args:
        root: Folder of the device, or the folder in which its archive and that of its inputs were unpacked.
        device: One of ``DEVICES``, or the slug of another folder of this layout; None where one is there.

    Returns:
        Takes in the order of folders and names. Those below ``test`` test; below ``trainval``, the recordings of
        ``VALIDATION_SOURCES`` validate and the others train, and without any of those the split is left open.

    Raises:
        DatasetNotFoundError: If the folder holds something else, not this device, or not its inputs.
        FormatError: If it is not clear which device is meant, nothing pairs, or settings disagree in their knobs.
        AudioFileError: If the header of an input, or of the first output, cannot be read.
        KnobError: If a setting is above 10.
    """
    present = _device_folders(root)
    if not present:
        raise DatasetNotFoundError(
            f"no ToneTwist AFx device in {str(root)!r}: expected folders such as "
            "Ampeg-OptoComp/trainval/C050_R050_L060 with files ending in .target.wav; unpack the archives there."
        )
    slug = choose_device(device, list(present), root, DEVICES)
    folder, facts = present[slug], DEVICES.get(slug)
    dry_folder = _dry_folder(folder, facts)
    inputs = _by_source(dry_folder)
    pairs, left_out = [], []
    for wet in _targets(folder):
        dry = _partner(wet, inputs)
        if dry is None:
            left_out.append(wet)
        else:
            pairs.append((dry, wet))
    warn_left_out(folder, left_out)
    if not pairs:
        raise FormatError(f"{folder}: no output has its input in {dry_folder}; unpack the archives again.")
    knobs, values = _read_settings([wet.parent.name for _, wet in pairs], facts.knobs if facts else {}, slug)
    unused = {dry: _markers(dry) if dry_folder.name == MARKED else () for dry, _ in pairs}
    validates = any(_source(wet) in VALIDATION_SOURCES for _, wet in pairs if _split_folder(wet) == "trainval")
    takes = tuple(
        Take(dry, wet, take_values, split=_split(wet, validates), unused_s=unused[dry])
        for (dry, wet), take_values in zip(pairs, values)
    )
    header = info(takes[0].wet)
    effect = Effect(
        slug, header.sample_rate, knobs, device=facts.name if facts else folder.name, channels=header.channels
    )
    return Recording(effect, takes, {})


def parse_settings(name: str) -> dict[str, KnobValue] | None:
    """Settings that a folder's name stands for.

    Args:
        name: Such as ``C100_R050_L060``, ``V100_MNormal`` or ``Vol=6_Tone=2``. A letter that comes again is numbered.

    Returns:
        Values from 0 to 10, or names of positions, by letter or by word in lower case; None for other names.

    Example:
        >>> parse_settings("V100_F055_MNormal")
        {'V': 10.0, 'F': 5.5, 'M': 'Normal'}
    """
    settings: dict[str, KnobValue] = {}
    for field in name.split("_"):
        match = _FIELD.fullmatch(field)
        if match is None:
            return None
        key = label = match["letter"] or match["word"].lower()
        count = 1
        while key in settings:
            count += 1
            key = f"{label}{count}"
        if match["position"]:
            settings[key] = match["position"]
        else:
            settings[key] = int(match["tenths"]) / 10 if match["tenths"] else float(match["value"])
    return settings


def _device_folders(root: Path) -> dict[str, Path]:
    """Folders of devices by slug: the given folder, or those one or two levels below."""
    below = folders(root)
    found: dict[str, Path] = {}
    for folder in (root, *below, *(inner for outer in below for inner in folders(outer))):
        if folder.name in SPLITS or folder.name in (MARKED, PLAIN) or not _targets(folder):
            continue
        # An archive may wrap its recordings in one more folder, such as that of an output.
        names = [slug_of(folder.resolve().name), slug_of(folder.resolve().parent.name)]
        found.setdefault(next((name for name in names if name in DEVICES), names[0]), folder)
    return found


def _targets(folder: Path) -> list[Path]:
    """Outputs in a device's folder, below the folders of splits or, without those, below folders of settings."""
    places = [folder / split for split in SPLITS if (folder / split).is_dir()] or [folder]
    return [
        path
        for place in places
        for setting in folders(place)
        if parse_settings(setting.name)
        for path in audio_files(setting)
        if path.stem.split(".")[-1] == "target"
    ]


def _dry_folder(folder: Path, facts: Device | None) -> Path:
    """The folder of a device's inputs: in its folder, beside it, or beside the folder above."""
    names = (facts.dry,) if facts else (MARKED, PLAIN)
    for place in (folder, *folder.resolve().parents[:2]):
        for name in names:
            if (place / name).is_dir():
                return place / name
    where = f"of its own archive {facts.folder}.zip" if facts and facts.brings_dry else f"of {names[0]}.zip"
    raise DatasetNotFoundError(
        f"{folder}: expected its inputs in a folder {' or '.join(names)} in it or beside it; unpack that {where}."
    )


def _by_source(dry_folder: Path) -> dict[str, list[Path]]:
    """Inputs by the name of what they hold, such as ``nam`` for ``nam.input.wav``."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(dry_folder.rglob("*.wav")):
        if path.name[0] != "." and path.stem.split(".")[-1] == "input":
            found[_source(path)].append(path)
    return found


def _partner(wet: Path, inputs: Mapping[str, list[Path]]) -> Path | None:
    """The input of an output: of the same name, and in the folder of the same split if there are several."""
    candidates = inputs.get(_source(wet), [])
    if not candidates and len(inputs) == 1:
        candidates = next(iter(inputs.values()))
    if len(candidates) > 1:
        candidates = [path for path in candidates if path.parent.name == _split_folder(wet)]
    return candidates[0] if len(candidates) == 1 else None


def _source(path: Path) -> str:
    """What a file holds: the part of its name before ``input`` or ``target``, unless that is a setting."""
    parts = [part for part in path.stem.split(".") if part]
    return parts[-2].lower() if len(parts) > 1 and not parse_settings(parts[-2]) else ""


def _split_folder(wet: Path) -> str:
    return wet.parent.parent.name


def _split(wet: Path, validates: bool) -> str | None:
    if _split_folder(wet) == "test":
        return "test"
    if _split_folder(wet) != "trainval" or not validates:
        return None
    return "validation" if _source(wet) in VALIDATION_SOURCES else "train"


def _markers(dry: Path) -> Ranges:
    """The ranges at both ends of an input that hold its impulses, in seconds."""
    duration_s = info(dry).duration_s
    if duration_s <= 2 * MARKER_S:
        raise FormatError(f"{dry}: expected more than the {2 * MARKER_S:g} s that hold impulses, got {duration_s:g} s.")
    return ((0.0, MARKER_S), (duration_s - MARKER_S, duration_s))


def _read_settings(
    names: list[str], meanings: Mapping[str, str], slug: str
) -> tuple[Knobs, list[dict[str, KnobValue]]]:
    """Knobs that move, and their values in each take, from the names of folders."""
    takes = [parse_settings(name) or {} for name in names]
    for name, settings in zip(names, takes):
        if list(settings) != list(takes[0]):
            raise FormatError(f"{slug}: expected the same knobs in all settings, got {names[0]!r} and {name!r}.")
    knobs: list[Knob] = []
    columns: list[str] = []
    for key in takes[0]:
        values = list(dict.fromkeys(settings[key] for settings in takes))
        name = meanings.get(key, key.lower())
        if len(values) == 1:
            _log.info("%s: knob %s stands at %s in all takes and is left out.", slug, name, values[0])
            continue
        words = any(isinstance(value, str) for value in values)
        knobs.append(Knob(name, positions=tuple(sorted(map(str, values)))) if words else Knob(name, 0.0, 10.0))
        columns.append(key)
        if words:
            takes = [{**settings, key: str(settings[key])} for settings in takes]
        else:
            knobs[-1].normalise(values)
    return Knobs(knobs), [{knob.name: settings[key] for knob, key in zip(knobs, columns)} for settings in takes]


def _page(record: int) -> str:
    return f"https://zenodo.org/records/{record}"


def _archive(facts: Device) -> Remote | Manual:
    """The archive of a device."""
    name, slug = f"{facts.folder}.zip", slug_of(facts.folder)
    if facts.parts:
        todo = (
            f"Download all parts, {name} and those ending in .z01, .z02 and so on, and join them with "
            f"'zip -s 0 {name} --out {facts.folder}-joined.zip'."
        )
        return Manual(_page(facts.record), f"{facts.folder}-joined.zip", todo, devices=(slug,))
    folder = facts.folder if facts.brings_dry else ""  # the inputs of two such devices would meet
    return Remote(f"{_page(facts.record)}/files/{name}?download=1", name, devices=(slug,), folder=folder)


def _inputs(folder: str, record: int) -> Remote:
    """The archive of inputs that several devices share."""
    devices = [slug for slug, facts in DEVICES.items() if facts.dry == folder and not facts.brings_dry]
    return Remote(f"{_page(record)}/files/{folder}.zip?download=1", f"{folder}.zip", devices=tuple(devices))


DATASET = Dataset(
    name="tonetwist",
    title="ToneTwist AFx data set",
    homepage=HOMEPAGE,
    licence="cc-by-nc-4.0",
    citation="Comunita, Steinmetz, Reiss, 'Differentiable Black-box and Gray-box Modeling of Nonlinear Audio Effects', "
    "2025, https://arxiv.org/abs/2502.14405.",
    devices=tuple(DEVICES),
    files=(_inputs(MARKED, 10455730), _inputs(PLAIN, 10901426), *map(_archive, DEVICES.values())),
    read=read,
    notes=(
        "The licence is that of the records whose metadata users quote; look at the record of the device. The inputs "
        "come from sources with terms of their own.",
        "Inputs with markers carry two impulses at both ends, so that their first and last "
        f"{MARKER_S:g} s neither train nor test.",
        "Settings come from folders, since names of files may differ from them (M000 for MNormal) or have two points "
        "in a row; inputs are found by name, never by order.",
        "There is no official validation split: the recording idmt-gtr4-sg validates, or the one named val.",
        "Recordings from elsewhere have their own inputs, some at 44.1 kHz, some without folders of splits.",
        "A jump of 5 samples at about 236 s is reported for idmt-gtr2 through the Rodent; it is not corrected.",
    ),
)
