"""What a model has to beat: the untouched input, and the best linear filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from neuralfx.datasets.lanes import AlignedTake, Span
from neuralfx.evaluation.candidates import Array, Candidate, Player
from neuralfx.evaluation.material import Material
from neuralfx.metrics.linear import TAPS, Filter, LinearFit, apply_linear_filter

READ_SAMPLES = 262_144


class Identity:
    """The device as a wire: its output is its input."""

    name = "identity"

    def begin(self, material: Material, index: int) -> Player:
        """A player that changes nothing."""
        return _Wire()

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {"kind": "baseline", "name": self.name, "explanation": "the input as it is"}


class LinearFilter:
    r"""The best causal linear filter for each take.

    .. math:: \hat w = \arg\min_w \sum_t \Bigl(y_t - \sum_{k=0}^{K-1} w_k x_{t-k}\Bigr)^2

    It is fitted to the training part of the take, or of the takes at the same setting of the knobs if the take trains
    nothing; a take without either has none. Fitted in sample, it has heard what it is measured on: a bound for all
    linear filters of its length that stand still.

    Args:
        in_sample: Whether it is fitted to what is scored instead.
        taps: Length K, in samples.
    """

    def __init__(self, in_sample: bool = False, taps: int = TAPS) -> None:
        self.name = "linear-in-sample" if in_sample else "linear"
        self.in_sample = in_sample
        self.taps = taps
        self._material: Material | None = None
        self._weights: dict[int, Filter] = {}  # by take of this material: its ranges share one fit

    def begin(self, material: Material, index: int) -> Player | None:
        """Fit the filter, unless it was for this take before, and play it."""
        if self._material is not material:
            self._material, self._weights = material, {}
        if index not in self._weights:
            parts = self._parts(material, index)
            if not parts:
                return None
            channels = range(material.aligned[index].channels)  # each by itself
            self._weights[index] = np.stack([_fit(LinearFit(self.taps), parts, channel) for channel in channels])
        return _Filtering(self._weights[index])

    def describe(self) -> dict[str, Any]:
        """What it is."""
        part = "the part that is measured" if self.in_sample else "the part that trains"
        return {
            "kind": "baseline",
            "name": self.name,
            "explanation": f"the best linear filter of {self.taps} samples for each take, fitted to {part}",
        }

    def _parts(self, material: Material, index: int) -> list[tuple[AlignedTake, Span]]:
        """What it is fitted to."""
        if self.in_sample:
            return [(material.aligned[index], span) for span in material.spans[index]]
        values = material.recorded[index].values
        same = [other for other, take in enumerate(material.recorded) if take.values == values]
        chosen = [index] if material.training[index] else same
        return [(material.aligned[other], span) for other in chosen for span in material.training[other]]


BASELINES: dict[str, Callable[[], Candidate]] = {
    "identity": Identity,
    "linear": LinearFilter,
    "linear-in-sample": lambda: LinearFilter(in_sample=True),
}


class _Wire:
    latency_samples = 0

    def process(self, block: Array) -> Array:
        return block


class _Filtering:
    """An FIR filter on a stream; ``weights`` of shape (channels, taps)."""

    latency_samples = 0

    def __init__(self, weights: Filter) -> None:
        self._weights = weights
        self._before = np.zeros((len(weights), weights.shape[-1] - 1), np.float32)

    def process(self, block: Array) -> Array:
        late = self._before.shape[-1]
        joined = np.concatenate([self._before, block], axis=-1)
        self._before = joined[:, joined.shape[-1] - late :]
        rows = [apply_linear_filter(row, weights)[late:] for row, weights in zip(joined, self._weights)]
        return np.stack(rows).astype(np.float32)


def _fit(fit: LinearFit, parts: Sequence[tuple[AlignedTake, Span]], channel: int) -> Filter:
    """The filter with the least squared error on several stretches, read piece by piece."""
    before = fit.taps - 1
    for take, span in parts:
        for start in range(span.start, span.stop, READ_SAMPLES):
            stop = min(start + READ_SAMPLES, span.stop)
            known = max(start - before, 0)
            dry = np.pad(take.read_dry(known, stop)[channel], (before - (start - known), 0))  # silence before the take
            fit.add(dry, take.read_wet(start, stop)[channel])
    return fit.weights()
