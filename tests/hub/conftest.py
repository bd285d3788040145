"""A small model, and a folder that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neuralfx.effect import Effect, Knob, Knobs

EFFECT = Effect(
    "amp",
    8000,
    Knobs([Knob("gain", 0.0, 10.0, unit="dB"), Knob("mode", positions=("clean", "lead"))]),
    device="Test amp",
)
METRICS: dict[str, Any] = {
    "esr": 0.0123,
    "takes": [
        {
            "name": "take 0",
            "knobs": {"gain": 3.0, "mode": "lead"},
            "esr": 0.0123,
            "identity_esr": 0.9,
            "linear_esr": 0.2,
        }
    ],
}


@pytest.fixture
def model() -> Any:
    import torch

    from neuralfx.models import LSTMFiLMGLU

    torch.manual_seed(0)
    return LSTMFiLMGLU(effect=EFFECT.to_dict(), hidden_size=3, features=2, window=4).eval()


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    from neuralfx.hub.package import save_folder

    save_folder(
        model,
        tmp_path / "my-amp",
        name="my-amp",
        card="---\nlicense: mit\n---\n\n# Test amp\n",
        metrics=METRICS,
        training={"data": {"train_s": 12.0}, "seed": 0},
        recipe="model:\n  class_path: LSTMFiLMGLU\n",
        licence="mit",
    )
    return tmp_path / "my-amp"
