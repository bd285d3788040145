"""SignalTrain LA-2A: about 20 hours of an optical compressor, 21 peak reductions in both of its modes."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from pathlib import Path

from neuralfx.datasets.base import Dataset, Remote
from neuralfx.datasets.layout import audio_files, check_rates, choose_device, folders, warn_left_out
from neuralfx.datasets.manifest import KnobValue, Recording, Take
from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import DatasetNotFoundError, FormatError

SAMPLE_RATE = 44_100
MODES = ("compress", "limit")  # the digit in a target's name
SPLITS = {"Train": "train", "Val": "validation", "Test": "test"}
EFFECT = Effect(
    slug="la2a",
    sample_rate=SAMPLE_RATE,
    knobs=Knobs((Knob("peak_reduction", 0.0, 100.0, unit="%"), Knob("mode", positions=MODES))),
    device="Teletronix LA-2A optical compressor",
)
# Compress mode at 0, 10, ... 100 %, from the recordings marked 3c: the conditions of Yeh et al. 2024, section 4.
HYPER_RNN_IDS = tuple(range(138, 159, 2))

_INPUT = re.compile(r"input_(?P<id>\d+)_\.wav")
_TARGET = re.compile(r"target_(?P<id>\d+)_LA2A_[23]c__(?P<mode>[01])__(?P<peak>100|\d{1,2})\.wav")


def recognises(root: Path) -> bool:
    """Whether a folder, or a folder in it, holds Train, Val or Test with targets of this data set."""
    return _find(root) is not None


def read(root: Path, device: str | None = None) -> Recording:
    """Read the pairs of the folder that holds Train, Val and Test, or of its parent.

    An input and a target belong together by their id; where the id occurs more than once, by their folder too. The
    split is that of the target's folder.

    Args:
        root: Unpacked data set.
        device: ``la2a`` or None.

    Returns:
        Takes in the order of their ids, with the official split and knobs ``peak_reduction`` and ``mode``.

    Raises:
        DatasetNotFoundError: If the folder holds something else.
        FormatError: If nothing pairs, or a file has another sample rate than 44.1 kHz.
        AudioFileError: If a file cannot be read.
    """
    base = _find(root)
    if base is None:
        raise DatasetNotFoundError(
            f"no SignalTrain LA-2A in {str(root)!r}: expected folders Train, Val and Test with files such as "
            "input_138_.wav and target_138_LA2A_3c__0__0.wav; unpack the archive there."
        )
    choose_device(device, [EFFECT.slug], root)
    takes, left_out = [], []
    for inputs, targets in _by_id(base):
        pairs = [(dry, wet) for dry in inputs for wet in targets if dry.parent == wet.parent]
        if not pairs and len(inputs) == len(targets) == 1:
            pairs = [(inputs[0], targets[0])]
        if len(pairs) == 1:
            takes.append(_take(*pairs[0]))
        left_out += [path for path in (*inputs, *targets) if len(pairs) != 1 or path not in pairs[0]]
    warn_left_out(base, left_out)
    if not takes:
        raise FormatError(f"{base}: no input has a target of the same id; fetch the archive again.")
    check_rates([path for take in takes for path in (take.dry, take.wet)], SAMPLE_RATE)
    return Recording(EFFECT, tuple(takes), {})


def hyper_rnn_subset(recording: Recording) -> Recording:
    """The part that the paper on hyper recurrent networks used: compress mode at 0, 10, ... 100 %.

    The knob ``mode`` goes, since it stands still, and so does the official split: the paper splits every recording in
    time, 80/10/10 (``validation=[[0.8, 0.9]], test=[[0.9, 1.0]]`` as ranges of every take).

    Args:
        recording: What :func:`read` returned.

    Raises:
        DatasetNotFoundError: If one of the eleven recordings is missing.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling", DAFx
        2024, section 4.
    """
    by_id = {_number(take.wet): take for take in recording.takes}
    missing = [str(number) for number in HYPER_RNN_IDS if number not in by_id]
    if missing:
        raise DatasetNotFoundError(
            f"la2a: expected the recordings {HYPER_RNN_IDS[0]} to {HYPER_RNN_IDS[-1]} with even ids, "
            f"{', '.join(missing)} is missing; fetch the archive again."
        )
    takes = []
    for number in HYPER_RNN_IDS:
        values = {"peak_reduction": by_id[number].values["peak_reduction"]}
        takes.append(dataclasses.replace(by_id[number], values=values, split=None))
    effect = dataclasses.replace(recording.effect, knobs=Knobs((recording.effect.knobs["peak_reduction"],)))
    return Recording(effect, tuple(takes), {})


def _find(root: Path) -> Path | None:
    """The folder that holds Train, Val and Test: the given one, or one in it."""
    for folder in (root, *folders(root)):
        if any(_TARGET.fullmatch(path.name) for split in SPLITS for path in audio_files(folder / split)):
            return folder
    return None


def _by_id(base: Path) -> list[tuple[list[Path], list[Path]]]:
    """Inputs and targets that share an id, in the order of the ids; the files of all splits."""
    inputs: defaultdict[int, list[Path]] = defaultdict(list)
    targets: defaultdict[int, list[Path]] = defaultdict(list)
    for path in (path for split in SPLITS for path in audio_files(base / split)):
        for pattern, found in ((_INPUT, inputs), (_TARGET, targets)):
            if match := pattern.fullmatch(path.name):
                found[int(match["id"])].append(path)
    return [(inputs[number], targets[number]) for number in sorted({*inputs, *targets})]


def _take(dry: Path, wet: Path) -> Take:
    match = _TARGET.fullmatch(wet.name)
    assert match is not None  # _by_id asked
    values: dict[str, KnobValue] = {"peak_reduction": float(match["peak"]), "mode": MODES[int(match["mode"])]}
    return Take(dry, wet, values, split=SPLITS[wet.parent.name])


def _number(wet: Path) -> int:
    match = _TARGET.fullmatch(wet.name)
    return int(match["id"]) if match else -1


DATASET = Dataset(
    name="signaltrain-la2a",
    title="SignalTrain LA-2A data set 1.1",
    homepage="https://zenodo.org/records/3824876",
    licence="cc-by-4.0",
    citation="Hawley, Colburn, Mimilakis, 'SignalTrain: Profiling Audio Compressors with Deep Neural Networks', "
    "147th AES Convention, 2019, https://arxiv.org/abs/1905.11928; doi:10.5281/zenodo.3824876.",
    devices=(EFFECT.slug,),
    files=(
        Remote(
            "https://zenodo.org/records/3824876/files/SignalTrain_LA2A_Dataset_1.1.tgz?download=1",
            "SignalTrain_LA2A_Dataset_1.1.tgz",
        ),
    ),
    read=read,
    notes=(
        "About 20 GB. Pairs are found by their id, never by their order; files without a partner are named and left "
        "out (version 1.0 has a target 235 at 70 % and an input 236 alone).",
        "In version 1.0 the targets 148, 149, 150 and 152 are 8583 samples late, and input 245 lies in another folder "
        "than its target. 1.1 corrects both; a lag is still reported for its pair 147. Offsets are therefore not "
        "taken from a table: each take's is estimated.",
        "An input and its target may differ in length; what both cover is used.",
        "The folder's effect_info.ini is not read: it is meant for Python's eval.",
    ),
)
