"""Writes each public data set, by the name of its module, in its own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.data import layouts
from tests.data.simionato import write_pickles

DEVICES = {  # where a folder holds several
    "SimionatoVol1": {"device": "od300"},
    "SimionatoOptical": {"device": "cl1b"},
    "EGFxSet": {"device": "rat"},
    "ToneTwist": {"device": "ampeg-optocomp"},
    "CoreAudioML": {"device": "ht1"},
}


def write_signaltrain(root: Path) -> None:
    layouts.write_signaltrain(root, [*range(138, 160), 256])


def write_tonetwist(root: Path) -> None:
    layouts.write_tonetwist_dry(root)
    layouts.write_tonetwist(root, settings=layouts.OPTOCOMP[:2], samples=5 * 48_000)


def write_egfxset(root: Path) -> None:
    layouts.write_egfxset(root)


WRITERS: dict[str, Callable[[Path], object]] = {
    "SignalTrainLA2A": write_signaltrain,
    "BossOD3": layouts.write_boss_od3,
    "SimionatoVol1": lambda root: write_pickles(root, "OD"),
    "SimionatoOptical": lambda root: write_pickles(root, "CL1B"),
    "EGFxSet": write_egfxset,
    "ToneTwist": write_tonetwist,
    "CoreAudioML": layouts.write_split_pairs,
}
