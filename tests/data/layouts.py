"""Writes a little audio in the layouts of public data sets, with the defects that they are known for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from tests.data.generate import music

TONETWIST_SOURCES = {"trainval": ("idmt-gtr2", "idmt-gtr4-sg", "nam", "prvt-gtr", "yt-bass"), "test": ("idmt-bass",)}
OPTOCOMP = ("C030_R050_L060", "C050_R000_L060", "C050_R050_L060", "C050_R100_L060", "C100_R100_L060")


def write_audio(path: Path, rate: int, samples: int = 600, channels: int = 1, seed: int = 0) -> Path:
    """Some music, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subtype = "FLOAT" if path.suffix == ".wav" else "PCM_16"
    soundfile.write(path, np.tile(music(samples, seed)[:, None], channels), rate, subtype)
    return path


def signaltrain_pairs() -> list[tuple[int, str, int, int]]:
    """Every pair of version 1.1: its id, capture, mode and peak reduction."""
    runs = ((138, "3c", 0), (159, "3c", 1), (222, "2c", 0), (243, "2c", 1))
    pairs = [(first + step, capture, mode, 5 * step) for first, capture, mode in runs for step in range(21)]
    return [*(pair for pair in pairs if pair[0] != 236), (221, "3c", 1, 100)]


def write_signaltrain(root: Path, ids: Sequence[int] | None = None, rate: int = 44_100) -> Path:
    """SignalTrain LA-2A 1.1, or some of its pairs; the lengths of a pair differ. Returns its folder."""
    base = root / "SignalTrain_LA2A_Dataset_1.1"
    test = (235, 256, 259)
    val = (140, 148, 161, 173, 223, 224, 227, 231, 232, 239, 245, 248, 252, 257, 260)
    for number, capture, mode, peak in signaltrain_pairs():
        if ids is not None and number not in ids:
            continue
        folder = base / ("Test" if number in test else "Val" if number in val else "Train")
        write_audio(folder / f"input_{number}_.wav", rate)
        write_audio(folder / f"target_{number}_LA2A_{capture}__{mode}__{peak}.wav", rate, samples=580)
    base.mkdir(parents=True, exist_ok=True)
    (base / "effect_info.ini").write_text("[effect]\nname = 'LA2A'\nknob_names = ['Comp/Limit', 'Peak Reduction']\n")
    return base


def write_boss_od3(root: Path, positions: Sequence[int] = range(5), rate: int = 48_000) -> Path:
    """Boss OD-3: lengths differ, and every other wet file has two channels. Returns the folder of x and y."""
    base = root / "boss_od3_overdrive" / "overdrive" / "boss_od3"
    for gain in positions:
        for tone in positions:
            write_audio(base / "x" / f"x_d{gain}_t{tone}.wav", rate)
            write_audio(base / "y" / f"y_d{gain}_t{tone}.wav", rate, samples=590, channels=1 + (gain + tone) % 2)
    return base


def write_prepared_od3(root: Path, wet: str = "y", rate: int = 48_000) -> Path:
    """What pyneuralfx's preparation writes; ``wet="x"`` is what its released form writes."""
    for split in ("train", "valid", "test"):
        for gain, tone in ((0, 0), (4, 2)):
            write_audio(root / split / "x" / f"x_d{gain}_t{tone}.wav", rate)
            write_audio(root / split / "y" / f"{wet}_d{gain}_t{tone}.wav", rate)
    return root


def write_egfxset(
    root: Path, devices: Sequence[str] = ("BluesDriver", "RAT"), frets: int = 2, rate: int = 48_000
) -> Path:
    """EGFxSet with few frets; one name of the first device has a point in place of its hyphen."""
    for folder in ("Clean", *devices):
        for pickup in ("Bridge", "Bridge-Middle", "Middle", "Middle-Neck", "Neck"):
            for string in range(1, 7):
                for fret in range(frets):
                    write_audio(root / folder / pickup / f"{string}-{fret}.wav", rate, samples=100)
    (root / devices[0] / "Neck" / "6-1.wav").rename(root / devices[0] / "Neck" / "6.1.wav")
    (root / "egfxset_metadata.csv").write_text("Effect ,Model\nBlues Driver,Boss BD-2\n")
    return root


def write_tonetwist_dry(root: Path, folder: str = "DRY-with-markers", seconds: float = 5.0, rate: int = 48_000) -> Path:
    """The shared inputs, with two impulses at both ends."""
    audio = np.zeros(round(seconds * rate))
    audio[[rate // 2, 3 * rate // 2, -3 * rate // 2, -rate // 2]] = 0.9
    for split, sources in TONETWIST_SOURCES.items():
        (root / folder / split).mkdir(parents=True, exist_ok=True)
        for source in sources:
            soundfile.write(root / folder / split / f"{source}.input.wav", audio, rate, "PCM_16")
    return root / folder


def write_tonetwist(
    root: Path,
    device: str = "Ampeg-OptoComp",
    settings: Sequence[str] = OPTOCOMP,
    rate: int = 48_000,
    samples: int = 600,
) -> Path:
    """A device's recordings of the shared inputs; the name of ``yt-bass`` has two points in a row."""
    for split, sources in TONETWIST_SOURCES.items():
        for setting in settings:
            for source in sources:
                point = ".." if source == "yt-bass" else "."
                prefix = setting.replace("MNormal", "M000")
                write_audio(root / device / split / setting / f"{prefix}{point}{source}.target.wav", rate, samples)
    return root / device


def write_tonetwist_big_muff(root: Path) -> Path:
    """A device from elsewhere: its own inputs, another rate, one setting."""
    for split, source in (("trainval", "train"), ("trainval", "val"), ("test", "test")):
        write_audio(root / "DRY" / split / f"{source}.input.wav", 44_100)
        folder = root / "ElectroHarmonix-BigMuff" / split / "S050_V100"
        write_audio(folder / f"S050_V100.{source}.target.wav", 44_100)
    return root


def write_split_pairs(root: Path, names: Sequence[str] = ("ht1", "muff"), rate: int = 44_100) -> Path:
    """Pairs as CoreAudioML reads them; the test file of the last name lacks its hyphen."""
    for split in ("train", "val", "test"):
        for name in names:
            hyphen = "" if split == "test" and name == names[-1] else "-"
            for side in ("input", "target"):
                path = write_audio(root / split / f"{name}{hyphen}{side}.wav", rate)
                soundfile.write(path, music(600), rate, "PCM_16")
    return root


def write_single_pair(root: Path, dry: str = "input.wav", wet: str = "output.wav", rate: int = 48_000) -> Path:
    """One input and one output, which is longer."""
    write_audio(root / dry, rate)
    write_audio(root / wet, rate, samples=700, seed=1)
    return root
