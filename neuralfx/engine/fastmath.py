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
JIT: dict[str, Any] = {"fastmath": _FAST, "error_model": "numpy"}

_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)
_LIMIT = np.float32(87.0)  # exp(87) is the last power of e within range
_LOG2_E = np.float32(1 / math.log(2))
_LN2_HIGH = np.float32(0.693359375)  # ln 2 in two parts, so that a multiple of it can be taken away without rounding
_LN2_LOW = np.float32(math.log(2) - 0.693359375)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
# Coefficients of x**2 to x**6 that, behind 1 + x, are least wrong where |x| <= ln 2 / 2: by 3e-9 of the exponential.
EXP_SERIES = (0.4999999403953552, 0.1666652113199234, 0.04166838899254799, 0.008368716575205326, 0.001381459878757596)
_E2, _E3, _E4, _E5, _E6 = map(np.float32, EXP_SERIES)


def compiled(function: Callable[..., Any]) -> Any:
    """Decorator of loops: compiled at the first call on a machine, then loaded from :mod:`neuralfx.engine.cache`."""
    place = folder()
    elsewhere = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(place or "")
    try:
        return numba.njit(cache=place is not None, nogil=True, **JIT)(function)
    finally:
        numba.config.CACHE_DIR = elsewhere


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator of parts of loops: compiled into every caller.

    A call costs some 20 ns, as much as a small matrix product: arrays travel as seven numbers each.
    """
    return numba.njit(inline="always", **JIT)(function)


@intrinsic  # type: ignore[untyped-decorator]
def as_float(typing_context: Any, bits: Any) -> Any:
    """The number with these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@inlined
def exp(x: float) -> float:
    """The exponential, to 2e-7 of its value; beyond -87 and 87 that of the limit."""
    bounded: Any = min(max(x, -_LIMIT), _LIMIT)
    power = np.floor(bounded * _LOG2_E + _HALF)
    rest = (bounded - power * _LN2_HIGH) - power * _LN2_LOW
    series = _ONE + rest * (_ONE + rest * (_E2 + rest * (_E3 + rest * (_E4 + rest * (_E5 + rest * _E6)))))
    return series * as_float((np.int32(power) + _BIAS) << _MANTISSA)  # type: ignore[no-any-return]


@inlined
def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x))."""
    return _ONE / (_ONE + exp(-x))  # type: ignore[no-any-return]


@inlined
def tanh(x: float) -> float:
    """The hyperbolic tangent, to 2e-7."""
    return _TWO / (_ONE + exp(-_TWO * x)) - _ONE  # type: ignore[no-any-return]
