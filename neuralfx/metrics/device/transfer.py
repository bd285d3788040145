"""Static transfer curve: output amplitude over input amplitude, rising and falling."""

from __future__ import annotations

import dataclasses

import numpy as np

from neuralfx.errors import ConfigError
from neuralfx.metrics.device.signals import Array, Measurement, Processor, from_db, run

POINTS = 201
CYCLES = 4  # averaged


@dataclasses.dataclass(frozen=True, eq=False)
class TransferCurve(Measurement):
    """Output amplitude over input amplitude.

    Attributes:
        frequency_hz: Of the sine, in Hz.
        input: Input amplitudes from the lowest to the highest, shape (201,).
        up: Output amplitude while the input rises, same shape.
        down: Output amplitude while it falls, same shape.
        aligned: Output amplitude once the phase of the fundamental is taken out as a delay, mean of both ways, same
            shape: the curve of a device that filters before it distorts.
        phase_deg: That phase, from -90 to 90 degrees; a device that turns the signal upside down keeps a falling curve.
        hysteresis: Largest difference between ``up`` and ``down`` relative to the range of the output; 0 for a static
            curve, not a number for a constant output.
        audio_s: Audio that was processed, in s.
    """

    frequency_hz: float
    input: Array
    up: Array
    down: Array
    aligned: Array
    phase_deg: float
    hysteresis: float
    audio_s: float


def measure_transfer_curve(
    processor: Processor, sample_rate: int, level_db: float = 0.0, frequency_hz: float = 50.0, settle_s: float = 0.3
) -> TransferCurve:
    """Output over input for a slow sine, mean of four cycles.

    Filters and delays open the curve into a loop as well as hysteresis does: a delay of n samples by
    ``sin(2 pi frequency_hz n / sample_rate)`` of the range. So compare the loops of
    a device and its model.

    Args:
        processor: Takes and returns samples of shape (time,).
        sample_rate: In Hz.
        level_db: Level of the sine in dBFS; 0 is amplitude 1.
        frequency_hz: Low against what the device filters; the sine played has the nearest period of whole samples.
        settle_s: Played before, in s, rounded up to whole cycles.

    Returns:
        The curve; 0.38 s of audio at 48 kHz with the defaults.

    Raises:
        ConfigError: If the frequency is not between 1 Hz and a hundredth of the sample rate.
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.

    Example:
        >>> curve = measure_transfer_curve(lambda x: np.clip(x, -0.5, 0.5), 48_000)
        >>> float(curve.up[-1].round(3)), float(round(curve.hysteresis, 6))
        (0.5, 0.0)
    """
    if not 1.0 <= frequency_hz <= sample_rate / 100:
        raise ConfigError(
            f"transfer curve: expected a frequency from 1 to {sample_rate / 100:g} Hz, got {frequency_hz:g} Hz."
        )
    period = 4 * round(sample_rate / frequency_hz / 4)  # so that both ends and the zeros are samples
    cycles = int(np.ceil(settle_s * sample_rate / period)) + CYCLES
    cycle = -from_db(level_db) * np.cos(2.0 * np.pi * np.arange(period) / period)
    signal = np.tile(cycle, cycles)
    signal[: period // 4] = 0.0  # begins where the sine crosses 0
    mean = run(processor, signal)[-CYCLES * period :].reshape(CYCLES, period).mean(axis=0)
    amplitudes = np.linspace(cycle.min(), cycle.max(), POINTS)
    up, down = _branches(amplitudes, cycle, mean)
    aligned, phase_deg = _align(cycle, mean)
    spread = float(np.ptp(mean))
    return TransferCurve(
        frequency_hz=sample_rate / period,
        input=amplitudes,
        up=up,
        down=down,
        aligned=np.mean(_branches(amplitudes, cycle, aligned), axis=0),
        phase_deg=phase_deg,
        hysteresis=float(np.abs(up - down).max() / spread) if spread > 0.0 else float("nan"),
        audio_s=len(signal) / sample_rate,
    )


def _branches(amplitudes: Array, cycle: Array, output: Array) -> tuple[Array, Array]:
    """Output over input while the input, which begins at its lowest, rises and falls."""
    half = len(cycle) // 2
    up = np.interp(amplitudes, cycle[: half + 1], output[: half + 1])
    down = np.interp(amplitudes, np.append(cycle[half:], cycle[0])[::-1], np.append(output[half:], output[0])[::-1])
    return up, down


def _align(cycle: Array, output: Array) -> tuple[Array, float]:
    """A cycle moved so that its fundamental is in phase with the input, or opposite to it, and the phase in degrees."""
    spectrum = np.fft.rfft(output)
    phase = float(np.angle(spectrum[1] / np.fft.rfft(cycle)[1]))
    phase -= np.pi * round(phase / np.pi)
    moved = spectrum * np.exp(-1j * phase * np.arange(len(spectrum)))
    return np.fft.irfft(moved, len(output)), float(np.degrees(phase))
