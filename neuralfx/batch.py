"""What data hands to models."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Segments of recordings side by side; row ``i`` of consecutive batches is one lane and runs on in time.

    Attributes:
        dry: What went into the device, shape (batch, channels, time).
        wet: What came out, same shape.
        knobs: Normalised knob values from 0 to 1, shape (batch, knobs) or (batch, time, knobs).
        fresh: True where a lane starts anew with this segment, so that no state is carried over; shape (batch,).
        scored: True where a sample counts in loss and metrics; False for warm-up and padding; shape (batch, time).
        scale: Reciprocal of the root mean square of each take's target, in 1/amplitude, so that quiet takes can weigh
            as much as loud ones; shape (batch,).
        take: Index of the take that each segment is from; shape (batch,).
    """

    dry: Tensor
    wet: Tensor
    knobs: Tensor
    fresh: Tensor
    scored: Tensor
    scale: Tensor
    take: Tensor
