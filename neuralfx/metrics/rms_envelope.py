"""Difference of the loudness contours: root mean square in overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralfx.metrics.base import TakeMetric, check_shapes
from neuralfx.metrics.frames import FrameMetric, Frames, FrameSums, sum_differences

WINDOW_SAMPLES = 4096
HOP_SAMPLES = 1024
FLOOR_DB = -80.0


def rms_envelope(signal: Tensor) -> Tensor:
    r"""Root mean square of windows of 4096 samples, one every 1024.

    .. math:: \mathrm{rms}_k = \sqrt{\tfrac{1}{4096} \sum_{t=0}^{4095} y_{1024 k + t}^2}

    Args:
        signal: Audio, shape (..., time); zeros fill up the last window.

    Returns:
        The envelope, in amplitude, shape (..., windows), float64.

    Example:
        >>> rms_envelope(torch.full((5120,), -0.5))
        tensor([0.5000, 0.5000], dtype=torch.float64)

    Reference:
        Simionato and Fasciani, arXiv:2405.04124, figure 4 (windows of 4096 samples with 75 % overlap).
    """
    frames, rest = Frames(WINDOW_SAMPLES, HOP_SAMPLES).add(signal.new_empty(*signal.shape[:-1], 0), signal)
    last = Frames(WINDOW_SAMPLES, HOP_SAMPLES).last(rest, frames.shape[-2])
    return _rms(torch.cat([frames, last], -2))


def rms_envelope_error(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Mean absolute difference of the RMS envelopes.

    .. math:: M_\mathrm{RMSE} = \frac{1}{K} \sum_k \lvert \mathrm{rms}_k(y) - \mathrm{rms}_k(\hat y) \rvert

    The paper names this metric in words; window and overlap are those of its figure 4, and the mean over the windows
    is our reading. The published code computes :func:`absolute_amplitude_error` instead.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, in amplitude, shape (...), float64; 0 is perfect. The phase of the signals is ignored.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> target = torch.full((5120,), 0.5)
        >>> rms_envelope_error(-0.8 * target, target)
        tensor(0.1000, dtype=torch.float64)

    Reference:
        Simionato and Fasciani, arXiv:2405.04124, section 3.2 (:math:`M_\mathrm{RMSE}`) and figure 4.
    """
    return RMSEnvelopeError().measure(estimate, target)


def rms_envelope_error_db(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Mean absolute difference of the RMS envelopes in decibels.

    .. math:: \frac{1}{K} \sum_k \lvert L_k(y) - L_k(\hat y) \rvert, \quad
        L_k = 20 \log_{10} \max(\mathrm{rms}_k, 10^{-4})

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, in dB, shape (...), float64; 0 is perfect. What lies below -80 dB counts as -80 dB.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> target = torch.full((5120,), 0.5)
        >>> rms_envelope_error_db(0.5 * target, target)
        tensor(6.0206, dtype=torch.float64)
    """
    return RMSEnvelopeErrorDB().measure(estimate, target)


def absolute_amplitude_error(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Mean difference of the absolute samples, which paper 1's published code reports as its RMSE.

    .. math:: \frac{1}{N} \sum_t \bigl\lvert \lvert y_t \rvert - \lvert \hat y_t \rvert \bigr\rvert

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, in amplitude, shape (...), float64; 0 is perfect, and so is the wrong polarity.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> absolute_amplitude_error(torch.tensor([-1.0, 0.5]), torch.tensor([1.0, 1.0]))
        tensor(0.2500, dtype=torch.float64)

    Reference:
        Code published with Simionato and Fasciani, arXiv:2405.04124, second release.
    """
    check_shapes("absolute_amplitude_error", estimate, target)
    return (target.double().abs() - estimate.double().abs()).abs().mean(-1)


class RMSEnvelopeError(FrameMetric):
    """:func:`rms_envelope_error` of a take from its pieces.

    Example:
        >>> metric = RMSEnvelopeError()
        >>> metric.update(torch.full((1, 5120), 0.4), torch.full((1, 5120), 0.5))
        >>> metric.compute()
        tensor(0.1000, dtype=torch.float64)
    """

    def __init__(self, sample_rate: int | None = None) -> None:
        super().__init__(sample_rate, [Frames(WINDOW_SAMPLES, HOP_SAMPLES)])

    def _sums(self, frames: Tensor) -> Tensor:
        return sum_differences(_rms(frames)).unsqueeze(0)

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        return parts[0].sums[0] / parts[0].frames


class RMSEnvelopeErrorDB(RMSEnvelopeError):
    """:func:`rms_envelope_error_db` of a take from its pieces.

    Example:
        >>> metric = RMSEnvelopeErrorDB()
        >>> metric.update(torch.full((1, 5120), 0.25), torch.full((1, 5120), 0.5))
        >>> metric.compute()
        tensor(6.0206, dtype=torch.float64)
    """

    def _sums(self, frames: Tensor) -> Tensor:
        levels = 20 * torch.log10(_rms(frames).clamp_min(10 ** (FLOOR_DB / 20)))
        return sum_differences(levels).unsqueeze(0)


class AbsoluteAmplitudeError(TakeMetric):
    """:func:`absolute_amplitude_error` of a take from its pieces.

    Example:
        >>> metric = AbsoluteAmplitudeError()
        >>> metric.update(torch.tensor([[-1.0, 0.5]]), torch.tensor([[1.0, 1.0]]))
        >>> metric.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    def _start(self, channels: int) -> tuple[Tensor, int]:
        return torch.zeros(channels, dtype=torch.float64, device=self.device), 0

    def _add(self, state: tuple[Tensor, int], pair: Tensor) -> tuple[Tensor, int]:
        return state[0] + (pair[1].abs() - pair[0].abs()).abs().sum(-1), state[1] + pair.shape[-1]

    def _finish(self, state: tuple[Tensor, int]) -> Tensor:
        return state[0] / state[1]


def _rms(frames: Tensor) -> Tensor:
    return frames.double().square().mean(-1).sqrt()
