"""Difference of the loudness that ITU-R BS.1770 measures."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from neuralfx.metrics.base import TakeMetric
from neuralfx.metrics.frames import Frames

GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
_MEMORY_S = 0.15  # after which the filters' impulse response has decayed below 1e-15
_OFFSET_LU = -0.691


def loudness_difference(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    r"""Difference of the integrated loudness of both signals, each channel by itself.

    .. math:: \lvert L(\hat y) - L(y) \rvert, \quad
        L = -0.691 + 10 \log_{10} \frac{1}{\lvert J \rvert} \sum_{j \in J} z_j

    :math:`z_j` is the mean square of the j-th block of 400 ms behind the standard's two filters, one every 100 ms.
    J holds the blocks above -70 LUFS that are also at most 10 LU below the mean of those. The blocks belong to the
    standard: what is left at the end, less than 100 ms, does not count. A signal shorter than 400 ms is filled up with
    zeros, and one without a block above -70 LUFS counts as -70 LUFS, where the standard leaves both open.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        sample_rate: Sample rate in Hz.

    Returns:
        One value per signal, in LU, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> target = torch.sin(torch.arange(48_000) * 0.1)
        >>> loudness_difference(0.5 * target, target, sample_rate=48_000)
        tensor(6.0206, dtype=torch.float64)

    Reference:
        ITU-R BS.1770-4, annex 1. Filters of other rates than 48 kHz have the same analog prototype.
    """
    return LoudnessDifference(sample_rate).measure(estimate, target)


class _Blocks(NamedTuple):
    """What a take has given so far.

    Attributes:
        heard: Last samples before the filters, shape (2, channels, memory).
        rest: Filtered samples that later blocks need, shape (2, channels, samples).
        powers: Mean square of each block so far, shape (2, channels, blocks).
    """

    heard: Tensor
    rest: Tensor
    powers: Tensor


class LoudnessDifference(TakeMetric):
    """:func:`loudness_difference` of a take from its pieces.

    The gates need the power of every block at the end: ten numbers are kept for each second of a signal.

    Args:
        sample_rate: Sample rate of the take in Hz.

    Example:
        >>> metric, target = LoudnessDifference(sample_rate=48_000), torch.sin(torch.arange(48_000) * 0.1)
        >>> metric.update(0.5 * target.unsqueeze(0), target.unsqueeze(0))
        >>> metric.compute()
        tensor(6.0206, dtype=torch.float64)
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate)
        step = round(0.1 * sample_rate)
        self.blocks = Frames(4 * step, step)
        self.memory = math.ceil(_MEMORY_S * sample_rate)
        self.fft_size = 1 << (self.memory + self.block_samples - 1).bit_length()
        self.response = k_weighting(sample_rate, self.fft_size)

    def _start(self, channels: int) -> _Blocks:
        nothing = torch.zeros(2, channels, 0, dtype=torch.float64, device=self.device)
        return _Blocks(nothing.new_zeros(2, channels, self.memory), nothing, nothing)

    def _add(self, state: _Blocks, pair: Tensor) -> _Blocks:
        heard = torch.cat([state.heard.to(pair.device), pair], -1)
        spectrum = torch.fft.rfft(heard, self.fft_size) * self.response.to(pair.device)
        weighted = torch.fft.irfft(spectrum, self.fft_size)[..., self.memory : heard.shape[-1]]
        blocks, rest = self.blocks.add(state.rest.to(pair.device), weighted)
        powers = torch.cat([state.powers.to(pair.device), blocks.square().mean(-1)], -1)
        return _Blocks(heard[..., pair.shape[-1] :], rest, powers)

    def _finish(self, state: _Blocks) -> Tensor:
        powers = state.powers
        if not powers.shape[-1]:
            powers = self.blocks.last(state.rest, before=0).square().mean(-1)
        return _gated_loudness(powers).diff(dim=0)[0].abs()


def _gated_loudness(powers: Tensor) -> Tensor:
    """Loudness in LUFS of the powers of blocks, shape (..., blocks) to (...)."""
    loud = powers > _power(GATE_LUFS)
    gate = _mean_where(powers, loud) * 10 ** (RELATIVE_GATE_LU / 10)
    power = _mean_where(powers, loud & (powers > gate.unsqueeze(-1)))
    return _OFFSET_LU + 10 * torch.log10(power.clamp_min(_power(GATE_LUFS)))


def _mean_where(values: Tensor, kept: Tensor) -> Tensor:
    return (values * kept).sum(-1) / kept.sum(-1).clamp_min(1)


def _power(loudness_lufs: float) -> float:
    return float(10 ** ((loudness_lufs - _OFFSET_LU) / 10))


@functools.cache
def k_weighting(sample_rate: int, fft_size: int) -> Tensor:
    """Frequency response of the standard's two filters, shape (fft_size / 2 + 1,).

    The standard tabulates the coefficients for 48 kHz. The bilinear transform of these two prototypes, whose
    parameters are those of the tables, gives them at any rate.
    """
    gain = 10 ** (3.999843853973347 / 20)
    middle = gain**0.4996667741545416
    shelf = _biquad(1681.974450955533, 0.7071752369554196, (gain, middle, 1.0), sample_rate, fft_size)
    high_pass = _biquad(38.13547087602444, 0.5003270373238773, (1.0, 0.0, 0.0), sample_rate, fft_size)
    warped = math.tan(math.pi * 38.13547087602444 / sample_rate)
    return shelf * high_pass * (1 + warped / 0.5003270373238773 + warped**2)  # the table's numerator is 1, -2, 1


def _biquad(
    frequency_hz: float, quality: float, numerator: tuple[float, float, float], sample_rate: int, fft_size: int
) -> Tensor:
    r"""Response of :math:`(n_0 s^2 + n_1 s / Q + n_2) / (s^2 + s / Q + 1)` by the bilinear transform."""
    warped = math.tan(math.pi * frequency_hz / sample_rate)
    delay = torch.exp(-2j * math.pi * torch.arange(fft_size // 2 + 1, dtype=torch.float64) / fft_size)
    high, low = 1 - delay, warped * (1 + delay)  # s is high / low
    first, second, third = numerator
    above = first * high**2 + second / quality * high * low + third * low**2
    return above / (high**2 + high * low / quality + low**2)
