from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuralfx.study.statistics import average_ranks, holm, permutation_test


def test_ranks_count_from_the_smallest_error_and_ties_share() -> None:
    errors = np.array([[1.0, 3.0], [2.0, 3.0], [3.0, 1.0]])
    assert average_ranks(errors).tolist() == [(1 + 2.5) / 2, (2 + 2.5) / 2, (3 + 1) / 2]


def test_ranks_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    errors = np.random.default_rng(0).integers(0, 5, (6, 4)).astype(float)
    np.testing.assert_allclose(average_ranks(errors), stats.rankdata(errors, axis=0).mean(axis=1))


def test_a_model_that_diverged_is_the_last() -> None:
    assert average_ranks(np.array([[np.nan], [1e9], [np.nan]])).tolist() == [2.5, 1.0, 2.5]


def test_equal_models_do_not_differ() -> None:
    assert permutation_test([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert permutation_test([], []) == 1.0


def test_a_model_that_always_wins_has_the_least_possible_p_value() -> None:
    for pairs in (1, 3, 6):
        errors = np.arange(1.0, pairs + 1)
        assert permutation_test(errors, 2 * errors) == pytest.approx(2.0 ** (1 - pairs))
        assert permutation_test(2 * errors, errors) == pytest.approx(2.0 ** (1 - pairs))


def test_the_p_value_counts_the_signs_that_are_as_extreme() -> None:
    first, second = [0.1, 0.4, 0.3, 0.2], [0.2, 0.3, 0.5, 0.9]
    differences = [(a - b) / (a + b) for a, b in zip(first, second)]
    sums = [abs(sum(np.multiply(signs, differences))) for signs in itertools.product((1, -1), repeat=4)]
    expected = np.mean([value >= abs(sum(differences)) - 1e-12 for value in sums])
    assert permutation_test(first, second) == pytest.approx(expected)


def test_the_p_value_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(1)
    first, second = generator.uniform(0.1, 1.0, 9), generator.uniform(0.1, 1.0, 9)
    differences = (first - second) / (first + second)
    found = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert permutation_test(first, second) == pytest.approx(found.pvalue)


def test_many_pairs_are_sampled_close_to_all_signs() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(2)
    first = generator.uniform(0.1, 1.0, 16)
    second = first * generator.uniform(0.7, 1.6, 16)
    differences = (first - second) / (first + second)
    exact = stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert permutation_test(first, second) == pytest.approx(exact, abs=0.01)


def test_chance_is_significant_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    p_values = [permutation_test(*generator.lognormal(size=(2, 8))) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p_values) <= 0.05) < 0.08


def test_a_run_that_diverged_counts_as_lost() -> None:
    assert permutation_test([1.0, 1.0, 1.0], [np.nan, np.nan, np.nan]) == 0.25
    assert permutation_test([np.nan], [np.nan]) == 1.0


def test_several_comparisons_are_adjusted_as_holm_says() -> None:
    assert holm([0.04, 0.001, 0.6]) == pytest.approx([0.08, 0.003, 0.6])
    assert holm([]) == []
