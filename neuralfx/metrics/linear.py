"""The best linear filter, as a baseline that a nonlinear model has to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuralfx.errors import ShapeError

Signal = npt.NDArray[np.floating]


def fit_linear_filter(dry: Signal, wet: Signal, taps: int = 257, ridge: float = 1e-6) -> Signal:
    r"""Causal FIR filter that predicts ``wet`` from ``dry`` with the least squared error.

    .. math:: \hat w = \arg\min_w \sum_t \Bigl(y_t - \sum_{k=0}^{K-1} w_k x_{t-k}\Bigr)^2 + \lambda \lVert w \rVert^2

    Args:
        dry: Input, shape (time,).
        wet: Recorded output, same shape.
        taps: Length K of the filter, in samples.
        ridge: Regulariser :math:`\lambda` relative to the energy of the input.

    Returns:
        The filter, shape (taps,), float64.

    Raises:
        ShapeError: If the signals are not of one equal shape (time,).

    Example:
        >>> dry = np.random.default_rng(0).standard_normal(1000)
        >>> fit_linear_filter(dry, 0.5 * dry, taps=1).round(3)
        array([0.5])
    """
    if dry.ndim != 1 or dry.shape != wet.shape:
        raise ShapeError(f"fit_linear_filter: expected two signals (time,), got {dry.shape} and {wet.shape}.")
    size = 1 << (len(dry) + taps).bit_length()
    spectrum = np.fft.rfft(dry.astype(np.float64), size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, size)[:taps]
    cross = np.fft.irfft(np.conj(spectrum) * np.fft.rfft(wet.astype(np.float64), size), size)[:taps]
    lag = np.abs(np.subtract.outer(np.arange(taps), np.arange(taps)))
    normal = correlation[lag] + (ridge * correlation[0] + 1e-12) * np.eye(taps)
    return np.asarray(np.linalg.solve(normal, cross))


def apply_linear_filter(dry: Signal, weights: Signal) -> Signal:
    """Filter ``dry`` of shape (time,) by ``weights`` of shape (taps,); same length as ``dry``."""
    size = 1 << (len(dry) + len(weights)).bit_length()
    product = np.fft.rfft(dry.astype(np.float64), size) * np.fft.rfft(weights, size)
    return np.asarray(np.fft.irfft(product, size)[: len(dry)])
