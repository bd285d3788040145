"""Recordings of devices: read their folders, align them, and stream them from disk in lanes.

Names are imported when they are first used, so that reading a folder does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralfx.datasets.alignment import Alignment as Alignment
    from neuralfx.datasets.alignment import estimate_alignment as estimate_alignment
    from neuralfx.datasets.manifest import Recording as Recording
    from neuralfx.datasets.manifest import Take as Take
    from neuralfx.datasets.manifest import read_recording as read_recording
    from neuralfx.datasets.modules import BossOD3 as BossOD3
    from neuralfx.datasets.modules import CoreAudioML as CoreAudioML
    from neuralfx.datasets.modules import EGFxSet as EGFxSet
    from neuralfx.datasets.modules import SignalTrainLA2A as SignalTrainLA2A
    from neuralfx.datasets.modules import SimionatoOptical as SimionatoOptical
    from neuralfx.datasets.modules import SimionatoVol1 as SimionatoVol1
    from neuralfx.datasets.modules import ToneTwist as ToneTwist
    from neuralfx.datasets.paired import PairedAudioDataModule as PairedAudioDataModule

_HOMES = {
    "Alignment": "alignment",
    "estimate_alignment": "alignment",
    "Recording": "manifest",
    "Take": "manifest",
    "read_recording": "manifest",
    "BossOD3": "modules",
    "CoreAudioML": "modules",
    "EGFxSet": "modules",
    "SignalTrainLA2A": "modules",
    "SimionatoOptical": "modules",
    "SimionatoVol1": "modules",
    "ToneTwist": "modules",
    "PairedAudioDataModule": "paired",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
