"""What is modelled: a device (:class:`Effect`) and its controls (:class:`Knob`).

The one place that knows how a knob's own units relate to the 0..1 that a network sees. It needs NumPy alone, so that
listing models does not import torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from neuralfx.errors import FormatError, KnobError, ShapeError
from neuralfx.text import align

Array = npt.NDArray[Any]

TAPERS = ("linear", "logarithmic")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PROGRAM = re.compile(r"\b(virtual|simulated|plug-?in)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Knob:
    """One control of a device: a continuous range, or a switch with named positions.

    Args:
        name: Lower-case identifier such as ``peak_reduction``.
        minimum: Lowest value, in ``unit``. Unused by switches.
        maximum: Highest value, in ``unit``, above ``minimum``. Unused by switches.
        unit: Unit as printed, such as ``%``, ``dB`` or ``Hz``; empty for a plain number.
        taper: ``linear`` or ``logarithmic`` (equal ratios are equal steps; needs ``minimum > 0``).
        positions: Names of a switch's positions in order, at least two; empty for a continuous knob.
        default: Value when none is given, in ``unit`` or as a position. Left out: the middle of the range, or the
            first position.

    Raises:
        FormatError: If the description contradicts itself.

    Example:
        >>> cutoff = Knob("cutoff", 20.0, 20_000.0, unit="Hz", taper="logarithmic", default=200.0)
        >>> round(float(cutoff.normalise(200.0)), 4)
        0.3333
        >>> Knob("mode", positions=("compress", "limit")).describe_range()
        'compress, limit'
    """

    name: str
    minimum: float = 0.0
    maximum: float = 1.0
    unit: str = ""
    taper: str = "linear"
    positions: tuple[str, ...] = ()
    default: float | str | None = None

    def __post_init__(self) -> None:
        def require(condition: bool, expected: str, got: object) -> None:
            if not condition:
                raise FormatError(f"knob {self.name!r}: expected {expected}, got {got!r}.")

        def is_number(value: object) -> bool:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

        require(
            isinstance(self.name, str) and bool(_NAME.fullmatch(self.name)), "a name like 'peak_reduction'", self.name
        )
        require(isinstance(self.unit, str) and len(self.unit) <= 32, "a unit as text", self.unit)
        require(isinstance(self.positions, (list, tuple)), "a list of positions", self.positions)
        object.__setattr__(self, "positions", tuple(self.positions))
        if self.positions:
            names_fit = all(isinstance(position, str) and position for position in self.positions)
            require(
                names_fit and len(set(self.positions)) == len(self.positions) >= 2,
                "two or more distinct position names",
                self.positions,
            )
            if self.default is None:
                object.__setattr__(self, "default", self.positions[0])
            require(self.default in self.positions, f"a default among {self.describe_range()}", self.default)
            return
        require(
            is_number(self.minimum) and is_number(self.maximum), "finite numbers as range", (self.minimum, self.maximum)
        )
        object.__setattr__(self, "minimum", float(self.minimum))
        object.__setattr__(self, "maximum", float(self.maximum))
        require(self.minimum < self.maximum, "minimum below maximum", (self.minimum, self.maximum))
        require(self.taper in TAPERS, f"a taper among {', '.join(TAPERS)}", self.taper)
        require(
            self.taper != "logarithmic" or self.minimum > 0, "a minimum above 0 for a logarithmic taper", self.minimum
        )
        span = self.maximum / self.minimum if self.taper == "logarithmic" else self.maximum - self.minimum
        require(math.isfinite(span), "a range that can be computed", (self.minimum, self.maximum))
        if self.default is None:
            object.__setattr__(self, "default", float(self.denormalise(0.5)))
        if not isinstance(self.default, (int, float)) or not is_number(self.default):
            raise FormatError(f"knob {self.name!r}: expected a number as default, got {self.default!r}.")
        in_range = self.minimum <= self.default <= self.maximum
        require(in_range, f"a default in {self.describe_range()}", self.default)
        object.__setattr__(self, "default", float(self.default))

    def normalise(self, value: Any) -> Array:
        """Map values in the knob's own units to the range 0 to 1 that a network sees.

        Args:
            value: A number, a position name, or an array of either, of any shape.

        Returns:
            Values from 0 to 1, float64, same shape.

        Raises:
            KnobError: If a value is out of range, not a number or not a position.
        """
        if self.positions:
            return self._normalise_positions(value)
        try:
            values = np.asarray(value)
        except ValueError:  # ragged
            raise KnobError.out_of_range(self, value) from None
        if values.dtype.kind not in "iuf":
            raise KnobError.out_of_range(self, value)
        values = values.astype(np.float64, copy=False)
        if not _lies_within(values, self.minimum, self.maximum):
            values = self._round_inwards(values)
        if self.taper == "logarithmic":
            return np.asarray(np.minimum(np.log(values / self.minimum) / math.log(self.maximum / self.minimum), 1.0))
        return np.asarray((values - self.minimum) / (self.maximum - self.minimum))

    def denormalise(self, value: Any) -> Array:
        """Inverse of :meth:`normalise`: 0 to 1 becomes a value in the knob's own unit, or the nearest position."""
        values = np.clip(np.asarray(value, dtype=np.float64), 0.0, 1.0)
        if self.positions:
            names = np.asarray(self.positions, dtype=object)
            return np.asarray(names[np.rint(values * (len(self.positions) - 1)).astype(int)])
        if self.taper == "logarithmic":
            return np.asarray(self.minimum * (self.maximum / self.minimum) ** values)
        return np.asarray(self.minimum + (self.maximum - self.minimum) * values)

    def describe_range(self) -> str:
        """The range as people read it: ``0 to 100 %`` or ``compress, limit``."""
        if self.positions:
            return ", ".join(self.positions)
        return f"{self.minimum:g} to {self.maximum:g}{_spaced(self.unit)}"

    def describe_default(self) -> str:
        """The default as people read it: ``60 %`` or ``compress``."""
        return str(self.default) if self.positions else f"{self.default:g}{_spaced(self.unit)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary of strings, numbers and lists; :meth:`from_dict` reads it back."""
        if self.positions:
            return {"name": self.name, "positions": list(self.positions), "default": self.default}
        fields = dataclasses.asdict(self)
        del fields["positions"]
        return fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Knob:
        """Read what :meth:`to_dict` wrote.

        Raises:
            FormatError: If a field is missing, unknown or wrong.
        """
        return cls(**_checked_fields(cls, data))

    def _round_inwards(self, values: Array) -> Array:
        """Values computed in float32 may miss the ends of the range by its rounding."""
        slack = 1e-6 * (self.maximum - self.minimum)
        wrong = ~((values >= self.minimum - slack) & (values <= self.maximum + slack))  # NaN is
        if wrong.any():
            raise KnobError.out_of_range(self, float(values[wrong].flat[0]))
        return np.asarray(np.clip(values, self.minimum, self.maximum))

    def _normalise_positions(self, value: Any) -> Array:
        names = np.asarray(value, dtype=object)
        index = {position: number for number, position in enumerate(self.positions)}
        scaled = np.empty(names.shape, dtype=np.float64)
        for position, name in np.ndenumerate(names):
            if not isinstance(name, str) or name not in index:
                raise KnobError.out_of_range(self, name)
            scaled[position] = index[name] / (len(self.positions) - 1)
        return scaled


class Knobs(tuple[Knob, ...]):
    """The knobs of an effect in order: a tuple that prints as a table and also finds a knob by its name."""

    def names(self) -> tuple[str, ...]:
        """Names of the knobs, in order."""
        return tuple(knob.name for knob in self)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self.names():
                raise KeyError(f"no knob {key!r}; the knobs are {', '.join(self.names()) or 'none'}.")
            return super().__getitem__(self.names().index(key))
        return super().__getitem__(key)

    def __str__(self) -> str:
        if not self:
            return "(no knobs)"
        head = ("knob", "range or positions", "taper", "default")
        rows = [
            (knob.name, knob.describe_range(), "switch" if knob.positions else knob.taper, knob.describe_default())
            for knob in self
        ]
        return align([head, *rows])

    __repr__ = __str__


@dataclasses.dataclass(frozen=True)
class Effect:
    """The device that a model imitates: its name, its sample rate and its knobs.

    Args:
        slug: Short name in lower case with hyphens, such as ``la2a``; the head of a model's name.
        sample_rate: Rate of the recordings, in Hz; the rate at which a network runs.
        knobs: The controls, in the order in which a network sees them.
        device: Full name for people, such as ``Teletronix LA-2A optical compressor``.
        channels: Audio channels that one network processes together, at least 1.

    Raises:
        FormatError: If the description contradicts itself.
    """

    slug: str
    sample_rate: int
    knobs: Knobs = dataclasses.field(default_factory=Knobs)
    device: str = ""
    channels: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "knobs", Knobs(self.knobs))
        if not isinstance(self.slug, str) or not _SLUG.fullmatch(self.slug):
            raise FormatError(f"effect: expected a slug in lower case with hyphens such as 'la2a', got {self.slug!r}.")
        if not _is_count(self.sample_rate, 1_000, 1_000_000):
            raise FormatError(
                f"effect {self.slug}: expected a sample rate of 1000 to 1000000 Hz, got {self.sample_rate!r}."
            )
        if not _is_count(self.channels, 1, 64):
            raise FormatError(f"effect {self.slug}: expected 1 to 64 channels, got {self.channels!r}.")
        if not isinstance(self.device, str) or len(self.device) > 200:
            raise FormatError(
                f"effect {self.slug}: expected a device name of at most 200 characters, got {self.device!r}."
            )
        names = self.knobs.names()
        if len(set(names)) != len(names) or len(names) > 64:
            raise FormatError(
                f"effect {self.slug}: expected at most 64 knobs with distinct names, got {', '.join(names)}."
            )

    @property
    def is_virtual(self) -> bool:
        """Whether the device is a program, as its full name says then: ``virtual``, ``simulated`` or ``plug-in``."""
        return bool(_PROGRAM.search(self.device))

    def normalise(self, values: Mapping[str, Any] | None = None, length: int | None = None) -> npt.NDArray[np.float32]:
        """Turn knob values by name, in the device's own units, into what a network sees.

        Args:
            values: Knob values by name: numbers or position names; arrays of shape (length,) move a knob. Knobs that
                are left out take their default.
            length: Samples of audio that moving knobs must cover; None allows still knobs only.

        Returns:
            Values from 0 to 1, shape (knobs,) if all stand still, (length, knobs) if any of them moves.

        Raises:
            KnobError: If a name is unknown or a value is out of range.
            ShapeError: If an array is not one-dimensional of ``length`` values.
        """
        return self.change(self._defaults, values or {}, length)

    def change(
        self, knobs: npt.NDArray[np.float32], values: Mapping[str, Any], length: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Move some knobs away from where they stand.

        Args:
            knobs: Where the knobs stand, normalised, shape (knobs,).
            values: As in :meth:`normalise`; knobs that are left out stay.
            length: As in :meth:`normalise`.

        Returns:
            As :meth:`normalise`.

        Raises:
            KnobError: If a name is unknown or a value is out of range.
            ShapeError: If an array is not one-dimensional of ``length`` values.
        """
        columns = {}
        is_moving = False
        for name, value in values.items():
            if name not in self._places:
                raise KnobError.unknown(self, name)
            index, knob = self._places[name]
            column = knob.normalise(value)
            if column.ndim:
                is_moving = True
                if column.shape != (length,):
                    expected = (
                        "one value" if length is None else f"one value or an array of {length} values, one per sample"
                    )
                    raise ShapeError(f"knob {name}: expected {expected}, got an array of shape {column.shape}.")
            columns[index] = column
        if is_moving:
            changed = np.empty((length or 0, len(knobs)), dtype=np.float32)
            if len(columns) < len(knobs):
                changed[:] = knobs
        else:
            changed = knobs.copy()
        for index, column in columns.items():
            changed[..., index] = column
        return changed

    def tied_knobs(self, settings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """Knobs whose values follow from those of others, so that nobody can tell what each of them does.

        Args:
            settings: Recorded settings: values of all knobs by name.

        Returns:
            Names of the knobs that moved, and of which some is, to within a hundredth of its range, a weighted sum of
            the others in all settings.

        Raises:
            KnobError: If a value is out of range.
        """
        rows = list(settings)
        if not rows:
            return ()
        moves: dict[str, Array] = {}  # of each knob; of a switch, between each of its positions and the others
        for knob in self.knobs:
            values = knob.normalise([row[knob.name] for row in rows])[:, np.newaxis]
            columns = (values == np.unique(values)).astype(np.float64) if knob.positions else values
            moves[knob.name] = columns - columns.mean(axis=0)

        def rank(names: Iterable[str]) -> int:
            columns = np.hstack([np.zeros((len(rows), 1)), *(moves[name] for name in names)])
            return int(np.linalg.matrix_rank(columns, tol=0.01 * math.sqrt(len(rows))))

        together = rank(moves)
        return tuple(
            name for name in moves if together < rank([name]) + rank(other for other in moves if other != name)
        )

    def places(self, names: Iterable[str]) -> list[int]:
        """Where knobs of these names, which must be known, stand in the order of the knobs."""
        return [self._places[name][0] for name in names]

    @functools.cached_property
    def _places(self) -> dict[str, tuple[int, Knob]]:
        """Each knob and its place, by name."""
        return {knob.name: (index, knob) for index, knob in enumerate(self.knobs)}

    @functools.cached_property
    def _defaults(self) -> npt.NDArray[np.float32]:
        """The normalised defaults, shape (knobs,)."""
        return np.asarray([knob.normalise(knob.default) for knob in self.knobs], dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that travels in checkpoints, model folders and cards; :meth:`from_dict` reads it back."""
        return {
            "slug": self.slug,
            "device": self.device,
            "sample_rate": self.sample_rate,
            "channels": self.channels,
            "knobs": [knob.to_dict() for knob in self.knobs],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Effect:
        """Read what :meth:`to_dict` wrote.

        Raises:
            FormatError: If a field is missing, unknown or wrong.
        """
        fields = _checked_fields(cls, data)
        knobs = fields.get("knobs", [])
        if not isinstance(knobs, (list, tuple)):
            raise FormatError(f"effect: expected a list of knobs, got {knobs!r}.")
        return cls(**{**fields, "knobs": Knobs(Knob.from_dict(knob) for knob in knobs)})


def _lies_within(values: Array, minimum: float, maximum: float) -> bool:
    """Whether all values do; those that are not numbers do not. Asks two of them alone: blocks are short."""
    if not values.size:
        return True
    return bool(values.item(values.argmin()) >= minimum and values.item(values.argmax()) <= maximum)


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


def _is_count(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _checked_fields(cls: type, data: object) -> dict[str, Any]:
    """Fields of a dataclass given as a mapping: known ones only, required ones all there."""
    what = cls.__name__.lower()
    if not isinstance(data, Mapping):
        raise FormatError(f"{what}: expected a mapping of fields, got {data!r}.")
    fields = {field.name: field for field in dataclasses.fields(cls)}

    def is_required(field: dataclasses.Field[Any]) -> bool:
        return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING

    def complaints() -> Iterator[str]:
        yield from (f"unknown field {name!r}" for name in data if name not in fields)
        yield from (
            f"missing field {name!r}" for name, field in fields.items() if is_required(field) and name not in data
        )

    problem = next(complaints(), None)
    if problem:
        raise FormatError(f"{what}: {problem}; the fields are {', '.join(fields)}.")
    return dict(data)
