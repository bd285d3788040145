"""Difference of the transients that transient modelling synthesis finds."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from neuralfx.metrics.frames import FrameMetric, Frames, FrameSums, sum_differences

BLOCK_S = 4  # sinusoids are sought in blocks of this length,
TRANSFORM_S = 2  # and transients in blocks of this length
SINE_WINDOW_SAMPLES = 2048
TRANSIENT_WINDOW_SAMPLES = 512
HOP_SAMPLES = 128
SYNTHESIS_SAMPLES = 512
FLOOR_DB = -90.0  # of the amplitude of a peak's positive frequency
MOST_PEAKS = 256
FFT_SIZES = (2048, 512, 128, 32)
POWER_FLOOR = 1e-4

_LOBE_BINS = 9
_LOBE_STEPS = 1024  # table entries from bin to bin
_CHUNK_FRAMES = 256


def transient_error(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    r"""Spectral distance of the transients, in the domain of the cosine transform.

    Transient modelling synthesis takes a signal x for a sum of sinusoids, transients and noise. An impulse becomes
    a sinusoid in the domain of the discrete cosine transform (DCT), so transients are found there as sinusoids are
    found in time:

    .. math:: d(x) = S_{512} \bigl( \mathrm{DCT} ( x - S_{2048}(x) ) \bigr)

    :math:`S_M` is :func:`sinusoids` with windows of M samples. The metric compares the power spectra
    :math:`P_m` of :math:`d(y)` and :math:`d(\hat y)`:

    .. math:: \frac{1}{4} \sum_m \operatorname{mean} \lvert P_m - \hat P_m \rvert + \operatorname{mean}
        \bigl\lvert \ln (P_m + 10^{-4}) - \ln (\hat P_m + 10^{-4}) \bigr\rvert, \quad m \in \{2048, 512, 128, 32\}

    Spectra are those of symmetric Hann windows, one every m / 4 samples. Blocks are part of the definition: sinusoids
    are sought in blocks of 4 s, with silence around each, and the DCT is taken of blocks of 2 s.

    The paper gives the steps; lengths, thresholds and the spectral distance are those of its code. We depart from the
    code in four things that hardly change the number. The last, shorter block counts. Sinusoids are as long as the
    signal. In a frame of more than 256 peaks the highest are kept, not those that a tracker happens to hold. The main
    lobes that are added up come from a table.

    Args:
        estimate: Model output, shape (..., time).
        target: Recorded output of the device, same shape.
        sample_rate: Sample rate in Hz.

    Returns:
        One value per signal, shape (...), float64; 0 is perfect, and so is the wrong polarity.

    Raises:
        ShapeError: If the shapes differ or hold no sample.

    Example:
        >>> click = torch.zeros(4000)
        >>> click[1000] = 1.0
        >>> transient_error(-click, click, sample_rate=8000).round(decimals=9)
        tensor(0., dtype=torch.float64)

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network", DAFx 2024, arXiv:2408.04829, section 6.1, and its code; Verma and
        Meng, "Extending Spectral Modeling Synthesis with Transient Modeling Synthesis", Computer Music Journal 24(2),
        2000.
    """
    return TransientError(sample_rate).measure(estimate, target)


class TransientError(FrameMetric):
    """:func:`transient_error` of a take from its pieces; holds four seconds of both signals.

    Args:
        sample_rate: Sample rate of the take in Hz.

    Example:
        >>> click = torch.zeros(1, 4000)
        >>> click[0, 1000] = 1.0
        >>> metric = TransientError(sample_rate=8000)
        >>> metric.update(-click, click)
        >>> metric.compute().round(decimals=9)
        tensor(0., dtype=torch.float64)
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate, [Frames(size, size // 4) for size in FFT_SIZES])
        self.block_samples = BLOCK_S * sample_rate
        self.transform_samples = TRANSFORM_S * sample_rate

    def _add(self, state: tuple[int, list[FrameSums]], pair: Tensor) -> tuple[int, list[FrameSums]]:
        signals = pair.flatten(0, 1).detach()
        found = torch.stack([transients(signal, self.transform_samples) for signal in signals])
        return super()._add(state, found.reshape(pair.shape))

    def _sums(self, frames: Tensor) -> Tensor:
        window = torch.hann_window(frames.shape[-1], periodic=False, dtype=frames.dtype, device=frames.device)
        spectrum = torch.fft.rfft(frames * window)
        powers = spectrum.real.square() + spectrum.imag.square()
        return torch.stack([sum_differences(powers), sum_differences((powers + POWER_FLOOR).log())])

    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        counts = [part.frames * (framing.size // 2 + 1) for framing, part in zip(self.framings, parts)]
        return torch.stack([part.sums.sum(0) / count for part, count in zip(parts, counts)]).mean(0)


def transients(signal: Tensor, transform_samples: int) -> Tensor:
    """Transients of a signal in the domain of the cosine transform.

    Args:
        signal: Audio, shape (time,), float64.
        transform_samples: Length of the blocks that are transformed one by one, in samples.

    Returns:
        What the transform of each block holds of sinusoids, one block after the other, shape (time,).

    Example:
        >>> transients(torch.zeros(3000, dtype=torch.float64), 1000).abs().max()
        tensor(0., dtype=torch.float64)
    """
    residual = signal - sinusoids(signal, SINE_WINDOW_SAMPLES)
    blocks = torch.split(residual, transform_samples)
    return torch.cat([sinusoids(cosine_transform(block), TRANSIENT_WINDOW_SAMPLES) for block in blocks])


def sinusoids(signal: Tensor, window_samples: int) -> Tensor:
    r"""The part of a signal that peaks of its short-time spectrum explain.

    Every 128 samples, each local maximum above -90 dB of the spectrum behind a Hann window is taken for a sinusoid;
    its frequency, level and phase are interpolated between bins, by a parabola through three levels in dB, which
    overrates a steady tone by up to 0.33 dB. Sinusoids of consecutive frames are cross-faded.

    Args:
        signal: Audio, shape (time,), float64.
        window_samples: Length of the analysis window, even.

    Returns:
        The sum of the sinusoids, same shape.

    Example:
        >>> tone = torch.sin(0.3 * torch.arange(4096, dtype=torch.float64))
        >>> bool((sinusoids(tone, 2048) - tone)[1024:-1024].abs().max() < 0.01)
        True

    Reference:
        Serra and Smith, "Spectral Modeling Synthesis", Computer Music Journal 14(4), 1990. The sum is made of main
        lobes of a Blackman-Harris window, which an inverse transform turns into time.
    """
    length, half = signal.shape[-1], window_samples // 2
    count = (length - 1) // HOP_SAMPLES + 2
    padded = pad(signal, (half, half + (count - 1) * HOP_SAMPLES - length))
    frames = padded.unfold(-1, window_samples, HOP_SAMPLES)
    faded = torch.cat([_synthesise(*_peaks(chunk), len(chunk)) for chunk in torch.split(frames, _CHUNK_FRAMES)])
    rising, falling = faded[:, :HOP_SAMPLES], faded[:, HOP_SAMPLES:]
    return (falling[:-1] + rising[1:]).flatten()[:length]


def cosine_transform(signal: Tensor) -> Tensor:
    r"""Orthonormal discrete cosine transform of the second kind.

    .. math:: X_k = \sqrt{\tfrac{2 - \delta_k}{N}} \sum_{n=0}^{N-1} x_n \cos \frac{\pi k (2 n + 1)}{2 N}

    Args:
        signal: Values, shape (time,).

    Returns:
        Coefficients, same shape.

    Example:
        >>> cosine_transform(torch.ones(4))
        tensor([2., 0., 0., 0.])
    """
    length = signal.shape[-1]
    spectrum = torch.fft.fft(torch.cat([signal[::2], signal[1::2].flip(-1)]))
    angle = -math.pi / (2 * length) * torch.arange(length, dtype=signal.dtype, device=signal.device)
    transform: Tensor = math.sqrt(2 / length) * (spectrum.real * angle.cos() - spectrum.imag * angle.sin())
    transform[0] = transform[0] / math.sqrt(2)
    return transform


def _peaks(frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Peaks of the spectra of frames: frame, frequency in bins of the synthesis, level in dB and phase."""
    size = frames.shape[-1]
    window = torch.hann_window(size, dtype=frames.dtype, device=frames.device)
    spectrum = torch.fft.rfft(frames * (window / window.sum()))
    spectrum[:, 1::2] *= -1  # phases from now on are those at the centre of the frame
    levels = 10 * torch.log10((spectrum.real.square() + spectrum.imag.square()).clamp_min(1e-30))
    left, centre, right = levels[:, :-2], levels[:, 1:-1], levels[:, 2:]
    heights = torch.where((centre > left) & (centre > right), centre, -torch.inf)
    least = heights.topk(min(MOST_PEAKS, heights.shape[-1]), sorted=False).values.amin(-1, keepdim=True)
    frame, bin_ = ((heights >= least) & (heights > FLOOR_DB)).nonzero(as_tuple=True)
    left, centre, right = left[frame, bin_], centre[frame, bin_], right[frame, bin_]
    bin_ = bin_ + 1  # the first bin has no neighbour
    offset = 0.5 * (left - right) / (left - 2 * centre + right)
    level = centre - 0.25 * (left - right) * offset
    value = spectrum[frame, bin_]
    turn = (spectrum[frame, bin_ + offset.sign().long()] * value.conj()).angle()
    return frame, (bin_ + offset) * (SYNTHESIS_SAMPLES / size), level, value.angle() + offset.abs() * turn


def _synthesise(frame: Tensor, frequency: Tensor, level: Tensor, phase: Tensor, count: int) -> Tensor:
    """Frames of two hops with the sinusoids of ``count`` frames, faded in and out, shape (count, 256)."""
    bins = SYNTHESIS_SAMPLES // 2 + 1
    nearest = frequency.round()
    bin_ = nearest.long().unsqueeze(-1) + torch.arange(_LOBE_BINS, device=frame.device) - _LOBE_BINS // 2
    lobes = _lobes(nearest - frequency)
    mirrored = (bin_ < 0) | (bin_ >= bins)
    bin_ = torch.where(bin_ < 0, -bin_, torch.where(bin_ >= bins, SYNTHESIS_SAMPLES - bin_, bin_))
    place = (frame.unsqueeze(-1) * bins + bin_).flatten()
    height = 10 ** (level / 20)
    real = (height * phase.cos()).unsqueeze(-1) * lobes
    imaginary = (height * phase.sin()).unsqueeze(-1) * torch.where(mirrored, -lobes, lobes)
    parts = torch.zeros(2, count * bins, dtype=level.dtype, device=level.device)
    parts.index_add_(1, place, torch.stack([real.flatten(), imaginary.flatten()]))
    real, imaginary = parts.reshape(2, count, bins)
    real[:, [0, -1]] *= 2  # where a lobe meets its mirror image
    time = torch.fft.irfft(torch.complex(real, imaginary), SYNTHESIS_SAMPLES)
    middle = torch.cat([time[:, -HOP_SAMPLES:], time[:, :HOP_SAMPLES]], -1)
    return middle * _fade().to(frame.device)


def _lobes(start: Tensor) -> Tensor:
    """Main lobe of the synthesis window at nine bins; ``start`` is the middle one's distance, -0.5 to 0.5 bins."""
    table = _lobe_table().to(start.device)
    position = (start + 0.5) * _LOBE_STEPS
    index = position.long().clamp_max(_LOBE_STEPS - 1)
    share = (position - index).unsqueeze(-1)
    return table[index] * (1 - share) + table[index + 1] * share


@functools.cache
def _blackman_harris() -> Tensor:
    """Four-term Blackman-Harris window of the synthesis with a sum of 1, from its centre on, shape (512,)."""
    angle = 2 * math.pi / SYNTHESIS_SAMPLES * torch.arange(SYNTHESIS_SAMPLES, dtype=torch.float64)
    terms = (0.35875, 0.48829, 0.14128, 0.01168)
    window = sum((term * torch.cos(k * angle) for k, term in enumerate(terms)), torch.zeros_like(angle))
    return window / window.sum()


@functools.cache
def _lobe_table() -> Tensor:
    """Transform of the window around its centre, by distance from -0.5 to 0.5 bins, shape (1025, 9)."""
    distance = torch.linspace(-0.5, 0.5, _LOBE_STEPS + 1, dtype=torch.float64).unsqueeze(-1)
    distance = distance + torch.arange(_LOBE_BINS) - _LOBE_BINS // 2
    time = torch.arange(SYNTHESIS_SAMPLES, dtype=torch.float64) - SYNTHESIS_SAMPLES // 2
    waves = torch.cos(2 * math.pi / SYNTHESIS_SAMPLES * distance.unsqueeze(-1) * time)
    return waves @ _blackman_harris().roll(SYNTHESIS_SAMPLES // 2)


@functools.cache
def _fade() -> Tensor:
    """Triangle of two hops over the synthesis window, which it takes the place of, shape (256,)."""
    time = torch.arange(-HOP_SAMPLES, HOP_SAMPLES)
    return (1 - time.abs() / HOP_SAMPLES) / _blackman_harris()[time]
