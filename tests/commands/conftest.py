"""The commands are tried on the same small model as the folders they read and write."""

from __future__ import annotations

from tests.hub.conftest import carded, folder, hub, model

__all__ = ["carded", "folder", "hub", "model"]
