"""Ranks, and how likely differences between models are chance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MOST_EXACT = 14  # pairs up to which all 2^n signs are tried
DRAWS = 50_000  # signs that are tried of more pairs


def average_ranks(errors: Array) -> Array:
    """Mean over the columns of each row's rank by its error: 1 is the smallest, equal errors share their mean rank.

    Args:
        errors: Shape (models, effects). Not a number is the largest error of all.

    Returns:
        Shape (models,), from 1 to the number of models.

    Example:
        >>> average_ranks(np.array([[0.1, 0.2], [0.3, 0.2], [0.5, 0.1]]))
        array([1.75, 2.25, 2.  ])

    Reference:
        Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006, section 3.2.2.
    """
    known = np.where(np.isnan(errors), np.inf, errors)
    below = (known[:, None] > known[None, :]).sum(axis=1)
    equal = (known[:, None] == known[None, :]).sum(axis=1)
    return np.asarray((below + (equal + 1) / 2).mean(axis=1))


def permutation_test(first: Sequence[float], second: Sequence[float]) -> float:
    r"""Two-sided p-value of a paired permutation test: do two models differ over the same runs?

    .. math:: T = \sum_i d_i, \qquad d_i = \frac{a_i - b_i}{|a_i| + |b_i|}

    If the models were alike, each :math:`d_i` might as well have the other sign. The p-value is the share of all
    choices of signs whose :math:`|T|` is no less than what was observed; of more than 14 pairs, 50 000 random choices
    stand for all. The relative difference lets effects with large and with small errors count alike. With n pairs no
    p-value is below :math:`2^{1-n}`.

    Args:
        first: Errors of one model, one per run. Not a number is the largest error of all.
        second: Errors of the other in the same runs.

    Returns:
        From 0 (exclusive) to 1; 1 without a pair.

    Example:
        >>> permutation_test([0.1, 0.2, 0.3], [0.2, 0.4, 0.4])
        0.25

    Reference:
        Fisher, "The Design of Experiments", 1935, chapter 3.
    """
    differences = np.array([_relative_difference(a, b) for a, b in zip(first, second)])
    count = len(differences)
    if count <= MOST_EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count))).reshape(2**count, count)
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), size=(DRAWS, count))
        signs[0] = 1.0  # what was observed is one of the choices
    sums = np.abs(signs @ differences)
    return float((sums >= abs(differences.sum()) - 1e-12).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several, after Holm's step-down procedure.

    Args:
        p_values: One per comparison.

    Returns:
        The adjusted ones in the same order; one below 0.05 is significant at that level among all of them.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Reference:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6, 1979.
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for number, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - number) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _relative_difference(a: float, b: float) -> float:
    if a == b or (np.isnan(a) and np.isnan(b)):
        return 0.0
    if np.isnan(a) or np.isnan(b):
        return 1.0 if np.isnan(a) else -1.0
    return float((a - b) / (abs(a) + abs(b)))
