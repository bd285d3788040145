"""What ``config.json`` of a model folder may say (format 1), checked value by value.

Everything has a known name, a type and a range; names of classes come from the catalogue of architectures. Importing
this needs no torch, so that models can be listed quickly. ``FORMAT.md`` beside this file states the rules for change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import neuralfx
from neuralfx.effect import Effect
from neuralfx.errors import FormatError, join_words
from neuralfx.hub.folder import CONFIG, WEIGHTS
from neuralfx.hub.plain import check_keys, check_plain, checked, short
from neuralfx.models.catalogue import ARCHITECTURES

FORMAT = 1
MAX_TEXT = 64  # characters of a text among the arguments of an architecture


class Argument(NamedTuple):
    """What an argument of an architecture may be.

    Attributes:
        kind: Its type.
        least: Smallest number.
        most: Largest number; bounds time and memory before anything is built.
    """

    kind: type
    least: float = 0
    most: float = 0

    def takes(self, value: object) -> bool:
        """Whether the value has the type and lies in the range."""
        if self.kind in (bool, str):
            return type(value) is self.kind and (self.kind is bool or len(str(value)) <= MAX_TEXT)
        kinds = (int,) if self.kind is int else (int, float)
        return type(value) in kinds and self.least <= value <= self.most  # type: ignore[operator]

    def describe(self) -> str:
        """What it takes, in words."""
        if self.kind in (bool, str):
            return "true or false" if self.kind is bool else f"a text of at most {MAX_TEXT} characters"
        return f"{'a whole number' if self.kind is int else 'a number'} from {self.least:g} to {self.most:g}"


_WIDTH = Argument(int, 1, 1024)
_FEATURES = Argument(int, 1, 256)  # an LRU needs memory by their square
_TAPS = Argument(int, 1, 4096)
_DURATION_MS = Argument(float, 1e-4, 1e6)

ARGUMENTS = {
    "channels": _WIDTH,
    "combine": Argument(str),
    "decoder_taps": _TAPS,
    "dilation_growth": Argument(int, 1, 16),
    "encoder_taps": _TAPS,
    "features": _FEATURES,
    "hidden_size": _WIDTH,
    "hyper_size": _WIDTH,
    "kernel_size": _TAPS,
    "longest_ms": Argument(float, 0, 1e6),
    "max_phase": Argument(float, 1e-6, math.pi),
    "mixing": Argument(bool),
    "mlp_size": _WIDTH,
    "num_blocks": Argument(int, 1, 32),
    "poles": Argument(str),
    "published_layout": Argument(bool),
    "rank": _WIDTH,
    "shortest_ms": _DURATION_MS,
    "state_size": Argument(int, 1, 256),
    "window": _TAPS,
}

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6}){0,3})[a-z0-9.+-]{0,40}")
_KINDS: dict[str, tuple[type, str]] = {
    "format": (int, "a whole number"),
    "name": (str, "text"),
    "architecture": (str, "text"),
    "arguments": (dict, "a dictionary"),
    "effect": (dict, "a dictionary"),
    "metrics": (dict, "a dictionary"),
    "training": (dict, "a dictionary"),
    "licence": (str, "text"),
    "neuralfx_version": (str, "text"),
    "parameters": (int, "a whole number"),
    "weights": (dict, "a dictionary"),
}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What ``config.json`` says.

    Attributes:
        name: Name of the model, lower case with hyphens.
        architecture: Class name of the architecture/conditioning pair, one of the catalogue.
        arguments: Arguments of that class, the effect and those of training left out.
        effect: The device and its knobs.
        metrics: Mean of each metric over the test takes by name, and ``takes``: a list with one dictionary per take
            (name, knobs, metrics). Empty if nothing was measured.
        training: Where the model comes from: data, seed, loss, durations. Plain values.
        licence: Licence of the weights, best an SPDX identifier.
        neuralfx_version: Version that wrote the folder.
        parameters: Number of trained values in the network.
        sha256: SHA-256 of ``model.safetensors``, 64 lower-case hexadecimal digits.
    """

    name: str
    architecture: str
    arguments: dict[str, Any]
    effect: Effect
    metrics: dict[str, Any]
    training: dict[str, Any]
    licence: str
    neuralfx_version: str
    parameters: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The content of ``config.json``; :meth:`from_dict` reads it back."""
        return {
            "format": FORMAT,
            "name": self.name,
            "architecture": self.architecture,
            "arguments": self.arguments,
            "effect": self.effect.to_dict(),
            "metrics": self.metrics,
            "training": self.training,
            "licence": self.licence,
            "neuralfx_version": self.neuralfx_version,
            "parameters": self.parameters,
            "weights": {"file": WEIGHTS, "sha256": self.sha256},
        }

    @classmethod
    def from_dict(cls, data: Any, where: str = CONFIG) -> ModelConfig:
        """Read what :meth:`to_dict` wrote.

        Args:
            data: Parsed content of ``config.json``.
            where: Name of the file in error messages.

        Raises:
            FormatError: If a key is missing, unknown or wrong; says so if a later version of neuralfx wrote it.
        """
        check_plain(data, where)
        data = checked(data, dict, "a dictionary", where)
        with naming_the_version(data.get("neuralfx_version")):
            _check_format(data, where)
            check_keys(data, set(_KINDS), where)
            for key, (kind, expected) in _KINDS.items():
                checked(data[key], kind, expected, f"{where}: {key}")
            _check_texts(data, where)
            _check_architecture(data["architecture"], data["arguments"], where)
            _check_metrics(data["metrics"], where)
            if data["parameters"] < 0:
                raise FormatError(f"{where}: expected a number of parameters from 0, got {data['parameters']}.")
            _check_weights(data["weights"], where)
            fields = {key: data[key] for key in _KINDS if key not in ("format", "effect", "weights")}
            return cls(**fields, effect=_read_effect(data["effect"], where), sha256=data["weights"]["sha256"])


@contextlib.contextmanager
def naming_the_version(version: object) -> Iterator[None]:
    """Add to refusals in the ``with`` block which neuralfx to install, if a later one wrote the folder.

    Args:
        version: Version that wrote the folder, as ``config.json`` says; anything else has no effect.
    """
    try:
        yield
    except FormatError as error:
        written_by = _numbers(version)
        if written_by <= _numbers(neuralfx.__version__):
            raise
        needed = ".".join(map(str, written_by))
        raise FormatError(
            f"{error} It was written by neuralfx {needed}, and this is {neuralfx.__version__}: "
            f'pip install "neuralfx>={needed}".'
        ) from error


def _numbers(version: object) -> tuple[int, ...]:
    """The numbers of a version such as 1.2.0.dev3, without what follows them; none if it is no version."""
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    return tuple(map(int, match[1].split("."))) if match else ()


def _check_format(data: Mapping[str, Any], where: str) -> None:
    found = data.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise FormatError(
            f"{where}: expected format {FORMAT}, got {found}; a later neuralfx reads it (pip install -U neuralfx)."
        )
    if found != FORMAT:
        raise FormatError(f"{where}: expected format {FORMAT}, got {short(found)}; this is no neuralfx model.")


def _check_texts(data: Mapping[str, Any], where: str) -> None:
    if not _NAME.fullmatch(data["name"]):
        raise FormatError(
            f"{where}: expected a name in lower case with hyphens such as 'my-amp', got {short(data['name'])}."
        )
    if not 0 < len(data["licence"]) <= 100 or not data["licence"].isprintable():
        raise FormatError(f"{where}: expected a licence of 1 to 100 characters, got {short(data['licence'])}.")
    if not _VERSION.fullmatch(data["neuralfx_version"]):
        version = short(data["neuralfx_version"])
        raise FormatError(f"{where}: expected a neuralfx_version such as '{neuralfx.__version__}', got {version}.")


def _check_architecture(name: str, arguments: Mapping[str, Any], where: str) -> None:
    if name not in ARCHITECTURES:
        known = join_words(list(ARCHITECTURES), last="or")
        raise FormatError(f"{where}: expected an architecture among {known}, got {short(name)}.")
    for argument, value in arguments.items():
        if argument not in ARGUMENTS:
            raise FormatError(f"{where}: no architecture has an argument {short(argument)}.")
        if not ARGUMENTS[argument].takes(value):
            expected = ARGUMENTS[argument].describe()
            raise FormatError(f"{where}: expected {expected} as {argument}, got {short(value)}.")


def _check_metrics(metrics: Mapping[str, Any], where: str) -> None:
    def is_number(value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    takes = checked(metrics.get("takes", []), list, "a list", f"{where}: metrics: takes")
    for take in takes:
        take = checked(take, dict, "a dictionary", f"{where}: metrics: takes")
        checked(take.get("name"), str, "a name", f"{where}: metrics: takes")
        checked(take.get("knobs", {}), dict, "knobs as a dictionary", f"{where}: metrics: takes")
    for table in ({"takes": None, **metrics}, *({"name": None, "knobs": None, **take} for take in takes)):
        for key, value in table.items():
            if key not in ("takes", "name", "knobs") and not is_number(value):
                raise FormatError(f"{where}: metrics: expected a number as {short(key)}, got {short(value)}.")


def _check_weights(weights: Mapping[str, Any], where: str) -> None:
    check_keys(weights, {"file", "sha256"}, f"{where}: weights")
    if weights["file"] != WEIGHTS:
        raise FormatError(f"{where}: expected the weights in {WEIGHTS!r}, got {short(weights['file'])}.")
    if not isinstance(weights["sha256"], str) or not _SHA256.fullmatch(weights["sha256"]):
        raise FormatError(f"{where}: expected a SHA-256 of 64 digits, got {short(weights['sha256'])}.")


def _read_effect(data: dict[str, Any], where: str) -> Effect:
    try:
        effect = Effect.from_dict(data)
    except FormatError as error:
        message = str(error)
        raise FormatError(f"{where}: {message if len(message) <= 300 else message[:297] + '...'}") from None
    for text in (effect.device, *(text for knob in effect.knobs for text in (knob.unit, *knob.positions))):
        if not text.isprintable() or len(text) > 200:
            raise FormatError(
                f"{where}: effect: expected texts of one line, 200 characters at most, got {short(text)}."
            )
    return effect
