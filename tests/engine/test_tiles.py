"""Vectors of sixteen numbers in compiled code, and products whose sums stay in registers."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from neuralfx.engine.fastmath import JIT
from neuralfx.engine.lanes import LANES
from neuralfx.engine.tiles import (
    OUTPUTS,
    RESULT,
    UNIT,
    join,
    lay_out,
    multiply,
    multiply_vectors,
    pack_tiles,
    pack_units,
    pad,
    plan_products,
    product,
    rectify,
)


def layer(generator: np.random.Generator, outputs: int, inputs: int) -> np.ndarray:
    return generator.normal(size=(outputs, inputs + 1)).astype(np.float32)


@pytest.mark.parametrize("outputs, inputs, columns", [(1, 1, 1), (5, 3, 17), (24, 72, 64), (4, 0, 16)])
def test_a_matrix_multiplies_columns_from_anywhere(outputs: int, inputs: int, columns: int) -> None:
    generator = np.random.default_rng(0)
    matrix, other = layer(generator, outputs, inputs), layer(generator, 7, 2)
    width = pad(columns, LANES) + LANES
    values = generator.normal(size=(inputs, width)).astype(np.float32)
    stride, begin = width + 3, 5
    results = np.full((pad(outputs, OUTPUTS), stride), 9, np.float32)
    packed, start = join([pack_tiles(other), pack_tiles(matrix)]), len(pack_tiles(other))
    offsets = np.arange(inputs, dtype=np.int64) * width
    multiply(
        results.reshape(-1), 0, stride, columns, values.reshape(-1), offsets, packed, start, outputs, inputs, begin
    )
    expected = matrix[:, :-1] @ values + matrix[:, -1:]
    span = slice(begin, begin + columns)
    np.testing.assert_allclose(results[:outputs, span], expected[:, span], rtol=0, atol=1e-4)
    assert (results[:, :begin] == 9).all() and (results[:, begin + pad(columns, LANES) :] == 9).all()


@pytest.mark.parametrize("groups, outputs, inputs", [(1, 1, 1), (1, 120, 32), (3, 24, 5), (9, 33, 8)])
def test_matrices_multiply_a_vector_each(groups: int, outputs: int, inputs: int) -> None:
    generator = np.random.default_rng(0)
    layers = [layer(generator, outputs, inputs) for _ in range(groups)]
    units = pad(outputs, UNIT) // UNIT
    vectors = generator.normal(size=(groups, inputs)).astype(np.float32)
    first = vectors.size
    memory = np.concatenate([vectors.ravel(), np.zeros(groups * units * UNIT, np.float32)])
    places = np.repeat(np.arange(groups) * inputs, units).astype(np.int64)
    multiply_vectors(memory, first, places, 0, len(places), pack_units(layers), 0, inputs)
    results = memory[first:].reshape(groups, -1)[:, :outputs]
    expected = [one[:, :-1] @ vector + one[:, -1] for one, vector in zip(layers, vectors)]
    np.testing.assert_allclose(results, expected, rtol=0, atol=1e-4)


@numba.njit(**JIT)
def run_perceptrons(memory: np.ndarray, plan: np.ndarray, places: np.ndarray, packed: np.ndarray) -> None:
    product(memory, plan, 0, places, packed)
    rectify(memory, plan, 0, np.float32(0.1))
    product(memory, plan, 1, places, packed)


def test_planned_products_use_each_others_results() -> None:
    generator = np.random.default_rng(0)
    hidden, last = generator.normal(size=(2, 70, 4)), generator.normal(size=(2, 5, 71))
    layers = [part.astype(np.float32) for part in (hidden, last)]
    results = lay_out(layers, LANES)
    vectors = [np.array([0, 3]), results[0] + pad(70, UNIT) * np.arange(2)]
    plan, places, packed = plan_products(layers, vectors, results)
    memory = np.zeros(results[-1], np.float32)
    memory[:6] = generator.normal(size=6)
    run_perceptrons(memory, plan, places, packed)
    for number in range(2):
        inner = hidden[number, :, :3] @ memory[3 * number :][:3] + hidden[number, :, 3]
        expected = last[number, :, :70] @ np.maximum(inner, 0.1 * inner) + last[number, :, 70]
        place = plan[1, RESULT] + number * pad(5, UNIT)
        np.testing.assert_allclose(memory[place : place + 5], expected, rtol=0, atol=1e-4)
