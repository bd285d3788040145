"""Measurements of a processor - a model, or any function - with test signals, as an audio engineer does them."""

from neuralfx.metrics.device.aliasing import Aliasing, measure_aliasing
from neuralfx.metrics.device.compression import (
    AttackRelease,
    GainCurve,
    Knee,
    fit_knee,
    measure_attack_release,
    measure_gain_curve,
)
from neuralfx.metrics.device.frequency_response import FrequencyResponse, measure_frequency_response
from neuralfx.metrics.device.harmonic_distortion import HarmonicDistortion, measure_harmonic_distortion
from neuralfx.metrics.device.noise import IdleNoise, measure_idle_noise
from neuralfx.metrics.device.signals import Measurement, Processor
from neuralfx.metrics.device.suite import DeviceMeasurements, measure_device
from neuralfx.metrics.device.transfer import TransferCurve, measure_transfer_curve

__all__ = [
    "Aliasing",
    "AttackRelease",
    "DeviceMeasurements",
    "FrequencyResponse",
    "GainCurve",
    "HarmonicDistortion",
    "IdleNoise",
    "Knee",
    "Measurement",
    "Processor",
    "TransferCurve",
    "fit_knee",
    "measure_aliasing",
    "measure_attack_release",
    "measure_device",
    "measure_frequency_response",
    "measure_gain_curve",
    "measure_harmonic_distortion",
    "measure_idle_noise",
    "measure_transfer_curve",
]
