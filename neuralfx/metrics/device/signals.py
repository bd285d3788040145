"""Test tones, how a processor is run on them, and results as plain data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuralfx.errors import AudioError, ConfigError, ShapeError

Array = npt.NDArray[np.floating[Any]]
Processor = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]

FFT_SIZE = 8192
GUARD_BINS = 4  # on each side of a line: the window spreads it over 3, slow changes of gain over a little more
LOWEST_BIN = 5
FOLDINGS = 8  # harmonics up to this multiple of the sample rate are told apart when they fold
BLACKMAN_HARRIS = (0.35875, -0.48829, 0.14128, -0.01168)  # Harris, Proc. IEEE 66(1), 1978: side lobes at -92 dB
SILENCE = 1e-10  # amplitudes below count as this, -200 dB


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """Base of the results of this package: frozen, with arrays."""

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and dicts; numbers that JSON does not know, such as infinity, become None."""
        return {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


def plain(value: Any) -> Any:
    """A value of a result as JSON has it."""
    if isinstance(value, Measurement):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def run(processor: Processor, signal: Array) -> Array:
    """Process one test signal from the initial state of the processor.

    Args:
        processor: Takes float32 of shape (time,) and returns as many samples.
        signal: Shape (time,).

    Returns:
        The output, shape (time,).

    Raises:
        ShapeError: If the output has another shape.
        AudioError: If the output is not finite.
    """
    output = np.asarray(processor(signal.astype(np.float32)), dtype=np.float64)
    if output.shape != signal.shape:
        raise ShapeError(
            f"processor: expected an output of the shape of its input, {signal.shape}, got {output.shape}; "
            "measure one channel at a time."
        )
    if not np.isfinite(output).all():
        raise AudioError("processor: the output for a test signal of finite samples holds NaN or infinity.")
    return output


def to_db(amplitude: npt.ArrayLike) -> Array:
    """20 log10 of an amplitude, not below -200 dB."""
    return np.asarray(20.0 * np.log10(np.maximum(amplitude, SILENCE)))


def from_db(level_db: float) -> float:
    """Amplitude of a level in dB."""
    return float(10.0 ** (level_db / 20.0))


def tone_bin(frequency_hz: float, sample_rate: int) -> int:
    r"""Bin near a frequency whose folded harmonics stay clear of its harmonics.

    The sine has :math:`k` whole periods in the :math:`N` samples of the FFT. Harmonics beyond Nyquist fold to bins that
    lie :math:`jN \bmod k` away from the nearest harmonic, j being how often they go around the sample rate. With k
    coprime to N none of these is 0; of the candidates within 3 % one is taken that keeps all of them away from 0.

    Args:
        frequency_hz: Wanted frequency, above 0 and below half the sample rate.
        sample_rate: In Hz.

    Returns:
        The number of periods k, odd, at least 5.

    Raises:
        ConfigError: If the frequency is out of range.

    Example:
        >>> k = tone_bin(1000.0, 48_000)
        >>> k, round(k * 48_000 / FFT_SIZE)  # the frequency in Hz
        (171, 1002)
    """
    if not 0.0 < frequency_hz < sample_rate / 2:
        raise ConfigError(
            f"test tone: expected a frequency above 0 and below {sample_rate / 2:g} Hz, half the sample rate, "
            f"got {frequency_hz:g} Hz."
        )
    wanted = frequency_hz * FFT_SIZE / sample_rate
    reach = max(1.0, 0.03 * wanted)
    highest = FFT_SIZE // 2 - LOWEST_BIN
    first, last = max(LOWEST_BIN, math.ceil(wanted - reach)), min(highest, math.floor(wanted + reach))
    candidates = [k for k in range(first, last + 1) if k % 2] or [min(max(first | 1, LOWEST_BIN), highest)]
    return max(candidates, key=lambda k: (min(_separation(k), 2 * GUARD_BINS), -abs(k - wanted)))


def _separation(k: int) -> int:
    """Bins between the harmonics of k and what folds next to them."""
    return min(min(j * FFT_SIZE % k, -j * FFT_SIZE % k) for j in range(1, FOLDINGS + 1))


@dataclasses.dataclass(frozen=True, eq=False)
class ToneSpectra:
    """Spectra of a processor's output for sines.

    Attributes:
        bins: Periods of each sine in the FFT, shape (frequencies,).
        amplitude: Amplitude of the sine that each bin stands for, shape (levels, frequencies, FFT_SIZE / 2 + 1).
        audio_s: Audio that was processed, in s.
    """

    bins: npt.NDArray[np.int64]
    amplitude: Array
    audio_s: float


def tone_spectra(
    processor: Processor,
    sample_rate: int,
    frequencies_hz: Sequence[float],
    levels_db: Sequence[float],
    settle_s: float,
) -> ToneSpectra:
    """Play sines one by one, each from the initial state, and analyse the end of each output.

    The four-term Blackman-Harris window keeps a gain that still settles, as that of a compressor, near its lines.

    Args:
        processor: What is measured.
        sample_rate: In Hz.
        frequencies_hz: Wanted frequencies; :func:`tone_bin` says which are played.
        levels_db: Levels in dBFS, a sine of amplitude 1 having 0.
        settle_s: Played before what is analysed, in s.
    """
    bins = np.array([tone_bin(frequency, sample_rate) for frequency in frequencies_hz])
    turn = 2.0 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE
    window = sum(weight * np.cos(order * turn) for order, weight in enumerate(BLACKMAN_HARRIS))
    time = np.arange(round(settle_s * sample_rate) + FFT_SIZE) / FFT_SIZE
    amplitude = np.empty((len(levels_db), len(bins), FFT_SIZE // 2 + 1))
    for row, level_db in enumerate(levels_db):
        for column, periods in enumerate(bins):
            output = run(processor, from_db(level_db) * np.sin(2.0 * np.pi * periods * time))
            amplitude[row, column] = 2.0 * np.abs(np.fft.rfft(output[-FFT_SIZE:] * window)) / np.sum(window)
    return ToneSpectra(bins, amplitude, amplitude.shape[0] * amplitude.shape[1] * len(time) / sample_rate)
