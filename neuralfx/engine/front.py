"""What the compiled state-based networks share: FIR bank, linear layers, FiLM and GLU, with time as the SIMD axis.

All kernels work on a chunk of at most ``CHUNK_SAMPLES`` samples, whose intermediate values stay in the cache, and on
features of shape (features, CHUNK_SAMPLES). Layers come as one array each, shape (out, in + 1), the bias last.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from neuralfx.engine.fastmath import compiled, tanh
from neuralfx.engine.player import INAUDIBLE, Array

CHUNK_SAMPLES = 256
LANES = 8  # arrays along which a single sample is computed are padded to a multiple, so that inner loops have no rest

_ONE = np.float32(1)


def padded(size: int) -> int:
    """The next multiple of ``LANES``."""
    return size + -size % LANES


def _combination(lanes: int) -> Any:
    """A function (values, rows, sums): ``sums = rows[0] + sum_j values[j] * rows[j + 1]``, for rows of ``lanes``.

    The number of values is a multiple of 4, and ``rows`` is flat. Written as vector instructions, with the sums in
    registers: a compiler must assume that the arrays overlap, and loops this short would mostly check whether they do.
    """
    scalar, integer, place = ir.FloatType(), ir.IntType(64), ir.IntType(32)
    vector = ir.VectorType(scalar, lanes)

    @intrinsic  # type: ignore[untyped-decorator]
    def combine(typing_context: Any, values: Any, rows: Any, sums: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = [
                context.make_array(kind)(context, builder, array) for kind, array in zip(signature.args, arguments)
            ]
            inputs, weights, outputs = (array.data for array in arrays)
            (count,) = cgutils.unpack_tuple(builder, arrays[0].shape)

            def vector_at(pointer: Any, row: Any) -> Any:
                start = builder.gep(pointer, [builder.mul(row, integer(lanes))])
                return builder.bitcast(start, vector.as_pointer())

            def load(row: Any) -> Any:
                value = builder.load(vector_at(weights, row))
                value.align = 4
                return value

            partial = [cgutils.alloca_once(builder, vector) for _ in range(4)]
            builder.store(load(integer(0)), partial[0])
            for part in partial[1:]:
                builder.store(ir.Constant(vector, [0.0] * lanes), part)
            with cgutils.for_range_slice(builder, integer(0), count, integer(4), inc=True) as (first, _):
                for offset, part in enumerate(partial):
                    index = builder.add(first, integer(offset))
                    value = builder.load(builder.gep(inputs, [index]))
                    undefined = ir.Constant(vector, ir.Undefined)
                    spread = builder.insert_element(undefined, value, place(0))
                    spread = builder.shuffle_vector(
                        spread, undefined, ir.Constant(ir.VectorType(place, lanes), [0] * lanes)
                    )
                    product = builder.fmul(spread, load(builder.add(index, integer(1))), flags=("fast",))
                    builder.store(builder.fadd(builder.load(part), product, flags=("fast",)), part)
            first, second, third, fourth = (builder.load(part) for part in partial)
            total = builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth))
            builder.store(total, vector_at(outputs, integer(0))).align = 4
            return context.get_dummy_value()

        return types.void(values, rows, sums), generate

    return combine


combine_8, combine_32 = _combination(8), _combination(32)


@compiled
def flush(values: npt.NDArray[np.floating]) -> None:
    """Set what is all but zero to zero."""
    for index in range(values.size):
        if abs(values[index]) < INAUDIBLE:
            values[index] = 0


@compiled
def copy(source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]) -> None:
    """Write all of a flat array to the beginning of another; a slice assignment takes half a second to compile."""
    for index in range(source.size):
        target[index] = source[index]


@compiled
def hear(history: Array, dry: Array, heard: Array) -> None:
    """Put audio behind its history, shape (taps - 1,), and move the history on; ``heard`` has space for both."""
    past, length = history.size, dry.size
    copy(history, heard)
    copy(dry, heard[past:])
    copy(heard[length : length + past], history)


@compiled
def filter_bank(heard: Array, filters: Array, length: int, features: Array) -> None:
    """FIR filters, shape (features, taps + 1): ``features[:, t]`` from ``heard[t]`` to ``heard[t + taps - 1]``."""
    taps = filters.shape[1] - 1
    whole = taps - taps % 8
    for feature in range(filters.shape[0]):
        row, weights = features[feature], filters[feature]
        for t in range(length):
            row[t] = weights[taps]
        for j in range(0, whole, 8):
            w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
            w4, w5, w6, w7 = weights[j + 4], weights[j + 5], weights[j + 6], weights[j + 7]
            x = heard[j:]  # a slice, because loops over heard[t + j] do not become vector instructions
            for t in range(length):
                early = (w0 * x[t] + w1 * x[t + 1]) + (w2 * x[t + 2] + w3 * x[t + 3])
                late = (w4 * x[t + 4] + w5 * x[t + 5]) + (w6 * x[t + 6] + w7 * x[t + 7])
                row[t] += early + late
        for j in range(whole, taps):
            w0, x = weights[j], heard[j:]
            for t in range(length):
                row[t] += w0 * x[t]


@compiled
def dense(features: Array, layer: Array, length: int, outputs: Array) -> None:
    """A linear layer at every sample."""
    width = layer.shape[1] - 1
    whole = width - width % 4
    for output in range(layer.shape[0]):
        row, weights = outputs[output], layer[output]
        for t in range(length):
            row[t] = weights[width]
        for j in range(0, whole, 4):
            w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
            f0, f1, f2, f3 = features[j], features[j + 1], features[j + 2], features[j + 3]
            for t in range(length):
                row[t] += (w0 * f0[t] + w1 * f1[t]) + (w2 * f2[t] + w3 * f3[t])
        for j in range(whole, width):
            w0, f0 = weights[j], features[j]
            for t in range(length):
                row[t] += w0 * f0[t]


@compiled
def turn(knobs: Array, start: int, length: int, turned: Array) -> None:
    """Knobs of a chunk, from (time, knobs) to (knobs, CHUNK_SAMPLES); those that stand still come as time 1."""
    if knobs.shape[0] > 1:
        for knob in range(knobs.shape[1]):
            for t in range(length):
                turned[knob, t] = knobs[start + t, knob]
    else:
        for knob in range(knobs.shape[1]):
            turned[knob, 0] = knobs[0, knob]


@compiled
def condition(
    features: Array,
    linear: Array,
    squash: bool,
    film: Array,
    knobs: Array,
    moving: bool,
    glu: Array,
    length: int,
    scratch: Array,
    outputs: Array,
) -> None:
    """Linear layer > tanh if ``squash`` > FiLM > GLU.

    Args:
        features: Shape (in, CHUNK_SAMPLES).
        linear: Shape (width, in + 1).
        squash: Whether there is a tanh.
        film: Layer from knobs to scales and shifts, shape (2 * width, knobs + 1).
        knobs: From :func:`turn`.
        moving: Whether every sample has knobs of its own.
        glu: Layer to contents and gates, shape (2 * width, width + 1).
        length: Samples in the chunk.
        scratch: Space, shape (3 * width, CHUNK_SAMPLES).
        outputs: Where the result goes, shape (width, CHUNK_SAMPLES).
    """
    width = linear.shape[0]
    modulated, gated = scratch[:width], scratch[width:]
    dense(features, linear, length, modulated)
    if squash:
        for feature in range(width):
            row = modulated[feature]
            for t in range(length):
                row[t] = tanh(row[t])
    if moving:
        dense(knobs, film, length, gated)
        for feature in range(width):
            row, scale, shift = modulated[feature], gated[feature], gated[width + feature]
            for t in range(length):
                row[t] = scale[t] * row[t] + shift[t]
    else:
        dense(knobs, film, 1, gated)
        for feature in range(width):
            row, a, b = modulated[feature], gated[feature, 0], gated[width + feature, 0]
            for t in range(length):
                row[t] = a * row[t] + b
    dense(modulated, glu, length, gated)
    for feature in range(width):
        row, content, gate = outputs[feature], gated[feature], gated[width + feature]
        for t in range(length):
            row[t] = content[t] * (gate[t] / (_ONE + abs(gate[t])))
