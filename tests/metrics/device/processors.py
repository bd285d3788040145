"""Processors of which everything is known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.floating]
RATE = 48_000


def one_pole(pole: float) -> Callable[[Signal], Signal]:
    """y[n] = (1 - pole) x[n] + pole y[n-1], by its impulse response."""
    taps = (1.0 - pole) * pole ** np.arange(32_768)

    def process(x: Signal) -> Signal:
        size = 1 << (len(x) + len(taps)).bit_length()
        return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(taps, size), size)[: len(x)]

    return process


def delayed(samples: int, processor: Callable[[Signal], Signal] = lambda x: x) -> Callable[[Signal], Signal]:
    return lambda x: np.concatenate([np.zeros(samples), processor(x)[: len(x) - samples]])


def oversampled(function: Callable[[Signal], Signal], factor: int = 8) -> Callable[[Signal], Signal]:
    """A nonlinearity at a multiple of the rate, band-limited by an ideal filter."""

    def process(x: Signal) -> Signal:
        size = len(x)
        fine = np.fft.irfft(np.fft.rfft(x), size * factor) * factor
        return np.fft.irfft(np.fft.rfft(function(fine))[: size // 2 + 1], size) / factor

    return process


def compressor(
    threshold_db: float = -20.0,
    ratio: float = 4.0,
    knee_db: float = 0.0,
    attack_ms: float = 10.0,
    release_ms: float = 150.0,
    makeup_db: float = 0.0,
    sample_rate: int = RATE,
) -> Callable[[Signal], Signal]:
    """Gain in dB smoothed by one pole, one for attack and one for release.

    The detector knows the amplitude of a sine of 1 kHz without ripple, from two samples a quarter of a period apart.
    """
    rise, fall = (np.exp(-1000.0 / (time_ms * sample_rate)) for time_ms in (attack_ms, release_ms))
    quarter = round(sample_rate / 4000)

    def process(x: Signal) -> Signal:
        late = np.concatenate([np.zeros(quarter), x[:-quarter]])
        level = 10.0 * np.log10(np.maximum(x.astype(np.float64) ** 2 + late**2, 1e-12))
        over = level - threshold_db
        soft = np.square(np.maximum(over + knee_db / 2, 0.0)) / max(2.0 * knee_db, 1e-9)
        wanted = (1.0 - 1.0 / ratio) * np.where(2.0 * np.abs(over) < knee_db, soft, np.maximum(over, 0.0))
        reduction, state = [], 0.0
        for value in wanted.tolist():
            state = value + (rise if value > state else fall) * (state - value)
            reduction.append(state)
        return x * 10.0 ** ((makeup_db - np.array(reduction)) / 20.0)

    return process
