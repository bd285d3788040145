"""Difference of the changes that the spectrum makes from one window to the next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralfx.metrics.frames import FrameMetric, Frames, FrameSums, spectra, sum_differences

WINDOW_SAMPLES = 2048
HOP_SAMPLES = 512
EPSILON = 1e-5  # keeps relative errors of unchanging targets finite, in magnitude of the spectrum


def spectral_flux_error(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Sum of the differences of the spectral flux, for each sample of the signal.

    .. math:: M_\mathrm{SF} = \frac{1}{N} \sum_{k, f} \bigl\lvert (\lvert Y_k \rvert - \lvert Y_{k-1} \rvert)
        - (\lvert \hat Y_k \rvert - \lvert \hat Y_{k-1} \rvert) \bigr\rvert

    :math:`Y_k` is the spectrum of 2048 samples behind a Hann window, one every 512; zeros fill up the last window. The
    paper's equation has no 1/N and so grows with the length of the signal; we divide by the number of samples N as
    the paper's next two equations do. It grows with the level; :func:`spectral_flux_error_relative` does not.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> target = torch.cat([torch.zeros(2048), torch.ones(512)])
        >>> spectral_flux_error(torch.zeros(2560), target).round(decimals=4)
        tensor(0.5044, dtype=torch.float64)

    Reference:
        Simionato and Fasciani, arXiv:2405.04124, eq. (9); after Engel et al., "DDSP: Differentiable Digital Signal
        Processing", ICLR 2020.
    """
    return SpectralFluxError().measure(estimate, target)


def spectral_flux_error_relative(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Sum of the differences of the spectral flux relative to the flux of the target.

    .. math:: \frac{\sum_{k, f} \lvert \Delta Y_{k, f} - \Delta \hat Y_{k, f} \rvert}
        {\sum_{k, f} \lvert \Delta Y_{k, f} \rvert + 10^{-5}}, \quad
        \Delta Y_k = \lvert Y_k \rvert - \lvert Y_{k-1} \rvert

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect, 1 is as far off as silence.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> target = torch.cat([torch.zeros(2048), torch.ones(512)])
        >>> spectral_flux_error_relative(0.75 * target, target)
        tensor(0.2500, dtype=torch.float64)
    """
    return RelativeSpectralFluxError().measure(estimate, target)


def spectral_flux_error_published(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Relative difference of the changes from one *frequency* to the next, as paper 1's latest published code has it.

    .. math:: \frac{\sum_{k, f} \lvert \nabla Y_{k, f} - \nabla \hat Y_{k, f} \rvert}
        {\sum_{k, f} \lvert \nabla Y_{k, f} \rvert + 10^{-5}}, \quad
        \nabla Y_{k, f} = \lvert Y_{k, f} \rvert - \lvert Y_{k, f-1} \rvert

    The axis of the difference is not that of the paper's equation. Only for comparison with numbers of that code.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect, 1 is as far off as silence.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> spectral_flux_error_published(torch.full((2048,), 0.75), torch.ones(2048))
        tensor(0.2500, dtype=torch.float64)

    Reference:
        Code published with Simionato and Fasciani, arXiv:2405.04124, third release.
    """
    return PublishedSpectralFluxError().measure(estimate, target)


class SpectralFluxError(FrameMetric):
    """:func:`spectral_flux_error` of a take from its pieces.

    Example:
        >>> metric = SpectralFluxError()
        >>> metric.update(torch.zeros(1, 2560), torch.cat([torch.zeros(1, 2048), torch.ones(1, 512)], -1))
        >>> metric.compute().round(decimals=4)
        tensor(0.5044, dtype=torch.float64)
    """

    def __init__(self, sample_rate: int | None = None) -> None:
        super().__init__(sample_rate, [Frames(WINDOW_SAMPLES + HOP_SAMPLES, HOP_SAMPLES)])  # a window and the next

    def _sums(self, frames: Tensor) -> Tensor:
        windows = torch.cat([frames[..., :1, :WINDOW_SAMPLES], frames[..., HOP_SAMPLES:]], -2)
        flux = spectra(windows).abs().diff(dim=-2)  # eq. (9)
        return _errors_and_sizes(flux)

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        return parts[0].sums[0] / samples


class RelativeSpectralFluxError(SpectralFluxError):
    """:func:`spectral_flux_error_relative` of a take from its pieces.

    Example:
        >>> metric, target = RelativeSpectralFluxError(), torch.cat([torch.zeros(1, 2048), torch.ones(1, 512)], -1)
        >>> metric.update(0.75 * target, target)
        >>> metric.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        return parts[0].sums[0] / (parts[0].sums[1] + EPSILON)


class PublishedSpectralFluxError(RelativeSpectralFluxError):
    """:func:`spectral_flux_error_published` of a take from its pieces.

    Example:
        >>> metric = PublishedSpectralFluxError()
        >>> metric.update(torch.full((1, 2048), 0.75), torch.ones(1, 2048))
        >>> metric.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    def __init__(self, sample_rate: int | None = None) -> None:
        FrameMetric.__init__(self, sample_rate, [Frames(WINDOW_SAMPLES, HOP_SAMPLES)])

    def _sums(self, frames: Tensor) -> Tensor:
        return _errors_and_sizes(spectra(frames).abs().diff(dim=-1))


def _errors_and_sizes(changes: Tensor) -> Tensor:
    return torch.stack([sum_differences(changes), changes[1].abs().flatten(1).sum(-1)])
