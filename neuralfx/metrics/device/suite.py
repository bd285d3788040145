"""All measurements of a processor at once."""

from __future__ import annotations

import dataclasses

from neuralfx.metrics.device.aliasing import Aliasing, measure_aliasing
from neuralfx.metrics.device.compression import AttackRelease, GainCurve, measure_attack_release, measure_gain_curve
from neuralfx.metrics.device.frequency_response import FrequencyResponse, measure_frequency_response
from neuralfx.metrics.device.harmonic_distortion import HarmonicDistortion, measure_harmonic_distortion
from neuralfx.metrics.device.noise import IdleNoise, measure_idle_noise
from neuralfx.metrics.device.signals import Measurement, Processor
from neuralfx.metrics.device.transfer import TransferCurve, measure_transfer_curve


@dataclasses.dataclass(frozen=True, eq=False)
class DeviceMeasurements(Measurement):
    """Every measurement of one processor, at one setting of its knobs.

    Attributes:
        sample_rate: In Hz.
        aliasing: Non-harmonic energy for sines.
        distortion: Harmonics over level and frequency.
        response: Frequency response at several levels.
        gain: Static curve of levels.
        steps: Attack and release.
        noise: DC, noise and tail.
        transfer: Static curve of amplitudes.
    """

    sample_rate: int
    aliasing: Aliasing
    distortion: HarmonicDistortion
    response: FrequencyResponse
    gain: GainCurve
    steps: AttackRelease
    noise: IdleNoise
    transfer: TransferCurve


def measure_device(processor: Processor, sample_rate: int) -> DeviceMeasurements:
    """Measure everything with the defaults of each measurement: 19.4 s of audio at 48 kHz.

    Args:
        processor: Takes float32 samples of shape (time,) and returns as many; begins at its initial state in each call.
        sample_rate: In Hz.

    Returns:
        All results.

    Raises:
        ShapeError: If the processor changes the number of samples.
        AudioError: If its output is not finite.
    """
    return DeviceMeasurements(
        sample_rate=sample_rate,
        aliasing=measure_aliasing(processor, sample_rate),
        distortion=measure_harmonic_distortion(processor, sample_rate),
        response=measure_frequency_response(processor, sample_rate),
        gain=measure_gain_curve(processor, sample_rate),
        steps=measure_attack_release(processor, sample_rate),
        noise=measure_idle_noise(processor, sample_rate),
        transfer=measure_transfer_curve(processor, sample_rate),
    )
