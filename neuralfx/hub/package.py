"""The folder of a published model (format 1): how it is written, checked and read.

A folder holds five files::

    config.json         what the model is: a pair's class name and arguments, its effect, metrics, origin, licence
    model.safetensors   the weights of its network
    README.md           the card
    check.safetensors   a quarter of a second of dry audio, knobs, and the wet audio that the model made of it
    recipe.yaml         the configuration that trained it; shown as text, never run

A folder may come from anywhere, so it is treated as data: nothing in it is executed, unpickled or used as a path,
sizes are bounded, and the weights must be exactly those of the network that the configuration describes. Importing this
module does not import torch, so that models can be listed quickly. ``FORMAT.md`` beside this file is its specification.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

import neuralfx
from neuralfx import engine
from neuralfx.engine import compiler
from neuralfx.errors import FormatError, join_words
from neuralfx.hub.check import make_check, make_check_audio, replay_check
from neuralfx.hub.config import FORMAT, ModelConfig, naming_the_version
from neuralfx.hub.folder import (
    CARD,
    CHECK,
    CONFIG,
    EXTRAS,
    FILES,
    MAX_BYTES,
    RECIPE,
    WEIGHTS,
    open_file,
    read_file,
)
from neuralfx.hub.plain import decode, parse_json, short
from neuralfx.hub.weights import Header, check_tensors, read_header, read_tensors

if TYPE_CHECKING:
    from neuralfx.models.base import EffectModule

__all__ = [
    "CARD", "CHECK", "CONFIG", "FILES", "FORMAT", "MAX_BYTES", "RECIPE", "WEIGHTS", "ModelConfig", "decode",
    "describe_model", "load_folder", "make_check_audio", "parse_json", "read_card", "read_config", "read_file",
    "replay_check", "save_folder",
]  # fmt: skip

MAX_STATE_BYTES = 64_000_000  # memory of one stream between calls, such as the histories of convolutions


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
    extras: Path | None = None,
) -> float:
    """Write a model folder and prove it: it is loaded and its check replayed before it appears under its name.

    It is replayed by compiled loops, where these can be had, and by torch alone: a recurrence can be so unstable that
    the rounding in which the two differ decides what is heard.

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
        extras: Folder whose ``audio`` and ``pictures``, which the card shows, are copied.

    Returns:
        Largest difference between the check and its replay, in amplitude.

    Raises:
        FormatError: If the folder holds something else, what is to be written would not be readable, or the check gives
            something else when other arithmetic replays it.
    """
    folder = Path(folder).resolve()
    refuse_other_content(folder)
    config = describe_model(model, name=name, metrics=metrics, training=training, licence=licence)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        (new / CONFIG).write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
        (new / WEIGHTS).write_bytes(_weights_of(model))
        (new / CARD).write_text(card, encoding="utf-8")
        with compiler.waiting():
            (new / CHECK).write_bytes(make_check(model, check_audio))
        (new / RECIPE).write_text(recipe, encoding="utf-8")
        for part in EXTRAS:
            if extras is not None and (extras / part).is_dir():
                shutil.copytree(extras / part, new / part)
        difference = _prove(new)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)
    return difference


def _prove(folder: Path) -> float:
    """Load a folder and replay its check in two ways; the difference of the first to what is stored."""
    model = load_folder(folder)
    try:
        with compiler.waiting():
            difference = replay_check(model, folder)
        with engine.torch_alone():
            replay_check(model, folder)
    except FormatError:
        raise FormatError(
            "the model is unstable: rounding decides what it plays, so that its check would fail on other machines; "
            "train it again from another seed, as with --seed_everything 1."
        ) from None
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
    return ModelConfig.from_dict(parse_json(read_file(folder, CONFIG, root), where), where)


def read_card(folder: str | os.PathLike[str], root: Path | None = None) -> str:
    """Read the card of a model folder.

    Args:
        folder: A model folder.
        root: Folder that links may lead into; None means the model folder itself.

    Raises:
        FormatError: If the card is missing or not UTF-8 text.
    """
    return decode(read_file(folder, CARD, root), str(Path(folder) / CARD))


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
    folder = Path(folder)
    config = read_config(folder, root)
    card = read_card(folder, root)
    where = str(folder / WEIGHTS)
    with naming_the_version(config.neuralfx_version):
        with open_file(folder, WEIGHTS, root) as file:
            _check_digest(file, config, where)
            _check_network(read_header(file, where), config, folder)
            file.seek(0)
            tensors = read_tensors(file.read(), where)
        model = _build(config, str(folder / CONFIG))
        model.network.load_state_dict(tensors, strict=True)
    model.card, model.metrics, model.name = card, config.metrics, config.name
    return model.to(device).eval()


def _check_digest(file: BinaryIO, config: ModelConfig, where: str) -> None:
    """The weights are those that the configuration speaks of; leaves the file at its start."""
    digest = hashlib.sha256()
    for piece in iter(lambda: file.read(1 << 20), b""):
        digest.update(piece)
    if digest.hexdigest() != config.sha256:
        raise FormatError(f"{where}: its SHA-256 is not the one in {CONFIG}; it is damaged or changed, fetch it again.")
    file.seek(0)


def _check_network(header: Header, config: ModelConfig, folder: Path) -> None:
    """The file fills the network that the configuration describes, which is built here without memory."""
    import torch

    where = str(folder / CONFIG)
    with torch.device("meta"):
        network = _build(config, where).network
        try:
            state = network.initial_state(1, torch.device("meta"))
        except (RuntimeError, OverflowError):  # more than any machine could address
            state_bytes = 2**63
        else:
            state_bytes = _size(state)
    if state_bytes > MAX_STATE_BYTES:
        raise FormatError(
            f"{where}: expected a network that keeps at most {MAX_STATE_BYTES} bytes between calls, got {state_bytes}."
        )
    check_tensors(header, network.state_dict(), str(folder / WEIGHTS))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if parameters != config.parameters:
        raise FormatError(f"{where}: expected {parameters} as number of parameters, got {config.parameters}.")


def _size(state: Any) -> int:
    """Bytes of the tensors in nested tuples."""
    return sum(map(_size, state)) if isinstance(state, tuple) else state.numel() * state.element_size()


def _weights_of(model: EffectModule) -> bytes:
    from safetensors.torch import save

    # Clones, because tensors that share memory cannot be stored.
    return save({name: tensor.detach().cpu().clone() for name, tensor in model.network.state_dict().items()})


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
            raise FormatError(f"{where}: {config.architecture} has the arguments {join_words(own)}, got {short(name)}.")
    try:
        return pair(**config.arguments, effect=config.effect.to_dict())
    except Exception as error:  # whatever a network raises when its sizes make no sense
        raise FormatError(
            f"{where}: {config.architecture} cannot be built ({short(str(error) or type(error).__name__)})."
        ) from error


def refuse_other_content(folder: Path) -> None:
    """A folder may be replaced if it holds what belongs to a model folder and nothing else.

    Raises:
        FormatError: If it holds something else, or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"{folder}: expected a folder or nothing, got a file; choose another name.")
    known = {*FILES, *EXTRAS}
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in known) if folder.exists() else []
    if others:
        raise FormatError(f"{folder}: holds {others[0]!r}, which is no part of a model folder; choose another folder.")
