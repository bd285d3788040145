"""Tensors from safetensors files: what a file says it holds is checked before any of it becomes a tensor."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from neuralfx.errors import FormatError
from neuralfx.hub.plain import check_keys, checked, parse_json, short

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 1_000_000
MAX_DIMENSIONS = 8
ITEM_BYTES = {"F32": 4, "F64": 8, "C64": 8, "I64": 8, "I32": 4, "BOOL": 1}  # the types that may occur


class Entry(NamedTuple):
    """Type (``F32``, ``I64``, ...) and shape of a tensor."""

    kind: str
    shape: list[int]


class Header(NamedTuple):
    """What a safetensors file says it holds.

    Attributes:
        tensors: Type and shape by name.
        metadata: Texts by name.
    """

    tensors: dict[str, Entry]
    metadata: dict[str, str]


def read_header(file: BinaryIO, where: str) -> Header:
    """Read and check the header of a safetensors file: the tensors fill the rest of the file without gap or overlap.

    Args:
        file: The file, at its start; left behind the header.
        where: Its name in error messages.

    Raises:
        FormatError: If this is no safetensors file, or one with tensors of other types.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        raise FormatError(f"{where}: expected a safetensors file, got something else or only a part; fetch it again.")
    header = checked(parse_json(file.read(length), where), dict, "a dictionary", where)
    metadata = checked(header.pop("__metadata__", {}), dict, "a dictionary", f"{where}: __metadata__")
    for name, text in metadata.items():
        checked(text, str, "text", f"{where}: __metadata__: {short(name)}")
    places = {name: _read_place(entry, f"{where}: {short(name)}") for name, entry in header.items()}
    stop = 0
    for start, end in sorted(places.values()):
        if start != stop:
            raise FormatError(f"{where}: expected tensors one behind the other, got a gap or an overlap.")
        stop = end
    if stop != size - 8 - length:
        raise FormatError(
            f"{where}: expected {8 + length + stop} bytes, as it says itself, got {size}; it is damaged, "
            "fetch it again."
        )
    return Header({name: Entry(entry["dtype"], entry["shape"]) for name, entry in header.items()}, metadata)


def check_tensors(header: Header, expected: Mapping[str, Tensor], where: str) -> None:
    """Refuse a file that does not hold exactly the expected tensors: names, types and shapes.

    Args:
        header: The file's header.
        expected: Tensors by name; those of the meta device will do.
        where: Name of the file in error messages.

    Raises:
        FormatError: If a tensor is missing, unknown, or of another type or shape.
    """
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
        if name not in header.tensors:
            raise FormatError(f"{where}: tensor {name} is missing; the file belongs to another model.")
        wanted, found = Entry(types[tensor.dtype], list(tensor.shape)), header.tensors[name]
        if found != wanted:
            raise FormatError(
                f"{where}: expected tensor {name} to be {wanted.kind} {wanted.shape}, got {found.kind} "
                f"{short(found.shape)}; the file belongs to another model."
            )
    for name in header.tensors:
        if name not in expected:
            raise FormatError(f"{where}: unknown tensor {short(name)}; the file belongs to another model.")


def read_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """All tensors of a safetensors file whose header was checked; NaN and infinity are refused.

    Args:
        data: The whole file.
        where: Its name in error messages.

    Raises:
        FormatError: If the file is damaged, or a number is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"{where}: expected a safetensors file, got a damaged one ({short(str(error))}).") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise FormatError(f"{where}: expected finite numbers, got NaN or infinity in {short(name)}.")
    return tensors


def _read_place(entry: Any, where: str) -> tuple[int, int]:
    """First byte of a tensor and the one behind its last, counted behind the header."""
    entry = checked(entry, dict, "a dictionary", where)
    check_keys(entry, {"dtype", "shape", "data_offsets"}, where)
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in ITEM_BYTES:
        raise FormatError(f"{where}: expected a type among {', '.join(ITEM_BYTES)}, got {short(kind)}.")
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise FormatError(f"{where}: expected a shape of at most {MAX_DIMENSIONS} whole numbers, got {short(shape)}.")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[kind]:
        raise FormatError(f"{where}: expected the offsets of {kind} {shape}, got {short(offsets)}.")
    return offsets[0], offsets[1]


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
