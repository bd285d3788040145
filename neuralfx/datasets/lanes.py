"""Plays recordings from disk in lanes: rows of consecutive batches that run on in time, so that a state can be carried.

A :class:`Span` is a piece of a take that counts. Before each span its lane is marked fresh and plays some of what lies
before it without scoring, so that the state of the device is found before anything is compared. Only the segments
being played, and a little ahead, are in memory.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from neuralfx.audio import read_span
from neuralfx.batch import Batch
from neuralfx.errors import ShapeError

READ_SAMPLES = 65_536  # about how much of a file is read at once

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
    """

    dry: Path
    wet: Path
    knobs: Array
    samples: int
    dry_start: int = 0
    wet_start: int = 0
    polarity: int = 1
    scale: float = 1.0

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """Input and output at the positions ``start`` to ``stop``, each of shape (channels, time)."""
        dry = read_span(self.dry, start + self.dry_start, stop + self.dry_start)
        wet = read_span(self.wet, start + self.wet_start, stop + self.wet_start)
        return dry, wet * np.float32(self.polarity)


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
    """Reciprocal of the root mean square of a take's output over ranges of positions, in 1/amplitude; 1 for silence."""
    energy, count = 0.0, 0
    for start, stop in ranges:
        for begin in range(start, stop, READ_SAMPLES):
            end = min(begin + READ_SAMPLES, stop)
            wet = read_span(take.wet, begin + take.wet_start, end + take.wet_start)
            energy += float(np.square(wet, dtype=np.float64).sum())
            count += wet.size
    return math.sqrt(count / energy) if energy else 1.0


class _Lanes(IterableDataset[Batch]):
    """What training and evaluation share: a list of spans per lane, played side by side."""

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

    def plan(self) -> list[list[Span]]:
        """The spans that each lane plays, in order."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None and worker.num_workers > 1:
            raise ShapeError(
                f"lanes run on from batch to batch: expected num_workers 0 or 1, got {worker.num_workers}."
            )
        plan = self.plan()
        length = max(sum(span.segments(self.segment_samples) for span in lane) for lane in plan)
        rows = [self._play(lane) for lane in self._mine(plan)]
        silence = self._silence()
        for _ in range(length):  # the same number on every rank
            yield Batch(*(torch.stack(column) for column in zip(*(next(row, silence) for row in rows))))

    def _mine(self, plan: list[list[Span]]) -> list[list[Span]]:
        """The lanes of this process among those that train together."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return plan
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        if len(plan) % world:
            raise ShapeError(f"lanes: expected a multiple of the {world} processes, got {len(plan)}.")
        return plan[rank::world]

    def _play(self, lane: Sequence[Span]) -> Iterator[Batch]:
        """The rows of one lane, without their batch dimension."""
        size = self.segment_samples
        ahead = max(READ_SAMPLES // size, 1) * size
        for span in lane:
            take = self.takes[span.take]
            first = span.start - span.warmup
            for begin in range(first, span.stop, ahead):
                dry, wet = take.read(begin, min(begin + ahead, span.stop))
                for offset in range(0, dry.shape[-1], size):
                    played = min(size, dry.shape[-1] - offset)
                    position = begin + offset
                    sample = torch.arange(size)
                    yield Batch(
                        dry=_padded(dry[:, offset : offset + played], size),
                        wet=_padded(wet[:, offset : offset + played], size),
                        knobs=torch.from_numpy(take.knobs),
                        fresh=torch.tensor(position == first),
                        scored=(sample >= span.start - position) & (sample < played),
                        scale=torch.tensor(take.scale),
                        take=torch.tensor(span.take),
                    )

    def _silence(self) -> Batch:
        """A row for a lane that has come to its end."""
        take = self.takes[self.spans[0].take]
        audio, _ = take.read(0, 1)
        silent = torch.zeros(audio.shape[0], self.segment_samples)
        return Batch(
            dry=silent,
            wet=silent,
            knobs=torch.from_numpy(take.knobs),
            fresh=torch.tensor(True),
            scored=torch.zeros(self.segment_samples, dtype=torch.bool),
            scale=torch.tensor(take.scale),
            take=torch.tensor(self.spans[0].take),
        )


class TrainingLanes(_Lanes):
    """Endless-looking material for truncated BPTT: all spans once or more per epoch, shuffled, in equally long lanes.

    Args:
        takes: The takes that the spans index.
        spans: What counts; of each span, ``warmup`` is the most that may be played before any part of it.
        lanes: Rows of a batch, at least 1.
        segment_samples: Length of a row, in samples.
        warmup_samples: What is played before a lane enters a span, if the take has as much.
        repeats: How often the spans play per epoch, at least 1.
        seed: Together with the epoch determines the order.
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
    ) -> None:
        super().__init__(takes, spans, lanes, segment_samples)
        self.warmup_samples = warmup_samples
        self.repeats = repeats
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order that the next iteration plays."""
        self.epoch = epoch

    def plan(self) -> list[list[Span]]:
        """Shuffle the spans, rotate them by a random offset, and cut them into runs of equal length."""
        generator = np.random.default_rng((self.seed, self.epoch))
        tape = [self.spans[index] for _ in range(self.repeats) for index in generator.permutation(len(self.spans))]
        total = sum(span.stop - span.start for span in tape)
        head, tail = self._cut(tape, int(generator.integers(total)))
        tape = tail + head
        plan = []
        for lane in range(self.lanes):
            length = total * (lane + 1) // self.lanes - total * lane // self.lanes
            run, tape = self._cut(tape, length)
            plan.append([self._warmed(span) for span in run])
        return plan

    def _cut(self, tape: Sequence[Span], length: int) -> tuple[list[Span], list[Span]]:
        """The first ``length`` positions that count, and the rest."""
        head: list[Span] = []
        for index, span in enumerate(tape):
            if length <= 0:
                return head, list(tape[index:])
            duration = span.stop - span.start
            if duration > length:
                middle = span.start + length
                head.append(span._replace(stop=middle))
                return head, [span._replace(start=middle, warmup=span.warmup + length), *tape[index + 1 :]]
            head.append(span)
            length -= duration
        return head, []

    def _warmed(self, span: Span) -> Span:
        return span._replace(warmup=min(span.warmup, self.warmup_samples))


class EvaluationLanes(_Lanes):
    """All spans exactly once in a fixed order, each after its warm-up; several takes side by side.

    Args:
        takes: The takes that the spans index.
        spans: What counts, each with the warm-up that is played before it.
        lanes: Rows of a batch, at least 1; not more are used than there are spans.
        segment_samples: Length of a row, in samples.
    """

    def __init__(
        self, takes: Sequence[AlignedTake], spans: Sequence[Span], lanes: int = 8, segment_samples: int = 2400
    ) -> None:
        super().__init__(takes, spans, lanes, segment_samples)

    def plan(self) -> list[list[Span]]:
        """Give each span, in order, to the lane that is free first."""
        world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        lanes = min(self.lanes, math.ceil(len(self.spans) / world) * world)
        plan: list[list[Span]] = [[] for _ in range(lanes)]
        busy = [0] * lanes
        for span in self.spans:
            lane = busy.index(min(busy))
            plan[lane].append(span)
            busy[lane] += span.segments(self.segment_samples)
        return plan


def _padded(audio: Array, length: int) -> Tensor:
    padded = torch.zeros(audio.shape[0], length)
    padded[:, : audio.shape[1]] = torch.from_numpy(audio)
    return padded
