"""Pairs of files without a manifest: in train, val and test as CoreAudioML has them, or one input and one output."""

from __future__ import annotations

import re
from pathlib import Path

from neuralfx.audio import AudioInfo, info
from neuralfx.datasets.base import Dataset, Manual
from neuralfx.datasets.layout import audio_files, choose_device, folders, list_names, slug_of
from neuralfx.datasets.manifest import Recording, Take
from neuralfx.effect import Effect
from neuralfx.errors import DatasetNotFoundError, FormatError

SPLITS = {"train": "train", "val": "validation", "test": "test"}
DEVICES = {"ht1": "Blackstar HT-1", "muff": "Electro-Harmonix Big Muff Pi"}  # of the public data set
# Words in a file's name that say on which side of the device it was recorded.
INPUT_WORDS = frozenset({"input", "in", "dry", "clean", "di"})
OUTPUT_WORDS = frozenset({"output", "out", "wet", "target", "reamp", "reamped"})
# Signals that players of amplifier models ask to record: a pair with one of them needs no words.
STANDARD_INPUTS = frozenset({"v1", "v1_1_1", "v2_0_0", "v3_0_0"})

_SIDE = re.compile(r"(?P<name>.*[^.-])-?(?P<side>input|target)")


def recognises_split_pairs(root: Path) -> bool:
    """Whether a folder, or a folder in it, holds train, val or test with files such as ``ht1-input.wav``."""
    return _find(root) is not None


def read_split_pairs(root: Path, device: str | None = None) -> Recording:
    """Read ``<name>-input.wav`` and ``<name>-target.wav`` in the folders train, val and test.

    Args:
        root: The folder that holds train, val and test, or its parent.
        device: A ``<name>``; None where there is one.

    Returns:
        A take per split, without knobs.

    Raises:
        DatasetNotFoundError: If the folder holds something else.
        FormatError: If it is not clear which device is meant, a file has no partner, or sample rates differ.
        AudioFileError: If a file cannot be read.
    """
    base = _find(root)
    if base is None:
        raise DatasetNotFoundError(
            f"no pairs in {str(root)!r}: expected folders train, val and test with files such as ht1-input.wav and "
            "ht1-target.wav; copy them there."
        )
    found = _sides(base)
    slug = choose_device(device, sorted(found), base)
    pairs = []
    for split, sides in found[slug].items():
        if set(sides) != {"input", "target"}:
            (only,) = sides.values()
            missing = "target" if "input" in sides else "input"
            raise FormatError(f"{only}: expected a file of the same name with {missing} beside it, found none; add it.")
        pairs.append((sides["input"], sides["target"], SPLITS[split]))
    effect = _effect(slug, [(dry, wet) for dry, wet, _ in pairs], DEVICES.get(slug, ""))
    return Recording(effect, tuple(Take(dry, wet, {}, split=split, channel=0) for dry, wet, split in pairs), {})


def recognises_single_pair(root: Path) -> bool:
    """Whether a folder holds two audio files, and no folders with more."""
    return len(audio_files(root)) == 2 and not any(audio_files(folder) for folder in folders(root))


def read_single_pair(
    root: Path, device: str | None = None, input_file: str | None = None, output_file: str | None = None
) -> Recording:
    """Read one input and one output of a device at one setting.

    Args:
        root: Folder that holds both.
        device: Slug of the device; the name of the folder if None.
        input_file: Name of the input in the folder. Left out: the one whose name says so (input, in, dry, clean, di,
            or that of a standard signal), or the one beside ``output_file``.
        output_file: Name of the output. Left out: the one whose name says so (output, out, wet, target, reamp), or
            the other one.

    Returns:
        One take without knobs and without a split.

    Raises:
        DatasetNotFoundError: If the folder has no two audio files, or not the named ones.
        FormatError: If the names do not tell which file is which, or sample rates differ.
        AudioFileError: If a file cannot be read.
    """
    files = audio_files(root)
    for name in (input_file, output_file):
        if name is not None and not (root / name).is_file():
            raise DatasetNotFoundError(
                f"no file {name!r} in {str(root)!r}: it holds {list_names(files) or 'no audio'}."
            )
    if input_file is not None and output_file is not None:
        dry, wet = root / input_file, root / output_file
    elif len(files) != 2:
        raise DatasetNotFoundError(
            f"no single pair in {str(root)!r}: expected one input and one output, found {len(files)} audio file(s)"
            f"{': ' + list_names(files) if files else ''}; name both as input_file and output_file."
        )
    else:
        dry, wet = _tell_apart(root, files, input_file, output_file)
    if dry == wet:
        raise FormatError(f"{dry}: expected different files as input and output, got the same one twice.")
    slug = slug_of(device or root.resolve().name)
    return Recording(_effect(slug, [(dry, wet)]), (Take(dry, wet, {}, channel=0),), {})


def _find(root: Path) -> Path | None:
    """The folder that holds train, val and test: the given one, or one in it."""
    return next((folder for folder in (root, *folders(root)) if _sides(folder)), None)


def _sides(base: Path) -> dict[str, dict[str, dict[str, Path]]]:
    """Files by slug of the device, split and side, ``input`` or ``target``."""
    found: dict[str, dict[str, dict[str, Path]]] = {}
    for split in SPLITS:
        for path in audio_files(base / split):
            match = _SIDE.fullmatch(path.stem)
            if match:
                found.setdefault(slug_of(match["name"]), {}).setdefault(split, {})[match["side"]] = path
    return found


def _tell_apart(root: Path, files: list[Path], input_file: str | None, output_file: str | None) -> tuple[Path, Path]:
    """Which of two files is the input and which the output."""
    sides = [_side(path) for path in files]
    for index, path in enumerate(files):
        if path.name == input_file:
            sides = ["input" if other == index else "output" for other in range(2)]
        elif path.name == output_file:
            sides = ["output" if other == index else "input" for other in range(2)]
    if "" in sides and len(set(sides)) == 2:  # one is clear, so the other is
        other = "output" if "input" in sides else "input"
        sides = [side or other for side in sides]
    if sorted(sides) != ["input", "output"]:
        raise FormatError(
            f"{root}: expected names that tell input and output apart, such as input.wav and output.wav, got "
            f"{list_names(files)}; rename them or name one as input_file."
        )
    first, second = files
    return (first, second) if sides[0] == "input" else (second, first)


def _side(path: Path) -> str:
    """The side of the device that a file's name speaks of; empty where it speaks of neither or of both."""
    words = set(re.split(r"[^a-z0-9]+", path.stem.lower()))
    is_input = bool(words & INPUT_WORDS) or path.stem.lower() in STANDARD_INPUTS
    is_output = bool(words & OUTPUT_WORDS)
    if is_input == is_output:
        return ""
    return "input" if is_input else "output"


def _effect(slug: str, pairs: list[tuple[Path, Path]], device: str = "") -> Effect:
    """The effect at the rate that all files share, with as many channels as all of them have."""
    headers: dict[Path, AudioInfo] = {path: info(path) for pair in pairs for path in pair}
    first_path, first = next(iter(headers.items()))
    for path, header in headers.items():
        if header.sample_rate != first.sample_rate:
            raise FormatError(
                f"{path}: expected {first.sample_rate} Hz as in {first_path.name}, got {header.sample_rate} Hz; "
                "convert one of them."
            )
    return Effect(slug, first.sample_rate, device=device, channels=min(header.channels for header in headers.values()))


_PAGE = "https://github.com/Alec-Wright/Automated-GuitarAmpModelling/tree/main/Data"

DATASET = Dataset(
    name="coreaudioml",
    title="HT-1 and Big Muff pairs of Automated-GuitarAmpModelling",
    homepage="https://github.com/Alec-Wright/Automated-GuitarAmpModelling",
    licence="gpl-3.0",
    citation="Wright, Damskägg, Välimäki, 'Real-time Black-box Modelling with Recurrent Neural Networks', DAFx 2019.",
    devices=tuple(DEVICES),
    files=tuple(
        Manual(
            f"{_PAGE}/{split}",
            f"{split}/{name}-{side}.wav",
            f"Download the file, or clone the repository, and put it into a folder {split} in this folder.",
        )
        for split in SPLITS
        for name in DEVICES
        for side in ("input", "target")
    ),
    read=read_split_pairs,
    notes=(
        "The licence is that of the repository; none is stated for the audio by itself.",
        "Both devices are also part of the data set tonetwist.",
    ),
)
