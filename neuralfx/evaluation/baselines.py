"""What a model has to beat: the untouched input, and the best linear filter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuralfx.datasets.lanes import AlignedTake, Span
from neuralfx.evaluation.candidates import Array, Candidate, Player
from neuralfx.evaluation.material import Material
from neuralfx.metrics.linear import apply_linear_filter

TAPS = 257
RIDGE = 1e-6
READ_SAMPLES = 262_144

Filter = npt.NDArray[np.float64]


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
            self._weights[index] = np.stack([_fit(parts, channel, self.taps, RIDGE) for channel in channels])
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


def _fit(parts: Sequence[tuple[AlignedTake, Span]], channel: int, taps: int, ridge: float) -> Filter:
    """The filter with the least squared error on several stretches, read piece by piece."""
    products, cross = np.zeros((taps, taps)), np.zeros(taps)
    for take, span in parts:
        for start in range(span.start, span.stop, READ_SAMPLES):
            stop = min(start + READ_SAMPLES, span.stop)
            known = max(start - taps + 1, 0)
            dry = take.read_dry(known, stop)[channel].astype(np.float64)
            dry = np.pad(dry, (taps - 1 - (start - known), 0))  # silence before the take
            _add_products(products, dry, taps)
            cross += _correlate(dry, take.read_wet(start, stop)[channel], taps)
    return np.asarray(np.linalg.solve(products + (ridge * products[0, 0] + 1e-12) * np.eye(taps), cross))


def _add_products(products: Filter, dry: Filter, taps: int) -> None:
    r"""Add the sums :math:`\sum_t x_{t-i} x_{t-j}`, shape (taps, taps), of ``dry`` after its first taps - 1 samples.

    The first row is a correlation; each other element is the one above and left of it, but for the two products at the
    ends of the sum.
    """
    rows = np.zeros_like(products)
    rows[0] = _correlate(dry, dry[taps - 1 :], taps)
    head = dry[taps - 1 :: -1][:taps]  # x at the beginning, and before
    tail = np.concatenate([[0.0], dry[::-1][: taps - 1]])  # x behind the end is never used
    for row in range(1, taps):
        rows[row, row:] = rows[row - 1, row - 1 : -1] + head[row] * head[row:] - tail[row] * tail[row:]
    products += rows + np.triu(rows, 1).T


def _correlate(dry: Filter, present: npt.NDArray[np.floating], taps: int) -> Filter:
    """Sums of ``present`` times ``dry`` up to taps - 1 samples before; ``dry`` begins as much earlier."""
    size = 1 << (len(dry) + taps).bit_length()
    late = np.zeros(len(dry))
    late[taps - 1 :] = present
    product = np.fft.rfft(dry, size).conj() * np.fft.rfft(late, size)
    return np.asarray(np.fft.irfft(product, size)[:taps])
