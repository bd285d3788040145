"""The public data sets by name, readable without importing torch."""

from __future__ import annotations

import importlib

from neuralfx.datasets.base import Dataset
from neuralfx.errors import DatasetNotFoundError, closest, join_words

# Module of neuralfx.datasets by name; each has a DATASET of that name.
MODULES = {
    "signaltrain-la2a": "signaltrain_la2a",
    "boss-od3": "boss_od3",
    "simionato-vol1": "simionato_vol1",
    "simionato-optical": "simionato_optical",
    "egfxset": "egfxset",
    "tonetwist": "tonetwist",
    "coreaudioml": "pairs",
}


def names() -> list[str]:
    """The names of all public data sets."""
    return list(MODULES)


def find(name: str) -> Dataset:
    """The facts about a public data set.

    Args:
        name: Its name, such as ``signaltrain-la2a``.

    Raises:
        DatasetNotFoundError: If there is none of this name; proposes the closest ones.
    """
    if name not in MODULES:
        close = closest(name, MODULES)
        hint = f"Did you mean {join_words(close, last='or')}?" if close else f"There are {join_words(names())}."
        raise DatasetNotFoundError(f"no data set named {name!r}. {hint}")
    dataset: Dataset = importlib.import_module(f"neuralfx.datasets.{MODULES[name]}").DATASET
    return dataset
