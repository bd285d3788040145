"""What all tests share: a fixed seed and one small analytic device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from neuralfx.effect import Effect, Knob, Knobs
from tests.data.generate import write_saturator

os.environ.setdefault("NEURALFX_ENGINE", "wait")  # so that every run plays with the same loops
torch.set_num_threads(1)  # blocks of a few samples only wait for a second thread


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def effect() -> Effect:
    """A device with a continuous knob, a logarithmic one and a switch."""
    return Effect(
        "tiny",
        48_000,
        Knobs(
            [
                Knob("drive", 0.0, 10.0, default=5.0),
                Knob("cutoff", 20.0, 20_000.0, unit="Hz", taper="logarithmic"),
                Knob("mode", positions=("soft", "hard")),
            ]
        ),
    )


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of recordings of a one-pole saturator with two knobs: the real layout, generated audio."""
    return write_saturator(tmp_path_factory.mktemp("recordings"))
