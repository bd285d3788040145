"""The folder of a published model (format 1): how it is written, checked and read.

A folder holds five files::

    config.json         what the model is: a pair's class name and arguments, its effect, metrics, origin, licence
    model.safetensors   the weights of its network
    README.md           the card
    check.safetensors   a second of dry audio, knobs, and the wet audio that the model made of it
    recipe.yaml         the configuration that trained it

A folder may come from anywhere, so it is treated as data: nothing in it is executed, unpickled or used as a path,
sizes are bounded, and the weights must be exactly those of the network that the configuration describes. Importing this
module does not import torch, so that models can be listed quickly.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import neuralfx
from neuralfx.effect import Effect
from neuralfx.errors import FormatError, join_words
from neuralfx.models.catalogue import ARCHITECTURES

if TYPE_CHECKING:
    from torch import Tensor

    from neuralfx.models.base import EffectModule

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
CHECK = "check.safetensors"
RECIPE = "recipe.yaml"
FILES = (CONFIG, WEIGHTS, CARD, CHECK, RECIPE)

CHECK_TOLERANCE = 1e-5  # largest difference between a replayed check signal and the stored one, in amplitude
MAX_TEXT_BYTES = 1_000_000
MAX_WEIGHT_BYTES = 256_000_000
MAX_DEPTH = 16  # nested lists and dictionaries in JSON
MAX_NUMBER = 2.0**53  # whole numbers up to here are exact in JSON
MAX_ARGUMENT = 4096  # numbers among the arguments of an architecture
MAX_ARGUMENT_LENGTH = 64  # items of a list, characters of a text among these arguments

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
            FormatError: If a key is missing, unknown or wrong, or a later version of neuralfx wrote it.
        """
        _check_plain(data, where)
        data = _checked(data, dict, "a dictionary", where)
        _check_format(data, where)
        _check_keys(data, set(_KINDS), where)
        for key, (kind, expected) in _KINDS.items():
            _checked(data[key], kind, expected, f"{where}: {key}")
        _check_name(data["name"], where)
        if data["architecture"] not in ARCHITECTURES:
            known = join_words(list(ARCHITECTURES), last="or")
            raise FormatError(f"{where}: expected an architecture among {known}, got {_short(data['architecture'])}.")
        _check_arguments(data["arguments"], where)
        _check_metrics(data["metrics"], where)
        for key in ("licence", "neuralfx_version"):
            if not 0 < len(data[key]) <= 100 or not data[key].isprintable():
                raise FormatError(f"{where}: expected a {key} of 1 to 100 characters, got {_short(data[key])}.")
        if data["parameters"] < 0:
            raise FormatError(f"{where}: expected a number of parameters from 0, got {data['parameters']}.")
        weights = data["weights"]
        _check_keys(weights, {"file", "sha256"}, f"{where}: weights")
        if weights["file"] != WEIGHTS:
            raise FormatError(f"{where}: expected the weights in {WEIGHTS!r}, got {_short(weights['file'])}.")
        if not isinstance(weights["sha256"], str) or not _SHA256.fullmatch(weights["sha256"]):
            raise FormatError(f"{where}: expected a SHA-256 of 64 digits, got {_short(weights['sha256'])}.")
        try:
            effect = Effect.from_dict(data["effect"])
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from None
        fields = {key: data[key] for key in _KINDS if key not in ("format", "effect", "weights")}
        return cls(**fields, effect=effect, sha256=weights["sha256"])


def describe_model(
    model: EffectModule, *, name: str, metrics: Mapping[str, Any], training: Mapping[str, Any], licence: str
) -> ModelConfig:
    """What ``config.json`` will say about a model.

    Args:
        model: A model of one of the pair classes.
        name: Name to publish it under, lower case with hyphens.
        metrics: As in :class:`ModelConfig`.
        training: As in :class:`ModelConfig`.
        licence: As in :class:`ModelConfig`.

    Raises:
        FormatError: If something cannot be said in a model folder, such as a metric that is not finite.
    """
    config = {
        "format": FORMAT,
        "name": name,
        "architecture": type(model).__name__,
        "arguments": model.architecture_arguments(),
        "effect": model.effect.to_dict(),
        "metrics": dict(metrics),
        "training": dict(training),
        "licence": licence,
        "neuralfx_version": neuralfx.__version__,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(_weights_of(model)).hexdigest()},
    }
    try:
        plain = json.loads(json.dumps(config))
    except TypeError as error:
        raise FormatError(
            f"model {name}: expected numbers, texts, lists and dictionaries, got more ({error})."
        ) from None
    return ModelConfig.from_dict(plain, where=f"model {name}")


def save_folder(
    model: EffectModule,
    folder: str | os.PathLike[str],
    *,
    name: str,
    card: str,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    recipe: str,
    licence: str,
    check_audio: npt.NDArray[np.float32] | None = None,
) -> float:
    """Write a model folder and prove it: it is loaded and its check replayed before it appears under its name.

    Args:
        model: A model of one of the pair classes.
        folder: Folder to write. An older model folder there is replaced; any other content is left alone.
        name: Name of the model, lower case with hyphens.
        card: Text of the card, Markdown.
        metrics: As in :class:`ModelConfig`.
        training: As in :class:`ModelConfig`.
        recipe: The YAML that trained the model, as text.
        licence: Licence of the weights.
        check_audio: Dry audio of the check, shape (channels, time), at the effect's rate; None makes some.

    Returns:
        Largest difference between the check and its replay, in amplitude.

    Raises:
        FormatError: If the folder holds something else, or what is to be written would not be readable.
    """
    folder = Path(folder).resolve()
    _refuse_other_content(folder)
    config = describe_model(model, name=name, metrics=metrics, training=training, licence=licence)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        (new / CONFIG).write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
        (new / WEIGHTS).write_bytes(_weights_of(model))
        (new / CARD).write_text(card, encoding="utf-8")
        (new / CHECK).write_bytes(_check_of(model, check_audio))
        (new / RECIPE).write_text(recipe, encoding="utf-8")
        difference = replay_check(load_folder(new), new)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)
    return difference


def read_config(folder: str | os.PathLike[str], root: Path | None = None) -> ModelConfig:
    """Read and check ``config.json``, without torch.

    Args:
        folder: A model folder.
        root: Folder that links may lead into; None means the model folder itself.

    Raises:
        FormatError: If the file is missing, damaged, or not of a format that this version reads.
    """
    where = str(Path(folder) / CONFIG)
    return ModelConfig.from_dict(parse_json(read_file(folder, CONFIG, MAX_TEXT_BYTES, root), where), where)


def read_card(folder: str | os.PathLike[str], root: Path | None = None) -> str:
    """Read the card of a model folder.

    Args:
        folder: A model folder.
        root: Folder that links may lead into; None means the model folder itself.

    Raises:
        FormatError: If the card is missing or not UTF-8 text.
    """
    return decode(read_file(folder, CARD, MAX_TEXT_BYTES, root), str(Path(folder) / CARD))


def load_folder(folder: str | os.PathLike[str], device: Any = "cpu", root: Path | None = None) -> EffectModule:
    """Load the model of a model folder.

    Args:
        folder: A model folder.
        device: Where the model goes, such as ``"cpu"`` or ``"cuda"``.
        root: Folder that links may lead into; None means the model folder itself.

    Returns:
        The model in evaluation mode, with ``card``, ``metrics`` and ``name`` set.

    Raises:
        FormatError: If anything in the folder is missing, damaged or not as ``config.json`` says.
    """
    import torch

    folder = Path(folder)
    where = str(folder / WEIGHTS)
    config = read_config(folder, root)
    card = read_card(folder, root)
    data = read_file(folder, WEIGHTS, MAX_WEIGHT_BYTES, root)
    if hashlib.sha256(data).hexdigest() != config.sha256:
        raise FormatError(f"{where}: its SHA-256 is not the one in {CONFIG}; it is damaged or changed, fetch it again.")
    header = read_header(data, where)
    with torch.device("meta"):  # shapes without memory: nothing large is made before the file is known to fill it
        blueprint = _build(config, str(folder / CONFIG))
    _check_shapes(header, blueprint.network.state_dict(), where)
    parameters = sum(parameter.numel() for parameter in blueprint.network.parameters())
    if parameters != config.parameters:
        raise FormatError(f"{folder / CONFIG}: expected {parameters} as number of parameters, got {config.parameters}.")
    model = _build(config, str(folder / CONFIG))
    model.network.load_state_dict(_read_tensors(data, where), strict=True)
    model.card, model.metrics, model.name = card, config.metrics, config.name
    return model.to(device).eval()


def replay_check(model: EffectModule, folder: str | os.PathLike[str], root: Path | None = None) -> float:
    """Process the folder's dry check signal again and compare the result with the stored one.

    Args:
        model: The model that was loaded from the folder, or an export of it.
        folder: A model folder.
        root: Folder that links may lead into; None means the model folder itself.

    Returns:
        Largest absolute difference, in amplitude.

    Raises:
        FormatError: If the check is missing or damaged, or the difference is above 1e-5.
    """
    where = str(Path(folder) / CHECK)
    data = read_file(folder, CHECK, MAX_WEIGHT_BYTES, root)
    header = read_header(data, where)
    metadata = parse_json(data[8 : 8 + _header_length(data, where)], where).get("__metadata__", {})
    tensors = _read_tensors(data, where)
    _check_keys(header, {"dry", "knobs", "wet"}, where)
    values = parse_json(str(metadata.get("knobs", "")).encode(), f"{where}: knobs")
    _checked(values, dict, "a dictionary", f"{where}: knobs")
    knobs = model.effect.normalise(values)
    stored = tensors["knobs"].numpy()
    if knobs.shape != stored.shape or not np.allclose(knobs, stored, rtol=0, atol=1e-6):
        raise FormatError(
            f"{where}: the knob values {_short(values)} no longer mean what they did; fetch the model again."
        )
    wet = model.process(tensors["dry"].numpy(), values, sample_rate=model.effect.sample_rate)
    if wet.shape != tuple(tensors["wet"].shape):
        raise FormatError(f"{where}: expected wet audio of shape {wet.shape}, got {tuple(tensors['wet'].shape)}.")
    difference = float(np.max(np.abs(wet - tensors["wet"].numpy())))
    if not difference <= CHECK_TOLERANCE:
        raise FormatError(
            f"{where}: the model's output differs from the stored one by {difference:.2g}, more than "
            f"{CHECK_TOLERANCE:g}; fetch the model again, or package it anew if its code changed."
        )
    return difference


def make_check_audio(sample_rate: int, channels: int = 1) -> npt.NDArray[np.float32]:
    """One second of test signal: a quarter of noise that fades out, then a sweep from 20 Hz to 0.45 of the rate.

    Args:
        sample_rate: In Hz.
        channels: The same signal is repeated in each.

    Returns:
        Samples up to ±0.5, shape (channels, sample_rate).
    """
    burst = sample_rate // 4
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, burst) * np.linspace(1.0, 0.0, burst)
    time = np.arange(sample_rate - burst) / (sample_rate - burst)
    octaves = math.log(0.45 * sample_rate / 20.0)
    cycles = 20.0 * 0.75 / octaves * (np.exp(octaves * time) - 1.0)  # integral of the exponentially rising frequency
    sweep = 0.5 * np.sin(2.0 * np.pi * cycles)
    return np.tile(np.concatenate([noise, sweep]).astype(np.float32), (channels, 1))


def read_file(folder: str | os.PathLike[str], name: str, limit: int, root: Path | None = None) -> bytes:
    """Read one file of a model folder.

    Args:
        folder: A model folder.
        name: One of ``FILES``.
        limit: Largest size, in bytes.
        root: Folder that links may lead into; None means the model folder itself.

    Raises:
        FormatError: If the file is missing, too large, or a link that leaves ``root``.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise FormatError(f"{folder}: {name} is missing; a model folder holds {join_words(FILES)}.")
    if not path.resolve().is_relative_to(Path(root or folder).resolve()):
        raise FormatError(f"{path}: expected a file, got a link that leaves the folder; put the file itself there.")
    size = path.stat().st_size
    if size > limit:
        raise FormatError(f"{path}: expected at most {limit} bytes, got {size}.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from error


def decode(data: bytes, where: str) -> str:
    """UTF-8 bytes as text.

    Raises:
        FormatError: If they are not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{where}: expected UTF-8 text, got other bytes; it is damaged, fetch it again.") from None


def parse_json(data: bytes, where: str) -> Any:
    """Plain values from JSON: finite numbers, texts without control characters, 16 levels at most.

    Args:
        data: UTF-8 bytes.
        where: Name of the file in error messages.

    Raises:
        FormatError: If it is anything else.
    """
    text = decode(data, where)
    try:
        value = json.loads(text)
    except RecursionError:
        raise FormatError(f"{where}: expected at most {MAX_DEPTH} levels of nesting, got many more.") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"{where}: expected JSON, got {error.msg} in line {error.lineno}; fetch it again.") from None
    except ValueError:  # a whole number of thousands of digits
        raise FormatError(f"{where}: expected numbers of usual length, got one of thousands of digits.") from None
    _check_plain(value, where)
    return value


def read_header(data: bytes, where: str) -> dict[str, tuple[str, list[int]]]:
    """Names, types and shapes of the tensors in a safetensors file, before any of them is made.

    Args:
        data: The whole file.
        where: Its name in error messages.

    Returns:
        Type (``F32``, ``I64``, ...) and shape by tensor name.

    Raises:
        FormatError: If this is no safetensors file.
    """
    header = _checked(parse_json(data[8 : 8 + _header_length(data, where)], where), dict, "a dictionary", where)
    entries = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        entry = _checked(entry, dict, "a dictionary", f"{where}: {_short(name)}")
        _check_keys(entry, {"dtype", "shape", "data_offsets"}, f"{where}: {_short(name)}")
        entries[name] = (entry["dtype"], entry["shape"])
    return entries


def _header_length(data: bytes, where: str) -> int:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(len(data) - 8, MAX_TEXT_BYTES):
        raise FormatError(f"{where}: expected a safetensors file, got something else or only a part; fetch it again.")
    return length


def _read_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """All tensors of a safetensors file; NaN and infinity are refused."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"{where}: expected a safetensors file, got a damaged one ({_short(str(error))}).") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise FormatError(f"{where}: expected finite numbers, got NaN or infinity in {_short(name)}.")
    return tensors


def _weights_of(model: EffectModule) -> bytes:
    from safetensors.torch import save

    # Clones, because tensors that share memory cannot be stored.
    return save({name: tensor.detach().cpu().clone() for name, tensor in model.network.state_dict().items()})


def _check_of(model: EffectModule, dry: npt.NDArray[np.float32] | None) -> bytes:
    """Content of ``check.safetensors``: each knob at another place of its range, so that mixed-up knobs are noticed."""
    from safetensors.numpy import save

    effect = model.effect
    dry = make_check_audio(effect.sample_rate, effect.channels) if dry is None else np.asarray(dry, dtype=np.float32)
    places = [(number + 1) / (len(effect.knobs) + 1) for number in range(len(effect.knobs))]
    values = {knob.name: np.asarray(knob.denormalise(place)).item() for knob, place in zip(effect.knobs, places)}
    wet = model.process(dry, values, sample_rate=effect.sample_rate)
    tensors = {"dry": dry, "knobs": effect.normalise(values), "wet": wet}
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return save(contiguous, metadata={"knobs": json.dumps(values)})


def _build(config: ModelConfig, where: str) -> EffectModule:
    """The model with untrained weights."""
    from neuralfx.models import architecture

    pair = architecture(config.architecture)
    own = [
        name
        for name, parameter in inspect.signature(pair).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    for name in config.arguments:
        if name not in own:
            raise FormatError(
                f"{where}: {config.architecture} has the arguments {join_words(own)}, got {_short(name)}."
            )
    try:
        return pair(**config.arguments, effect=config.effect.to_dict())
    except Exception as error:  # whatever a network raises when its sizes make no sense
        raise FormatError(f"{where}: {config.architecture} cannot be built ({_short(str(error))}).") from error


def _check_shapes(header: Mapping[str, tuple[str, list[int]]], expected: Mapping[str, Tensor], where: str) -> None:
    """The file holds exactly the tensors of the network: names, types, shapes."""
    import torch

    types = {
        torch.float32: "F32",
        torch.float64: "F64",
        torch.complex64: "C64",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.bool: "BOOL",
    }
    for name, tensor in expected.items():
        wanted = (types[tensor.dtype], list(tensor.shape))
        if name not in header:
            raise FormatError(f"{where}: tensor {name} is missing; the file belongs to another model.")
        if header[name] != wanted:
            raise FormatError(
                f"{where}: expected tensor {name} of type and shape {wanted}, got {_short(header[name])}; "
                "the file belongs to another model."
            )
    for name in header:
        if name not in expected:
            raise FormatError(f"{where}: unknown tensor {_short(name)}; the file belongs to another model.")


def _refuse_other_content(folder: Path) -> None:
    """A folder may be replaced if it holds files of a model folder and nothing else."""
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"{folder}: expected a folder or nothing, got a file; choose another name.")
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in FILES) if folder.exists() else []
    if others:
        raise FormatError(f"{folder}: holds {others[0]!r}, which is no part of a model folder; choose another folder.")


def _check_format(data: Mapping[str, Any], where: str) -> None:
    found = data.get("format")
    if isinstance(found, int) and found > FORMAT:
        version = data.get("neuralfx_version")
        raise FormatError(
            f"{where}: this is format {found}, written by neuralfx {_short(version)}; version "
            f"{neuralfx.__version__} reads format {FORMAT}. Install a later one: pip install --upgrade neuralfx."
        )
    if found != FORMAT:
        raise FormatError(f"{where}: expected format {FORMAT}, got {_short(found)}; this is no neuralfx model.")


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise FormatError(f"{where}: expected a name in lower case with hyphens such as 'my-amp', got {_short(name)}.")


def _check_arguments(arguments: Mapping[str, Any], where: str) -> None:
    def is_bounded(value: Any) -> bool:
        if isinstance(value, str):
            return len(value) <= MAX_ARGUMENT_LENGTH
        return value is None or (isinstance(value, (int, float)) and abs(value) <= MAX_ARGUMENT)

    for name, value in arguments.items():
        items = value if isinstance(value, list) else [value]
        if len(items) > MAX_ARGUMENT_LENGTH or not all(is_bounded(item) for item in items):
            raise FormatError(
                f"{where}: expected argument {_short(name)} to be numbers up to {MAX_ARGUMENT} or short text, "
                f"got {_short(value)}."
            )


def _check_metrics(metrics: Mapping[str, Any], where: str) -> None:
    def is_number(value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    takes = _checked(metrics.get("takes", []), list, "a list", f"{where}: metrics: takes")
    for take in takes:
        take = _checked(take, dict, "a dictionary", f"{where}: metrics: takes")
        _checked(take.get("name"), str, "a name", f"{where}: metrics: takes")
        _checked(take.get("knobs", {}), dict, "knobs as a dictionary", f"{where}: metrics: takes")
    for table in ({"takes": None, **metrics}, *({"name": None, "knobs": None, **take} for take in takes)):
        for key, value in table.items():
            if key not in ("takes", "name", "knobs") and not is_number(value):
                raise FormatError(f"{where}: metrics: expected a number as {_short(key)}, got {_short(value)}.")


def _check_plain(value: object, where: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise FormatError(f"{where}: expected at most {MAX_DEPTH} levels of nesting, got more.")
    if isinstance(value, str):
        if not all(character.isprintable() or character in "\n\t" for character in value):
            raise FormatError(f"{where}: expected text without control characters, got {_short(value)}.")
    elif isinstance(value, (list, dict)):
        for item in value:
            _check_plain(item, where, depth + 1)
        if isinstance(value, dict):
            _check_plain(list(value.values()), where, depth)
    elif isinstance(value, (int, float)) and not abs(value) <= MAX_NUMBER:
        raise FormatError(f"{where}: expected numbers up to {MAX_NUMBER:g}, got {_short(value)}.")


def _check_keys(data: Mapping[str, Any], expected: set[str], where: str) -> None:
    for key in data:
        if key not in expected:
            raise FormatError(f"{where}: unknown key {_short(key)}; the keys are {', '.join(sorted(expected))}.")
    for key in sorted(expected):
        if key not in data:
            raise FormatError(f"{where}: missing key {key!r}; the keys are {', '.join(sorted(expected))}.")


def _checked(value: Any, kind: type, expected: str, where: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise FormatError(f"{where}: expected {expected}, got {_short(value)}.")
    return value


def _short(value: object) -> str:
    """Something from a file as one line of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
