"""Reads any folder of recordings: by its manifest or, without one, by the first layout that fits."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from neuralfx.datasets import boss_od3, egfxset, pairs, signaltrain_la2a, tonetwist
from neuralfx.datasets.manifest import Recording, read_recording
from neuralfx.errors import ConfigError, DatasetNotFoundError

MANIFESTS = ("recordings.json", "manifest.csv")


class Layout(NamedTuple):
    """A native layout of recordings.

    Attributes:
        description: What it looks like, in a few words.
        recognises: Whether a folder has this layout; looks at names only.
        read: Reads a device, or the only one, from such a folder.
    """

    description: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, str | None], Recording]


# The first that fits is read. Each looks for names that the others do not have; the plainest comes last.
LAYOUTS = (
    Layout(
        "SignalTrain LA-2A (Train, Val, Test with input_<id>_.wav)", signaltrain_la2a.recognises, signaltrain_la2a.read
    ),
    Layout("Boss OD-3 (x/x_d0_t0.wav and y/y_d0_t0.wav)", boss_od3.recognises, boss_od3.read),
    Layout("EGFxSet (Clean and BluesDriver etc. with <pickup>/<string>-<fret>.wav)", egfxset.recognises, egfxset.read),
    Layout(
        "ToneTwist AFx (<device>/trainval/C050_R050/C050_R050.<name>.target.wav)", tonetwist.recognises, tonetwist.read
    ),
    Layout(
        "CoreAudioML pairs (train, val, test with <name>-input.wav and <name>-target.wav)",
        pairs.recognises_split_pairs,
        pairs.read_split_pairs,
    ),
    Layout("a single pair (input.wav and output.wav)", pairs.recognises_single_pair, pairs.read_single_pair),
)


def read_folder(
    root: str | os.PathLike[str],
    device: str | None = None,
    knobs: Sequence[Mapping[str, Any]] | None = None,
    slug: str | None = None,
    device_name: str | None = None,
) -> Recording:
    """Read a folder of recordings in any layout that is understood; of the audio, headers only.

    A manifest comes first: in the folder, or in its parent where that one lists the folder. Then the first of
    ``LAYOUTS`` that recognises the names of folders and files reads it, and its errors are final.

    Args:
        root: The folder.
        device: Which device of it; may be left out if there is one.
        knobs: Takes the place of a manifest's declarations, as in :func:`~neuralfx.datasets.manifest.read_recording`.
        slug: Slug of the effect; that of the recording if None.
        device_name: Full name of the device; that of the recording if None.

    Returns:
        The device with its takes.

    Raises:
        DatasetNotFoundError: If there is no such folder, no layout fits, or files are missing.
        FormatError: If the recordings are damaged or the device is not clear.
        ConfigError: If knobs are declared for recordings without a manifest.
    """
    root = Path(root)
    try:
        return read_recording(root, device, knobs, slug, device_name)
    except DatasetNotFoundError:
        if not root.is_dir() or _has_manifest(root):
            raise
    for layout in LAYOUTS:
        if not layout.recognises(root):
            continue
        if knobs is not None:
            raise ConfigError(
                f"{root} holds {layout.description}, whose knobs are known; leave knobs out, or add a manifest."
            )
        recording = layout.read(root, device)
        effect = recording.effect
        effect = dataclasses.replace(effect, slug=slug or effect.slug, device=device_name or effect.device)
        return dataclasses.replace(recording, effect=effect)
    understood = "; ".join(layout.description for layout in LAYOUTS)
    raise DatasetNotFoundError(
        f"no recordings in {str(root)!r}: expected a manifest ({' or '.join(MANIFESTS)}) or one of these layouts: "
        f"{understood}."
    )


def _has_manifest(root: Path) -> bool:
    """Whether a manifest speaks of a folder; the parent's, which has been read before, by its devices' names."""
    if any((root / name).is_file() for name in MANIFESTS):
        return True
    parent = root.parent / MANIFESTS[0]
    return parent.is_file() and root.name in json.loads(parent.read_text(encoding="utf-8"))
