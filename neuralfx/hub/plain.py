"""Plain values from files of strangers: UTF-8 text, and JSON without its surprises.

What costs much to parse is refused before it is parsed; what two readers could understand in two ways, such as a key
that is there twice, is refused too.
"""

from __future__ import annotations

import collections
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from neuralfx.errors import FormatError

MAX_DEPTH = 16  # nested lists and dictionaries in JSON
MAX_VALUES = 100_000
MAX_NUMBER = 2.0**53  # whole numbers up to here are exact in JSON
MAX_DIGITS = 20


def decode(data: bytes, where: str) -> str:
    """UTF-8 bytes as text.

    Args:
        data: The bytes.
        where: Name of the file in error messages.

    Raises:
        FormatError: If they are not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{where}: expected UTF-8 text, got other bytes; it is damaged, fetch it again.") from None


def parse_json(data: bytes, where: str) -> Any:
    """Plain values from JSON: finite numbers, texts without control characters, each key once, 16 levels at most.

    Args:
        data: UTF-8 bytes.
        where: Name of the file in error messages.

    Raises:
        FormatError: If it is anything else.
    """

    def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            [(twice, _)] = collections.Counter(key for key, _ in pairs).most_common(1)
            raise FormatError(f"{where}: expected each key once, got {short(twice)} again.")
        return table

    text = decode(data, where)
    _check_extent(text, where)
    try:
        value = json.loads(text, object_pairs_hook=each_key_once, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise FormatError(f"{where}: expected JSON, got {error.msg} in line {error.lineno}; fetch it again.") from None
    check_plain(value, where)
    return value


def check_plain(value: object, where: str, depth: int = 0) -> None:
    """Refuse values that are not as :func:`parse_json` gives them.

    Args:
        value: Numbers, texts, lists and dictionaries.
        where: Name of the file in error messages.
        depth: Lists and dictionaries around the value.

    Raises:
        FormatError: If there is such a value.
    """
    if depth > MAX_DEPTH:
        raise FormatError(f"{where}: expected at most {MAX_DEPTH} levels of nesting, got more.")
    if isinstance(value, str):
        if not all(character.isprintable() or character in "\n\t" for character in value):
            raise FormatError(f"{where}: expected text without control characters, got {short(value)}.")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isprintable():
                raise FormatError(f"{where}: expected keys of one line without control characters, got {short(key)}.")
            check_plain(item, where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_plain(item, where, depth + 1)
    elif isinstance(value, (int, float)) and not abs(value) <= MAX_NUMBER:
        raise FormatError(f"{where}: expected numbers up to {MAX_NUMBER:g}, got {short(value)}.")


def check_keys(data: Mapping[str, Any], expected: set[str], where: str) -> None:
    """Refuse a dictionary whose keys are not exactly the expected ones.

    Args:
        data: The dictionary.
        expected: Its keys.
        where: Name of the file, and place in it, in error messages.

    Raises:
        FormatError: If a key is unknown or missing.
    """
    for key in data:
        if key not in expected:
            raise FormatError(f"{where}: unknown key {short(key)}; the keys are {', '.join(sorted(expected))}.")
    for key in sorted(expected):
        if key not in data:
            raise FormatError(f"{where}: missing key {key!r}; the keys are {', '.join(sorted(expected))}.")


def checked(value: Any, kind: type, expected: str, where: str) -> Any:
    """The value, if it is of a kind; true and false are no numbers.

    Args:
        value: Any value.
        kind: The type that it must have.
        expected: That type in words.
        where: Name of the file, and place in it, in error messages.

    Raises:
        FormatError: If it is of another kind.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise FormatError(f"{where}: expected {expected}, got {short(value)}.")
    return value


def short(value: object) -> str:
    """Something from a file as one line of at most 80 characters.

    Args:
        value: Any value.
    """
    # A long list is not turned into text as a whole.
    text = repr(value[:80] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _whole_number(digits: str) -> float:
    """A whole number; one of very many digits takes long to read, and is too large anyway."""
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def _check_extent(text: str, where: str) -> None:
    """Count commas and brackets outside of strings, so that a parser never sees very many values or levels."""
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    if outside.count(",") >= MAX_VALUES:
        raise FormatError(f"{where}: expected at most {MAX_VALUES} values, got more.")
    depth = 0
    for bracket in re.sub(r"[^\[\]{}]+", "", outside):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise FormatError(f"{where}: expected at most {MAX_DEPTH} levels of nesting, got more.")
