"""Error-to-signal ratio behind a pre-emphasis filter, and with a term for constant offsets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from neuralfx.metrics.base import TakeMetric, check_shapes
from neuralfx.metrics.esr import EPSILON, error_to_signal_ratio

COEFFICIENT = 0.95


def error_to_signal_ratio_preemphasis(
    estimate: Tensor, target: Tensor, coefficient: float = COEFFICIENT, eps: float = EPSILON
) -> Tensor:
    r"""Error-to-signal ratio of both signals behind a first-order high-pass filter.

    .. math:: \mathrm{ESR}(y', \hat y'), \quad y'_t = y_t - c\, y_{t-1}, \quad y_{-1} = 0

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        coefficient: c, from 0 (no filter) to 1. 0.95 is that of Damskägg et al.; Wright et al. use 0.85.
        eps: Keeps silent targets finite, in squared amplitude.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect, 1 is as far off as silence.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> error_to_signal_ratio_preemphasis(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.95]))
        tensor(1.0000, dtype=torch.float64)

    Reference:
        Damskägg et al., "Deep Learning for Tube Amplifier Emulation", ICASSP 2019, arXiv:1811.00334; Wright and
        Välimäki, "Perceptual Loss Function for Neural Modelling of Audio Systems", ICASSP 2020.
    """
    check_shapes("error_to_signal_ratio_preemphasis", estimate, target)
    estimate, target = (pre_emphasise(signal.double(), coefficient) for signal in (estimate, target))
    return error_to_signal_ratio(estimate, target, eps)


def dc_to_signal_ratio(estimate: Tensor, target: Tensor, eps: float = EPSILON) -> Tensor:
    r"""Squared difference of the mean values relative to the power of the target.

    .. math:: \mathcal{E}_\mathrm{DC} = \frac{\bigl\lvert \frac{1}{N} \sum_t (y_t - \hat y_t) \bigr\rvert^2}
        {\frac{1}{N} \bigl( \sum_t y_t^2 + \epsilon \bigr)}

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        eps: Keeps silent targets finite, in squared amplitude.

    Returns:
        One value per signal, shape (...), float64; 0 where both have the same mean.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> dc_to_signal_ratio(torch.tensor([1.5, -0.5]), torch.tensor([1.0, -1.0]))
        tensor(0.2500, dtype=torch.float64)

    Reference:
        Wright et al., "Real-Time Guitar Amplifier Emulation with Deep Learning", Appl. Sci. 10(3), 2020.
    """
    check_shapes("dc_to_signal_ratio", estimate, target)
    energy = target.double().square().sum(-1) + eps
    return (target.double() - estimate.double()).sum(-1).square() / (target.shape[-1] * energy)


def error_to_signal_ratio_dc(
    estimate: Tensor, target: Tensor, coefficient: float = COEFFICIENT, eps: float = EPSILON
) -> Tensor:
    r"""Error-to-signal ratio with pre-emphasis, which hides a constant offset, plus the offset's own ratio.

    .. math:: \mathcal{E} = \mathrm{ESR}(y', \hat y') + \mathcal{E}_\mathrm{DC}(y, \hat y)

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        coefficient: Coefficient of :func:`error_to_signal_ratio_preemphasis`.
        eps: Keeps silent targets finite, in squared amplitude.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> error_to_signal_ratio_dc(torch.tensor([0.0, 0.0]), torch.tensor([1.0, -1.0]))
        tensor(1.0000, dtype=torch.float64)

    Reference:
        Wright et al., "Real-Time Guitar Amplifier Emulation with Deep Learning", Appl. Sci. 10(3), 2020.
    """
    ratio = error_to_signal_ratio_preemphasis(estimate, target, coefficient, eps)
    return ratio + dc_to_signal_ratio(estimate, target, eps)


def pre_emphasise(signal: Tensor, coefficient: float) -> Tensor:
    """First-order high-pass, y[t] - coefficient * y[t-1] from silence on, of a signal of shape (..., time)."""
    return signal - coefficient * pad(signal, (1, 0))[..., :-1]


class TakeErrorToSignalRatioPreemphasis(TakeMetric):
    """:func:`error_to_signal_ratio_preemphasis` of a take from its pieces, with the default coefficient.

    Example:
        >>> metric = TakeErrorToSignalRatioPreemphasis()
        >>> metric.update(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.95]]))
        >>> metric.compute()
        tensor(1.0000, dtype=torch.float64)
    """

    def _start(self, channels: int) -> _Sums:
        zeros = torch.zeros(channels, dtype=torch.float64, device=self.device)
        return _Sums(zeros.new_zeros(2, channels, 1), zeros, zeros, zeros, zeros, 0)

    def _add(self, state: _Sums, pair: Tensor) -> _Sums:
        filtered = pre_emphasise(torch.cat([state.last, pair], -1), COEFFICIENT)[..., 1:]
        return _Sums(
            last=pair[..., -1:],
            error=state.error + (filtered[1] - filtered[0]).square().sum(-1),
            energy=state.energy + filtered[1].square().sum(-1),
            offset=state.offset + (pair[1] - pair[0]).sum(-1),
            plain_energy=state.plain_energy + pair[1].square().sum(-1),
            samples=state.samples + pair.shape[-1],
        )

    def _finish(self, state: _Sums) -> Tensor:
        return state.error / (state.energy + EPSILON)

    def _silent(self, state: _Sums) -> Tensor | None:
        return state.plain_energy == 0


class DCToSignalRatio(TakeErrorToSignalRatioPreemphasis):
    """:func:`dc_to_signal_ratio` of a take from its pieces.

    Example:
        >>> metric = DCToSignalRatio()
        >>> metric.update(torch.tensor([[1.5, -0.5]]), torch.tensor([[1.0, -1.0]]))
        >>> metric.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    def _finish(self, state: _Sums) -> Tensor:
        return state.offset.square() / (state.samples * (state.plain_energy + EPSILON))


class TakeErrorToSignalRatioDC(DCToSignalRatio):
    """:func:`error_to_signal_ratio_dc` of a take from its pieces, with the default coefficient.

    Example:
        >>> metric = TakeErrorToSignalRatioDC()
        >>> metric.update(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, -1.0]]))
        >>> metric.compute()
        tensor(1.0000, dtype=torch.float64)
    """

    def _finish(self, state: _Sums) -> Tensor:
        return TakeErrorToSignalRatioPreemphasis._finish(self, state) + DCToSignalRatio._finish(self, state)


class _Sums(NamedTuple):
    """What a take has given so far: the last samples, and sums per channel (behind the filter, then before it)."""

    last: Tensor
    error: Tensor
    energy: Tensor
    offset: Tensor
    plain_energy: Tensor
    samples: int
