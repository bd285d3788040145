"""Time constants that states start with."""

from __future__ import annotations

import pytest
import torch

from neuralfx.errors import ConfigError
from neuralfx.models import architecture
from neuralfx.nn.time_constants import spread_time_constants
from tests.checks import two_knobs


def test_time_constants_are_equal_ratios_apart() -> None:
    torch.testing.assert_close(spread_time_constants(2.0, 2000.0, 4), torch.tensor([2.0, 20.0, 200.0, 2000.0]))
    torch.testing.assert_close(spread_time_constants(3.0, 3.0, 2), torch.tensor([3.0, 3.0]))


@pytest.mark.parametrize("shortest, longest", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_what_is_no_range_is_refused(shortest: float, longest: float) -> None:
    with pytest.raises(ConfigError, match="expected a range above 0, shortest first"):
        spread_time_constants(shortest, longest, 3)


@pytest.mark.parametrize("name", ["LRUFiLMGLU", "S4DFiLMGLU", "S6FiLMGLU"])
def test_state_space_models_need_a_range(name: str) -> None:
    with pytest.raises(ConfigError, match="time constants"):
        architecture(name)(effect=two_knobs().to_dict(), longest_ms=0.0)
