"""What the tests of loops share. Without numba there are none, only their absence, which test_compiler.py tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from neuralfx import engine

collect_ignore_glob = [] if engine.is_installed() else ["test_[!c]*.py", "test_convolution.py"]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Torch with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
