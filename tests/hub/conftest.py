"""A small model, and a folder that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuralfx.effect import Effect, Knob, Knobs
from tests.hub.server import Hub, serving

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


@pytest.fixture
def carded(folder: Path) -> Path:
    """The model folder with a card that the Hub takes."""
    from neuralfx.hub.card import render_card
    from neuralfx.hub.package import read_config

    (folder / "README.md").write_text(render_card(read_config(folder).to_dict()), encoding="utf-8")
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on this machine that the real client talks to, with an empty cache and no token."""
    from huggingface_hub import close_session, constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as stand_in:
        monkeypatch.setattr(constants, "ENDPOINT", stand_in.endpoint)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants._HF_DEFAULT_ENDPOINT, stand_in.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        close_session()
        yield stand_in
        close_session()


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
