"""Measures one audio file in a single pass: levels, flat tops, silence, and a digest of its samples."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuralfx.audio import Array, blocks, info, read_span

FRAME_S = 0.01  # silence is looked for in frames of this length
BLOCK_FRAMES = 128
SILENT_PEAK = 1e-4  # -80 dBFS
SILENT_S = 0.5  # shorter pauses are part of the music
TAIL_S = 0.25  # what a device may ring on after its input has stopped
LONGEST_NOISE_S = 60.0  # of silent input is enough to know the noise
FLAT_SAMPLES = 3  # equal samples in a row at the highest value make a flat top
FLAT_SHARE = 0.5  # flat tops hold more than this many times the samples that end just below them
LEAST_FLAT_RUNS = 2


@dataclasses.dataclass(frozen=True)
class Levels:
    """What one pass over a file tells; amplitudes relative to full scale, which is 1.

    Attributes:
        sample_rate: In Hz.
        channels: Channels of the file.
        samples: Length per channel.
        format: Container, such as ``FLAC``.
        subtype: Coding of the samples, such as ``PCM_24``.
        peak: Largest magnitude.
        rms: Root mean square, 0 or more.
        dc: Mean.
        clipped_samples: Samples in flat tops at the file's highest or lowest value; 0 where the tops are round.
        clipped_runs: Number of those flat tops.
        clip_level: Magnitude of the flat tops; 0 where there are none.
        zeros: Share of samples that are exactly 0, from 0 to 1.
        leading_zeros: Samples before the first that is not 0, in all channels; all of them for an empty file.
        trailing_zeros: Samples after the last that is not 0.
        not_finite: Samples that are NaN or infinite; they count as 0 elsewhere.
        silent: Spans of at least half a second below -80 dBFS, as start and stop in samples.
        digest: SHA-256 of the samples, which the container does not change.
    """

    sample_rate: int
    channels: int
    samples: int
    format: str
    subtype: str
    peak: float
    rms: float
    dc: float
    clipped_samples: int
    clipped_runs: int
    clip_level: float
    zeros: float
    leading_zeros: int
    trailing_zeros: int
    not_finite: int
    silent: tuple[tuple[int, int], ...]
    digest: str


def measure_levels(path: Path, channel: int | None = None) -> Levels:
    """Measure a file piece by piece.

    Args:
        path: Audio file.
        channel: The one channel that counts, from 0; None for all.

    Raises:
        AudioFileError: If the file is missing, empty, or no audio that can be read.
    """
    header = info(path)
    frame = max(1, round(FRAME_S * header.sample_rate))
    tops, bottoms = _FlatTops(), _FlatTops()
    silence = _Silence(frame, math.ceil(SILENT_S / FRAME_S))
    digest = hashlib.sha256()
    total = energy = peak = 0.0
    values = zeros = bad = position = 0
    first = last = -1
    for block in blocks(path, frame * BLOCK_FRAMES):
        audio = block if channel is None else block[channel : channel + 1]
        audio = np.ascontiguousarray(audio, dtype=np.float32)
        digest.update(audio.data)
        magnitude = np.abs(audio)
        top = float(magnitude.max())
        if not math.isfinite(top):
            wrong = ~np.isfinite(audio)
            bad += int(wrong.sum())
            audio = np.where(wrong, np.float32(0), audio)
            magnitude = np.abs(audio)
            top = float(magnitude.max())
        exact = audio.astype(np.float64)
        total += float(exact.sum())
        energy += float(np.vdot(exact, exact))
        peak = max(peak, top)
        values += audio.size
        sounding = magnitude.max(axis=0)
        zeros += audio.size - int(np.count_nonzero(audio))
        heard = np.flatnonzero(sounding)
        if heard.size:
            first = position + int(heard[0]) if first < 0 else first
            last = position + int(heard[-1])
        tops.add(audio)
        bottoms.add(-audio)
        silence.add(sounding)
        position += audio.shape[-1]
    flat = [side for side in (tops, bottoms) if side.is_flat()]
    return Levels(
        sample_rate=header.sample_rate,
        channels=header.channels,
        samples=position,
        format=header.format,
        subtype=header.subtype,
        peak=peak,
        rms=math.sqrt(energy / values),
        dc=total / values,
        clipped_samples=sum(side.samples for side in flat),
        clipped_runs=sum(side.runs for side in flat),
        clip_level=max((side.level for side in flat), default=0.0),
        zeros=zeros / values,
        leading_zeros=first if first >= 0 else position,
        trailing_zeros=position - 1 - last,
        not_finite=bad,
        silent=silence.finish(),
        digest=digest.hexdigest(),
    )


def measure_noise(path: Path, silent: Sequence[tuple[int, int]], channel: int | None = None) -> float | None:
    """Level of a file where its input is silent, as the root of the median power of short frames.

    Args:
        path: Audio file.
        silent: Spans in which nothing goes into the device, in samples of this file.
        channel: The one channel that counts, from 0; None for the first.

    Returns:
        Root mean square, 0 for digital silence; None if no span outlasts the ringing of the device.
    """
    header = info(path)
    frame = round(0.02 * header.sample_rate)  # a period of hum at 50 Hz
    left = round(LONGEST_NOISE_S * header.sample_rate)
    powers: list[npt.NDArray[np.float64]] = []
    for start, stop in silent:
        start, stop = max(start + round(TAIL_S * header.sample_rate), 0), min(stop, header.samples)
        count = min((stop - start) // frame, left // frame)
        if count < 1:
            continue
        audio = read_span(path, start, start + count * frame)[channel or 0].astype(np.float64)
        powers.append(np.square(audio).reshape(count, frame).mean(axis=1))
        left -= count * frame
    return math.sqrt(float(np.median(np.concatenate(powers)))) if powers else None


class _FlatTops:
    """Counts samples in runs at the highest value so far, and those just below it."""

    def __init__(self) -> None:
        self.level = 0.0
        self.runs = self.samples = self.near = 0

    def add(self, audio: Array) -> None:
        top = float(audio.max())
        if top > self.level:
            self.level, self.runs, self.samples, self.near = top, 0, 0, 0
        floor = self.level - max(0.01 * self.level, 1e-3)  # 1e-3 is 33 steps of 16 bit
        if top < floor or self.level == 0.0:
            return
        at = audio >= self.level
        self.near += int(np.count_nonzero(audio >= floor)) - int(np.count_nonzero(at))
        if top < self.level:
            return
        edges = np.diff(at.astype(np.int8), axis=1, prepend=0, append=0)
        lengths = np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]
        flat = lengths[lengths >= FLAT_SAMPLES]
        self.runs += flat.size
        self.samples += int(flat.sum())

    def is_flat(self) -> bool:
        """Whether more samples end at the level than round tops would leave there."""
        return self.level > 0.01 and self.runs >= LEAST_FLAT_RUNS and self.samples > FLAT_SHARE * self.near


class _Silence:
    """Collects spans of silent frames."""

    def __init__(self, frame: int, least_frames: int) -> None:
        self.frame, self.least = frame, least_frames * frame
        self.position = 0
        self.begin: int | None = None
        self.spans: list[tuple[int, int]] = []

    def add(self, magnitude: Array) -> None:
        padded = np.pad(magnitude, (0, -len(magnitude) % self.frame))
        silent = padded.reshape(-1, self.frame).max(axis=1) < SILENT_PEAK
        for index in np.flatnonzero(np.diff(silent, prepend=self.begin is not None)):
            place = self.position + int(index) * self.frame
            if silent[index]:
                self.begin = place
            else:
                self._end(place)
        self.position += len(magnitude)

    def finish(self) -> tuple[tuple[int, int], ...]:
        self._end(self.position)
        return tuple(self.spans)

    def _end(self, place: int) -> None:
        if self.begin is not None and place - self.begin >= self.least:
            self.spans.append((self.begin, place))
        self.begin = None
