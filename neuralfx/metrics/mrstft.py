"""Spectral distances at several window lengths, in the forms that both papers and their codes use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralfx.metrics.frames import CentredFrames, FrameMetric, Frames, FrameSums, spectra, sum_differences

FFT_SIZES = (256, 512, 1024)
FFT_SIZES_AURALOSS = (128, 512, 2048)
FLOOR = 1e-5  # of magnitudes before a logarithm is taken, and of relative distances
POWER_FLOOR = 1e-8  # auraloss's, of squared magnitudes


def multi_resolution_stft(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Linear and logarithmic distance of the magnitudes for each sample of the signal, as paper 1 writes it.

    .. math:: M_\mathrm{STFT} = \frac{1}{N} \sum_m \bigl\lVert \lvert Y_m \rvert - \lvert \hat Y_m \rvert \bigr\rVert_1
        + \frac{1}{N} \sum_m \bigl\lVert \log \lvert Y_m \rvert - \log \lvert \hat Y_m \rvert \bigr\rVert_1,
        \quad m \in \{256, 512, 1024\}

    :math:`Y_m` is the spectrum of m samples behind a Hann window, one every m / 4, not normalised, and N the number of
    samples. The equation leaves three things open that we set: zeros fill up the last window, magnitudes below 1e-5
    count as 1e-5 in the logarithm, which is natural. The linear part grows with the level;
    :func:`multi_resolution_stft_relative` does not.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect. The phase of the signals is ignored.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> impulse = torch.zeros(256)
        >>> impulse[128] = 1.0
        >>> multi_resolution_stft(impulse, impulse)
        tensor(0., dtype=torch.float64)

    Reference:
        Simionato and Fasciani, arXiv:2405.04124, eq. (10); after Engel et al., "DDSP: Differentiable Digital Signal
        Processing", ICLR 2020.
    """
    return MultiResolutionSTFT().measure(estimate, target)


def multi_resolution_stft_relative(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Distance of the magnitudes relative to the target's, plus the mean distance of their logarithms.

    .. math:: \frac{1}{3} \sum_m \left( \frac{\lVert \lvert Y_m \rvert - \lvert \hat Y_m \rvert \rVert_1}
        {\lVert Y_m \rVert_1 + 10^{-5}} + \operatorname{mean} \bigl\lvert \log \lvert Y_m \rvert
        - \log \lvert \hat Y_m \rvert \bigr\rvert \right), \quad m \in \{256, 512, 1024\}

    The parts of :func:`multi_resolution_stft`, normalised so that neither level nor length matter.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> impulse = torch.zeros(256)
        >>> impulse[128] = 1.0
        >>> multi_resolution_stft_relative(0.5 * impulse, impulse)  # 1 - 0.5 and log(2)
        tensor(1.1931, dtype=torch.float64)
    """
    return RelativeMultiResolutionSTFT().measure(estimate, target)


def multi_resolution_stft_published(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Relative distance of the power spectra, without logarithm, as paper 1's published code has it.

    .. math:: \frac{1}{3} \sum_m \frac{\lVert \lvert Y_m \rvert^2 - \lvert \hat Y_m \rvert^2 \rVert_1}
        {\lVert \lvert Y_m \rvert^2 \rVert_1 + 10^{-5}}, \quad m \in \{256, 512, 1024\}

    Windows are centred on every (m / 4)-th sample, with zeros before and after the signal.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect, 1 is as far off as silence.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> multi_resolution_stft_published(0.5 * torch.ones(2048), torch.ones(2048))
        tensor(0.7500, dtype=torch.float64)

    Reference:
        Code published with Simionato and Fasciani, arXiv:2405.04124, second release.
    """
    return PublishedMultiResolutionSTFT().measure(estimate, target)


def multi_resolution_stft_auraloss(estimate: Tensor, target: Tensor) -> Tensor:
    r"""Spectral convergence plus log distance of the magnitudes, as paper 2 uses it by way of auraloss.

    .. math:: \frac{1}{3} \sum_m \left( \frac{\lVert \lvert Y_m \rvert - \lvert \hat Y_m \rvert \rVert_F}
        {\lVert Y_m \rVert_F} + \operatorname{mean} \bigl\lvert \log \lvert Y_m \rvert
        - \log \lvert \hat Y_m \rvert \bigr\rvert \right), \quad m \in \{128, 512, 2048\}

    Windows are centred on every (m / 4)-th sample, with mirror images before and after the signal; magnitudes are at
    least 1e-4. Equal to ``auraloss.freq.MultiResolutionSTFTLoss`` of one signal, and to the loss ``mrstft``.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape; a signal of less than 1025 samples is filled up with zeros.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> impulse = torch.zeros(4096)
        >>> impulse[2048] = 1.0
        >>> multi_resolution_stft_auraloss(impulse, impulse)
        tensor(0., dtype=torch.float64)

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network", DAFx 2024, arXiv:2408.04829, section 5.3 (window lengths);
        Yamamoto et al., "Parallel WaveGAN", ICASSP 2020, eqs. (4) to (6).
    """
    return AuralossMultiResolutionSTFT().measure(estimate, target)


class MultiResolutionSTFT(FrameMetric):
    """:func:`multi_resolution_stft` of a take from its pieces.

    Example:
        >>> metric = MultiResolutionSTFT()
        >>> metric.update(torch.ones(1, 2048), torch.ones(1, 2048))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    def __init__(self, sample_rate: int | None = None) -> None:
        super().__init__(sample_rate, [Frames(size, size // 4) for size in FFT_SIZES])

    def _sums(self, frames: Tensor) -> Tensor:
        magnitudes = spectra(frames).abs()
        logarithms = magnitudes.clamp_min(FLOOR).log()
        return torch.stack([sum_differences(magnitudes), sum_differences(logarithms), magnitudes[1].flatten(1).sum(-1)])

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        return torch.stack([part.sums[0] + part.sums[1] for part in parts]).sum(0) / samples  # eq. (10)


class RelativeMultiResolutionSTFT(MultiResolutionSTFT):
    """:func:`multi_resolution_stft_relative` of a take from its pieces.

    Example:
        >>> metric = RelativeMultiResolutionSTFT()
        >>> metric.update(torch.ones(1, 2048), torch.ones(1, 2048))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        values = []
        for framing, part in zip(self.framings, parts):
            linear, logarithmic, size = part.sums
            values.append(linear / (size + FLOOR) + logarithmic / (part.frames * (framing.size // 2 + 1)))
        return torch.stack(values).mean(0)


class PublishedMultiResolutionSTFT(FrameMetric):
    """:func:`multi_resolution_stft_published` of a take from its pieces.

    Example:
        >>> metric = PublishedMultiResolutionSTFT()
        >>> metric.update(torch.full((1, 2048), 0.5), torch.ones(1, 2048))
        >>> metric.compute()
        tensor(0.7500, dtype=torch.float64)
    """

    def __init__(self, sample_rate: int | None = None) -> None:
        super().__init__(sample_rate, [CentredFrames(size, size // 4, "constant") for size in FFT_SIZES])

    def _sums(self, frames: Tensor) -> Tensor:
        powers = spectra(frames).abs().square()
        return torch.stack([sum_differences(powers), powers[1].flatten(1).sum(-1)])

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        return torch.stack([part.sums[0] / (part.sums[1] + FLOOR) for part in parts]).mean(0)


class AuralossMultiResolutionSTFT(FrameMetric):
    """:func:`multi_resolution_stft_auraloss` of a take from its pieces.

    Example:
        >>> metric = AuralossMultiResolutionSTFT()
        >>> metric.update(torch.ones(1, 4096), torch.ones(1, 4096))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    def __init__(self, sample_rate: int | None = None) -> None:
        super().__init__(sample_rate, [CentredFrames(size, size // 4, "reflect") for size in FFT_SIZES_AURALOSS])

    def _sums(self, frames: Tensor) -> Tensor:
        spectrum = spectra(frames)
        magnitudes = (spectrum.real.square() + spectrum.imag.square()).clamp_min(POWER_FLOOR).sqrt()
        squares = torch.stack([magnitudes[1] - magnitudes[0], magnitudes[1]]).square().flatten(2).sum(-1)
        return torch.cat([squares, sum_differences(magnitudes.log()).unsqueeze(0)])

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        values = []
        for framing, part in zip(self.framings, parts):
            error, energy, logarithmic = part.sums
            values.append((error / energy).sqrt() + logarithmic / (part.frames * (framing.size // 2 + 1)))
        return torch.stack(values).mean(0)
