r"""Frequency response at several levels, by exponential sine sweeps.

A sweep plays one frequency at a time, so that the response at a level is what a sine of that level would meet, which a
multi-sine or noise of many frequencies at once does not give for a nonlinear device. Deconvolution moves what the
device adds at the m-th harmonic ahead of the linear impulse response by :math:`L \ln m`, so that a window takes it out.

Reference:
    Farina, "Simultaneous Measurement of Impulse Response and Distortion with a Swept-Sine Technique", AES 108th
    Convention, 2000, paper 5093.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from neuralfx.errors import ConfigError
from neuralfx.metrics.device.signals import SILENCE, Array, Measurement, Processor, from_db, run, to_db

LEVELS_DB = (-40.0, -20.0, -6.0)
LOWEST_HZ, HIGHEST_HZ = 20.0, 20_000.0  # of the result
START_HZ = 5.0  # two octaves below, where the sweep fades in
TAIL_S = 0.25  # longest part of the linear impulse response
# From each frequency in Hz on, this part of the window: high frequencies decay sooner, and what is left out is folded
# harmonics and noise.
WINDOW_PARTS = ((0.0, 1.0), (200.0, 0.4), (2000.0, 0.1))
POINTS = 240
SMOOTHED = 1 / 6  # octaves that a group delay is a mean over
RIDGE = 1e-6  # relative to the least energy of the sweep from LOWEST_HZ on


@dataclasses.dataclass(frozen=True, eq=False)
class FrequencyResponse(Measurement):
    """Linear part of the response at several levels.

    Attributes:
        frequencies_hz: About 240 frequencies from 20 Hz to 20 kHz, or 0.45 of the sample rate where that is less,
            spaced about logarithmically, shape (frequencies,).
        levels_db: Levels of the sweeps in dBFS, shape (levels,).
        magnitude_db: Output relative to input in dB, shape (levels, frequencies).
        phase_deg: Phase from -180 to 180 degrees, delays included, same shape.
        group_delay_ms: Group delay in ms, mean over a sixth of an octave weighted by energy, same shape.
        audio_s: Audio that was processed, in s.
    """

    frequencies_hz: Array
    levels_db: Array
    magnitude_db: Array
    phase_deg: Array
    group_delay_ms: Array
    audio_s: float


def measure_frequency_response(
    processor: Processor, sample_rate: int, levels_db: Sequence[float] = LEVELS_DB, duration_s: float = 1.0
) -> FrequencyResponse:
    r"""Magnitude, phase and group delay of the linear part, at several levels.

    .. math:: x(t) = a \sin\left(2 \pi f_1 L (e^{t/L} - 1)\right), \quad L = \frac{T}{\ln(f_2 / f_1)}

    .. math:: h = \mathcal F^{-1}\left\{\frac{Y \bar X}{|X|^2 + \epsilon}\right\}, \quad
        \tau(\omega) = \operatorname{Re} \frac{\mathcal F\{t\,h(t)\}}{\mathcal F\{h(t)\}}

    from :math:`f_1` = 5 Hz to half the sample rate. The output for silence is subtracted first. The impulse
    response h is windowed from after the second harmonic's to 0.25 s after its peak, above 200 Hz to 0.1 s and above
    2 kHz to 25 ms, which keeps most folded harmonics out; around a third of the sample rate and its other whole parts
    they remain. A compressor is measured while it works: its gain follows the sweep.

    Args:
        processor: Takes and returns samples of shape (time,); each sweep begins at its initial state.
        sample_rate: In Hz, at least 1000.
        levels_db: Levels of the sweeps in dBFS, a sine of amplitude 1 having 0.
        duration_s: Length T of a sweep, in s, at least 0.5; a longer one separates low frequencies better.

    Returns:
        The response; 5 s of audio with the defaults.

    Raises:
        ConfigError: If the sample rate or the duration is too small.
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.

    Example:
        >>> result = measure_frequency_response(lambda x: 0.5 * x, 48_000, levels_db=[-6.0])
        >>> float(result.magnitude_db[0, 100].round(2)), float(abs(result.group_delay_ms[0, 100]).round(3))
        (-6.02, 0.0)
    """
    if sample_rate < 1000 or duration_s < 0.5:
        raise ConfigError(
            "frequency response: expected a sample rate of at least 1000 Hz and sweeps of at least 0.5 s, "
            f"got {sample_rate} Hz and {duration_s:g} s."
        )
    sweep, rate_s = _sweep(sample_rate, duration_s)
    size = 1 << (2 * len(sweep) - 1).bit_length()
    spectrum = np.fft.rfft(sweep, size)
    bins = _bins(sample_rate, size)
    energy = np.square(np.abs(spectrum))
    inverse = spectrum.conj() / (energy + RIDGE * energy[bins].min())
    idle = run(processor, np.zeros(len(sweep)))
    rows = []
    for level_db in levels_db:
        output = (run(processor, from_db(level_db) * sweep) - idle) / from_db(level_db)
        impulse = np.fft.irfft(np.fft.rfft(output, size) * inverse, size)
        rows.append(_response(impulse, sample_rate, 0.75 * rate_s * math.log(2.0), bins))
    response, delay_s = (np.stack(parts) for parts in zip(*rows))
    return FrequencyResponse(
        frequencies_hz=bins * (sample_rate / size),
        levels_db=np.array(levels_db, dtype=np.float64),
        magnitude_db=to_db(np.abs(response)),
        phase_deg=np.angle(response, deg=True),
        group_delay_ms=1000.0 * delay_s,
        audio_s=(len(levels_db) + 1) * len(sweep) / sample_rate,
    )


def _sweep(sample_rate: int, duration_s: float) -> tuple[Array, float]:
    """Sweep of amplitude 1 with its fades and the silence after it, and the time L in which it rises by a factor e."""
    rate_s = duration_s / math.log(sample_rate / 2 / START_HZ)
    time = np.arange(round(duration_s * sample_rate)) / sample_rate
    sweep = np.sin(2.0 * np.pi * START_HZ * rate_s * np.expm1(time / rate_s))
    fade_in = np.minimum(time / (rate_s * math.log(2.0)), 1.0)  # over the first octave
    fade_out = np.minimum((time[-1] - time) / 0.002, 1.0)
    sweep *= np.square(np.sin(0.5 * np.pi * fade_in) * np.sin(0.5 * np.pi * fade_out))
    return np.concatenate([sweep, np.zeros(round(TAIL_S * sample_rate))]), rate_s


def _bins(sample_rate: int, size: int) -> np.ndarray:
    """Bins of the FFT nearest to logarithmically spaced frequencies."""
    frequencies = np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, 0.45 * sample_rate), POINTS)
    return np.unique(np.rint(frequencies * size / sample_rate).astype(np.int64))


def _response(impulse: Array, sample_rate: int, lead_s: float, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum of the windowed impulse response, and its group delay in s; negative times are at the end of it."""
    size = len(impulse)
    time = np.arange(size) / sample_rate
    time[size // 2 :] -= size / sample_rate
    main = (time > -lead_s) & (time < TAIL_S)
    arrival = max(0.0, time[np.argmax(np.abs(impulse) * main)])
    lower, upper = (np.rint(bins * 2.0 ** (octaves / 2)).astype(np.int64) for octaves in (-SMOOTHED, SMOOTHED))
    response, delay_s = np.empty(len(bins), dtype=np.complex128), np.empty(len(bins))
    for lowest_hz, part in WINDOW_PARTS:
        before = np.clip(1.0 + (time - arrival) / (part * lead_s), 0.0, 1.0)
        after = np.clip(2.0 * (1.0 - (time - arrival) / (part * TAIL_S)), 0.0, 1.0)
        windowed = impulse * np.square(np.sin(0.5 * np.pi * before) * np.sin(0.5 * np.pi * after))
        chosen = bins >= lowest_hz * size / sample_rate
        spectrum, slope = np.fft.rfft(windowed), np.fft.rfft(windowed * time)
        response[chosen] = spectrum[bins[chosen]]
        moment, energy = (
            _band_sums(power, lower[chosen], upper[chosen])
            for power in (np.real(slope * spectrum.conj()), np.square(np.abs(spectrum)))
        )
        delay_s[chosen] = moment / np.where(energy > SILENCE**2, energy, np.nan)
    return response, delay_s


def _band_sums(power: Array, lower: np.ndarray, upper: np.ndarray) -> Array:
    """Sum of each band, its ends included."""
    total = np.concatenate([[0.0], np.cumsum(power)])
    return np.asarray(total[np.minimum(upper + 1, len(power))] - total[lower])
