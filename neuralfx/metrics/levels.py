"""Differences of level and of crest factor, in decibels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from neuralfx.metrics.base import TakeMetric

FLOOR = 1e-8  # amplitude that silence counts as, -160 dB
_DB_PER_NEPER = 20 / math.log(10)


def rms_difference(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Difference of the root mean squares of the whole signals.

    .. math:: \left\lvert 20 \log_{10} \frac{\mathrm{rms}(\hat y)}{\mathrm{rms}(y)} \right\rvert

    The published code takes the natural logarithm, which makes its numbers 2.30 times as large:
    :func:`rms_difference_published`.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, in dB, shape (...), float64; 0 is perfect. Less than 1e-8 counts as 1e-8.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> rms_difference(torch.tensor([0.1, -0.1]), torch.tensor([1.0, 1.0]))
        tensor(20.0000, dtype=torch.float64)

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network", DAFx 2024, arXiv:2408.04829, section 6.2.
    """
    return RMSDifference().measure(estimate, target)


def crest_factor_difference(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Difference of the crest factors: how far the peak lies above the root mean square.

    .. math:: \lvert C(\hat y) - C(y) \rvert, \quad C(y) = 20 \log_{10} \frac{\max_t \lvert y_t \rvert}{\mathrm{rms}(y)}

    The published code takes the natural logarithm, which makes its numbers 2.30 times as large:
    :func:`crest_factor_difference_published`.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, in dB, shape (...), float64; 0 is perfect, and so is every gain. Less than 1e-8 counts as
        1e-8.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> crest_factor_difference(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
        tensor(3.0103, dtype=torch.float64)

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network", DAFx 2024, arXiv:2408.04829, section 6.2.
    """
    return CrestFactorDifference().measure(estimate, target)


def rms_difference_published(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Difference of the root mean squares as paper 2's published code has it: 20 ln where decibels are meant.

    .. math:: \left\lvert 20 \ln \frac{\mathrm{rms}(\hat y)}{\mathrm{rms}(y)} \right\rvert

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, 2.30 times that in dB, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> rms_difference_published(torch.tensor([0.1, -0.1]), torch.tensor([1.0, 1.0]))
        tensor(46.0517, dtype=torch.float64)

    Reference:
        Code published with Yeh et al., arXiv:2408.04829.
    """
    return RMSDifferencePublished().measure(estimate, target)


def crest_factor_difference_published(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Difference of the crest factors as paper 2's published code has it: 20 ln where decibels are meant.

    .. math:: \lvert C(\hat y) - C(y) \rvert, \quad C(y) = 20 \ln \frac{\max_t \lvert y_t \rvert}{\mathrm{rms}(y)}

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, 2.30 times that in dB, shape (...), float64; 0 is perfect, and so is every gain.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> crest_factor_difference_published(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
        tensor(6.9315, dtype=torch.float64)

    Reference:
        Code published with Yeh et al., arXiv:2408.04829.
    """
    return CrestFactorDifferencePublished().measure(estimate, target)


class _Levels(NamedTuple):
    """Peaks and sums of squares of both signals so far, shape (2, channels), and the number of samples."""

    peaks: Tensor
    energies: Tensor
    samples: int


class RMSDifference(TakeMetric):
    """:func:`rms_difference` of a take from its pieces.

    Example:
        >>> metric = RMSDifference()
        >>> metric.update(torch.tensor([[0.1, -0.1]]), torch.tensor([[1.0, 1.0]]))
        >>> metric.compute()
        tensor(20.0000, dtype=torch.float64)
    """

    def _start(self, channels: int) -> _Levels:
        zeros = torch.zeros(2, channels, dtype=torch.float64, device=self.device)
        return _Levels(zeros, zeros, 0)

    def _add(self, state: _Levels, pair: Tensor) -> _Levels:
        peaks = torch.maximum(state.peaks, pair.abs().amax(-1))
        return _Levels(peaks, state.energies + pair.square().sum(-1), state.samples + pair.shape[-1])

    def _finish(self, state: _Levels) -> Tensor:
        rms = (state.energies / state.samples).sqrt()
        return _DB_PER_NEPER * rms.clamp_min(FLOOR).log().diff(dim=0)[0].abs()


class RMSDifferencePublished(RMSDifference):
    """:func:`rms_difference_published` of a take from its pieces.

    Example:
        >>> metric = RMSDifferencePublished()
        >>> metric.update(torch.tensor([[0.1, -0.1]]), torch.tensor([[1.0, 1.0]]))
        >>> metric.compute()
        tensor(46.0517, dtype=torch.float64)
    """

    def _finish(self, state: _Levels) -> Tensor:
        return 20 / _DB_PER_NEPER * super()._finish(state)


class CrestFactorDifference(RMSDifference):
    """:func:`crest_factor_difference` of a take from its pieces.

    Example:
        >>> metric = CrestFactorDifference()
        >>> metric.update(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        >>> metric.compute()
        tensor(3.0103, dtype=torch.float64)
    """

    def _finish(self, state: _Levels) -> Tensor:
        rms = (state.energies / state.samples).sqrt().clamp_min(FLOOR)
        crest = state.peaks.clamp_min(FLOOR).log() - rms.log()
        return _DB_PER_NEPER * crest.diff(dim=0)[0].abs()


class CrestFactorDifferencePublished(CrestFactorDifference):
    """:func:`crest_factor_difference_published` of a take from its pieces.

    Example:
        >>> metric = CrestFactorDifferencePublished()
        >>> metric.update(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        >>> metric.compute()
        tensor(6.9315, dtype=torch.float64)
    """

    def _finish(self, state: _Levels) -> Tensor:
        return 20 / _DB_PER_NEPER * super()._finish(state)
