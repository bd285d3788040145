"""Small matrix products whose sums stay in registers: what compiled networks of more than a few units spend time in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ir
import numpy as np
import numpy.typing as npt
from llvmlite import binding
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from neuralfx.engine.fastmath import compiled, inlined
from neuralfx.engine.lanes import LANES, aligned, load, maximum, pointer_into, spread, store
from neuralfx.engine.player import Array

UNIT = 32  # outputs that a product with one vector computes together
UNITS = 3  # units of outputs side by side: sums fill 6 registers of 512 bits or 12 of 256, enough to hide their latency
# Rows of results that one tile computes: sums fill 8 registers of 512 bits, 8 of 256, or 16 of 128. Two multiply-adds
# begin in a cycle and take four, so eight sums must be under way, yet they and what they need have to fit.
OUTPUTS = 8 if binding.get_host_cpu_features().get("avx512f") else 4

_START, _INPUTS, RESULT, _UNITS, _PLACES = range(5)  # columns of a plan

_FLOAT, _INDEX = ir.FloatType(), ir.IntType(64)


def pad(size: int, multiple: int) -> int:
    """The next multiple."""
    return -(-size // multiple) * multiple


def pack_tiles(layer: Array) -> Array:
    """Weights in the order in which :func:`multiply` reads them.

    Args:
        layer: Shape (outputs, inputs + 1), the bias last.

    Returns:
        One number behind the other: for every ``OUTPUTS`` outputs their biases, then their weights input by input.
    """
    outputs, columns = layer.shape
    padded = np.zeros((pad(outputs, OUTPUTS), columns), np.float32)
    padded[:outputs] = np.roll(layer, 1, axis=1)
    return np.ascontiguousarray(padded.reshape(-1, OUTPUTS, columns).swapaxes(1, 2)).ravel()


def pack_units(layers: Sequence[Array]) -> Array:
    """Weights in the order in which :func:`multiply_vectors` reads them.

    Args:
        layers: One or more of the same shape (outputs, inputs + 1), the bias last. Their outputs lie behind each other,
            those of each padded to a multiple of 32.

    Returns:
        One number behind the other.
    """
    outputs, columns = layers[0].shape
    padded = np.zeros((len(layers), pad(outputs, UNIT), columns), np.float32)
    padded[:, :outputs] = np.roll(np.stack(layers), 1, axis=2)
    units = padded.reshape(-1, UNIT, columns)
    together = len(units) - len(units) % UNITS
    triples = units[:together].reshape(-1, UNITS, UNIT, columns).transpose(0, 3, 1, 2)
    return np.concatenate([triples.ravel(), units[together:].swapaxes(1, 2).ravel()])


def join(packed: Sequence[Array]) -> Array:
    """Packed weights behind each other."""
    joined = aligned(sum(map(len, packed)))
    np.concatenate(packed, out=joined)
    return joined


def _load(builder: Any, pointer: Any, lanes: int) -> Any:
    return builder.load(builder.bitcast(pointer, ir.VectorType(_FLOAT, lanes).as_pointer()), align=4)


def _store(builder: Any, vector: Any, pointer: Any, lanes: int) -> None:
    builder.store(vector, builder.bitcast(pointer, ir.VectorType(_FLOAT, lanes).as_pointer()), align=4)


def _add_product(builder: Any, factor: Any, vector: Any, total: Any) -> None:
    """Add factor * vector to a variable, which the compiler keeps in a register."""
    product = builder.fmul(factor, vector, flags=("fast",))
    builder.store(builder.fadd(builder.load(total), product, flags=("fast",)), total)


@intrinsic  # type: ignore[untyped-decorator]
def _tile(
    typing_context: Any,
    results: Any,
    first: Any,
    stride: Any,
    values: Any,
    offsets: Any,
    column: Any,
    packed: Any,
    start: Any,
    inputs: Any,
) -> Any:
    """results[first + o * stride + l] = b[o] + sum_k w[o, k] values[offsets[k] + column + l], for OUTPUTS o, 16 l."""
    index = types.int64
    signature = types.void(results, index, index, values, offsets, index, packed, index, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        target = pointer_into(context, builder, kinds[0], arguments[0], arguments[1])
        source = pointer_into(context, builder, kinds[3], arguments[3], arguments[5])
        places = pointer_into(context, builder, kinds[4], arguments[4], ir.Constant(_INDEX, 0))
        weights = pointer_into(context, builder, kinds[6], arguments[6], arguments[7])
        sums = []
        for output in range(OUTPUTS):
            total = cgutils.alloca_once(builder, ir.VectorType(_FLOAT, LANES))
            bias = builder.load(builder.gep(weights, [ir.Constant(_INDEX, output)]))
            builder.store(spread(builder, bias, LANES), total)
            sums.append(total)
        weights = builder.gep(weights, [ir.Constant(_INDEX, OUTPUTS)])
        with cgutils.for_range(builder, arguments[8]) as loop:
            place = builder.load(builder.gep(places, [loop.index]))
            vector = _load(builder, builder.gep(source, [place]), LANES)
            row = builder.gep(weights, [builder.mul(loop.index, ir.Constant(_INDEX, OUTPUTS))])
            for output, total in enumerate(sums):
                weight = builder.load(builder.gep(row, [ir.Constant(_INDEX, output)]))
                _add_product(builder, spread(builder, weight, LANES), vector, total)
        for output, total in enumerate(sums):
            shift = builder.mul(arguments[2], ir.Constant(_INDEX, output))
            _store(builder, builder.load(total), builder.gep(target, [shift]), LANES)
        return context.get_dummy_value()

    return signature, generate


@compiled
def multiply(
    results: Array,
    first: int,
    stride: int,
    columns: int,
    values: Array,
    offsets: npt.NDArray[np.int64],
    packed: Array,
    start: int,
    outputs: int,
    inputs: int,
    begin: int = 0,
) -> None:
    """Multiply a matrix with columns, and add biases; nothing is checked.

    Args:
        results: Where the products go: output o of column n at ``first + o * stride + n``. Outputs are padded to a
            multiple of ``OUTPUTS`` and columns to one of 16, and all of them are written.
        first: See there.
        stride: See there.
        columns: Number of columns.
        values: What is multiplied: input k of column n is at ``offsets[k] + n``. May be the same array.
        offsets: See there, shape (inputs,) at least.
        packed: From :func:`pack_tiles`.
        start: Where in it the matrix begins.
        outputs: Rows of the matrix.
        inputs: Columns of the matrix.
        begin: First of the columns to multiply; both places count from column 0.
    """
    for column in range(begin, begin + columns, LANES):
        place = start
        for output in range(0, outputs, OUTPUTS):
            _tile(results, first + output * stride + column, stride, values, offsets, column, packed, place, inputs)
            place += (1 + inputs) * OUTPUTS


def _unroll(block: Any, times: int) -> None:
    """Tell the compiler how often to repeat the body of the loop that ends with this block.

    Weights come from the second-level cache, whose prefetcher follows some twenty instructions and no more: two rounds
    of three units read half as fast again as the four that the compiler would choose.
    """
    module = block.function.module
    count = module.add_metadata(
        [ir.MetaDataString(module, "llvm.loop.unroll.count"), ir.Constant(ir.IntType(32), times)]
    )
    name = ir.MetaDataString(module, f"{block.function.name}.{block.name}")
    loop = module.add_metadata([name, count])
    loop.operands = (loop, count)  # what describes a loop refers to itself, which tells it from others
    block.terminator.set_metadata("llvm.loop", loop)


def _units(count: int) -> Any:
    """Products of ``count`` units of outputs with a vector each."""

    @intrinsic  # type: ignore[untyped-decorator]
    def run(
        typing_context: Any,
        results: Any,
        first: Any,
        values: Any,
        places: Any,
        unit: Any,
        packed: Any,
        start: Any,
        inputs: Any,
    ) -> Any:
        """results[first + 32 u + l] = b[u, l] + sum_k w[k, u, l] values[places[unit + u] + k]."""
        index = types.int64
        signature = types.void(results, index, values, places, index, packed, index, index)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds, zero = signature.args, ir.Constant(_INDEX, 0)
            target = pointer_into(context, builder, kinds[0], arguments[0], arguments[1])
            source = pointer_into(context, builder, kinds[2], arguments[2], zero)
            offsets = pointer_into(context, builder, kinds[3], arguments[3], arguments[4])
            weights = pointer_into(context, builder, kinds[5], arguments[5], arguments[6])
            sums, vectors = [], []
            for number in range(count):
                total = cgutils.alloca_once(builder, ir.VectorType(_FLOAT, UNIT))
                shift = ir.Constant(_INDEX, number * UNIT)
                builder.store(_load(builder, builder.gep(weights, [shift]), UNIT), total)
                sums.append(total)
                place = builder.load(builder.gep(offsets, [ir.Constant(_INDEX, number)]))
                vectors.append(builder.gep(source, [place]))
            weights = builder.gep(weights, [ir.Constant(_INDEX, count * UNIT)])
            with cgutils.for_range(builder, arguments[7]) as loop:
                row = builder.gep(weights, [builder.mul(loop.index, ir.Constant(_INDEX, count * UNIT))])
                for number, (vector, total) in enumerate(zip(vectors, sums)):
                    value = spread(builder, builder.load(builder.gep(vector, [loop.index])), UNIT)
                    weight = _load(builder, builder.gep(row, [ir.Constant(_INDEX, number * UNIT)]), UNIT)
                    _add_product(builder, value, weight, total)
                last = builder.basic_block
            _unroll(last, 2)
            for number, total in enumerate(sums):
                shift = ir.Constant(_INDEX, number * UNIT)
                _store(builder, builder.load(total), builder.gep(target, [shift]), UNIT)
            return context.get_dummy_value()

        return signature, generate

    return run


_one_unit, _three_units = _units(1), _units(UNITS)


@inlined
def multiply_vectors(
    memory: Array,
    first: int,
    places: npt.NDArray[np.int64],
    unit: int,
    units: int,
    packed: Array,
    start: int,
    inputs: int,
) -> None:
    """Multiply matrices with a vector each, and add biases; nothing is checked.

    Args:
        memory: Where the vectors are, and where the products go, from ``first`` on, padded as :func:`pack_units` says.
        first: See there.
        places: Where the vector for each 32 outputs begins, from ``unit`` on.
        unit: See there.
        units: Number of padded outputs / 32.
        packed: From :func:`pack_units`.
        start: Where in it the matrices begin.
        inputs: Length of each vector.
    """
    end = unit + units
    while unit + UNITS <= end:
        _three_units(memory, first, memory, places, unit, packed, start, inputs)
        first += UNITS * UNIT
        start += UNITS * UNIT * (1 + inputs)
        unit += UNITS
    while unit < end:
        _one_unit(memory, first, memory, places, unit, packed, start, inputs)
        first += UNIT
        start += UNIT * (1 + inputs)
        unit += 1


def lay_out(layers: Sequence[Array], first: int) -> npt.NDArray[np.int64]:
    """Where the results of each of :func:`plan_products` can begin in memory, and, last, the end of them all.

    Behind each is room for what is read together with the last results.

    Args:
        layers: See there.
        first: Where the first results begin.
    """
    return np.cumsum([first, *(len(part) * pad(part.shape[1], UNIT) + UNIT for part in layers)])


def plan_products(
    layers: Sequence[Array], vectors: Sequence[npt.NDArray[np.int64]], results: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array]:
    """Plan products of matrices with vectors in one memory.

    Args:
        layers: For each product its matrices, shape (matrices, outputs, inputs + 1), the bias last.
        vectors: For each product where the vectors of its matrices begin.
        results: For each product where its results go, those of each matrix padded to a multiple of 32.

    Returns:
        What :func:`product` takes: a plan with a row per product, where the vector of each unit begins, and the packed
        weights.
    """
    packed = [pack_units(list(part)) for part in layers]
    places = [np.repeat(first, pad(part.shape[1], UNIT) // UNIT) for first, part in zip(vectors, layers)]
    columns = (
        np.cumsum([0, *map(len, packed)])[:-1],
        [part.shape[2] - 1 for part in layers],
        results[: len(layers)],
        list(map(len, places)),
        np.cumsum([0, *map(len, places)])[:-1],
    )
    return np.stack(columns, axis=1).astype(np.int64), np.concatenate(places).astype(np.int64), join(packed)


@inlined
def product(
    memory: Array, plan: npt.NDArray[np.int64], number: int, places: npt.NDArray[np.int64], packed: Array
) -> None:
    """Compute one of the products of :func:`plan_products`."""
    first, units, inputs = plan[number, RESULT], plan[number, _UNITS], plan[number, _INPUTS]
    multiply_vectors(memory, first, places, plan[number, _PLACES], units, packed, plan[number, _START], inputs)


@inlined
def rectify(memory: Array, plan: npt.NDArray[np.int64], number: int, slope: np.float32) -> None:
    """Pass the results of a product through a leaky rectifier, whose slope is at most 1."""
    first = plan[number, RESULT]
    for place in range(first, first + plan[number, _UNITS] * UNIT, LANES):
        values = load(memory, place)
        store(memory, place, maximum(values, slope * values))
