"""Recordings of a device as a :class:`lightning.LightningDataModule`: aligned, split, and streamed from disk."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from lightning import LightningDataModule

from neuralfx.audio import AudioInfo, info
from neuralfx.datasets.alignment import Alignment, estimate_alignment
from neuralfx.datasets.lanes import AlignedTake, EvaluationLanes, LaneLoader, Span, TrainingLanes, inverse_rms
from neuralfx.datasets.manifest import KnobValue, Recording, Take
from neuralfx.datasets.offsets import LEAST_CONFIDENCE, MAX_OFFSET
from neuralfx.datasets.recognise import read_folder
from neuralfx.effect import Effect
from neuralfx.errors import FormatError
from neuralfx.files import sha256

_log = logging.getLogger(__name__)

VALIDATION = ((0.7, 0.8),)
TEST = ((0.8, 1.0),)
_Fractions = Sequence[Sequence[float]]
DEFAULTS: dict[str, _Fractions] = {"validation": VALIDATION, "test": TEST}
# "auto" takes smaller offsets for the response of the device itself.
AUTO_SAMPLES = 32
ALIGNMENT_S = 20
CUT_WINDOW_S = 0.02  # a place is as loud as the input is in this time around it

SPLITS = ("train", "validation", "test")

Range = tuple[int, int]


class PairedAudioDataModule(LightningDataModule):
    """Takes of one device, each an input file and an output file at one setting of the knobs.

    Reads what :func:`~neuralfx.datasets.recognise.read_folder` understands: a manifest, the layouts of public data
    sets, or a single pair. Audio is decoded as it is played.

    Args:
        root: Folder of the recordings.
        device: Which device of the manifest; may be left out if there is one.
        knobs: Declarations of knobs that replace the manifest's: fields of :class:`~neuralfx.effect.Knob`, ``column``
            and ``factor``.
        validation: Ranges of every take that validate, as fractions 0 to 1 of what both files cover.
        test: Ranges that test, likewise. With neither, the splits of the recordings count; without those
            validation is 0.7 to 0.8 and test 0.8 to 1. With one, the other is its default, or the whole takes that the
            recordings have for it, and only the others are cut.
        silence_s: The ends of these fractions move to the quietest place of the input within so many seconds, so
            that no note is cut; 0 leaves them. Nearer places count as quiet as those up to 1 dB quieter.
        validation_settings: Settings of the knobs whose takes validate and do not train, such as ``[{"drive": 0.5}]``:
            takes at these values of the knobs named. Only their validation ranges play. Without, all takes that train
            validate.
        test_settings: Settings whose takes test and do nothing else, likewise.
        guard_samples: Samples beside a held-out or unused range that train nothing.
        align: Whether to estimate and correct the offset of each take on what does not test; "auto" leaves offsets
            of up to 32 samples as they are. False for recordings that are sample-exact. Offsets that the manifest
            states are always corrected.
        correct_polarity: Whether to turn inverted takes around; it is part of the device's sound otherwise.
        segment_samples: Length of a row of a batch, in samples.
        lanes: Rows of a batch, in all processes that train together.
        scattered: Whether every scored segment of training comes from another place, after its own warm-up, instead of
            running on. For networks that see no further than the warm-up.
        warmup_s: Audio played unscored before a training lane enters a span, in seconds.
        evaluation_warmup_s: The same for validation, test and prediction, in seconds.
        repeats: How often the training material plays per epoch; more for tiny sets.
        seed: Determines, together with the epoch, the order of training.
        num_workers: Threads that read ahead; 0 reads when a batch is asked for.
        slug: Slug of the effect; the manifest's name of the device if None.
        device_name: Full name of the device; the manifest's if None.
        source: Where the recordings come from, in a sentence for the card of a model.
        licence: Licence of the recordings, such as ``cc-by-4.0``.

    Attributes:
        alignments: After :meth:`setup`, the alignment that was estimated or stated for each take.
    """

    def __init__(
        self,
        root: str,
        device: str | None = None,
        knobs: list[dict[str, Any]] | None = None,
        validation: list[list[float]] | None = None,
        test: list[list[float]] | None = None,
        silence_s: float = 0.0,
        validation_settings: list[dict[str, KnobValue]] | None = None,
        test_settings: list[dict[str, KnobValue]] | None = None,
        guard_samples: int = 64,
        align: bool | Literal["auto"] = True,
        correct_polarity: bool = False,
        segment_samples: int = 2400,
        lanes: int = 8,
        scattered: bool = False,
        warmup_s: float = 0.5,
        evaluation_warmup_s: float = 10.0,
        repeats: int = 1,
        seed: int = 0,
        num_workers: int = 1,
        slug: str | None = None,
        device_name: str | None = None,
        source: str = "",
        licence: str = "",
    ) -> None:
        super().__init__()
        for name, number, least in (
            ("silence_s", silence_s, 0),
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
        for name, ranges in (("validation", validation), ("test", test)):
            for bounds in ranges or ():
                if len(bounds) != 2 or not 0.0 <= bounds[0] < bounds[1] <= 1.0:
                    raise FormatError(f"data: expected fractions [start, stop] from 0 to 1 as {name}, got {bounds}.")
        self._source = (root, device, knobs, slug, device_name)
        self.validation = validation
        self.test = test
        self.silence_s = silence_s
        self.settings = {"validation": validation_settings or [], "test": test_settings or []}
        self.guard_samples = guard_samples
        self.align = align
        self.correct_polarity = correct_polarity
        self.segment_samples = segment_samples
        self.lanes = lanes
        self.scattered = scattered
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
        self._training: LaneLoader | None = None
        self._resumed: dict[str, Any] | None = None

    @functools.cached_property
    def recording(self) -> Recording:
        """What the folder holds; read at the first access."""
        return read_folder(*self._source)

    @property
    def effect(self) -> Effect:
        """The device and its knobs, known without decoding audio."""
        return self.recording.effect

    def setup(self, stage: str | None = None) -> None:
        """Align all takes, split them and measure their levels.

        Args:
            stage: Unused; all stages share one preparation, which a second call keeps.

        Raises:
            FormatError: If the files of a take disagree in sample rate or channels, the ranges of splits overlap, or no
                take is at a setting that is to be held out.
            AudioFileError: If a file cannot be read.
        """
        if self._takes:
            return
        self._require_settings()
        takes, alignments, all_ranges = [], [], []
        for take in self.recording.takes:
            headers = self._check(take)
            recorded = self._place(take, headers, 0)
            alignment = self._align(take, recorded)
            aligned = self._place(take, headers, self._correction(take, alignment))
            if not aligned.samples:
                raise FormatError(
                    f"{take.wet}: nothing in common with {take.dry.name}, {aligned.wet_start} samples late."
                )
            if self.correct_polarity:
                aligned = dataclasses.replace(aligned, polarity=alignment.polarity)
            ranges = self._split(take, aligned)
            scale = inverse_rms(aligned, ranges["train"] or [(0, aligned.samples)])
            takes.append(dataclasses.replace(aligned, scale=scale))
            all_ranges.append(ranges)
            alignments.append(alignment)
        self._takes, self._ranges, self.alignments = takes, all_ranges, alignments

    def train_dataloader(self) -> LaneLoader:
        """Lanes of the training ranges; each iteration plays another order."""
        spans = self._spans("train", None)
        lanes = TrainingLanes(
            self._takes,
            spans,
            self.lanes,
            self.segment_samples,
            round(self.warmup_s * self.effect.sample_rate),
            repeats=self.repeats,
            seed=self.seed,
            scattered=self.scattered,
        )
        self._training = LaneLoader(lanes, self.num_workers)
        if self._resumed is not None:
            self._training.load_state_dict(self._resumed)
            self._resumed = None
        return self._training

    def val_dataloader(self) -> LaneLoader:
        """The validation ranges, in a fixed order."""
        return self._evaluation("validation")

    def test_dataloader(self) -> LaneLoader:
        """The test ranges, in a fixed order."""
        return self._evaluation("test")

    def predict_dataloader(self) -> LaneLoader:
        """The test ranges, in a fixed order."""
        return self._evaluation("test")

    def state_dict(self) -> dict[str, Any]:
        """The place in the training material. Lightning restores that of a loader only in the middle of an epoch."""
        if self._training is None:
            return self._resumed or {}
        place = dict(self._training.state_dict())
        if self.trainer is not None and place["batch"] >= self.trainer.num_training_batches:
            place["batch"] = len(self._training)  # the trainer's epochs may be shorter than ours
        return place

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let training go on behind what was played."""
        self._resumed = state_dict or None

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
        for take, used, ranges, found in zip(self.recording.takes, self._takes, self._ranges, self.alignments):
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

    def _require_settings(self) -> None:
        """Every setting that is to be held out was recorded, and names knobs of the effect."""
        for name, settings in self.settings.items():
            for setting in settings:
                self.effect.normalise(setting)
                if not any(take.is_at(setting) for take in self.recording.takes):
                    raise FormatError(f"data: {name}_settings: no take was recorded at {setting}; see the manifest.")

    def _check(self, take: Take) -> tuple[AudioInfo, AudioInfo]:
        """Headers of both files, which must agree with each other and with the effect."""
        headers = info(take.dry), info(take.wet)
        effect = self.effect
        for path, header in zip((take.dry, take.wet), headers):
            has_channels = header.channels == effect.channels or (effect.channels == 1 and take.channel is not None)
            if header.sample_rate != effect.sample_rate or not has_channels:
                raise FormatError(
                    f"{path}: expected {effect.sample_rate} Hz and {effect.channels} channel(s) as in the other files "
                    f"of {effect.slug}, got {header.sample_rate} Hz and {header.channels}; convert it."
                )
        return headers

    def _place(self, take: Take, headers: tuple[AudioInfo, AudioInfo], offset: int) -> AlignedTake:
        """What both files of a take cover, with the output taken ``offset`` samples later."""
        dry_start, wet_start = max(-offset, 0), max(offset, 0)
        return AlignedTake(
            dry=take.dry,
            wet=take.wet,
            knobs=self.effect.normalise(take.values),
            samples=max(min(headers[0].samples - dry_start, headers[1].samples - wet_start), 0),
            dry_start=dry_start,
            wet_start=wet_start,
            channels=self.effect.channels,
            channel=take.channel,
        )

    def _correction(self, take: Take, found: Alignment) -> int:
        """Samples by which the output is taken later."""
        if take.offset_samples is not None:
            return take.offset_samples
        if not self.align or (self.align == "auto" and abs(found.offset_samples) <= AUTO_SAMPLES):
            return 0
        return found.offset_samples

    def _align(self, take: Take, recorded: AlignedTake) -> Alignment:
        """The alignment of one take: stated, or estimated on the longest range that does not test."""
        if take.offset_samples is not None:
            return Alignment(take.offset_samples, 1, 1.0)
        if not self.align:
            return Alignment()
        samples = recorded.samples
        closed = sorted([*self._split(take, recorded)["test"], *self._in_samples(take.unused_s, recorded)])
        start, stop = max(self._between(closed, samples) or [(0, samples)], key=lambda bounds: bounds[1] - bounds[0])
        if stop < samples and stop - start > 4 * MAX_OFFSET:
            stop -= MAX_OFFSET  # whatever the offset, nothing that tests is looked at
        stop = min(stop, start + ALIGNMENT_S * self.effect.sample_rate)
        if stop - start < 1024:
            raise FormatError(
                f"{take.wet}: expected at least 1024 samples to align by, got {stop - start}; "
                "pass align=False if the recordings are sample-exact."
            )
        dry, wet = recorded.read(start, stop)
        found = estimate_alignment(dry[0], wet[0], self.effect.sample_rate, MAX_OFFSET)
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

    def _split(self, take: Take, aligned: AlignedTake) -> dict[str, list[Range]]:
        """Ranges of positions in the aligned take, by name of the split."""
        unused = self._in_samples(take.unused_s, aligned)
        given = {"validation": self.validation, "test": self.test}
        if self.recording.held_out_s and not any(given.values()):
            stated = self.recording.held_out_s.items()
            held_out = {name: self._in_samples(seconds, aligned) for name, seconds in stated}
        elif None in given.values() and any(other.split for other in self.recording.takes):
            chosen = (name for name, settings in self.settings.items() if any(map(take.is_at, settings)))
            role = next(chosen, take.split or "train")
            if role != "train":
                whole = self._between(unused, aligned.samples)
                return {name: whole if name == role else [] for name in SPLITS}
            has_takes = {other.split for other in self.recording.takes} | {k for k, v in self.settings.items() if v}
            held_out = self._cut_all({k: () if k in has_takes else DEFAULTS[k] for k in given}, aligned)
        else:
            held_out = self._cut_all(DEFAULTS, aligned)
        if unused:
            usable = self._between(unused, aligned.samples)
            held_out = {name: _overlap(ranges, usable) for name, ranges in held_out.items()}
        apart = sorted([*itertools.chain(*held_out.values()), *unused])
        ranges = {"train": self._between(apart, aligned.samples), **held_out}
        for name in SPLITS:
            if not self._plays(take, name):
                ranges[name] = []
        return ranges

    def _plays(self, take: Take, split: str) -> bool:
        """Whether a take belongs to a split, by the settings that are held out."""
        tests, validates = (any(map(take.is_at, self.settings[name])) for name in ("test", "validation"))
        if split == "test":
            return tests or not self.settings["test"]
        if split == "validation":
            return not tests and (validates or not self.settings["validation"])
        return not tests and not validates

    def _in_samples(self, seconds: Iterable[tuple[float, float]], aligned: AlignedTake) -> list[Range]:
        """Ranges in seconds of the input, as positions of the aligned take that it has."""
        rate = self.effect.sample_rate
        bounds = [
            (round(start * rate) - aligned.dry_start, round(stop * rate) - aligned.dry_start) for start, stop in seconds
        ]
        return [
            (max(start, 0), min(stop, aligned.samples))
            for start, stop in bounds
            if start < aligned.samples and stop > 0
        ]

    def _cut_all(self, usual: Mapping[str, _Fractions], aligned: AlignedTake) -> dict[str, list[Range]]:
        """Ranges given as fractions of the aligned take, as positions; the usual ones where none were given."""
        given = {"validation": self.validation, "test": self.test}
        fractions = {name: usual[name] if chosen is None else chosen for name, chosen in given.items()}
        return {
            name: [(self._cut_at(start, aligned), self._cut_at(stop, aligned)) for start, stop in bounds]
            for name, bounds in fractions.items()
        }

    def _cut_at(self, fraction: float, aligned: AlignedTake) -> int:
        """The position of a fraction, moved to the quietest place of the input around it, within bounds."""
        position = round(fraction * aligned.samples)
        cuts = {0.0, 1.0, *itertools.chain(*(self.validation or VALIDATION), *(self.test or TEST))}
        nearest = min((abs(fraction - other) for other in cuts if other != fraction), default=1.0)
        # Never half of the way to the next cut: ranges stay in their order, and none becomes empty.
        reach = min(round(self.silence_s * self.effect.sample_rate), int(0.4 * nearest * aligned.samples))
        if not reach or position in (0, aligned.samples):
            return position
        size = max(round(CUT_WINDOW_S * self.effect.sample_rate), 1)
        start, stop = max(position - reach, 0), min(position + reach, aligned.samples)
        count = (stop - start) // size
        if count < 1:
            return position
        dry = aligned.read_dry(start, start + count * size).reshape(-1, count, size)
        energy = np.square(dry, dtype=np.float64).mean(axis=(0, 2)) + 1e-12  # -120 dB is silence
        centres = start + size // 2 + size * np.arange(count)
        quiet = centres[energy <= energy.min() * 10**0.1]
        return int(quiet[np.abs(quiet - position).argmin()])

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
        longest = math.inf if warmup_s is None else round(warmup_s * self.effect.sample_rate)
        spans = [
            Span(index, start, stop, int(min(start, longest)))
            for index, ranges in enumerate(self._ranges)
            for start, stop in ranges[split]
        ]
        if not spans:
            raise FormatError(
                f"data: no part of the {len(self._ranges)} takes is in the split {split!r}; pass other ranges."
            )
        return spans

    def _evaluation(self, split: str) -> LaneLoader:
        spans = self._spans(split, self.evaluation_warmup_s)
        return LaneLoader(EvaluationLanes(self._takes, spans, self.lanes, self.segment_samples), self.num_workers)


def _overlap(ranges: Sequence[Range], others: Sequence[Range]) -> list[Range]:
    """What two lists of ranges have in common."""
    pairs = itertools.product(ranges, others)
    common = [(max(a, c), min(b, d)) for (a, b), (c, d) in pairs]
    return [(start, stop) for start, stop in common if start < stop]
