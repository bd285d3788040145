"""Loudness of short sounds, so that they can be compared at the same one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from neuralfx.metrics.loudness import k_weighting

Signal = npt.NDArray[np.floating]

SILENCE_LUFS = -120.0


def loudness_lufs(signal: Signal, sample_rate: int) -> float:
    r"""Loudness of a whole mono signal, without the gates that leave out its quiet parts.

    .. math:: L = -0.691 + 10 \log_{10} \frac{1}{N} \sum_t y_t^2

    where y is the signal behind the K-weighting: a shelf of 4 dB above 1.7 kHz and a high-pass at 38 Hz.

    Args:
        signal: Shape (time,), full scale 1.
        sample_rate: In Hz.

    Returns:
        Loudness in LUFS, at least -120.

    Example:
        >>> time = np.arange(48_000) / 48_000
        >>> round(loudness_lufs(np.sin(2 * np.pi * 997 * time), 48_000), 1)
        -3.0

    Reference:
        Recommendation ITU-R BS.1770-5, annex 1.
    """
    spectrum = np.fft.rfft(np.asarray(signal, dtype=np.float64))
    weighted = spectrum * k_weighting(sample_rate, len(signal)).numpy()
    energy = np.square(np.abs(weighted))
    both_sides = np.full(len(energy), 2.0)
    both_sides[0] = 1.0
    if len(signal) % 2 == 0:
        both_sides[-1] = 1.0
    power = float((both_sides * energy).sum()) / len(signal) ** 2
    return max(-0.691 + 10 * math.log10(max(power, 1e-30)), SILENCE_LUFS)
