"""What comes out when nothing goes in: DC, noise, and the tail of a sound."""

from __future__ import annotations

import dataclasses

import numpy as np

from neuralfx.errors import ConfigError
from neuralfx.metrics.device.signals import Array, Measurement, Processor, from_db, run, to_db

LEVEL_DB = -6.0
TAIL_DB = -60.0
FRAME_S = 0.001  # of the trace


@dataclasses.dataclass(frozen=True, eq=False)
class IdleNoise(Measurement):
    """Output for silence, and after a burst.

    Attributes:
        dc: Mean of the output for silence, in amplitude; signed.
        noise_db: Root mean square of the output for silence without its mean, in dB relative to amplitude 1; -200 where
            there is none. A constant tone, hum or oscillation counts as well.
        start_db: Largest distance from ``dc`` in the first half of the silence, while a device finds its state, in dB
            relative to amplitude 1.
        tail_ms: From the end of the burst to the last sample that is farther from ``dc`` than 1/1000 (-60 dB) of the
            largest one during the burst, in ms. Not a number where that is below the noise or the burst is not heard,
            infinity where it takes longer than what was measured.
        time_ms: Times after the end of the burst, in ms, shape (frames,).
        level_db: Largest distance from ``dc`` in frames of 1 ms from these times on, in dB relative to the largest one
            during the burst, shape (frames,).
        audio_s: Audio that was processed, in s.
    """

    dc: float
    noise_db: float
    start_db: float
    tail_ms: float
    time_ms: Array
    level_db: Array
    audio_s: float


def measure_idle_noise(
    processor: Processor,
    sample_rate: int,
    level_db: float = LEVEL_DB,
    silence_s: float = 0.5,
    burst_s: float = 0.2,
    tail_s: float = 1.0,
) -> IdleNoise:
    """DC offset and noise for silence, then how long the output goes on after a burst of white noise.

    One signal: silence, burst, silence. DC and noise are those of the second half of the first silence. The tail is
    counted by the clock of the input, so that a delay of the processor counts.

    Args:
        processor: Takes and returns samples of shape (time,).
        sample_rate: In Hz.
        level_db: Peak of the burst in dBFS.
        silence_s: Silence before the burst, in s.
        burst_s: Length of the burst, in s.
        tail_s: Silence after it, in s.

    Returns:
        The measurements; 1.7 s of audio with the defaults.

    Raises:
        ConfigError: If a part has no samples.
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.

    Example:
        >>> result = measure_idle_noise(lambda x: x + 0.25, 48_000)
        >>> result.dc, result.noise_db, result.tail_ms
        (0.25, -200.0, 0.0)
    """
    begin, end, last = np.cumsum([round(length * sample_rate) for length in (silence_s, burst_s, tail_s)])
    frame = max(1, round(FRAME_S * sample_rate))
    if begin < 2 or end == begin or last - end < frame:
        raise ConfigError(
            "idle noise: expected silence, burst and tail of at least 1 ms, "
            f"got {silence_s:g}, {burst_s:g} and {tail_s:g} s."
        )
    signal = np.zeros(last)
    signal[begin:end] = from_db(level_db) * np.random.default_rng(0).uniform(-1.0, 1.0, end - begin)
    output = run(processor, signal)
    idle = output[begin // 2 : begin]
    dc = float(idle.mean())
    distance = np.abs(output - dc)
    loudest = float(distance[begin:end].max())
    tail = distance[end:]
    frames = tail[: len(tail) // frame * frame].reshape(-1, frame).max(axis=1)
    return IdleNoise(
        dc=dc,
        noise_db=float(to_db(idle.std())),
        start_db=float(to_db(distance[: begin // 2].max())),
        tail_ms=_tail_ms(tail, loudest, float(distance[begin // 2 : begin].max()), sample_rate),
        time_ms=np.arange(len(frames)) * (1000.0 * frame / sample_rate),
        level_db=to_db(frames) - to_db(loudest),
        audio_s=float(last / sample_rate),
    )


def _tail_ms(tail: Array, loudest: float, idle: float, sample_rate: int) -> float:
    limit = loudest * from_db(TAIL_DB)
    if limit <= idle:
        return float("nan")
    heard = np.flatnonzero(tail > limit)
    if not len(heard):
        return 0.0
    ended = int(heard[-1]) + 1
    return float("inf") if ended == len(tail) else 1000.0 * ended / sample_rate
