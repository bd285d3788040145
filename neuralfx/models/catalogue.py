"""The architecture/conditioning pairs by class name, readable without importing torch."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """Where a pair is found.

    Attributes:
        tail: Tail of a model's name, as in ``la2a-s4d``, and stem of its configuration.
        module: Module of its class in ``neuralfx.models``.
    """

    tail: str
    module: str


ARCHITECTURES = {
    "LSTMFiLMGLU": Pair("lstm", "lstm"),
    "S4DFiLMGLU": Pair("s4d", "s4d"),
}
