"""Decides the offset of a take by one rule, and asks several methods whether they agree.

The rule, in order:

1. The onset of the linear response decides where its confidence reaches 0.5.
2. Else the phase transform decides where its peak is twice any other, or 1.5 times and the envelope agrees to within
   96 samples.
3. Else the onset decides where its confidence reaches 0.25.
4. Else a phase transform over all lags is tried, with a peak of three times any other, and the rule starts again there.
5. Else the offset is not decided.

A method agrees if its lag is that of the decision, but for what it cannot know: group delay moves the peaks of
correlations to later lags, and the envelope is coarse.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from neuralfx.datasets.alignment import (
    AGREEMENT_SAMPLES,
    LEAD,
    Alignment,
    Signal,
    cross_correlation,
    envelope_onsets,
    estimate_alignment,
    find_onset,
    first_swing,
    phase_transform,
)

LEAST_CONFIDENCE = 0.25  # training keeps takes below it as they are; those with a clear onset reach 0.6 and more
MAX_OFFSET = 8192  # training corrects offsets up to this
FAR_LEAD = 2 * LEAD  # many lags have many chances
EARLY_SAMPLES = 8  # methods agree that differ by so little
DELAY_SAMPLES = {"onset": 8, "phase transform": 64, "cross-correlation": 512}  # later lags that agree too
ENVELOPE_LEAD = 1.1  # below it the envelope says nothing


class Opinion(NamedTuple):
    """What one method says.

    Attributes:
        lag: Samples by which the output is late.
        strength: Confidence of the onset, 0 to 1; of other methods, how many times the peak exceeds any other.
        agrees: Whether that supports the decision; None where the method says nothing clear.
    """

    lag: int
    strength: float
    agrees: bool | None


@dataclasses.dataclass(frozen=True)
class Offset:
    """The decision about a take.

    Attributes:
        samples: By how many samples the output is late, negative if early; None if it is not decided.
        method: Method that decided: ``onset``, ``phase transform``, or ``none``.
        confidence: 0 to 1, as of :class:`~neuralfx.datasets.alignment.Alignment`.
        polarity: 1 or -1; None where the onset and the first swing of the response differ, or the offset is unknown.
        opinions: What each method says, by name.
    """

    samples: int | None
    method: str
    confidence: float
    polarity: int | None
    opinions: dict[str, Opinion]

    @property
    def agreement(self) -> tuple[int, int]:
        """How many methods agree, of how many that say something."""
        heard = [opinion.agrees for opinion in self.opinions.values() if opinion.agrees is not None]
        return sum(heard), len(heard)


def decide_offset(dry: Signal, wet: Signal, sample_rate: int) -> Offset:
    """Decide the offset and the polarity of an excerpt of a take by the rule at the top of this file.

    Args:
        dry: What went into the device, shape (time,); 20 s are enough.
        wet: What came out from the same sample number on, shape (time,).
        sample_rate: Of both, in Hz.

    Raises:
        ShapeError: If a signal has more than one dimension or fewer than 1024 samples.
    """
    moved = 0
    found = estimate_alignment(dry, wet, sample_rate, MAX_OFFSET)
    if found.confidence < LEAST_CONFIDENCE and np.ptp(dry) and np.ptp(wet):
        far = phase_transform(dry, wet, min(len(dry), len(wet)) // 2)
        if far.lead >= FAR_LEAD:
            moved = far.lag
            dry, wet = dry[max(-moved, 0) :], wet[max(moved, 0) :]
            found = estimate_alignment(dry, wet, sample_rate, MAX_OFFSET)
    clear = found.confidence >= LEAST_CONFIDENCE
    opinions = _ask(dry, wet, found, clear)
    polarity = None
    if clear and found.method == "onset" and found.polarity == first_swing(dry, wet, found.offset_samples):
        polarity = found.polarity
    return Offset(
        samples=found.offset_samples + moved if clear else None,
        method=found.method if clear else "none",
        confidence=found.confidence,
        polarity=polarity,
        opinions={name: opinion._replace(lag=opinion.lag + moved) for name, opinion in opinions.items()},
    )


def _ask(dry: Signal, wet: Signal, found: Alignment, clear: bool) -> dict[str, Opinion]:
    """Every method's opinion on a decision."""
    limit = min(MAX_OFFSET, (min(len(dry), len(wet)) - 1) // 2)
    if limit < 1 or not np.ptp(dry) or not np.ptp(wet):
        return {}
    dry, wet = dry.astype(np.float64), wet.astype(np.float64)
    onset = found if found.method == "onset" else find_onset(dry, wet, limit)
    said = {
        "onset": (onset.offset_samples, onset.confidence, onset.confidence >= LEAST_CONFIDENCE),
        "phase transform": _said(phase_transform(dry, wet, limit), LEAD),
        "cross-correlation": _said(cross_correlation(dry, wet, limit), 1.0),
        "envelope": _said(envelope_onsets(dry, wet, limit), ENVELOPE_LEAD),
    }
    opinions = {}
    for name, (lag, strength, says_something) in said.items():
        later = lag - found.offset_samples
        if name == "envelope":
            agrees = abs(later) <= AGREEMENT_SAMPLES
        else:
            agrees = -EARLY_SAMPLES <= later <= DELAY_SAMPLES[name]
        opinions[name] = Opinion(lag, round(float(strength), 3), agrees if clear and says_something else None)
    return opinions


def _said(peak: tuple[int, int, float], least: float) -> tuple[int, float, bool]:
    lag, _, lead = peak
    return lag, lead, lead >= least
