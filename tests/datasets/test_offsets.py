from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from neuralfx.datasets.manifest import devices, read_recording
from neuralfx.datasets.offsets import decide_offset
from tests.data.generate import RATE, music, shift

RECORDINGS = os.environ.get("NEURALFX_RECORDINGS", "")


@pytest.mark.parametrize("polarity", [1, -1])
def test_all_methods_agree_about_a_distortion(polarity: int) -> None:
    dry = music(32_000)
    found = decide_offset(dry, polarity * shift(np.tanh(4 * dry), 900), RATE)
    assert found.samples is not None and 898 <= found.samples <= 900
    assert (found.method, found.polarity) == ("onset", polarity)
    assert found.agreement == (4, 4)


def test_offsets_beyond_what_is_searched_first_are_found_too() -> None:
    dry = music(80_000)
    found = decide_offset(dry, shift(np.tanh(4 * dry), 15_000), RATE)
    assert found.samples is not None and abs(found.samples - 15_000) <= 2


def test_unrelated_signals_are_not_decided() -> None:
    found = decide_offset(music(32_000), np.random.default_rng(1).standard_normal(32_000), RATE)
    assert found.samples is None
    assert (found.method, found.polarity) == ("none", None)


def test_a_silent_output_is_not_decided() -> None:
    assert decide_offset(music(8_000), np.zeros(8_000), RATE).samples is None


@pytest.mark.skipif(not RECORDINGS, reason="NEURALFX_RECORDINGS names no folder of recordings")
def test_all_real_takes_are_decided() -> None:
    for device in devices(RECORDINGS):
        for take in read_recording(Path(RECORDINGS), device).takes:
            dry, rate = soundfile.read(take.dry)
            found = decide_offset(dry, soundfile.read(take.wet)[0], rate)
            agreeing, asked = found.agreement
            assert found.samples is not None and 2 * agreeing > asked, take.wet
