"""The linear baseline finds filters that it should find."""

from __future__ import annotations

import numpy as np
import pytest

from neuralfx.errors import ShapeError
from neuralfx.metrics.linear import apply_linear_filter, fit_linear_filter


def test_a_filtered_signal_gives_the_filter_back() -> None:
    rng = np.random.default_rng(0)
    dry, weights = rng.standard_normal(5000), np.array([0.5, -0.25, 0.0, 0.125])
    wet = np.convolve(dry, weights)[:5000]
    found = fit_linear_filter(dry, wet, taps=6)
    np.testing.assert_allclose(found, [*weights, 0, 0], atol=1e-3)
    np.testing.assert_allclose(apply_linear_filter(dry, weights), wet, atol=1e-12)


def test_no_other_filter_of_this_length_is_better() -> None:
    rng = np.random.default_rng(0)
    dry = rng.standard_normal(4000)
    wet = np.tanh(3 * np.convolve(dry, [0.7, 0.2])[:4000])
    best = fit_linear_filter(dry, wet, taps=3)
    error = np.square(wet - apply_linear_filter(dry, best)).sum()
    for _ in range(20):
        other = best + 0.02 * rng.standard_normal(3)
        assert np.square(wet - apply_linear_filter(dry, other)).sum() > error


def test_signals_must_be_of_one_length() -> None:
    with pytest.raises(ShapeError, match=r"\(3,\) and \(4,\)"):
        fit_linear_filter(np.zeros(3), np.zeros(4))
