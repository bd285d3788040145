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
    "EDFiLMGLU": Pair("ed", "ed"),
    "LRUFiLMGLU": Pair("lru", "lru"),
    "S4DFiLMGLU": Pair("s4d", "s4d"),
    "S6FiLMGLU": Pair("s6", "s6"),
    "LSTMConcat": Pair("lstm-concat", "lstm"),
    "LSTMFiLM": Pair("lstm-film", "lstm"),
    "LSTMStaticHyper": Pair("lstm-statichyper", "lstm"),
    "LSTMDynamicHyper": Pair("lstm-dynamichyper", "lstm"),
    "GRUConcat": Pair("gru-concat", "gru"),
    "GRUFiLM": Pair("gru-film", "gru"),
    "GRUStaticHyper": Pair("gru-statichyper", "gru"),
    "GRUDynamicHyper": Pair("gru-dynamichyper", "gru"),
    "TCNConcat": Pair("tcn-concat", "tcn"),
    "TCNFiLM": Pair("tcn-film", "tcn"),
    "GCNConcat": Pair("gcn-concat", "gcn"),
    "GCNFiLM": Pair("gcn-film", "gcn"),
}
