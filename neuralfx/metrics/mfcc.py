"""Distance of mel-frequency cepstral coefficients, which follow the ear's frequency scale."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from neuralfx.metrics.frames import FrameMetric, Frames, FrameSums, spectra, sum_differences

WINDOW_SAMPLES = 1024
HOP_SAMPLES = 256
BANDS = 80
FLOOR = 1e-6  # added to each band before the logarithm
EPSILON = 1e-8


def mel_bands(sample_rate: int, lowest_hz: float, highest_hz: float) -> Tensor:
    r"""Weights of 80 triangular bands that are evenly wide on the mel scale.

    .. math:: \mathrm{mel}(f) = 1127 \ln (1 + f / 700)

    The triangles are linear in mel and overlap by half. The constant part of the signal is in none of them.

    Args:
        sample_rate: Sample rate in Hz.
        lowest_hz: Lower edge of the first band.
        highest_hz: Upper edge of the last band.

    Returns:
        Weights from 0 to 1 of spectra of 1024 samples, shape (513, 80), float64.

    Example:
        >>> mel_bands(48_000, 30.0, 24_000.0).shape
        torch.Size([513, 80])
    """
    edges = torch.linspace(_mel(lowest_hz), _mel(highest_hz), BANDS + 2, dtype=torch.float64)
    width = edges[1] - edges[0]
    bins = torch.arange(1, WINDOW_SAMPLES // 2 + 1, dtype=torch.float64) * sample_rate / WINDOW_SAMPLES
    mels = 1127 * torch.log1p(bins / 700)
    weights = (1 - (mels.unsqueeze(-1) - edges[1:-1]).abs() / width).clamp_min(0)
    return torch.cat([torch.zeros(1, BANDS, dtype=torch.float64), weights])


def mfcc(frames: Tensor, bands: Tensor) -> Tensor:
    r"""Mel-frequency cepstral coefficients, all 80.

    .. math:: c_k = \sqrt{\tfrac{2}{80}} \sum_{m=0}^{79} \ln (s_m + 10^{-6}) \cos \frac{\pi k (2 m + 1)}{160}

    :math:`s_m` is band m of the magnitudes of the spectrum behind a periodic Hann window.

    Args:
        frames: Frames of audio, shape (..., 1024).
        bands: Weights of :func:`mel_bands`, shape (513, 80).

    Returns:
        Coefficients, shape (..., 80), float64.

    Example:
        >>> mfcc(torch.zeros(2, 1024), mel_bands(48_000, 30.0, 24_000.0)).shape
        torch.Size([2, 80])
    """
    logarithms = (spectra(frames.double()).abs() @ bands.to(frames.device) + FLOOR).log()
    return logarithms @ _cosines().to(frames.device)


def mfcc_error(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    r"""Sum of the differences of the absolute coefficients, for each sample of the signal.

    .. math:: M_\mathrm{MFCC} = \frac{1}{N} \bigl\lVert \lvert \mathrm{MFCC}(y) \rvert
        - \lvert \mathrm{MFCC}(\hat y) \rvert \bigr\rVert_1

    Windows of 1024 samples, one every 256; 80 bands from 30 Hz to half the sample rate; N is the number of samples;
    zeros fill up the last window. The paper states neither the hop nor the floor of the logarithm nor the number of
    coefficients; these are its code's.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        sample_rate: Sample rate in Hz.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> mfcc_error(torch.ones(1024), -torch.ones(1024), sample_rate=48_000)
        tensor(0., dtype=torch.float64)

    Reference:
        Simionato and Fasciani, arXiv:2405.04124, eq. (11).
    """
    return MFCCError(sample_rate).measure(estimate, target)


def mfcc_error_relative(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    r"""Sum of the differences of the coefficients relative to the target's.

    .. math:: \frac{\lVert \mathrm{MFCC}(y) - \mathrm{MFCC}(\hat y) \rVert_1}{\lVert \mathrm{MFCC}(y) \rVert_1}

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        sample_rate: Sample rate in Hz.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> mfcc_error_relative(torch.ones(1024), -torch.ones(1024), sample_rate=48_000)
        tensor(0., dtype=torch.float64)
    """
    return RelativeMFCCError(sample_rate).measure(estimate, target)


def mfcc_error_published(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    r"""As :func:`mfcc_error_relative`, with the bands of paper 1's published code: from 80 Hz to 20 kHz.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        sample_rate: Sample rate in Hz.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> mfcc_error_published(torch.ones(1024), -torch.ones(1024), sample_rate=48_000)
        tensor(0., dtype=torch.float64)

    Reference:
        Code published with Simionato and Fasciani, arXiv:2405.04124, second release.
    """
    return PublishedMFCCError(sample_rate).measure(estimate, target)


class MFCCError(FrameMetric):
    """:func:`mfcc_error` of a take from its pieces.

    Args:
        sample_rate: Sample rate of the take in Hz.

    Example:
        >>> metric = MFCCError(sample_rate=48_000)
        >>> metric.update(torch.ones(1, 1024), -torch.ones(1, 1024))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    lowest_hz = 30.0
    highest_hz = math.inf

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate, [Frames(WINDOW_SAMPLES, HOP_SAMPLES)])
        self.bands = mel_bands(sample_rate, self.lowest_hz, min(self.highest_hz, sample_rate / 2))

    def _sums(self, frames: Tensor) -> Tensor:
        coefficients = mfcc(frames, self.bands)
        return torch.stack(
            [
                sum_differences(coefficients.abs()),
                sum_differences(coefficients),
                coefficients[1].abs().flatten(1).sum(-1),
            ]
        )

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        return parts[0].sums[0] / samples  # eq. (11)


class RelativeMFCCError(MFCCError):
    """:func:`mfcc_error_relative` of a take from its pieces.

    Args:
        sample_rate: Sample rate of the take in Hz.

    Example:
        >>> metric = RelativeMFCCError(sample_rate=48_000)
        >>> metric.update(torch.ones(1, 1024), -torch.ones(1, 1024))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        return parts[0].sums[1] / (parts[0].sums[2] + EPSILON)


class PublishedMFCCError(RelativeMFCCError):
    """:func:`mfcc_error_published` of a take from its pieces.

    Args:
        sample_rate: Sample rate of the take in Hz.

    Example:
        >>> metric = PublishedMFCCError(sample_rate=48_000)
        >>> metric.update(torch.ones(1, 1024), -torch.ones(1, 1024))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    lowest_hz = 80.0
    highest_hz = 20_000.0


def _mel(frequency_hz: float) -> float:
    return 1127 * math.log1p(frequency_hz / 700)


@functools.cache
def _cosines() -> Tensor:
    """Matrix of the cosine transform, from band to coefficient, shape (80, 80)."""
    band, coefficient = torch.arange(BANDS, dtype=torch.float64).unsqueeze(-1), torch.arange(BANDS, dtype=torch.float64)
    return math.sqrt(2 / BANDS) * torch.cos(math.pi * coefficient * (2 * band + 1) / (2 * BANDS))
