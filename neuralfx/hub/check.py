"""``check.safetensors``: dry audio, knobs and the wet audio that the model made of them, for anyone to replay."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuralfx.errors import FormatError
from neuralfx.hub.folder import CHECK, read_file
from neuralfx.hub.plain import check_keys, checked, parse_json, short
from neuralfx.hub.weights import Header, read_header, read_tensors

if TYPE_CHECKING:
    from neuralfx.effect import Effect
    from neuralfx.models.base import EffectModule

# Largest difference between a replayed check signal and the stored one, in amplitude: 80 dB below full scale. Engines
# and machines round differently, and a recurrence that holds on to what it has heard may enlarge that a hundredfold.
CHECK_TOLERANCE = 1e-4
LONGEST_S = 1.0  # a slow model would take hours for more


def make_check_audio(sample_rate: int, channels: int = 1) -> npt.NDArray[np.float32]:
    """A quarter of a second of test signal: noise that fades out, then a sweep from 20 Hz to 0.45 of the rate.

    Args:
        sample_rate: In Hz.
        channels: The same signal is repeated in each.

    Returns:
        Samples up to ±0.5, shape (channels, sample_rate // 4).
    """
    length, burst = sample_rate // 4, sample_rate // 16
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, burst) * np.linspace(1.0, 0.0, burst)
    time = np.arange(length - burst) / (length - burst)
    octaves = math.log(0.45 * sample_rate / 20.0)
    seconds = (length - burst) / sample_rate
    cycles = 20.0 * seconds / octaves * (np.exp(octaves * time) - 1.0)  # integral of the rising frequency
    sweep = 0.5 * np.sin(2.0 * np.pi * cycles)
    return np.tile(np.concatenate([noise, sweep]).astype(np.float32), (channels, 1))


def make_check(model: EffectModule, dry: npt.NDArray[np.float32] | None = None) -> bytes:
    """Content of ``check.safetensors``: each knob at another place of its range, so that mixed-up knobs are noticed.

    Args:
        model: The model to prove.
        dry: Dry audio of at most a second, shape (channels, time), at the effect's rate; None makes some.
    """
    from safetensors.numpy import save

    effect = model.effect
    dry = make_check_audio(effect.sample_rate, effect.channels) if dry is None else np.asarray(dry, dtype=np.float32)
    places = [(number + 1) / (len(effect.knobs) + 1) for number in range(len(effect.knobs))]
    values = {knob.name: np.asarray(knob.denormalise(place)).item() for knob, place in zip(effect.knobs, places)}
    wet = _play(model, dry, values)
    tensors = {"dry": dry, "knobs": effect.normalise(values), "wet": wet}
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return save(contiguous, metadata={"knobs": json.dumps(values)})


def replay_check(model: EffectModule, folder: str | os.PathLike[str], root: Path | None = None) -> float:
    """Process the folder's dry check signal again and compare the result with the stored one.

    Args:
        model: The model that was loaded from the folder, or an export of it.
        folder: A model folder.
        root: Folder that links may lead into; None means the model folder itself.

    Returns:
        Largest absolute difference, in amplitude.

    Raises:
        FormatError: If the check is missing or damaged, or the difference is above 1e-4.
    """
    where = str(Path(folder) / CHECK)
    data = read_file(folder, CHECK, root)
    header = read_header(io.BytesIO(data), where)
    _check_shapes(header, model.effect, where)
    values = _read_values(header, where)
    tensors = {name: tensor.numpy() for name, tensor in read_tensors(data, where).items()}
    if not np.allclose(model.effect.normalise(values), tensors["knobs"], rtol=0, atol=1e-6):
        raise FormatError(
            f"{where}: the knob values {short(values)} no longer mean what they did; fetch the model again."
        )
    wet = _play(model, tensors["dry"], values)
    difference = float(np.max(np.abs(wet - tensors["wet"])))
    if not difference <= CHECK_TOLERANCE:
        raise FormatError(
            f"{where}: the model's output differs from the stored one by {difference:.2g}, more than "
            f"{CHECK_TOLERANCE:g}; fetch the model again, or package it anew if its code changed."
        )
    return difference


def _play(model: EffectModule, dry: npt.NDArray[np.float32], knobs: dict[str, Any]) -> npt.NDArray[np.float32]:
    """From a state of zeros: what the network is, whatever a player has it hear before."""
    from neuralfx.streaming import process_offline  # torch, which those do without who only list models

    return process_offline(model.network, model.effect, dry, knobs, settling_s=0.0)


def _check_shapes(header: Header, effect: Effect, where: str) -> None:
    check_keys(header.tensors, {"dry", "knobs", "wet"}, where)
    for name, (kind, shape) in header.tensors.items():
        if kind != "F32":
            raise FormatError(f"{where}: expected {name} of type F32, got {kind}.")
        time = shape[-1] if shape else 0
        wanted = [len(effect.knobs)] if name == "knobs" else [effect.channels, time]
        if shape != wanted or (name != "knobs" and time < 1):
            raise FormatError(f"{where}: expected {name} of shape {wanted}, got {shape}.")
        if name != "knobs" and time > LONGEST_S * effect.sample_rate:
            raise FormatError(f"{where}: expected at most {LONGEST_S:g} s of {name} audio, got {time} samples.")
    if header.tensors["dry"] != header.tensors["wet"]:
        raise FormatError(f"{where}: expected wet audio as long as the dry one, got another length.")


def _read_values(header: Header, where: str) -> dict[str, Any]:
    """Knob values in the device's own units, which stand in the metadata as JSON."""
    values = parse_json(header.metadata.get("knobs", "").encode(), f"{where}: knobs")
    checked(values, dict, "a dictionary", f"{where}: knobs")
    for name, value in values.items():
        if not isinstance(value, (int, float, str)):
            raise FormatError(f"{where}: expected a number or a position as knob {short(name)}, got {short(value)}.")
    return dict(values)
