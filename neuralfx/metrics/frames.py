"""Overlapping frames of takes that arrive in blocks, and metrics that add up over frames."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from neuralfx.metrics.base import TakeMetric


class Frames:
    """Frames of ``size`` samples, one every ``hop`` samples, from the first sample on.

    Zeros fill up the last frame, so that every sample lies in a frame and a short take gives one frame.

    Args:
        size: Length of a frame, in samples.
        hop: From the start of a frame to the start of the next, in samples.
    """

    def __init__(self, size: int, hop: int) -> None:
        self.size = size
        self.hop = hop

    def add(self, rest: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
        """Go on by a block.

        Args:
            rest: What the call before has returned, shape (..., samples); no samples at the start of a take.
            block: The next samples, shape (..., time).

        Returns:
            The frames that are complete now, shape (..., frames, size), and the samples that later frames need.
        """
        signal = torch.cat([rest, block], -1)
        count = max(0, (signal.shape[-1] - self.size) // self.hop + 1)
        frames = signal.unfold(-1, self.size, self.hop) if count else signal.new_empty(*signal.shape[:-1], 0, self.size)
        return frames, signal[..., count * self.hop :]

    def last(self, rest: Tensor, before: int) -> Tensor:
        """Frames that the end of the take completes, shape (..., frames, size), after ``before`` others."""
        if before and rest.shape[-1] <= self.size - self.hop:
            return rest.new_empty(*rest.shape[:-1], 0, self.size)
        return pad(rest, (0, self.size - rest.shape[-1])).unsqueeze(-2)


class CentredFrames(Frames):
    """Frames centred on samples 0, hop, 2 hop and so on, as those of :func:`torch.stft`.

    Args:
        size: Length of a frame, in samples, even.
        hop: From the centre of a frame to the centre of the next, in samples, less than half of ``size``.
        mode: What lies beyond both ends of the take: ``reflect`` for its mirror image, ``constant`` for zeros. A take
            shorter than the mirror image needs is filled up with zeros.
    """

    def __init__(self, size: int, hop: int, mode: str) -> None:
        super().__init__(size, hop)
        self.mode = mode

    def add(self, rest: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
        """Go on by a block of shape (channels, time) or (2, channels, time), as :meth:`Frames.add`."""
        if not rest.shape[-1]:
            block = pad(block, (0, max(0, self.size // 2 + 1 - block.shape[-1])))
            block = pad(block, (self.size // 2, 0), mode=self.mode)
        return super().add(rest, block)

    def last(self, rest: Tensor, before: int) -> Tensor:
        """Frames that the end of the take completes, shape (..., frames, size)."""
        return super().add(rest[..., :0], pad(rest, (0, self.size // 2), mode=self.mode))[0]


class FrameSums(NamedTuple):
    """What a take has given so far at one resolution.

    Attributes:
        rest: Samples that later frames need, shape (2, channels, samples).
        sums: Sums over the frames, shape (sums, channels).
        frames: Number of frames.
    """

    rest: Tensor
    sums: Tensor
    frames: int


class FrameMetric(TakeMetric):
    """Metric made of sums over the frames of both signals, at one or more resolutions.

    A subclass gives ``_sums(frames)``, which is called for each of the framings, and ``_value(parts, samples)``.

    Args:
        sample_rate: Sample rate of the take in Hz; None where the measure does not depend on it.
        framings: How the signals are cut, one for each resolution.
    """

    def __init__(self, sample_rate: int | None, framings: Sequence[Frames]) -> None:
        super().__init__(sample_rate)
        self.framings = tuple(framings)

    @abc.abstractmethod
    def _sums(self, frames: Tensor) -> Tensor:
        """Sums over frames of shape (2, channels, frames, size), estimate first; shape (sums, channels)."""

    @abc.abstractmethod
    def _value(self, parts: Sequence[FrameSums], samples: int) -> Tensor:
        """One value per channel from the sums at each resolution and the length of the take, shape (channels,)."""

    def _start(self, channels: int) -> tuple[int, list[FrameSums]]:
        nothing = torch.zeros(2, channels, 0, dtype=torch.float64, device=self.device)
        return 0, [FrameSums(nothing, nothing.new_zeros(()), 0) for _ in self.framings]

    def _add(self, state: tuple[int, list[FrameSums]], pair: Tensor) -> tuple[int, list[FrameSums]]:
        samples, parts = state
        grown = []
        for framing, part in zip(self.framings, parts):
            frames, rest = framing.add(part.rest.to(pair.device), pair)
            sums = part.sums.to(pair.device) + self._sums(frames) if frames.shape[-2] else part.sums
            grown.append(FrameSums(rest, sums, part.frames + frames.shape[-2]))
        return samples + pair.shape[-1], grown

    def _finish(self, state: tuple[int, list[FrameSums]]) -> Tensor:
        samples, parts = state
        whole = []
        for framing, part in zip(self.framings, parts):
            frames = framing.last(part.rest, part.frames)
            sums = part.sums + self._sums(frames) if frames.shape[-2] else part.sums
            whole.append(FrameSums(part.rest[..., :0], sums, part.frames + frames.shape[-2]))
        return self._value(whole, samples)


def spectra(frames: Tensor) -> Tensor:
    """Spectra of frames of shape (..., size) behind a periodic Hann window, complex, shape (..., size / 2 + 1)."""
    window = torch.hann_window(frames.shape[-1], periodic=True, dtype=frames.dtype, device=frames.device)
    spectrum: Tensor = torch.fft.rfft(frames * window)
    return spectrum


def sum_differences(pair: Tensor) -> Tensor:
    """Sum of absolute differences between both halves of ``pair``, shape (2, channels, ...) to (channels,)."""
    return (pair[0] - pair[1]).abs().flatten(1).sum(-1)
