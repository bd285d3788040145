"""Stages that compiled state-based networks share, against numpy."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from neuralfx.engine import front


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("taps", [1, 7, 8, 63, 64])
def test_a_filter_bank_is_a_layer_on_the_most_recent_samples(taps: int) -> None:
    heard, filters = draw(taps - 1 + 100), draw(3, taps + 1)
    features = np.zeros((3, front.CHUNK_SAMPLES), np.float32)
    front.filter_bank(heard, filters, 100, features)
    windows = np.lib.stride_tricks.sliding_window_view(heard, taps)
    np.testing.assert_allclose(features[:, :100], filters[:, :-1] @ windows.T + filters[:, -1:], atol=1e-5)


@pytest.mark.parametrize("width", [0, 1, 4, 6, 11])
def test_a_layer_is_a_matrix_product_and_leaves_later_samples_alone(width: int) -> None:
    features, layer = draw(width, front.CHUNK_SAMPLES), draw(5, width + 1)
    outputs = np.full((5, front.CHUNK_SAMPLES), 7, np.float32)
    front.dense(features, layer, 100, outputs)
    np.testing.assert_allclose(outputs[:, :100], (layer[:, :-1] @ features + layer[:, -1:])[:, :100], atol=1e-5)
    assert (outputs[:, 100:] == 7).all()


def test_a_combination_of_rows_is_a_product_with_a_vector() -> None:
    values = draw(12)
    for lanes, combine in ((8, combined_8), (32, combined_32)):
        rows, sums = draw(13, lanes), np.empty(lanes, np.float32)
        combine(values, rows.ravel(), sums)
        np.testing.assert_allclose(sums, rows[0] + values @ rows[1:], atol=1e-5)


def test_history_moves_on_by_blocks_shorter_and_longer_than_itself() -> None:
    audio, history = draw(30), np.zeros(5, np.float32)
    heard = np.empty(5 + front.CHUNK_SAMPLES, np.float32)
    for start, stop in ((0, 2), (2, 20), (20, 30)):
        before = history.copy()
        front.hear(history, audio[start:stop], heard)
        np.testing.assert_array_equal(heard[: 5 + stop - start], np.concatenate([before, audio[start:stop]]))
    np.testing.assert_array_equal(history, audio[-5:])


@numba.njit
def combined_8(values: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> None:
    front.combine_8(values, rows, sums)


@numba.njit
def combined_32(values: np.ndarray, rows: np.ndarray, sums: np.ndarray) -> None:
    front.combine_32(values, rows, sums)
