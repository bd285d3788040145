"""The best linear filter, as a baseline that a nonlinear model has to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuralfx.errors import ShapeError

Signal = npt.NDArray[np.floating]
Filter = npt.NDArray[np.float64]

TAPS = 257
RIDGE = 1e-6


class LinearFit:
    r"""Finds the causal FIR filter that predicts an output from an input with the least squared error, piece by piece.

    .. math:: \hat w = \arg\min_w \sum_t \Bigl(y_t - \sum_{k=0}^{K-1} w_k x_{t-k}\Bigr)^2 + \lambda \lVert w \rVert^2

    Args:
        taps: Length K of the filter, in samples.
        ridge: Regulariser :math:`\lambda` relative to the energy of the input.
    """

    def __init__(self, taps: int = TAPS, ridge: float = RIDGE) -> None:
        self.taps = taps
        self.ridge = ridge
        self._products = np.zeros((taps, taps))
        self._cross = np.zeros(taps)

    def add(self, dry: Signal, wet: Signal) -> None:
        """Learn from a piece of a recording.

        Args:
            dry: Input, shape (time + taps - 1,): that of the piece, and as much before it as the filter remembers.
            wet: Output, shape (time,).

        Raises:
            ShapeError: If the signals are not of such shapes.
        """
        if dry.ndim != 1 or wet.ndim != 1 or len(dry) != len(wet) + self.taps - 1:
            raise ShapeError(
                f"expected an output (time,) and an input longer by {self.taps - 1}, got {wet.shape} and {dry.shape}."
            )
        heard = dry.astype(np.float64)
        self._products += _products(heard, self.taps)
        self._cross += _correlate(heard, wet, self.taps)

    def weights(self) -> Filter:
        """The best filter for all pieces so far, shape (taps,)."""
        ridge = (self.ridge * self._products[0, 0] + 1e-12) * np.eye(self.taps)
        return np.asarray(np.linalg.solve(self._products + ridge, self._cross))


def fit_linear_filter(dry: Signal, wet: Signal, taps: int = TAPS, ridge: float = RIDGE) -> Filter:
    """The best filter for one recording with silence before it; see :class:`LinearFit`.

    Args:
        dry: Input, shape (time,).
        wet: Recorded output, same shape.
        taps: Length of the filter, in samples.
        ridge: Regulariser relative to the energy of the input.

    Returns:
        The filter, shape (taps,).

    Raises:
        ShapeError: If the signals are not of one equal shape (time,).

    Example:
        >>> dry = np.random.default_rng(0).standard_normal(1000)
        >>> fit_linear_filter(dry, 0.5 * dry, taps=1).round(3)
        array([0.5])
    """
    if dry.ndim != 1 or dry.shape != wet.shape:
        raise ShapeError(f"fit_linear_filter: expected two signals (time,), got {dry.shape} and {wet.shape}.")
    fit = LinearFit(taps, ridge)
    fit.add(np.pad(dry, (taps - 1, 0)), wet)
    return fit.weights()


def apply_linear_filter(dry: Signal, weights: Signal) -> Filter:
    """Filter ``dry`` of shape (time,) by ``weights`` of shape (taps,); same length as ``dry``."""
    size = 1 << (len(dry) + len(weights)).bit_length()
    product = np.fft.rfft(dry.astype(np.float64), size) * np.fft.rfft(weights, size)
    return np.asarray(np.fft.irfft(product, size)[: len(dry)])


def _products(dry: Filter, taps: int) -> Filter:
    r"""Sums :math:`\sum_t x_{t-i} x_{t-j}`, shape (taps, taps), of ``dry`` after its first taps - 1 samples.

    The first row is a correlation; each other element is the one above and left of it, but for the two products at the
    ends of the sum.
    """
    rows = np.zeros((taps, taps))
    rows[0] = _correlate(dry, dry[taps - 1 :], taps)
    head = dry[taps - 1 :: -1][:taps]  # x at the beginning, and before
    tail = np.concatenate([[0.0], dry[::-1][: taps - 1]])  # x behind the end is never used
    for row in range(1, taps):
        rows[row, row:] = rows[row - 1, row - 1 : -1] + head[row] * head[row:] - tail[row] * tail[row:]
    return rows + np.triu(rows, 1).T


def _correlate(dry: Filter, present: Signal, taps: int) -> Filter:
    """Sums of ``present`` times ``dry`` up to taps - 1 samples before; ``dry`` begins as much earlier."""
    size = 1 << (len(dry) + taps).bit_length()
    late = np.zeros(len(dry))
    late[taps - 1 :] = present
    product = np.fft.rfft(dry, size).conj() * np.fft.rfft(late, size)
    return np.asarray(np.fft.irfft(product, size)[:taps])
