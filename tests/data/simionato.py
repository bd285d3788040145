"""Generates pickles in the layout in which Simionato publishes recordings."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.data.generate import music

SAMPLES = 2_000

_QUARTERS, _TENTHS = np.arange(5) / 4, np.arange(1, 11) / 10
GRIDS = {
    "OD": (_QUARTERS, _QUARTERS),
    "ODNeutron": (_TENTHS, _TENTHS),
    "FilterNeutron": (_TENTHS, _QUARTERS),
    "Saturator": (_TENTHS - 0.05,),
    "Pultec": (np.arange(5) / 8, np.arange(5) / 8),
    "LA2A": (10 * _TENTHS, (0, 1)),
    "CL1B": ((0, 0.25, 0.5, 1), (0, 0.5, 1), (0, 0.5, 1), (0, 0.5, 1)),
}


def settings(name: str) -> npt.NDArray[np.float32]:
    """All settings of a device's knobs, shape (settings, knobs)."""
    return np.array(list(itertools.product(*GRIDS[name])), dtype=np.float32)


def arrays(z: npt.NDArray[Any], samples: int = SAMPLES) -> dict[str, Any]:
    """What a pickle holds: the first knob is a gain, the last a little of an offset."""
    dry = music(samples).astype(np.float32)
    wet = np.stack([0.1 * row[0] * dry + 0.01 * row[-1] for row in z]).astype(np.float32)
    return {"x": dry[np.newaxis], "y": wet, "z": z}


def write_pickles(root: Path, name: str, splits: Sequence[str] = ("train", "test"), **fields: Any) -> Path:
    """Write ``<name>_<split>.pickle`` with all settings of a device; fields replace the arrays."""
    root.mkdir(parents=True, exist_ok=True)
    for split in splits:
        content = {**arrays(settings(name)), **fields}
        (root / f"{name}_{split}.pickle").write_bytes(pickle.dumps(content, protocol=4))
    return root
