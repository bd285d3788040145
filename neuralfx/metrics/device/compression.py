r"""Compressors: static curve with threshold, ratio and knee; attack and release after steps of level.

Levels are those of the fundamental, :math:`|2 \langle y_t e^{-i \omega t} \rangle|`, so that DC, noise and distortion
do not count. 0 dBFS is a sine of amplitude 1.

Reference:
    Giannoulis, Massberg and Reiss, "Digital Dynamic Range Compressor Design - A Tutorial and Analysis", JAES 60(6),
    2012: eq. (4) for the curve with its knee, and time constants as the time to 63 % of a change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from neuralfx.errors import ConfigError
from neuralfx.metrics.device.signals import SILENCE, Array, Measurement, Processor, from_db, run, to_db

FREQUENCIES_HZ = (1000.0,)
LEVELS_DB = (-50.0, -45.0, -40.0, -35.0, -30.0, -25.0, -20.0, -15.0, -10.0, -5.0, 0.0)
LOW_DB, HIGH_DB = -30.0, -3.0
LONGEST_DELAY_S = 0.02  # of a processor, where steps of level are looked for
SETTLED_S = 0.02  # averaged before the next step
SMALLEST_CHANGE_DB = 1.0  # of the gain, from which it has an attack and a release
SMALLEST_REDUCTION_DB = 1.0  # from which a curve has a threshold
LARGEST_DEVIATION_DB = 0.5  # of a curve from its fit, root mean square


@dataclasses.dataclass(frozen=True, eq=False)
class Knee(Measurement):
    """Threshold, ratio and knee that describe a static curve.

    Attributes:
        threshold_db: Input level in the middle of the knee, in dBFS.
        ratio: Input change per output change above the knee, at least 1; infinity for a limiter.
        knee_db: Width of the knee, in dB.
        makeup_db: Gain below the knee, in dB.
        deviation_db: Root mean square of what the description leaves, in dB.
    """

    threshold_db: float
    ratio: float
    knee_db: float
    makeup_db: float
    deviation_db: float


@dataclasses.dataclass(frozen=True, eq=False)
class GainCurve(Measurement):
    """Static curve of output level over input level.

    Attributes:
        frequencies_hz: Frequencies that were played, in Hz, shape (frequencies,).
        levels_db: Input levels in dBFS, rising, shape (levels,).
        output_db: Output levels in dBFS, shape (frequencies, levels).
        drift_db: Change of the output level from the fourth to the last fifth of each step, in dB, same shape. Where
            it is not small, the device had not settled.
        knees: What :func:`fit_knee` finds for each frequency; None where it finds nothing.
        audio_s: Audio that was processed, in s.
    """

    frequencies_hz: Array
    levels_db: Array
    output_db: Array
    drift_db: Array
    knees: tuple[Knee | None, ...]
    audio_s: float

    @property
    def gain_db(self) -> Array:
        """Output level less input level in dB, shape (frequencies, levels)."""
        return self.output_db - self.levels_db


@dataclasses.dataclass(frozen=True, eq=False)
class AttackRelease(Measurement):
    """Gain after a step up and a step down.

    Attributes:
        frequency_hz: Of the sine, in Hz.
        low_db: Level before the step up and after the step down, in dBFS.
        high_db: Level between them, in dBFS.
        delay_samples: Delay of the steps in the output, taken out of all times.
        attack_time_ms: Times from the step up on, in ms, shape (attack samples,).
        attack_gain_db: Output level less input level at these times, in dB, same shape.
        release_time_ms: Times from the step down on, in ms, shape (release samples,).
        release_gain_db: Output level less input level at these times, in dB, same shape.
        attack_ms: From the step to 63 % (1 - 1/e) of the change of gain in dB; the time constant of a single pole.
        attack_10_90_ms: From 10 to 90 % of that change; 2.2 time constants of a single pole.
        release_ms: As ``attack_ms``, after the step down.
        release_10_90_ms: As ``attack_10_90_ms``, after the step down.
        attack_drift_db: Change of gain in the last tenth of the high level, in dB. Where it is not small, the gain had
            not settled, and a longer step gives longer times.
        release_drift_db: The same at the end.
        audio_s: Audio that was processed, in s.

    A time ends where the gain stays beyond that part of the change, so that a transient at the step does not end it; it
    is not a number where the gain changes by less than 1 dB. Gains are not numbers where the output is silent.
    """

    frequency_hz: float
    low_db: float
    high_db: float
    delay_samples: int
    attack_time_ms: Array
    attack_gain_db: Array
    release_time_ms: Array
    release_gain_db: Array
    attack_ms: float
    attack_10_90_ms: float
    release_ms: float
    release_10_90_ms: float
    attack_drift_db: float
    release_drift_db: float
    audio_s: float


def measure_gain_curve(
    processor: Processor,
    sample_rate: int,
    frequencies_hz: Sequence[float] = FREQUENCIES_HZ,
    levels_db: Sequence[float] = LEVELS_DB,
    hold_s: float = 0.25,
) -> GainCurve:
    """Static curve: a sine that rises from level to level, the last fifth of each measured.

    Levels only rise, so that a device has to settle by its attack and never by its release, which is slower.

    Args:
        processor: Takes and returns samples of shape (time,); each frequency begins at its initial state.
        sample_rate: In Hz.
        frequencies_hz: From 25 periods per ``hold_s`` to below half the sample rate; those played have whole periods in
            a fifth of it, the next multiple of 20 Hz with the default.
        levels_db: Levels in dBFS, rising.
        hold_s: How long each level is held, in s.

    Returns:
        The curve; 2.75 s of audio per frequency with the defaults.

    Raises:
        ConfigError: If a frequency is out of range or the levels do not rise.
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.

    Example:
        >>> curve = measure_gain_curve(lambda x: 0.5 * x, 48_000, levels_db=[-20.0, -10.0])
        >>> curve.output_db.round(2).tolist()
        [[-26.02, -16.02]]
    """
    if not len(levels_db) or np.any(np.diff(levels_db) <= 0.0):
        raise ConfigError(f"gain curve: expected rising levels in dBFS, got {list(levels_db)}.")
    levels = np.array(levels_db, dtype=np.float64)
    fifth = round(hold_s * sample_rate / 5)
    time = np.arange(5 * fifth * len(levels)) / sample_rate
    amplitude = np.repeat(10.0 ** (levels / 20.0), 5 * fifth)
    window = np.hanning(fifth + 1)[:-1]
    played_hz, output_db, drift_db = [], [], []
    for frequency in frequencies_hz:
        if not 25.0 / hold_s <= frequency < sample_rate / 2:
            raise ConfigError(
                f"gain curve: expected frequencies from {25.0 / hold_s:g} Hz, 25 periods per step, to "
                f"{sample_rate / 2:g} Hz, got {frequency:g} Hz."
            )
        played_hz.append(round(frequency * fifth / sample_rate) * sample_rate / fifth)
        phase = 2.0 * np.pi * played_hz[-1] * time
        turned = run(processor, amplitude * np.sin(phase)) * np.exp(-1j * phase)
        fifths = turned.reshape(len(levels), 5, fifth) @ window
        found = to_db(2.0 * np.abs(fifths) / window.sum())
        output_db.append(found[:, 4])
        drift_db.append(found[:, 4] - found[:, 3])
    return GainCurve(
        frequencies_hz=np.array(played_hz),
        levels_db=levels,
        output_db=np.stack(output_db),
        drift_db=np.stack(drift_db),
        knees=tuple(fit_knee(levels, row) for row in output_db),
        audio_s=len(frequencies_hz) * len(time) / sample_rate,
    )


def fit_knee(levels_db: Array, output_db: Array) -> Knee | None:
    r"""Threshold, ratio, knee and make-up gain with the least squared deviation from a static curve.

    .. math:: y - x = G - \left(1 - \tfrac1R\right) \begin{cases} 0 & 2(x - T) < -W \\
        (x - T + W/2)^2 / (2W) & 2|x - T| \le W \\ x - T & 2(x - T) > W \end{cases}

    Two levels at least have to lie below the knee and two above it. T and W are searched for on a grid that becomes
    finer twice, to 0.04 dB; R and G follow from a linear fit.

    Args:
        levels_db: Input levels in dBFS, rising, shape (levels,).
        output_db: Output levels in dBFS, same shape.

    Returns:
        The description; None where the gain falls by less than 1 dB over the range, where fewer than 6 levels were
        measured, or where the curve is of another kind and deviates by more than 0.5 dB.

    Example:
        >>> levels = np.arange(-50.0, 1.0, 5.0)
        >>> knee = fit_knee(levels, np.where(levels > -20.0, -20.0 + (levels + 20.0) / 4.0, levels))
        >>> round(knee.threshold_db, 1), round(knee.ratio, 1), round(knee.knee_db, 1)
        (-20.0, 4.0, 0.0)
    """
    gain = output_db - levels_db
    if len(levels_db) < 6 or gain[:2].mean() - gain[-1] < SMALLEST_REDUCTION_DB:
        return None
    lowest, highest = levels_db[1], levels_db[-2]
    thresholds, widths = np.arange(lowest, highest + 0.5), np.arange(0.0, highest - lowest + 0.5)
    best = _best_knee(levels_db, gain, thresholds, widths)
    for step in (0.2, 0.04):
        around = step * np.arange(-5, 6)
        best = _best_knee(levels_db, gain, best[0] + around, np.maximum(best[1] + around, 0.0))
    threshold, width, slope, makeup, deviation = best
    if slope <= 0.0 or deviation > LARGEST_DEVIATION_DB:
        return None
    ratio = 1.0 / (1.0 - slope) if slope < 0.999 else float("inf")
    return Knee(threshold, ratio, width, makeup, deviation)


def _best_knee(levels: Array, gain: Array, thresholds: Array, widths: Array) -> tuple[float, ...]:
    """Best threshold and width of a grid, with slope, make-up gain and deviation."""
    threshold, width = (axis.ravel() for axis in np.meshgrid(thresholds, widths, indexing="ij"))
    fits = (threshold - width / 2 >= levels[1] - 1e-9) & (threshold + width / 2 <= levels[-2] + 1e-9)
    threshold, width = threshold[fits], width[fits]
    over = levels - threshold[:, None]
    soft = np.square(over + width[:, None] / 2) / np.maximum(2.0 * width[:, None], 1e-9)
    shape = np.where(2.0 * np.abs(over) <= width[:, None], soft, np.maximum(over, 0.0))  # eq. (4)
    centred = shape - shape.mean(axis=1, keepdims=True)
    slope = -(centred @ gain) / np.square(centred).sum(axis=1)
    makeup = gain.mean() + slope * shape.mean(axis=1)
    error = np.sqrt(np.square(gain - makeup[:, None] + slope[:, None] * shape).mean(axis=1))
    index = int(error.argmin())
    return tuple(float(found[index]) for found in (threshold, width, slope, makeup, error))


def measure_attack_release(
    processor: Processor,
    sample_rate: int,
    low_db: float = LOW_DB,
    high_db: float = HIGH_DB,
    frequency_hz: float = 1000.0,
    attack_s: float = 0.6,
    release_s: float = 1.2,
) -> AttackRelease:
    """Gain after a step of a sine from a low to a high level and back.

    The level is an average over one period around each moment, which keeps harmonics out; times below one period, 1 ms
    at 1 kHz, are not resolved. Before the first step the low level is held for 0.3 s.

    Args:
        processor: Takes and returns samples of shape (time,), not more than 20 ms late.
        sample_rate: In Hz.
        low_db: In dBFS, below the threshold of the device.
        high_db: In dBFS, above it.
        frequency_hz: The sine played has the nearest period of whole samples.
        attack_s: How long the high level is held, in s.
        release_s: How long the low level is held after it, in s.

    Returns:
        Times and traces; 2.1 s of audio with the defaults. How each time is defined stands at its name.

    Raises:
        ConfigError: If the high level is not above the low one, or the frequency not between 50 Hz and a quarter of the
            sample rate.
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.

    Example:
        >>> result = measure_attack_release(lambda x: 0.5 * x, 48_000)
        >>> float(result.attack_gain_db.max().round(2)), result.attack_ms
        (-6.02, nan)
    """
    if not high_db > low_db or not 50.0 <= frequency_hz <= sample_rate / 4:
        raise ConfigError(
            f"attack and release: expected high_db above low_db and a frequency from 50 to {sample_rate / 4:g} Hz, "
            f"got {high_db:g} and {low_db:g} dB, {frequency_hz:g} Hz."
        )
    period = round(sample_rate / frequency_hz)
    up, down, end = np.cumsum([round(length * sample_rate) for length in (0.3, attack_s, release_s)])
    phase = 2.0 * np.pi * np.arange(end) / period
    amplitude = np.full(end, from_db(low_db))
    amplitude[up:down] = from_db(high_db)
    dry = amplitude * np.sin(phase)
    wet = run(processor, dry)
    before, after = (_envelope(signal, phase, period) for signal in (dry, wet))
    delay = _delay(before, after, up, round(LONGEST_DELAY_S * sample_rate))
    after = np.where(after > SILENCE, after, np.nan)[delay:]
    gain = to_db(after) - to_db(before[: end - delay])
    # Averages next to a step or to the end hold something of what follows.
    parts = [gain[begin : stop - 2 * period] for begin, stop in ((0, up), (up, down), (down, len(gain)))]
    attack_part, release_part = parts[1:]
    settled = round(SETTLED_S * sample_rate)
    levels = [float(part[-settled:].mean()) for part in parts]
    earlier = [float(part[: -(len(part) // 10)][-settled:].mean()) for part in parts]
    attack, attack_rise = _times(attack_part, levels[0], levels[1], sample_rate)
    release, release_rise = _times(release_part, levels[1], levels[2], sample_rate)
    step = period // 2
    times = [1000.0 * np.arange(0, len(part), step) / sample_rate for part in (attack_part, release_part)]
    return AttackRelease(
        frequency_hz=sample_rate / period,
        low_db=low_db,
        high_db=high_db,
        delay_samples=delay,
        attack_time_ms=times[0],
        attack_gain_db=attack_part[::step],
        release_time_ms=times[1],
        release_gain_db=release_part[::step],
        attack_ms=attack,
        attack_10_90_ms=attack_rise,
        release_ms=release,
        release_10_90_ms=release_rise,
        attack_drift_db=levels[1] - earlier[1],
        release_drift_db=levels[2] - earlier[2],
        audio_s=float(end / sample_rate),
    )


def _envelope(signal: Array, phase: Array, period: int) -> Array:
    """Amplitude of the fundamental, averaged over one period around each sample."""
    total = np.concatenate([[0.0], np.cumsum(signal * np.exp(-1j * phase))])
    first = np.arange(len(signal)) - period // 2
    last = np.clip(first + period, 0, len(signal))
    return np.asarray(2.0 * np.abs(total[last] - total[np.maximum(first, 0)]) / period)


def _delay(before: Array, after: Array, step: int, longest: int) -> int:
    """By how many samples the rise of the output at a step follows the rise of the input."""
    around = slice(step - longest, step + longest)
    rise = np.diff(before[around])
    lags = range(longest)
    return int(np.argmax([rise @ np.diff(after[step - longest + lag : step + longest + lag]) for lag in lags]))


def _times(trace: Array, start: float, end: float, sample_rate: int) -> tuple[float, float]:
    """Time to 63 % of a change and time from 10 to 90 % of it, in ms."""
    if not abs(end - start) >= SMALLEST_CHANGE_DB:
        return float("nan"), float("nan")
    progress = (trace - start) / (end - start)
    at_63, at_10, at_90 = (_crossing(progress, part) / sample_rate * 1000.0 for part in (1.0 - np.exp(-1.0), 0.1, 0.9))
    return at_63, at_90 - at_10


def _crossing(progress: Array, part: float) -> float:
    """Sample from which on a part of the change is kept, between samples by a straight line."""
    short = np.flatnonzero(progress < part)
    if not len(short):
        return 0.0
    last = int(short[-1])
    if last + 1 == len(progress):
        return float("nan")
    return last + float((part - progress[last]) / (progress[last + 1] - progress[last]))
