"""Vectors of sixteen numbers in compiled code, and products whose sums stay in registers."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuralfx.engine.fastmath import JIT
from neuralfx.engine.lanes import (
    DOUBLES,
    LANES,
    add_up,
    aligned,
    exp,
    load,
    load_doubles,
    maximum,
    minimum,
    sigmoid,
    store,
    tanh,
    where_positive,
)


@numba.njit(**JIT)
def _functions(x: Any, results: Any) -> None:
    for place in range(0, len(x), LANES):
        values = load(x, place)
        store(results[0], place, exp(values))
        store(results[1], place, sigmoid(values))
        store(results[2], place, tanh(values))


@numba.njit(**JIT)
def _arithmetic(a: Any, b: Any, results: Any) -> float:
    x, y = load(a, 0), load(b, 0)
    store(results[0], 0, (x + y) * 2.0 - x / y)
    store(results[1], 0, 1 - x)
    store(results[2], 0, minimum(x, y))
    store(results[3], 0, maximum(x, 0.0))
    store(results[4], 0, where_positive(x, y, 3.0))
    return add_up(x)


def test_functions_are_those_of_single_precision() -> None:
    x = np.linspace(-80, 80, 160 * LANES, dtype=np.float32)
    results = np.zeros((3, len(x)), np.float32)
    _functions(x, results)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(results[0], np.exp(exact), rtol=5e-7)
    np.testing.assert_allclose(results[1], 1 / (1 + np.exp(-exact)), rtol=0, atol=2e-7)
    np.testing.assert_allclose(results[2], np.tanh(exact), rtol=0, atol=3e-7)


def test_arithmetic_takes_lanes_and_numbers() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, LANES)).astype(np.float32)
    results = np.zeros((5, LANES), np.float32)
    total = _arithmetic(a, b, results)
    expected = [(a + b) * 2 - a / b, 1 - a, np.minimum(a, b), np.maximum(a, 0), np.where(a > 0, b, 3)]
    np.testing.assert_allclose(results, expected, rtol=1e-5)
    np.testing.assert_allclose(total, a.sum(), rtol=1e-5)


def test_aligned_zeros_begin_with_a_line_of_the_cache() -> None:
    for size in (1, 16, 1000):
        values = aligned(size)
        assert values.shape == (size,) and values.ctypes.data % 64 == 0 and not values.any()


@numba.njit(**JIT)
def _double_arithmetic(singles: Any, exact: Any, results: Any) -> float:
    x, y = load_doubles(singles, 1), load_doubles(exact, 0)
    store(results, 0, (x + y) * 3.0 - x / y)
    return add_up(y)


def test_eight_numbers_are_computed_in_double_precision() -> None:
    generator = np.random.default_rng(0)
    singles, exact = generator.normal(size=DOUBLES + 1).astype(np.float32), generator.normal(size=DOUBLES)
    results = np.zeros(DOUBLES)
    total = _double_arithmetic(singles, exact, results)
    x = singles[1:].astype(np.float64)
    np.testing.assert_allclose(results, (x + exact) * 3 - x / exact, rtol=1e-14)
    np.testing.assert_allclose(total, exact.sum(), rtol=1e-14)
