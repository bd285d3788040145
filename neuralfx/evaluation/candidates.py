"""What is compared: anything that plays a take of a recording, such as a model."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from neuralfx.datasets.manifest import Take
from neuralfx.effect import Effect
from neuralfx.errors import ConfigError, KnobError, join_words
from neuralfx.evaluation.material import Material
from neuralfx.hub.folder import RECIPE, read_file
from neuralfx.hub.load import find
from neuralfx.hub.package import load_folder
from neuralfx.models.base import EffectModule, load_checkpoint

_log = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]


class Player(Protocol):
    """Plays a stretch of a take block by block, from silence on."""

    @property
    def latency_samples(self) -> int:
        """Samples by which the output lags behind the input."""

    def process(self, block: Array) -> Array:
        """The next block, shape (channels, time): as many samples as come in."""


class Candidate(Protocol):
    """Something that is measured."""

    @property
    def name(self) -> str:
        """A name that no other candidate of the evaluation has."""

    def begin(self, material: Material, index: int) -> Player | None:
        """A player for the take of this index; None if the candidate has nothing to say about it."""

    def describe(self) -> dict[str, Any]:
        """What it is, as plain data; ``kind`` is ``model`` or ``baseline``."""


class Model:
    """A model as a candidate.

    Args:
        name: Its name in tables.
        module: The model.
        recipe: The YAML of the run that made it; empty if it is not known.
    """

    def __init__(self, name: str, module: EffectModule, recipe: str = "") -> None:
        self.name = name
        self.module = module
        self.recipe = recipe

    def begin(self, material: Material, index: int) -> Player:
        """A stream with its knobs where the take has them."""
        stream = self.module.stream(sample_rate=material.effect.sample_rate)
        stream.set_knobs(**material.recorded[index].values)
        return stream

    def describe(self) -> dict[str, Any]:
        """Architecture, number of parameters and sample rate."""
        return {
            "kind": "model",
            "name": self.name,
            "architecture": type(self.module).__name__,
            "parameters": sum(parameter.numel() for parameter in self.module.network.parameters()),
            "sample_rate": self.module.sample_rate,
        }

    def require_fit(self, effect: Effect, takes: Sequence[Take]) -> None:
        """Make sure that the model can play the takes of a device.

        Args:
            effect: The recorded device.
            takes: Its takes.

        Raises:
            ConfigError: If model and recordings have different knobs or channels.
            KnobError: If a take was recorded at a value that the model's knob cannot take.
        """
        own, others = set(self.module.knobs.names()), set(effect.knobs.names())
        if own != others:
            differences = [
                f"{problem} {join_words(sorted(names))}"
                for problem, names in (
                    ("the recordings do not state", own - others),
                    ("the model does not have", others - own),
                )
                if names
            ]
            raise ConfigError(
                f"{self.name}: expected recordings with the knobs {_listed(own)}, got {_listed(others)}: "
                f"{'; '.join(differences)}. Declare the knobs in a configuration of the data, or pass another model."
            )
        if self.module.effect.channels not in (1, effect.channels):
            raise ConfigError(
                f"{self.name}: expected recordings of {self.module.effect.channels} channels, got {effect.channels}."
            )
        for knob in effect.knobs:
            mine = self.module.knobs[knob.name]
            if mine.describe_range() != knob.describe_range():
                _log.warning(
                    "%s: knob %s is %s in the model and %s in the recordings; values are taken as they are.",
                    self.name, knob.name, mine.describe_range(), knob.describe_range(),
                )  # fmt: skip
        for take in takes:
            try:
                self.module.effect.normalise(take.values)
            except KnobError as error:
                raise KnobError(f"{self.name}: {take.wet.name}: {error}") from None


def load_models(names: Sequence[str]) -> list[Model]:
    """Load models, each under a name of its own.

    Args:
        names: What :func:`neuralfx.load` takes, or checkpoints (``.ckpt``) of a run.

    Raises:
        ModelNotFoundError: If there is no such model.
        FormatError: If a model or checkpoint is damaged.
        HubError: If the Hub cannot be reached.
    """
    models: list[Model] = []
    for source in names:
        label, module, recipe = _load_checkpoint(Path(source)) if source.endswith(".ckpt") else _load_packaged(source)
        models.append(Model(free_name(label, [model.name for model in models]), module, recipe))
    return models


def free_name(label: str, taken: Collection[str]) -> str:
    """The label, or with a number behind it if it is taken.

    Example:
        >>> free_name("amp", ["amp", "amp-2"])
        'amp-3'
    """
    labels = itertools.chain([label], (f"{label}-{number}" for number in itertools.count(2)))
    return next(free for free in labels if free not in taken)


def _load_packaged(name: str) -> tuple[str, EffectModule, str]:
    """Name, model and recipe of what :func:`neuralfx.load` takes."""
    found = find(name)
    module = load_folder(found.folder, root=found.root)
    recipe = read_file(found.folder, RECIPE, found.root).decode("utf-8", errors="replace")
    return module.name, module, recipe


def _load_checkpoint(path: Path) -> tuple[str, EffectModule, str]:
    """The same of a checkpoint: ``runs/my-run/checkpoints/best.ckpt`` is called ``my-run``."""
    module = load_checkpoint(path)
    folder = path.resolve().parent
    if folder.name != "checkpoints":
        return path.stem, module, ""
    recipe = folder.parent / "config.yaml"
    return folder.parent.name, module, recipe.read_text(encoding="utf-8") if recipe.is_file() else ""


def _listed(names: set[str]) -> str:
    return join_words(sorted(names)) or "none"
