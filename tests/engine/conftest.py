"""Without numba there are no loops to test, only their absence, which test_compiler.py does."""

from __future__ import annotations

from neuralfx import engine

collect_ignore_glob = [] if engine.is_installed() else ["test_[!c]*.py", "test_convolution.py"]
