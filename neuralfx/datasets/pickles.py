"""Reads arrays out of pickles without unpickling them.

A pickle is a program, and whoever unpickles it runs what its author wrote. Here its instructions are read as data: the
few of which dictionaries, lists, numbers, text and NumPy arrays are made are known by name, and everything else is
refused. Nothing is imported, looked up or called, whatever a file asks for.

Arrays are views of the file, which is mapped and not loaded, so that a file of any size takes next to no memory;
protocol 2 alone writes arrays as text, which has to be decoded: about twice the size of the arrays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import math
import mmap
import os
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuralfx.errors import DatasetNotFoundError, FormatError

Array = npt.NDArray[Any]

_MOST_BYTES = 2**36  # 64 GiB, twice the largest set of pickles that we know
_MOST_INSTRUCTIONS = 200_000  # a dictionary of arrays takes about a hundred; each may cost a hundred bytes of memory
_MOST_DIMENSIONS = 8
_NUMBERS = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())


class _Name(enum.Enum):
    """What a pickle of arrays refers to by name. Each stands for itself; the real one is never touched."""

    ARRAY = enum.auto()
    DTYPE = enum.auto()
    EMPTY_ARRAY = enum.auto()  # is filled by the state that follows
    BUFFER_ARRAY = enum.auto()  # protocol 5
    SCALAR = enum.auto()
    ENCODE = enum.auto()  # protocol 2


_INSTRUCTIONS = {known.code.encode("latin1"): known.name for known in pickletools.opcodes}

_NAMES = {("numpy", "ndarray"): _Name.ARRAY, ("numpy", "dtype"): _Name.DTYPE, ("_codecs", "encode"): _Name.ENCODE}
for _core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Name.EMPTY_ARRAY
    _NAMES[f"{_core}.multiarray", "scalar"] = _Name.SCALAR
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Name.BUFFER_ARRAY


def load_arrays(path: str | os.PathLike[str], limit_bytes: int = _MOST_BYTES) -> dict[str, Array]:
    """Read the arrays of a pickled dictionary.

    Args:
        path: Pickle of protocol 2 to 5, as Python 3 writes it, of a dictionary with text as keys.
        limit_bytes: Size from which on a file is refused.

    Returns:
        The numeric arrays by key, as read-only views of the file, which must stay as it is while they are used. Lists
        of numbers, and of equally long rows, become arrays in memory. Other entries are left out.

    Raises:
        DatasetNotFoundError: If there is no such file.
        FormatError: If the file is too large, damaged, no dictionary, or asks for anything but arrays and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetNotFoundError(f"no file {str(path)!r}; pass the path of a pickle.")
    size = path.stat().st_size
    if not 0 < size <= limit_bytes:
        raise FormatError(f"{path}: expected a pickle of 1 to {limit_bytes} bytes, got {size}.")
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    reader = _Reader(data, path)
    with reader.told_as_damaged():
        content = reader.run()
        if type(content) is not dict:
            raise FormatError(f"{path}: expected a pickled dictionary of arrays, got {_describe(content)}.")
        entries = {key: _as_array(value, 4 * size) for key, value in content.items()}  # BININT1: 2 bytes become 8
    return {key: array for key, array in entries.items() if array is not None}


@dataclasses.dataclass
class _DType:
    """A number format: known by its code, complete once its byte order has been stated."""

    code: str
    value: np.dtype[Any] | None = None


@dataclasses.dataclass
class _Array:
    """An array, or the place of one that is still to be filled."""

    value: Array | None = None


class _Reader:
    """The stack machine of pickles, as far as arrays need it."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self.data = data
        self.path = path
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.encoded = 0

    def run(self) -> Any:
        """Follow the instructions up to the last one; what it leaves is the content."""
        for _ in range(_MOST_INSTRUCTIONS):
            code = bytes(self.take(1))
            if code == pickle.STOP:
                return self.stack.pop()
            if code not in _ACTIONS:
                raise self.refusal(f"the instruction {_INSTRUCTIONS.get(code, code.hex())}")
            _ACTIONS[code](self)
        raise self.refusal(f"more than {_MOST_INSTRUCTIONS} instructions")

    @contextlib.contextmanager
    def told_as_damaged(self) -> Iterator[None]:
        """Turn what goes wrong with instructions that make no sense into one error."""
        try:
            yield
        except FormatError:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError, struct.error) as error:
            raise FormatError(
                f"{self.path}: expected a pickle of arrays, but it makes no sense at byte {self.position}; "
                "fetch the file again."
            ) from error

    def refusal(self, what: str) -> FormatError:
        """The error for a file that asks for more than data."""
        return FormatError(
            f"{self.path}: asks for {what} at byte {self.position}. Only NumPy arrays of numbers and plain values are "
            "read from pickles; nothing was run. Do not unpickle this file by other means unless you trust its author."
        )

    def take(self, count: int) -> memoryview:
        """The next bytes of the file, as a view."""
        start = self.position
        if count > len(self.data) - start:
            raise FormatError(
                f"{self.path}: ends at byte {len(self.data)} where {count} bytes were expected from byte {start} on; "
                "it is incomplete or no pickle: fetch it again."
            )
        self.position = start + count
        return self.data[start : self.position]

    def number(self, layout: str) -> Any:
        """The next number of the file, in the notation of :mod:`struct`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """The next line of the file; names are short."""
        text = bytes(self.data[self.position : self.position + 256])
        length = text.index(b"\n")
        self.position += length + 1
        return text[:length].decode()

    def text(self, layout: str) -> str:
        """The next text, behind its length."""
        return str(self.take(self.number(layout)), "utf-8", "surrogatepass")

    def items(self) -> list[Any]:
        """What lies above the last mark; takes both off the stack."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def tuple(self, count: int) -> None:
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.stack.append(items)

    def append(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise self.refusal(f"appending to {_describe(self.stack[-1])}")
        self.stack[-1].extend(values)

    def set(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise self.refusal(f"setting items of {_describe(self.stack[-1])}")
        for key, value in zip(items[::2], items[1::2]):
            if type(key) is not str:  # hashing a deep tuple would exhaust the C stack
                raise self.refusal(f"{_describe(key)} as a key")
            self.stack[-1][key] = value

    def name(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise self.refusal(f"{_describe(name)} of {_describe(module)} as a name")
        if (module, name) not in _NAMES:
            raise self.refusal(f"{module:.80}.{name:.80}".encode("unicode_escape").decode())
        self.stack.append(_NAMES[module, name])

    def stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(module, name)

    def reduce(self) -> None:
        """What a call would be: the function's name and its arguments lie on the stack."""
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, _Name) or type(arguments) is not tuple:
            raise self.refusal(f"a call of {_describe(name)}")
        first = arguments[0]
        if name is _Name.DTYPE and type(first) is str and first in _NUMBERS:
            self.stack.append(_DType(first))
        elif name is _Name.DTYPE:
            raise self.refusal(f"an array of the type {first!s:.40}" if type(first) is str else "an unknown array type")
        elif name is _Name.EMPTY_ARRAY and first is _Name.ARRAY:
            self.stack.append(_Array())
        elif name is _Name.BUFFER_ARRAY:
            data, dtype, shape, order = arguments
            self.stack.append(_Array(self.view(data, dtype, shape, order)))
        elif name is _Name.SCALAR:
            dtype, data = arguments
            self.stack.append(self.view(data, dtype, (), "C").item())
        elif name is _Name.ENCODE and type(first) is str and arguments[1:] == ("latin1",):
            self.encoded += len(first)
            if self.encoded > len(self.data):  # the same text again and again
                raise self.refusal("more text than it holds")
            self.stack.append(first.encode("latin1"))
        else:
            raise self.refusal(f"a call of {_describe(name)} with other arguments than NumPy writes")

    def build(self) -> None:
        """Fills what lies on the stack with its state: an array or the type of one."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) not in (_DType, _Array) or type(state) is not tuple:
            raise self.refusal(f"setting the state of {_describe(target)}")
        if type(target) is _DType:
            _, order, base, names, fields, *rest = state
            if not (order in ("<", ">", "|") and base is names is fields is None and len(rest) == 3):
                raise self.refusal("an array type with fields or metadata")
            target.value = np.dtype(order + target.code)
        elif type(target) is _Array:
            _, shape, dtype, fortran, data = state
            target.value = self.view(data, dtype, shape, "F" if fortran else "C")

    def view(self, data: object, dtype: object, shape: object, order: object) -> Array:
        """An array on the bytes of the file; it costs nothing, and its bytes must all be there."""
        if not isinstance(data, (bytes, memoryview)) or not isinstance(dtype, _DType) or dtype.value is None:
            raise self.refusal("an array of objects")
        if type(shape) is not tuple or not all(type(length) is int and length >= 0 for length in shape):
            raise self.refusal("an array without a shape")
        if len(shape) > _MOST_DIMENSIONS:
            raise self.refusal(f"an array of {len(shape)} dimensions")
        expected = math.prod(shape) * dtype.value.itemsize
        if expected != len(data):
            raise self.refusal(f"an array of {expected:.6g} bytes that holds {len(data)}")
        array: Array = np.ndarray(shape, dtype.value, data, order="F" if order == "F" else "C")
        array.flags.writeable = False
        return array


def _push(value: Callable[[_Reader], Any]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(value(reader))


def _put(index: Callable[[_Reader], int]) -> Callable[[_Reader], None]:
    def put(reader: _Reader) -> None:
        reader.memo[index(reader)] = reader.stack[-1]

    return put


_ACTIONS: dict[bytes, Callable[[_Reader], None]] = {
    pickle.PROTO: lambda reader: reader.number("<B"),
    pickle.FRAME: lambda reader: reader.number("<Q"),
    pickle.NONE: _push(lambda reader: None),
    pickle.NEWTRUE: _push(lambda reader: True),
    pickle.NEWFALSE: _push(lambda reader: False),
    pickle.BININT1: _push(lambda reader: reader.number("<B")),
    pickle.BININT2: _push(lambda reader: reader.number("<H")),
    pickle.BININT: _push(lambda reader: reader.number("<i")),
    pickle.LONG1: _push(lambda reader: int.from_bytes(reader.take(reader.number("<B")), "little", signed=True)),
    pickle.BINFLOAT: _push(lambda reader: reader.number(">d")),
    pickle.SHORT_BINUNICODE: _push(lambda reader: reader.text("<B")),
    pickle.BINUNICODE: _push(lambda reader: reader.text("<I")),
    pickle.BINUNICODE8: _push(lambda reader: reader.text("<Q")),
    pickle.SHORT_BINBYTES: _push(lambda reader: reader.take(reader.number("<B"))),
    pickle.BINBYTES: _push(lambda reader: reader.take(reader.number("<I"))),
    pickle.BINBYTES8: _push(lambda reader: reader.take(reader.number("<Q"))),
    pickle.BYTEARRAY8: _push(lambda reader: reader.take(reader.number("<Q"))),
    pickle.MARK: lambda reader: reader.marks.append(len(reader.stack)),
    pickle.EMPTY_TUPLE: _push(lambda reader: ()),
    pickle.TUPLE: _push(lambda reader: tuple(reader.items())),
    pickle.TUPLE1: lambda reader: reader.tuple(1),
    pickle.TUPLE2: lambda reader: reader.tuple(2),
    pickle.TUPLE3: lambda reader: reader.tuple(3),
    pickle.EMPTY_LIST: _push(lambda reader: []),
    pickle.APPEND: lambda reader: reader.append([reader.stack.pop()]),
    pickle.APPENDS: lambda reader: reader.append(reader.items()),
    pickle.EMPTY_DICT: _push(lambda reader: {}),
    pickle.SETITEM: lambda reader: reader.set([reader.stack.pop(-2), reader.stack.pop()]),
    pickle.SETITEMS: lambda reader: reader.set(reader.items()),
    pickle.BINPUT: _put(lambda reader: reader.number("<B")),
    pickle.LONG_BINPUT: _put(lambda reader: reader.number("<I")),
    pickle.MEMOIZE: _put(lambda reader: len(reader.memo)),
    pickle.BINGET: _push(lambda reader: reader.memo[reader.number("<B")]),
    pickle.LONG_BINGET: _push(lambda reader: reader.memo[reader.number("<I")]),
    pickle.GLOBAL: lambda reader: reader.name(reader.line(), reader.line()),
    pickle.STACK_GLOBAL: lambda reader: reader.stack_name(),
    pickle.REDUCE: lambda reader: reader.reduce(),
    pickle.BUILD: lambda reader: reader.build(),
}


def _as_array(value: object, limit_bytes: int) -> Array | None:
    """An array, a list of numbers or a list of equally long rows of either as an array; None for anything else."""
    if isinstance(value, _Array):
        return value.value
    if not isinstance(value, (list, tuple)) or not value:
        return None
    if _are_numbers(value):
        return np.array(value, dtype=np.float64)
    # Rows may be one and the same many times: their size counts before anything is copied.
    rows: list[Array] = []
    for item in value:
        row = np.array(item, dtype=np.float64) if _are_numbers(item) else getattr(item, "value", None)
        if not isinstance(row, np.ndarray) or row.ndim != 1 or row.shape != (rows or [row])[0].shape:
            return None
        rows.append(row)
        limit_bytes -= row.nbytes
        if limit_bytes < 0:
            return None
    return np.stack(rows)


def _are_numbers(row: object) -> bool:
    return isinstance(row, (list, tuple)) and bool(row) and all(type(item) in (int, float) for item in row)


def _describe(value: object) -> str:
    """A value in a word or two: never its content, which may be without end."""
    if isinstance(value, _Name):
        return f"NumPy's {value.name.lower().replace('_', ' ')}"
    names = {_Array: "an array", _DType: "an array type", memoryview: "bytes", type(None): "nothing", str: "text"}
    return names.get(type(value), type(value).__name__)
