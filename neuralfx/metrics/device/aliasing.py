"""Aliasing: what a sine leaves between its harmonics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from neuralfx.metrics.device.signals import FFT_SIZE, GUARD_BINS, Array, Measurement, Processor, tone_spectra

FREQUENCIES_HZ = (1000.0, 2000.0, 3000.0, 4500.0, 6500.0, 9000.0, 12_500.0)
LEVELS_DB = (-18.0, -6.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Aliasing(Measurement):
    """Non-harmonic energy for sine inputs.

    Attributes:
        frequencies_hz: Frequencies that were played, in Hz, shape (frequencies,).
        levels_db: Levels of the sines in dBFS, shape (levels,).
        ratio_db: Energy off the harmonics relative to the energy of the harmonics, in dB, shape (levels, frequencies).
        floor_db: The same for the sines themselves: what float32 samples leave. Nothing below can be seen.
        audio_s: Audio that was processed, in s.
    """

    frequencies_hz: Array
    levels_db: Array
    ratio_db: Array
    floor_db: Array
    audio_s: float


def measure_aliasing(
    processor: Processor,
    sample_rate: int,
    frequencies_hz: Sequence[float] = FREQUENCIES_HZ,
    levels_db: Sequence[float] = LEVELS_DB,
    settle_s: float = 0.05,
) -> Aliasing:
    r"""Energy between the harmonics of sines, relative to the energy of the harmonics.

    .. math:: A = 10 \log_{10} \frac{\sum_{b \notin H} |Y_b|^2}{\sum_{b \in H} |Y_b|^2}

    H are the bins within 4 of a harmonic below Nyquist, the fundamental among them; the bins within 4 of 0 are left out
    of both sums, so that DC does not count. The sines have a number of periods in the FFT that is odd, hence coprime to
    its size of 8192, so that no harmonic folds onto another (:func:`~neuralfx.metrics.device.signals.tone_bin`). Noise
    and hum count as well, as they are not harmonic either, and so does a gain that has not settled: a
    compressor with an attack of 60 ms leaves -96 dB. Below about
    300 Hz the bins around the harmonics cover most of the spectrum.

    Args:
        processor: Takes and returns samples of shape (time,); each sine begins at its initial state.
        sample_rate: In Hz.
        frequencies_hz: Frequencies; those played are up to 3 % away. Frequencies from half the sample rate on are
            left out.
        levels_db: Levels in dBFS, a sine of amplitude 1 having 0.
        settle_s: Played before the 8192 samples that are analysed, in s.

    Returns:
        The ratios; 3.1 s of audio at 48 kHz with the defaults.

    Raises:
        ConfigError: If a frequency is not positive.
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.

    Example:
        >>> result = measure_aliasing(np.tanh, 48_000, frequencies_hz=[5000.0], levels_db=[12.0])
        >>> result.ratio_db.round().tolist()
        [[-18.0]]
    """
    frequencies_hz = [frequency for frequency in frequencies_hz if frequency < sample_rate / 2]
    found = tone_spectra(processor, sample_rate, frequencies_hz, levels_db, settle_s)
    ideal = tone_spectra(lambda sine: sine, sample_rate, frequencies_hz, levels_db, settle_s=0.0)
    return Aliasing(
        frequencies_hz=found.bins * (sample_rate / FFT_SIZE),
        levels_db=np.array(levels_db, dtype=np.float64),
        ratio_db=_off_harmonics(found.amplitude, found.bins),
        floor_db=_off_harmonics(ideal.amplitude, ideal.bins),
        audio_s=found.audio_s,
    )


def _off_harmonics(amplitude: Array, bins: np.ndarray) -> Array:
    """The ratio in dB, shape (levels, frequencies); not a number for a silent output."""
    place = np.arange(amplitude.shape[-1])
    ratios = []
    for column, periods in enumerate(bins):
        distance = np.abs(place - periods * np.rint(place / periods))
        near, heard = distance <= GUARD_BINS, place > GUARD_BINS
        energy = np.square(amplitude[:, column])
        on, off = energy[:, near & heard].sum(axis=-1), energy[:, ~near & heard].sum(axis=-1)
        ratios.append(10.0 * np.log10(np.maximum(off, 1e-30) / np.where(on > 0.0, on, np.nan)))
    return np.stack(ratios, axis=-1)
