"""Models of Neural Amp Modeler as candidates: files ``.nam``, each of one setting of the knobs.

Needs the package neural-amp-modeler, which few people have installed; it is imported when a file is read.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from neuralfx.datasets.manifest import KnobValue, Take
from neuralfx.effect import Effect
from neuralfx.errors import ConfigError, FormatError
from neuralfx.evaluation.candidates import Array, Player
from neuralfx.evaluation.material import Material
from neuralfx.text import describe_knobs

STANDARD_RATE = 48_000  # of files that state no rate


class NAM:
    """A model of Neural Amp Modeler as a candidate.

    It plays the takes that were recorded at its setting and has no part in the others.

    Args:
        name: What it is called in tables.
        network: From :func:`load_nam`.
        knobs: Values of the knobs at which the device was modelled; one that is left out may have any value.
    """

    def __init__(self, name: str, network: Any, knobs: Mapping[str, KnobValue]) -> None:
        self.name = name
        self.network = network
        self.knobs = dict(knobs)

    @property
    def sample_rate(self) -> int:
        """Sample rate that the model was trained at, in Hz."""
        return round(self.network.sample_rate or STANDARD_RATE)

    def begin(self, material: Material, index: int) -> Player | None:
        """The model from silence on; None for a take of another setting."""
        if not material.recorded[index].is_at(self.knobs):
            return None
        channels = material.aligned[index].channels  # each by itself
        if type(self.network).__name__ == "LSTM":
            return _Recurrent(self.network, channels)
        return _Convolving(self.network, channels)

    def describe(self) -> dict[str, Any]:
        """Architecture, number of parameters, sample rate and setting."""
        return {
            "kind": "model",
            "name": self.name,
            "architecture": f"NAM {type(self.network).__name__}",
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "sample_rate": self.sample_rate,
            "knobs": self.knobs,
        }

    def require_fit(self, effect: Effect, takes: Sequence[Take]) -> None:
        """Make sure that the model can play some takes of a device.

        Args:
            effect: The recorded device.
            takes: Its takes.

        Raises:
            ConfigError: If the recordings have another sample rate, or no take was recorded at the model's setting.
        """
        if self.sample_rate != effect.sample_rate:
            raise ConfigError(
                f"{self.name}: expected recordings of {self.sample_rate} Hz, got {effect.sample_rate} Hz. "
                "Resample the recordings, or pass a model of their rate."
            )
        if not any(take.is_at(self.knobs) for take in takes):
            settings = dict.fromkeys(describe_knobs(take.values) for take in takes)
            raise ConfigError(
                f"{self.name}: expected a setting that was recorded ({'; '.join(settings)}), got "
                f"{describe_knobs(self.knobs)}."
            )


def load_nam(path: str | os.PathLike[str]) -> Any:
    """Read a model of Neural Amp Modeler.

    Args:
        path: File ``.nam``: plain JSON, nothing of it is run.

    Returns:
        The network of the package neural-amp-modeler.

    Raises:
        ConfigError: If the package is not installed.
        FormatError: If there is no such file, or the package cannot read it.
    """
    try:
        models = importlib.import_module("nam.models")
    except ImportError as error:
        raise ConfigError(
            f"{path}: files of NAM need the package neural-amp-modeler ({error}): pip install neural-amp-modeler"
        ) from error
    try:
        network = models.init_from_nam(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise FormatError(f"{path}: expected a file of NAM, which cannot be read: {error.strerror}.") from error
    except (AttributeError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(
            f"{path}: expected a model that the installed neural-amp-modeler reads: {type(error).__name__} {problem}. "
            "Export it again, or update the package."
        ) from error
    return network.eval()


class _Convolving:
    """A network that hears as much of the past as it needs in front of every block."""

    latency_samples = 0

    def __init__(self, network: Any, channels: int) -> None:
        self._network = network
        self._before = torch.zeros(channels, network.receptive_field - 1)

    @torch.no_grad()
    def process(self, block: Array) -> Array:
        joined = torch.cat([self._before, torch.from_numpy(block)], -1)
        self._before = joined[:, joined.shape[-1] - self._before.shape[-1] :]
        return _plain(self._network(joined, pad_start=False))


class _Recurrent:
    """An LSTM with its state from block to block, which the package itself does not carry on."""

    latency_samples = 0

    def __init__(self, network: Any, channels: int) -> None:
        self._network = network
        self._state = network._initial_state(channels)

    @torch.no_grad()
    def process(self, block: Array) -> Array:
        features, self._state = self._network._core(torch.from_numpy(block).unsqueeze(-1), self._state)
        return _plain(self._network._apply_head(features))


def _plain(output: torch.Tensor) -> Array:
    array: Array = output.numpy()
    return array
