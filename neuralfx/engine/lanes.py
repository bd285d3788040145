"""Sixteen numbers, or eight in double precision, as one value in compiled code: vector registers on every machine.

Loops over short pieces of arrays are at the mercy of the compiler, which must assume that the pieces overlap. Here what
is computed side by side is said explicitly: ``store(memory, place, tanh(load(memory, other) + load(memory, third)))``.
Numbers in arithmetic with lanes stand for as many equal ones.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import types
from numba.extending import intrinsic, models, overload, register_model

from neuralfx.engine.fastmath import EXP_SERIES, compiled
from neuralfx.engine.player import Array

LANES = 16
DOUBLES = 8  # numbers in double precision that take as much space

_FAST = ("fast",)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(ir.IntType(32), LANES)


class Lanes(types.Type):  # type: ignore[misc]
    """numba's type of them.

    Args:
        scalar: Type of each.
        vector: The compiler's type of all.
    """

    def __init__(self, scalar: types.Float, vector: ir.VectorType) -> None:
        self.scalar, self.vector = scalar, vector
        super().__init__(name=f"Lanes({scalar.name})")


lanes = Lanes(types.float32, _VECTOR)
doubles = Lanes(types.float64, ir.VectorType(ir.DoubleType(), DOUBLES))


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.vector)


def aligned(size: int) -> Array:
    """Zeros that begin with a line of the cache: then no lanes lie in two of them, which would take twice as long."""
    line = 64  # bytes
    space = np.zeros(size + line // 4, np.float32)
    first = -space.ctypes.data % line // 4
    return space[first : first + size]


def _fits(*kinds: Any) -> bool:
    """Whether arithmetic between these types is ours."""
    numbers = (types.Float, types.Integer)
    own = {kind for kind in kinds if isinstance(kind, Lanes)}
    return len(own) == 1 and all(kind in own or isinstance(kind, numbers) for kind in kinds)


def equal(vector: ir.VectorType, number: float) -> Any:
    """A constant with the same number in all lanes."""
    return ir.Constant(vector, [number] * vector.count)


def spread(builder: Any, value: Any, count: int = LANES) -> Any:
    """A vector with the same number in all lanes."""
    empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    single = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, empty, ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count))


def pointer_into(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Pointer to one element of an array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


def _operation(function: Callable[..., Any], count: int) -> Any:
    """An intrinsic from lanes or numbers to lanes; ``function`` gets the builder and vectors."""

    def typed(*kinds: Any) -> Any:
        if not _fits(*kinds):
            return None
        own = next(kind for kind in kinds if isinstance(kind, Lanes))
        signature = own(*(kind if kind is own else own.scalar for kind in kinds))

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = [
                value if kind is own else spread(builder, value, own.vector.count)
                for kind, value in zip(signature.args, arguments)
            ]
            return function(builder, *vectors)

        return signature, generate

    if count == 1:
        return intrinsic(lambda typing_context, a: typed(a))
    if count == 2:
        return intrinsic(lambda typing_context, a, b: typed(a, b))
    return intrinsic(lambda typing_context, a, b, c: typed(a, b, c))


def _select(comparison: str) -> Callable[..., Any]:
    """Of two, the one that compares so with the other."""

    def function(builder: Any, a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(comparison, a, b, flags=_FAST), a, b)

    return function


def _power_of_two(builder: Any, power: Any) -> Any:
    """Of whole numbers from -126 to 127: they move into the exponent."""
    biased = builder.add(builder.fptosi(power, _INTEGERS), equal(_INTEGERS, 127))
    return builder.bitcast(builder.shl(biased, equal(_INTEGERS, 23)), _VECTOR)


def _floor(builder: Any, value: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    name = f"llvm.floor.v{LANES}f32"
    known = builder.module.globals.get(name)
    return builder.call(known or ir.Function(builder.module, kind, name), [value])


def _where_positive(builder: Any, condition: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", condition, equal(_VECTOR, 0.0), flags=_FAST), a, b)


minimum = _operation(_select("<"), 2)
maximum = _operation(_select(">"), 2)
where_positive = _operation(_where_positive, 3)  # (condition, a, b): a where condition > 0, else b
_floor_of = _operation(_floor, 1)
_two_to = _operation(_power_of_two, 1)

for _operator, _name in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv")
):  # fmt: skip

    def _define(python_operator: Any, name: str) -> None:
        compute = _operation(lambda builder, a, b: getattr(builder, name)(a, b, flags=_FAST), 2)

        @overload(python_operator, strict=False)  # type: ignore[untyped-decorator]
        def _implement(a: Any, b: Any) -> Any:
            return (lambda a, b: compute(a, b)) if _fits(a, b) else None

    _define(_operator, _name)


@intrinsic  # type: ignore[untyped-decorator]
def load(typing_context: Any, array: Any, place: Any) -> Any:
    """Sixteen numbers of an array of float32, from ``place`` on; nothing is checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_into(context, builder, signature.args[0], *arguments)
        return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)

    return lanes(array, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_doubles(typing_context: Any, array: Any, place: Any) -> Any:
    """Eight numbers of an array, of either precision, from ``place`` on; nothing is checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_into(context, builder, signature.args[0], *arguments)
        kind = ir.VectorType(pointer.type.pointee, DOUBLES)
        values = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)
        return values if kind == doubles.vector else builder.fpext(values, doubles.vector)

    return doubles(array, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def store(typing_context: Any, array: Any, place: Any, values: Any) -> Any:
    """Write lanes into an array of their precision, from ``place`` on; nothing is checked."""
    if not isinstance(values, Lanes) or array.dtype != values.scalar:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_into(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(pointer, arguments[2].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, values), generate


@intrinsic  # type: ignore[untyped-decorator]
def add_up(typing_context: Any, values: Any) -> Any:
    """The sum of all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = arguments[0].type
        kind = ir.FunctionType(vector.element, [vector.element, vector])
        name = f"llvm.vector.reduce.fadd.v{vector.count}f{values.scalar.bitwidth}"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, [ir.Constant(vector.element, 0.0), arguments[0]], fastmath=_FAST)

    return values.scalar(values), generate


_LOG2_E = 1 / math.log(2)
_LN2_HIGH = 0.693359375  # ln 2 in two parts, so that a multiple of it can be taken away without rounding
_LN2_LOW = math.log(2) - _LN2_HIGH
_E2, _E3, _E4, _E5, _E6 = EXP_SERIES


@compiled
def exp(x: Any) -> Any:
    """The exponential of lanes; see :func:`~neuralfx.engine.fastmath.exp`."""
    x = minimum(maximum(x, -87.0), 87.0)
    power = _floor_of(x * _LOG2_E + 0.5)
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    square = rest * rest  # halves of the series side by side: vectors wait for sums, not for arithmetic
    series = (rest * _E3 + _E2) + square * ((rest * _E5 + _E4) + square * _E6)
    return ((series * rest + 1.0) * rest + 1.0) * _two_to(power)


@compiled
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) of lanes."""
    return 1.0 / (exp(x * -1.0) + 1.0)


@compiled
def tanh(x: Any) -> Any:
    """The hyperbolic tangent of lanes."""
    return 2.0 / (exp(x * -2.0) + 1.0) - 1.0
