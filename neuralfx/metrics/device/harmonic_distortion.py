"""Harmonic distortion over level and frequency."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from neuralfx.metrics.device.signals import FFT_SIZE, Array, Measurement, Processor, to_db, tone_spectra

FREQUENCIES_HZ = (100.0, 300.0, 1000.0, 3000.0)
LEVELS_DB = (-36.0, -24.0, -12.0, -6.0, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class HarmonicDistortion(Measurement):
    """Harmonics of sines.

    Attributes:
        frequencies_hz: Frequencies that were played, in Hz, shape (frequencies,).
        levels_db: Levels of the sines in dBFS, shape (levels,).
        thd: Total harmonic distortion as a ratio of amplitudes, 0.01 being 1 %, shape (levels, frequencies); not a
            number where the output is silent or the second harmonic is beyond Nyquist.
        harmonics_db: Levels of the harmonics in dBFS, the fundamental first, shape (levels, frequencies, harmonics);
            not a number beyond Nyquist.
        audio_s: Audio that was processed, in s.
    """

    frequencies_hz: Array
    levels_db: Array
    thd: Array
    harmonics_db: Array
    audio_s: float


def measure_harmonic_distortion(
    processor: Processor,
    sample_rate: int,
    frequencies_hz: Sequence[float] = FREQUENCIES_HZ,
    levels_db: Sequence[float] = LEVELS_DB,
    harmonics: int = 10,
    settle_s: float = 0.05,
) -> HarmonicDistortion:
    r"""Total harmonic distortion and single harmonics of sines, at every level and frequency.

    .. math:: \mathrm{THD} = \frac{\sqrt{\sum_{h=2}^{H} A_h^2}}{A_1}

    with the amplitudes :math:`A_h` of the harmonics below Nyquist. What folds back does not count, because the
    frequencies are those of :func:`~neuralfx.metrics.device.signals.tone_bin`.

    Args:
        processor: Takes and returns samples of shape (time,); each sine begins at its initial state.
        sample_rate: In Hz.
        frequencies_hz: Frequencies; those played are up to 3 %, or one bin of the 8192, away. At least 5 periods are in
            8192 samples, 29 Hz at 48 kHz.
        levels_db: Levels in dBFS, a sine of amplitude 1 having 0.
        harmonics: Highest harmonic H, at least 2.
        settle_s: Played before the 8192 samples that are analysed, in s.

    Returns:
        The distortion; 4.4 s of audio at 48 kHz with the defaults.

    Raises:
        ConfigError: If a frequency is not between 0 and half the sample rate.
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.

    Example:
        >>> square = measure_harmonic_distortion(lambda x: x + 0.1 * x**2, 48_000, [1000.0], [0.0])
        >>> square.thd.round(4).tolist()
        [[0.05]]

    Reference:
        IEC 60268-3, "Sound system equipment - Part 3: Amplifiers"; relative to the fundamental, not to the whole.
    """
    found = tone_spectra(processor, sample_rate, frequencies_hz, levels_db, settle_s)
    amplitude = np.full((*found.amplitude.shape[:2], harmonics), np.nan)
    for column, periods in enumerate(found.bins):
        lines = np.arange(1, harmonics + 1) * periods
        lines = lines[lines < FFT_SIZE // 2]
        amplitude[:, column, : len(lines)] = found.amplitude[:, column, lines]
    fundamental, overtones = amplitude[..., 0], amplitude[..., 1:]
    known = (fundamental > 0.0) & np.isfinite(overtones[..., 0])
    distortion = np.sqrt(np.nansum(np.square(overtones), axis=-1))
    return HarmonicDistortion(
        frequencies_hz=found.bins * (sample_rate / FFT_SIZE),
        levels_db=np.array(levels_db, dtype=np.float64),
        thd=distortion / np.where(known, fundamental, np.nan),
        harmonics_db=to_db(amplitude),
        audio_s=found.audio_s,
    )
