"""Plays recordings from disk in lanes: rows of consecutive batches that run on in time, so that a state can be carried.

A :class:`Span` is a piece of a take that counts. Before each span its lane is marked fresh and plays some of what lies
before it without scoring, so that the state of the device is found before anything is compared. Only the segments
being played, and a little ahead, are in memory.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import functools
import itertools
import math
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from neuralfx.audio import read_span
from neuralfx.batch import Batch
from neuralfx.errors import AudioFileError, ShapeError

READ_SAMPLES = 65_536  # about how much of a lane is read at once
LEVEL_PIECES = 64  # of READ_SAMPLES, by which the level of a take is measured

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class AlignedTake:
    """The usable part of a take: position n is sample n + dry_start of the input, n + wet_start of the output.

    Attributes:
        dry: File with what went into the device.
        wet: File with what came out.
        knobs: Normalised knob values from 0 to 1, shape (knobs,).
        samples: Number of positions at which both files have audio.
        dry_start: First sample of the input that is used, 0 or more.
        wet_start: First sample of the output that is used, 0 or more.
        polarity: Factor on the output, 1 or -1.
        scale: Reciprocal of the root mean square of the target, in 1/amplitude.
        channels: Channels of the effect.
        channel: Channel that is taken of files with more than the effect has, from 0; None takes files as they are.
    """

    dry: Path
    wet: Path
    knobs: Array
    samples: int
    dry_start: int = 0
    wet_start: int = 0
    polarity: int = 1
    scale: float = 1.0
    channels: int = 1
    channel: int | None = None

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """Input and output at the positions ``start`` to ``stop``, each of shape (channels, time)."""
        return self.read_dry(start, stop), self.read_wet(start, stop)

    def read_dry(self, start: int, stop: int) -> Array:
        """Input at the positions ``start`` to ``stop``, shape (channels, time)."""
        return self._read(self.dry, start + self.dry_start, stop + self.dry_start)

    def read_wet(self, start: int, stop: int) -> Array:
        """Output at the positions ``start`` to ``stop``, shape (channels, time)."""
        return self._read(self.wet, start + self.wet_start, stop + self.wet_start) * np.float32(self.polarity)

    def _read(self, path: Path, start: int, stop: int) -> Array:
        audio = self._pick(read_span(path, start, stop))
        if not np.isfinite(audio).all():
            raise AudioFileError(
                f"{path}: expected finite audio, got NaN or infinity; 'neuralfx data check' says where."
            )
        return audio

    def _pick(self, audio: Array) -> Array:
        if self.channel is None or audio.shape[0] == self.channels:
            return audio
        return audio[self.channel : self.channel + 1]


class Span(NamedTuple):
    """A contiguous piece of a take that counts.

    Attributes:
        take: Index of the take.
        start: First position that counts, in samples.
        stop: Position after the last one.
        warmup: Positions before ``start`` that are played first without counting; at most ``start``.
    """

    take: int
    start: int
    stop: int
    warmup: int = 0

    def segments(self, segment_samples: int) -> int:
        """Number of segments that play this span with its warm-up."""
        return math.ceil((self.stop - self.start + self.warmup) / segment_samples)


def inverse_rms(take: AlignedTake, ranges: Sequence[tuple[int, int]]) -> float:
    """Reciprocal of the root mean square of a take's output over ranges of positions, in 1/amplitude; 1 for silence.

    Of more than about a minute, pieces evenly spread over the ranges are read.
    """
    pieces = [
        (begin, min(begin + READ_SAMPLES, stop)) for start, stop in ranges for begin in range(start, stop, READ_SAMPLES)
    ]
    energy, count = 0.0, 0
    for begin, end in pieces[:: len(pieces) // LEVEL_PIECES + 1]:
        wet = take.read_wet(begin, end)
        energy += float(np.square(wet, dtype=np.float64).sum())
        count += wet.size
    return math.sqrt(count / energy) if energy else 1.0


class Lane(NamedTuple):
    """What one lane plays.

    Attributes:
        spans: In order.
        begins: The segment with which each of them begins.
    """

    spans: list[Span]
    begins: list[int]


class _Lanes:
    """What training and evaluation share: spans, dealt to lanes that play side by side.

    With ``torch.distributed`` running when it is built, each process plays its share of the lanes.
    """

    def __init__(self, takes: Sequence[AlignedTake], spans: Sequence[Span], lanes: int, segment_samples: int) -> None:
        if not spans:
            raise ShapeError(
                "lanes: expected at least one span to play, got none; leave more of the takes to this split."
            )
        if lanes < 1 or segment_samples < 1:
            raise ShapeError(f"lanes: expected at least 1 lane and 1 sample, got {lanes} and {segment_samples}.")
        self.takes = tuple(takes)
        self.spans = tuple(spans)
        self.lanes = lanes
        self.segment_samples = segment_samples
        self.rank, self.world = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def __len__(self) -> int:
        """Segments of a lane in an epoch, the same for all lanes, processes and epochs."""
        raise NotImplementedError

    def plan(self, epoch: int) -> list[list[Span]]:
        """The spans that each lane plays, in order."""
        raise NotImplementedError

    def mine(self, epoch: int) -> list[Lane]:
        """The lanes of this process among those that train together."""
        lanes = []
        for spans in self.plan(epoch)[self.rank :: self.world]:
            ends = itertools.accumulate((span.segments(self.segment_samples) for span in spans), initial=0)
            lanes.append(Lane(spans, list(ends)[:-1]))
        return lanes

    def read(self, lanes: Sequence[Lane], start: int, stop: int) -> Batch:
        """The segments from ``start`` up to ``stop`` of lanes.

        Args:
            lanes: What each lane plays, from :meth:`mine`.
            start: First segment, 0 or more.
            stop: Segment after the last one.

        Returns:
            Batches one after the other, shape (stop - start, lanes, ...) each.
        """
        rows = [self._read_lane(lane, start, stop) for lane in lanes]
        return Batch(*(torch.stack(column, dim=1) for column in zip(*rows)))

    def _read_lane(self, lane: Lane, start: int, stop: int) -> Batch:
        """Segments of one lane; silence behind its end."""
        size, count = self.segment_samples, stop - start
        example = self.takes[self.spans[0].take]
        dry = np.zeros((count, example.channels, size), np.float32)
        wet = np.zeros_like(dry)
        knobs = np.tile(example.knobs, (count, 1))
        fresh = np.zeros(count, bool)
        scored = np.zeros((count, size), bool)
        scale = np.full(count, example.scale, np.float32)
        takes = np.full(count, self.spans[0].take, np.int64)
        place = max(bisect.bisect_right(lane.begins, start) - 1, 0)
        for span, begin in zip(lane.spans[place:], lane.begins[place:]):
            if begin >= stop:
                break
            first, last = max(begin, start), min(begin + span.segments(size), stop)
            if first >= last:  # behind the end of the lane
                continue
            position = span.start - span.warmup + (first - begin) * size
            heard = min(position + (last - first) * size, span.stop) - position
            rows = slice(first - start, last - start)
            take = self.takes[span.take]
            for array, audio in zip((dry, wet), take.read(position, position + heard)):
                array[rows] = _in_segments(audio, last - first, size)
            index = np.arange((last - first) * size).reshape(-1, size)
            scored[rows] = (index >= span.start - position) & (index < heard)
            fresh[rows] = np.arange(first, last) == begin
            knobs[rows], scale[rows], takes[rows] = take.knobs, take.scale, span.take
        return Batch(*map(torch.from_numpy, (dry, wet, knobs, fresh, scored, scale, takes)))


def _in_segments(audio: Array, count: int, size: int) -> Array:
    """Audio of shape (channels, time) as (count, channels, size), with silence behind its end."""
    padded = np.zeros((audio.shape[0], count * size), np.float32)
    padded[:, : audio.shape[1]] = audio
    return padded.reshape(-1, count, size).transpose(1, 0, 2)


class TrainingLanes(_Lanes):
    """Material for truncated BPTT: all spans once or a little more per epoch, in another order each time.

    The spans are shuffled into a tape, and the lanes cut from it, beginning anywhere, pieces of the same length. What
    entering spans costs differs from epoch to epoch; to fill the lanes, the tape begins again.

    Args:
        takes: The takes that the spans index.
        spans: What counts; of each span, ``warmup`` is the most that may be played before any part of it.
        lanes: Rows of a batch in all processes together, at least 1, a multiple of the number of processes.
        segment_samples: Length of a row, in samples.
        warmup_samples: What is played before a lane enters a span, if the take has as much.
        repeats: How often the spans play per epoch, at least 1.
        seed: Together with the epoch determines the order.
        scattered: Whether each scored segment is from another place, after its own warm-up, instead of running on: for
            networks that see no further than the warm-up.
    """

    def __init__(
        self,
        takes: Sequence[AlignedTake],
        spans: Sequence[Span],
        lanes: int = 8,
        segment_samples: int = 2400,
        warmup_samples: int = 0,
        repeats: int = 1,
        seed: int = 0,
        scattered: bool = False,
    ) -> None:
        super().__init__(takes, spans, lanes, segment_samples)
        if lanes % self.world:
            raise ShapeError(f"lanes: expected a multiple of the {self.world} processes, got {lanes}.")
        self.warmup_samples = warmup_samples
        self.repeats = repeats
        self.seed = seed
        self.scattered = scattered

    def __len__(self) -> int:
        """Segments of a lane in an epoch, enough for every span whatever the order."""
        size = self.segment_samples
        entering = math.ceil(self.warmup_samples / size) + 1
        if self.scattered:  # cut anywhere, a span of n segments gives up to n + 1 pieces
            pieces = sum(math.ceil((span.stop - span.start) / size) + 1 for span in self.spans)
            total = pieces * self.repeats * entering
        else:
            total = sum(self._warmed(span).segments(size) for span in self.spans) * self.repeats
        return math.ceil((total + (self.lanes + 1) * entering) / self.lanes)

    def plan(self, epoch: int) -> list[list[Span]]:
        """Shuffle the spans, and cut the lanes from them one after the other."""
        generator = np.random.default_rng((self.seed, epoch))
        spans = [span for _ in range(self.repeats) for span in self.spans]
        if self.scattered:
            spans = [piece for span in spans for piece in self._pieces(span, int(generator.integers(1 << 31)))]
        tape = [spans[index] for index in generator.permutation(len(spans))]
        played = int(generator.integers(tape[0].stop - tape[0].start))  # of the first span, by the lane before
        source = itertools.cycle(tape)
        span = _without_head(next(source), played)
        plan, length = [], len(self)
        for _ in range(self.lanes):
            lane: list[Span] = []
            room = length
            while room > 0:
                piece = self._warmed(span)
                if piece.segments(self.segment_samples) <= room:
                    span = next(source)
                else:  # the next lane goes on here
                    counted = room * self.segment_samples - piece.warmup
                    if counted <= 0:
                        break
                    piece = piece._replace(stop=piece.start + counted)
                    span = _without_head(span, counted)
                lane.append(piece)
                room -= piece.segments(self.segment_samples)
            plan.append(lane)
        return plan

    def _pieces(self, span: Span, phase: int) -> list[Span]:
        """A span cut into scored segments, the first of any length."""
        size = self.segment_samples
        cuts = [*range(span.start + 1 + phase % size, span.stop, size), span.stop]
        starts = [span.start, *cuts[:-1]]
        return [Span(span.take, a, b, span.warmup + a - span.start) for a, b in zip(starts, cuts)]

    def _warmed(self, span: Span) -> Span:
        return span._replace(warmup=min(span.warmup, self.warmup_samples))


def _without_head(span: Span, samples: int) -> Span:
    """A span without its first samples, which may warm up what follows."""
    return span._replace(start=span.start + samples, warmup=span.warmup + samples)


class EvaluationLanes(_Lanes):
    """All spans exactly once in a fixed order, each after its warm-up; several takes side by side.

    Args:
        takes: The takes that the spans index.
        spans: What counts, each with the warm-up that is played before it.
        lanes: Rows of a batch in all processes together, at least 1; not more are used than there are spans.
        segment_samples: Length of a row, in samples.
    """

    def __init__(
        self, takes: Sequence[AlignedTake], spans: Sequence[Span], lanes: int = 8, segment_samples: int = 2400
    ) -> None:
        super().__init__(takes, spans, lanes, segment_samples)
        if lanes % self.world:
            raise ShapeError(f"lanes: expected a multiple of the {self.world} processes, got {lanes}.")

    def __len__(self) -> int:
        """Segments of the longest lane."""
        return max(sum(span.segments(self.segment_samples) for span in lane) for lane in self.plan(0))

    def plan(self, epoch: int) -> list[list[Span]]:
        """Give each span, in order, to the lane that is free first."""
        lanes = min(self.lanes, math.ceil(len(self.spans) / self.world) * self.world)
        plan: list[list[Span]] = [[] for _ in range(lanes)]
        busy = [0] * lanes
        for span in self.spans:
            lane = busy.index(min(busy))
            plan[lane].append(span)
            busy[lane] += span.segments(self.segment_samples)
        return plan


class LaneLoader:
    """Batches of lanes in order, read ahead by threads; each iteration is the next epoch.

    Lightning saves and restores its place with a checkpoint, so that a run resumes in the middle of an epoch. An epoch
    begins with its first batch: Lightning makes iterators that it never uses.

    Args:
        lanes: What is played.
        num_workers: Threads that read ahead; 0 reads when a batch is asked for.

    Attributes:
        epoch: The epoch that was begun last; -1 before the first.
        batch: Batches of it that were handed out.
    """

    def __init__(self, lanes: _Lanes, num_workers: int = 1) -> None:
        self.lanes = lanes
        self.num_workers = num_workers
        self.epoch = -1
        self.batch = 0
        self._resumes = False

    def __len__(self) -> int:
        return len(self.lanes)

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumes or self.batch >= len(self):
            self.epoch, self.batch = self.epoch + 1, 0
        self._resumes = False
        with contextlib.closing(self._read_ahead()) as strips:
            for strip in strips:
                for fields in zip(*strip):
                    self.batch += 1
                    yield Batch(*fields)

    def state_dict(self) -> dict[str, int]:
        """The place in the epoch, as a checkpoint keeps it."""
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Let the next iteration go on behind the batches that were handed out."""
        self.epoch, self.batch = int(state_dict["epoch"]), int(state_dict["batch"])
        self._resumes = True

    def _read_ahead(self) -> Generator[Batch]:
        lanes, end = self.lanes.mine(self.epoch), len(self)
        length = max(READ_SAMPLES // self.lanes.segment_samples, 1)  # of a strip, in segments
        starts = range(self.batch, end, length)
        strips = (functools.partial(self.lanes.read, lanes, start, min(start + length, end)) for start in starts)
        if not self.num_workers:
            for strip in strips:
                yield strip()
            return
        with ThreadPoolExecutor(self.num_workers) as pool:
            waiting = deque(pool.submit(strip) for strip in itertools.islice(strips, self.num_workers))
            while waiting:
                ready = waiting.popleft().result()
                waiting.extend(pool.submit(strip) for strip in itertools.islice(strips, 1))
                yield ready
