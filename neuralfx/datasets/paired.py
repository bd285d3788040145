"""Recordings of a device as a :class:`lightning.LightningDataModule`: aligned, split, and streamed from disk."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
from collections.abc import Sequence
from typing import Any, Literal

from lightning import LightningDataModule
from torch.utils.data import DataLoader

from neuralfx.audio import AudioInfo, info, read_span
from neuralfx.batch import Batch
from neuralfx.datasets.alignment import Alignment, estimate_alignment
from neuralfx.datasets.lanes import AlignedTake, EvaluationLanes, Span, TrainingLanes, inverse_rms
from neuralfx.datasets.manifest import Recording, Take, read_recording
from neuralfx.effect import Effect
from neuralfx.errors import FormatError
from neuralfx.files import sha256

_log = logging.getLogger(__name__)

VALIDATION = ((0.7, 0.8),)
TEST = ((0.8, 1.0),)
# Takes with a clear onset reach 0.6 and more, a self-oscillating filter that no offset explains 0.1.
LEAST_CONFIDENCE = 0.25
# "auto" takes smaller offsets for the response of the device itself.
AUTO_SAMPLES = 32
MAX_OFFSET = 8192
ALIGNMENT_S = 20

Range = tuple[int, int]


class PairedAudioDataModule(LightningDataModule):
    """Takes of one device, each an input file and an output file at one setting of the knobs.

    Reads what :func:`~neuralfx.datasets.manifest.read_recording` understands. Audio is decoded as it is played.

    Args:
        root: Folder with ``recordings.json`` or ``manifest.csv``.
        device: Which device of the manifest; may be left out if there is one.
        knobs: Declarations of knobs that replace the manifest's: fields of :class:`~neuralfx.effect.Knob`, ``column``
            and ``factor``.
        validation: Ranges of every take that validate, as fractions 0 to 1 of what both files cover.
        test: Ranges that test, likewise. With neither, the splits of the manifest count; without those
            validation is 0.7 to 0.8 and test 0.8 to 1. With one, the other is its default.
        guard_samples: Samples beside a held-out range that train nothing.
        align: Whether to estimate and correct the offset of each take on its training part; "auto" leaves offsets
            of up to 32 samples as they are. False for recordings that are sample-exact.
        correct_polarity: Whether to turn inverted takes around; it is part of the device's sound otherwise.
        segment_samples: Length of a row of a batch, in samples.
        lanes: Rows of a batch.
        warmup_s: Audio played unscored before a training lane enters a span, in seconds.
        evaluation_warmup_s: The same for validation, test and prediction, in seconds.
        repeats: How often the training material plays per epoch; more for tiny sets.
        seed: Determines, together with the epoch, the order of training.
        num_workers: 0, or 1 to read in a process of its own.
        slug: Slug of the effect; the manifest's name of the device if None.
        device_name: Full name of the device; the manifest's if None.
        source: Where the recordings come from, in a sentence for the card of a model.
        licence: Licence of the recordings, such as ``cc-by-4.0``.

    Attributes:
        alignments: After :meth:`setup`, the alignment that was estimated for each take; empty where align is False.
    """

    def __init__(
        self,
        root: str,
        device: str | None = None,
        knobs: list[dict[str, Any]] | None = None,
        validation: list[list[float]] | None = None,
        test: list[list[float]] | None = None,
        guard_samples: int = 64,
        align: bool | Literal["auto"] = True,
        correct_polarity: bool = False,
        segment_samples: int = 2400,
        lanes: int = 8,
        warmup_s: float = 0.5,
        evaluation_warmup_s: float = 10.0,
        repeats: int = 1,
        seed: int = 0,
        num_workers: int = 0,
        slug: str | None = None,
        device_name: str | None = None,
        source: str = "",
        licence: str = "",
    ) -> None:
        super().__init__()
        for name, number, least in (
            ("guard_samples", guard_samples, 0),
            ("segment_samples", segment_samples, 1),
            ("lanes", lanes, 1),
            ("warmup_s", warmup_s, 0),
            ("evaluation_warmup_s", evaluation_warmup_s, 0),
            ("repeats", repeats, 1),
            ("num_workers", num_workers, 0),
        ):
            if number < least:
                raise FormatError(f"data: expected {name} of at least {least}, got {number}.")
        if num_workers > 1:
            raise FormatError(
                f"data: lanes run on from batch to batch; expected num_workers 0 or 1, got {num_workers}."
            )
        for name, ranges in (("validation", validation), ("test", test)):
            for bounds in ranges or ():
                if len(bounds) != 2 or not 0.0 <= bounds[0] < bounds[1] <= 1.0:
                    raise FormatError(f"data: expected fractions [start, stop] from 0 to 1 as {name}, got {bounds}.")
        self._source = (root, device, knobs, slug, device_name)
        self.validation = validation
        self.test = test
        self.guard_samples = guard_samples
        self.align = align
        self.correct_polarity = correct_polarity
        self.segment_samples = segment_samples
        self.lanes = lanes
        self.warmup_s = warmup_s
        self.evaluation_warmup_s = evaluation_warmup_s
        self.repeats = repeats
        self.seed = seed
        self.source = source
        self.licence = licence
        self.num_workers = num_workers
        self.alignments: list[Alignment] = []
        self._takes: list[AlignedTake] = []
        self._ranges: list[dict[str, list[Range]]] = []
        self._training: TrainingLanes | None = None
        self._epoch = -1  # the last one that was begun, until lanes count for themselves

    @functools.cached_property
    def recording(self) -> Recording:
        """What the manifest says; read at the first access."""
        return read_recording(*self._source)

    @property
    def effect(self) -> Effect:
        """The device and its knobs, known without decoding audio."""
        return self.recording.effect

    def setup(self, stage: str | None = None) -> None:
        """Align all takes, split them and measure their levels.

        Args:
            stage: Unused; all stages share one preparation, which a second call keeps.

        Raises:
            FormatError: If the files of a take disagree in sample rate or channels, or the ranges of splits overlap.
            AudioFileError: If a file cannot be read.
        """
        if self._takes:
            return
        takes, alignments, all_ranges = [], [], []
        for take in self.recording.takes:
            headers = self._check(take)
            alignment = self._estimate(take, headers) if self.align else Alignment()
            offset = alignment.offset_samples
            if self.align == "auto" and abs(offset) <= AUTO_SAMPLES:
                offset = 0
            aligned = AlignedTake(
                dry=take.dry,
                wet=take.wet,
                knobs=self.effect.normalise(take.values),
                dry_start=max(-offset, 0),
                wet_start=max(offset, 0),
                samples=min(headers[0].samples - max(-offset, 0), headers[1].samples - max(offset, 0)),
                polarity=alignment.polarity if self.correct_polarity else 1,
            )
            ranges = self._split(take, aligned.samples, aligned.dry_start)
            scale = inverse_rms(aligned, ranges["train"] or [(0, aligned.samples)])
            takes.append(dataclasses.replace(aligned, scale=scale))
            all_ranges.append(ranges)
            if self.align:
                alignments.append(alignment)
        self._takes, self._ranges, self.alignments = takes, all_ranges, alignments

    def train_dataloader(self) -> DataLoader[Batch]:
        """Lanes of the training ranges; each iteration plays another order."""
        warmup = round(self.warmup_s * self.effect.sample_rate)
        spans = self._spans("train", None)
        epoch = self.state_dict()["epoch"]
        self._training = TrainingLanes(
            self._takes, spans, self.lanes, self.segment_samples, warmup, repeats=self.repeats, seed=self.seed
        )
        self._training.set_epoch(epoch)
        return _EpochLoader(self._training, batch_size=None, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation ranges, in a fixed order."""
        return self._evaluation("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test ranges, in a fixed order."""
        return self._evaluation("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test ranges, in a fixed order."""
        return self._evaluation("test")

    def state_dict(self) -> dict[str, Any]:
        """The epoch that was begun last, so that a resumed run goes on with another order."""
        return {"epoch": self._epoch if self._training is None else self._training.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._epoch = int(state_dict["epoch"])
        if self._training is not None:
            self._training.set_epoch(self._epoch)

    def summary(self) -> dict[str, Any]:
        """What the recordings are, for the card of a model: plain strings, numbers, lists and dicts.

        Returns:
            ``device``, ``source``, ``licence``, ``sample_rate``, ``train_s`` (seconds of training audio), ``knobs``
            (the values of each knob that were recorded, in its unit) and ``takes``: values, files with their SHA-256,
            the offset in samples, polarity and confidence of the alignment, and the ranges of each split in samples
            of the aligned take.
        """
        self.setup()
        checksum = functools.cache(sha256)
        rate = self.effect.sample_rate
        takes = []
        aligned = itertools.zip_longest(self.recording.takes, self._takes, self._ranges, self.alignments)
        for take, used, ranges, alignment in aligned:
            found = alignment or Alignment()
            takes.append(
                {
                    "values": dict(take.values),
                    "dry": {"file": take.dry.name, "sha256": checksum(take.dry)},
                    "wet": {"file": take.wet.name, "sha256": checksum(take.wet)},
                    "offset_samples": used.wet_start - used.dry_start,
                    "polarity": found.polarity,
                    "confidence": round(found.confidence, 3),
                    "splits": {name: [list(bounds) for bounds in spans] for name, spans in ranges.items()},
                }
            )
        samples = sum(stop - start for ranges in self._ranges for start, stop in ranges["train"])
        return {
            "device": self.effect.device or self.effect.slug,
            "source": self.source,
            "licence": self.licence,
            "sample_rate": rate,
            "train_s": round(samples / rate, 3),
            "knobs": {
                knob.name: sorted({take.values[knob.name] for take in self.recording.takes}, key=knob.normalise)
                for knob in self.effect.knobs
            },
            "takes": takes,
        }

    def _check(self, take: Take) -> tuple[AudioInfo, AudioInfo]:
        """Headers of both files, which must agree with each other and with the effect."""
        headers = info(take.dry), info(take.wet)
        expected = (self.effect.sample_rate, self.effect.channels)
        for path, header in zip((take.dry, take.wet), headers):
            if (header.sample_rate, header.channels) != expected:
                raise FormatError(
                    f"{path}: expected {expected[0]} Hz and {expected[1]} channel(s) as in the other files of "
                    f"{self.effect.slug}, got {header.sample_rate} Hz and {header.channels}; convert it."
                )
        return headers

    def _estimate(self, take: Take, headers: tuple[AudioInfo, AudioInfo]) -> Alignment:
        """The alignment of one take, estimated on its longest training range."""
        samples = min(header.samples for header in headers)
        ranges = self._split(take, samples, 0)
        start, stop = max(ranges["train"] or [(0, samples)], key=lambda bounds: bounds[1] - bounds[0])
        if stop < samples and stop - start > 4 * MAX_OFFSET:
            stop -= MAX_OFFSET  # whatever the offset, nothing held out is looked at
        stop = min(stop, start + ALIGNMENT_S * self.effect.sample_rate)
        if stop - start < 1024:
            raise FormatError(
                f"{take.wet}: expected at least 1024 samples of training audio to align by, got {stop - start}; "
                "pass align=False if the recordings are sample-exact."
            )
        dry, wet = read_span(take.dry, start, stop)[0], read_span(take.wet, start, stop)[0]
        found = estimate_alignment(dry, wet, self.effect.sample_rate, MAX_OFFSET)
        if found.confidence < LEAST_CONFIDENCE:
            _log.warning(
                "%s: no clear onset (confidence %.2f, best guess %d samples); kept as recorded, offset 0.",
                take.wet.name, found.confidence, found.offset_samples,
            )  # fmt: skip
            return Alignment(0, 1, found.confidence)
        _log.info(
            "%s: offset %d samples, polarity %+d, confidence %.2f",
            take.wet.name, found.offset_samples, found.polarity, found.confidence,
        )  # fmt: skip
        return found

    def _split(self, take: Take, samples: int, dry_start: int) -> dict[str, list[Range]]:
        """Ranges of positions in the aligned take, by name of the split."""
        whole = [(0, samples)]
        given = self.validation is not None or self.test is not None
        if not given and not self.recording.held_out_s and any(other.split for other in self.recording.takes):
            return {name: whole if name == (take.split or "train") else [] for name in ("train", "validation", "test")}
        held_out: dict[str, list[Range]] = {}
        if self.recording.held_out_s and not given:
            rate = self.effect.sample_rate
            for name, seconds in self.recording.held_out_s.items():
                bounds = [(round(start * rate) - dry_start, round(stop * rate) - dry_start) for start, stop in seconds]
                held_out[name] = [
                    (max(start, 0), min(stop, samples)) for start, stop in bounds if start < samples and stop > 0
                ]
        else:
            for name, fractions in (
                ("validation", VALIDATION if self.validation is None else self.validation),
                ("test", TEST if self.test is None else self.test),
            ):
                held_out[name] = [(round(start * samples), round(stop * samples)) for start, stop in fractions]
        return {"train": self._between(sorted(itertools.chain(*held_out.values())), samples), **held_out}

    def _between(self, held_out: Sequence[Range], samples: int) -> list[Range]:
        """What lies between held-out ranges, less the guards."""
        for (_, stop), (start, _) in itertools.pairwise(held_out):
            if start < stop:
                raise FormatError(
                    f"data: expected validation and test without overlap, got {list(held_out)} in samples."
                )
        ranges, begin = [], 0
        for start, stop in [*held_out, (samples + self.guard_samples, samples)]:
            if start - self.guard_samples > begin:
                ranges.append((begin, start - self.guard_samples))
            begin = stop + self.guard_samples
        return ranges

    def _spans(self, split: str, warmup_s: float | None) -> list[Span]:
        """All ranges of a split; None allows any warm-up that the take has."""
        self.setup()
        longest = None if warmup_s is None else round(warmup_s * self.effect.sample_rate)
        spans = [
            Span(index, start, stop, start if longest is None else min(start, longest))
            for index, ranges in enumerate(self._ranges)
            for start, stop in ranges[split]
        ]
        if not spans:
            raise FormatError(
                f"data: no part of the {len(self._ranges)} takes is in the split {split!r}; pass other ranges."
            )
        return spans

    def _evaluation(self, split: str) -> DataLoader[Batch]:
        spans = self._spans(split, self.evaluation_warmup_s)
        dataset = EvaluationLanes(self._takes, spans, self.lanes, self.segment_samples)
        return DataLoader(dataset, batch_size=None, num_workers=self.num_workers)


class _EpochLoader(DataLoader[Batch]):
    """Goes on to the next epoch with each iteration, in the main process."""

    dataset: TrainingLanes

    def __iter__(self) -> Any:
        self.dataset.set_epoch(self.dataset.epoch + 1)
        return super().__iter__()
