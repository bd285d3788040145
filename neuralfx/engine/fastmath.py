"""Scalar functions in single precision that compilers can turn into vector instructions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from neuralfx.engine.cache import folder

# Products may be fused and reordered, and division by zero gives infinity without a check: loops vectorise. Divisions
# stay exact ("arcp" is left out): the tanh of 0 is 0, and silence stays silence.
_FAST = {"nnan", "ninf", "nsz", "contract", "reassoc"}
JIT: dict[str, Any] = {"nogil": True, "fastmath": _FAST, "error_model": "numpy"}
INLINE: dict[str, Any] = {"inline": "always", "fastmath": _FAST, "error_model": "numpy"}

_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)
_LIMIT = np.float32(87.0)  # exp(87) is the last power of e within range
_LOG2_E = np.float32(1 / math.log(2))
_LN2_HIGH = np.float32(0.693359375)  # ln 2 in two parts, so that a multiple of it can be taken away without rounding
_LN2_LOW = np.float32(math.log(2) - 0.693359375)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
_T2, _T3, _T4, _T5, _T6, _T7 = (np.float32(1 / math.factorial(power)) for power in range(2, 8))


def compiled(function: Callable[..., Any]) -> Any:
    """Decorator of loops: compiled at the first call on a machine, then loaded from :mod:`neuralfx.engine.cache`."""
    place = folder()
    elsewhere = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(place or "")
    try:
        return numba.njit(cache=place is not None, **JIT)(function)
    finally:
        numba.config.CACHE_DIR = elsewhere


@intrinsic  # type: ignore[untyped-decorator]
def as_float(typing_context: Any, bits: Any) -> Any:
    """The number with these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@numba.njit(**INLINE)  # type: ignore[untyped-decorator]
def exp(x: float) -> float:
    """The exponential, to 2e-7 of its value; beyond -87 and 87 that of the limit."""
    bounded: Any = min(max(x, -_LIMIT), _LIMIT)
    power = np.floor(bounded * _LOG2_E + _HALF)
    rest = (bounded - power * _LN2_HIGH) - power * _LN2_LOW
    series = _ONE + rest * (
        _ONE + rest * (_T2 + rest * (_T3 + rest * (_T4 + rest * (_T5 + rest * (_T6 + rest * _T7)))))
    )
    return series * as_float((np.int32(power) + _BIAS) << _MANTISSA)  # type: ignore[no-any-return]


@numba.njit(**INLINE)  # type: ignore[untyped-decorator]
def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x))."""
    return _ONE / (_ONE + exp(-x))  # type: ignore[no-any-return]


@numba.njit(**INLINE)  # type: ignore[untyped-decorator]
def tanh(x: float) -> float:
    """The hyperbolic tangent, to 2e-7."""
    return _TWO / (_ONE + exp(-_TWO * x)) - _ONE  # type: ignore[no-any-return]
