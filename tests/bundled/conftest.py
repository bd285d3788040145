"""The models that come with neuralfx, each as its ``config.json`` describes it."""

from __future__ import annotations

import pytest

from neuralfx.hub.package import ModelConfig, read_config
from neuralfx.hub.registry import bundled, bundled_folder


@pytest.fixture(params=bundled())
def config(request: pytest.FixtureRequest) -> ModelConfig:
    """What one model says about itself."""
    return read_config(bundled_folder(request.param))
