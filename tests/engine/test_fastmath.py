"""Scalar functions against NumPy's in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from neuralfx.engine import fastmath


def over(function: Callable[[Any], Any], values: Any) -> Any:
    """The function of every value, in a loop that the compiler may turn into vector instructions."""

    @numba.njit(**fastmath.JIT)
    def run(values: Any, results: Any) -> None:
        for index in range(len(values)):
            results[index] = function(values[index])

    results = np.empty_like(values)
    run(values, results)
    return results


def test_they_are_exact_to_single_precision() -> None:
    values = np.linspace(-80, 80, 100_001).astype(np.float32)
    exact = values.astype(np.float64)
    assert np.abs(over(fastmath.exp, values) / np.exp(exact) - 1).max() < 4e-7
    assert np.abs(over(fastmath.tanh, values) - np.tanh(exact)).max() < 2e-7
    assert np.abs(over(fastmath.sigmoid, values) - 1 / (1 + np.exp(-exact))).max() < 2e-7


@pytest.mark.parametrize(("function", "expected"), [(fastmath.tanh, 0.0), (fastmath.sigmoid, 0.5), (fastmath.exp, 1.0)])
def test_silence_stays_silence(function: Callable[[Any], Any], expected: float) -> None:
    assert (over(function, np.zeros(100, np.float32)) == expected).all()


def test_extremes_stay_finite() -> None:
    extremes = np.array([-1e30, -200, 200, 1e30], np.float32)
    assert np.isfinite(over(fastmath.exp, extremes)).all()
    np.testing.assert_array_equal(over(fastmath.tanh, extremes), [-1, -1, 1, 1])
    np.testing.assert_allclose(over(fastmath.sigmoid, extremes), [0, 0, 1, 1], atol=1e-30)
