"""The commands are tried on the same small model as the folders they read and write."""

from __future__ import annotations

from tests.hub.conftest import folder, model

__all__ = ["folder", "model"]
