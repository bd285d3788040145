r"""Finds by how many samples, and with which polarity, a recording lags behind what was played into the device.

A causal model can delay but not look ahead, so the wanted offset is the onset of the device's impulse response and not
the peak of a cross-correlation, which the group delay of a filter moves. Three steps:

1. A causal FIR filter is fitted at every offset at once. With the autocorrelation :math:`R = LL^T` of the dry signal
   and the cross-correlation :math:`c_o` from lag :math:`o` on, the energy it explains is :math:`\|L^{-1} c_o\|^2`; the
   offset that explains most locates the response coarsely.
2. A longer filter around it, with taps before and after, estimates the impulse response itself. Both fits are least
   squares, which takes the spectrum of the dry signal out, so that distortion and level control leave a clear peak.
3. The offset is where that response sets out; its sign there is the polarity.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from neuralfx.errors import ShapeError

Signal = npt.NDArray[np.floating[Any]]
Array = npt.NDArray[np.float64]

# Chosen on 21 recordings of compressors, overdrives, filters, a saturator and an equaliser, offsets -1472 to 3178.
COARSE_TAPS = 256  # taps of the causal filter that is tried at every offset
REACH = 640  # samples before and after the coarse offset that the impulse response spans
RIDGE = 1e-4  # relative to the energy of the dry signal; ten times more bends steep low-passes, far less fits noise
ONSET = 0.5  # part of the response's peak at which it has certainly begun
FLOOR = 0.2  # part of the response's peak below which it has not begun
RISE_SAMPLES = 32  # within these a response rises to ONSET, or its beginning is uncertain


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How a recorded take lies relative to its input.

    Attributes:
        offset_samples: ``wet[n + offset_samples]`` belongs to ``dry[n]``; positive where the wet file is late.
        polarity: 1, or -1 where the device turns the signal upside down.
        confidence: 0 to 1; how much of the wet signal a linear filter explains and how suddenly its response begins.
    """

    offset_samples: int = 0
    polarity: int = 1
    confidence: float = 0.0


def estimate_alignment(dry: Signal, wet: Signal, sample_rate: int, max_offset: int = 8192) -> Alignment:
    """Estimate the constant offset and the polarity of a recording relative to its input.

    Errs by a few samples towards a late wet signal rather than one that precedes its cause.

    Args:
        dry: What went into the device, shape (time,).
        wet: What came out, shape (time,); the length may differ.
        sample_rate: Rate of both, in Hz; the first 20 s are looked at.
        max_offset: Largest offset that is considered, in samples, in both directions.

    Returns:
        The alignment; offset 0 with confidence 0 if one of the signals is silent.

    Raises:
        ShapeError: If a signal has more than one dimension or fewer than 1024 samples.
    """
    for name, signal in (("dry", dry), ("wet", wet)):
        if signal.ndim != 1 or signal.shape[0] < 1024:
            raise ShapeError(
                f"alignment: expected {name} of shape (time,) and at least 1024 samples, got {signal.shape}."
            )
    longest = 20 * sample_rate
    x = np.diff(dry[:longest].astype(np.float64))  # low frequencies say little about time
    y = np.diff(wet[:longest].astype(np.float64))
    energy = float(y @ y)
    if not np.any(x) or energy == 0.0:
        return Alignment()
    limit = min(max_offset, min(len(x), len(y)) // 2)
    auto, cross = _correlate(x, y, limit + REACH + COARSE_TAPS)

    lags = np.arange(-limit, limit + COARSE_TAPS)
    factor = np.linalg.cholesky(_toeplitz(auto[:COARSE_TAPS]))
    windows = np.lib.stride_tricks.sliding_window_view(cross[lags], COARSE_TAPS)
    explained = np.square(np.linalg.solve(factor, windows.T)).sum(axis=0) / energy
    coarse = int(explained.argmax()) - limit

    lags = np.arange(coarse - REACH, coarse + REACH)
    response = np.linalg.solve(_toeplitz(auto[: len(lags)]), cross[lags])
    inner = slice(REACH // 10, -REACH // 10)  # the ends of the fit ring
    response, lags = response[inner] / np.abs(response[inner]).max(), lags[inner]

    begun = int(np.argmax(np.abs(response) >= ONSET))
    sign = 1 if response[begun] > 0 else -1
    before = np.flatnonzero(sign * response[:begun] < FLOOR)
    risen = int(before[-1]) + 1 if before.size else 0
    onset = int(lags[risen]) - round((begun - risen) * FLOOR / (ONSET - FLOOR))  # a straight line down to zero

    freedom = max(1.0 - COARSE_TAPS / len(y), 0.1)  # so many taps explain some of anything
    fit = 1.0 - min((1.0 - float(explained.max())) / freedom, 1.0)
    early = abs(float(response[max(begun - RISE_SAMPLES, 0)]))
    rise = 1.0 - min(early / abs(float(response[begun])), 1.0)
    confidence = min(max(float(np.sqrt(fit)) * rise, 0.0), 1.0)
    return Alignment(int(np.clip(onset, -limit, limit)), sign, confidence)


def _correlate(x: Array, y: Array, reach: int) -> tuple[Array, Array]:
    """Autocorrelation of ``x`` and cross-correlation of ``x`` with ``y``; index -k holds lag -k."""
    size = 1 << (max(len(x), len(y)) + reach - 1).bit_length()
    dry, wet = np.fft.rfft(x, size), np.fft.rfft(y, size)
    return np.fft.irfft(np.abs(dry) ** 2, size), np.fft.irfft(dry.conj() * wet, size)


def _toeplitz(column: Array) -> Array:
    """Symmetric matrix with ``column`` as its first column, and the ridge on its diagonal."""
    distance = np.abs(np.subtract.outer(np.arange(len(column)), np.arange(len(column))))
    matrix: Array = column[distance] + RIDGE * column[0] * np.eye(len(column))
    return matrix
