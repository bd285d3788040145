"""DynamicHyper networks compiled: a recurrent unit that a smaller one steers at every sample.

Playing, outputs lie side by side in vector registers. Training, 16 rows of the batch do: memory has a row of 16 numbers
per sample for every feature. The backward pass computes a segment of samples again before it goes back through it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuralfx.engine.fastmath import compiled
from neuralfx.engine.lanes import LANES, add_up, aligned, load, maximum, sigmoid, store, tanh, where_positive
from neuralfx.engine.player import INAUDIBLE, Array, Player
from neuralfx.engine.threads import in_threads, over_rows, parts_of
from neuralfx.engine.tiles import (
    OUTPUTS,
    RESULT,
    UNIT,
    join,
    lay_out,
    multiply,
    pack_tiles,
    pad,
    plan_products,
    product,
    rectify,
)

_INAUDIBLE = np.float32(INAUDIBLE)
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)

_MAIN, _HYPER, _Z_HIDDEN, _Z, _D_HIDDEN, _D = range(6)  # products of a step, in their order


class Weights(NamedTuple):
    """Those of a network with G gates of H main and P hyper units; layers (out, in + 1) have their bias last.

    Attributes:
        hyper_input: From the outputs of the main unit, then the centred knobs, to the gates of the hyper unit, shape
            (G * P, H + knobs + 1).
        hyper_hidden: From the outputs of the hyper unit, shape (G * P, P + 1).
        main_input: From the audio to the gates of the main unit, shape (G * H, channels).
        main_hidden: From its outputs, shape (G * H, H).
        z_hidden: Hidden layers of the perceptrons that make z for h, x and b, shape (3, M, P + 1).
        z: What follows, shape (3, G * P, M + 1).
        d_hidden: Hidden layers of the perceptrons that make d from z, for the gates of h, then x, then b, shape
            (3 * G, M, P + 1).
        d: What follows, shape (3 * G, H, M + 1).
        output: From the outputs of the main unit to audio, shape (channels, H + 1).
    """

    hyper_input: Array
    hyper_hidden: Array
    main_input: Array
    main_hidden: Array
    z_hidden: Array
    z: Array
    d_hidden: Array
    d: Array
    output: Array


class Steering(NamedTuple):
    """Those of the recurrence for training; the others are tensors' business. See :class:`Weights` for what is alike.

    Attributes:
        from_main: From the outputs of the main unit to the gates of the hyper unit, then to its own, without biases,
            shape (G * P + G * H, H).
        from_hyper: ``hyper_hidden``.
        from_audio: ``main_input``.
        z_hidden: The same.
        z: The same.
        d_hidden: The same.
        d: The same.
    """

    from_main: Any
    from_hyper: Any
    from_audio: Any
    z_hidden: Any
    z: Any
    d_hidden: Any
    d: Any


@compiled
def _step(
    memory: Array, from_input: int, from_state: int, output: int, cell: int, size: int, pitch: int, is_lstm: bool
) -> None:
    """Advance a unit. Gates begin ``pitch`` numbers apart in memory; everything is padded to sixteen."""
    for k in range(0, size, LANES):
        x, s = from_input + k, from_state + k
        if is_lstm:
            i, f = load(memory, x) + load(memory, s), load(memory, x + pitch) + load(memory, s + pitch)
            g = load(memory, x + 2 * pitch) + load(memory, s + 2 * pitch)
            o = load(memory, x + 3 * pitch) + load(memory, s + 3 * pitch)
            content = sigmoid(f) * load(memory, cell + k) + sigmoid(i) * tanh(g)
            store(memory, cell + k, content)
            store(memory, output + k, sigmoid(o) * tanh(content))
        else:
            r, z = load(memory, x) + load(memory, s), load(memory, x + pitch) + load(memory, s + pitch)
            new = tanh(load(memory, x + 2 * pitch) + sigmoid(r) * load(memory, s + 2 * pitch))
            store(memory, output + k, new + sigmoid(z) * (load(memory, output + k) - new))


@compiled
def _play(
    memory: Array,
    plan: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    packed: Array,
    from_knobs: Array,
    from_audio: Array,
    to_audio: Array,
    areas: npt.NDArray[np.int64],
    size: int,
    hyper_size: int,
    pitch: int,
    audio: Array,
    knobs: Array,
    wet: Array,
    is_lstm: bool,
    slope: np.float32,
) -> None:
    """Play a block of audio, shape (channels, time), with knobs of shape (time or 1, knobs)."""
    output, hyper, cell, hyper_cell, drive, driven, from_input, from_state = areas
    gates, hyper_width, width = from_audio.shape[1] // pitch, from_knobs.shape[1], to_audio.shape[1]
    products = plan[_MAIN, RESULT]
    products_h, d = products + gates * hyper_size, plan[_D, RESULT]
    for t in range(audio.shape[1]):
        if t < len(knobs):
            for k in range(0, hyper_width, LANES):
                total = load(from_knobs, knobs.shape[1] * hyper_width + k)
                for knob in range(knobs.shape[1]):
                    centred = _TWO * knobs[t, knob] - _ONE
                    total = total + centred * load(from_knobs, knob * hyper_width + k)
                store(memory, drive + k, total)
        product(memory, plan, _MAIN, places, packed)
        product(memory, plan, _HYPER, places, packed)
        for k in range(0, hyper_width, LANES):
            store(memory, driven + k, load(memory, drive + k) + load(memory, products + k))
        _step(memory, driven, plan[_HYPER, RESULT], hyper, hyper_cell, hyper_size, hyper_size, is_lstm)
        product(memory, plan, _Z_HIDDEN, places, packed)
        rectify(memory, plan, _Z_HIDDEN, slope)
        product(memory, plan, _Z, places, packed)
        product(memory, plan, _D_HIDDEN, places, packed)
        rectify(memory, plan, _D_HIDDEN, slope)
        product(memory, plan, _D, places, packed)
        for gate in range(gates):
            for k in range(gate * pitch, gate * pitch + size, LANES):
                values = audio[0, t] * load(from_audio, k)
                for channel in range(1, len(audio)):
                    values = values + audio[channel, t] * load(from_audio, channel * gates * pitch + k)
                scale, scale_x, bias = d + k, d + gates * pitch + k, d + 2 * gates * pitch + k
                store(memory, from_input + k, load(memory, scale_x) * values + load(memory, bias))
                inner = load(memory, products_h + gate * (size - pitch) + k)
                store(memory, from_state + k, load(memory, scale) * inner)
        _step(memory, from_input, from_state, output, cell, size, pitch, is_lstm)
        for channel in range(len(wet)):
            total = load(memory, output) * load(to_audio, channel * width)
            for k in range(LANES, width - LANES, LANES):
                total = total + load(memory, output + k) * load(to_audio, channel * width + k)
            wet[channel, t] = to_audio[channel, width - LANES] + add_up(total)
    for index in range(drive):
        memory[index] = memory[index] if abs(memory[index]) > _INAUDIBLE else _ZERO


class DynamicHyperPlayer(Player):
    """A recurrent unit that a smaller one steers > linear.

    Args:
        weights: Of the network.
        is_lstm: Whether units are LSTMs with gates i, f, g, o; else GRUs with gates r, z, g.
        slope: Of leaky rectifiers below zero.
    """

    def __init__(self, weights: Weights, is_lstm: bool, slope: float) -> None:
        rows, size = weights.main_hidden.shape
        hyper_rows, hyper_size = len(weights.hyper_hidden), weights.hyper_hidden.shape[1] - 1
        gates, mlp_size = rows // size, weights.z_hidden.shape[1]
        self._is_lstm, self._slope = is_lstm, np.float32(slope)
        # One product with the output of the main unit serves the hyper unit too.
        main = _unbiased(np.concatenate([weights.hyper_input[:, :size], weights.main_hidden]))
        z, mlp, pitch = pad(hyper_rows, UNIT), pad(mlp_size, UNIT), pad(size, UNIT)
        width, hyper_width, hyper_length = pad(size, LANES), pad(hyper_rows, LANES), pad(hyper_size, LANES)
        layers = [main[np.newaxis], weights.hyper_hidden[np.newaxis], *weights[4:8]]
        # Outputs and cells of both units, what drives the gates of the hyper unit, what those of the main unit get.
        lengths = [width, hyper_length, width, hyper_length, hyper_width, hyper_width + z, *[gates * pitch] * 2]
        areas = np.cumsum([0, *lengths])
        results = lay_out(layers, areas[-1])
        kinds, groups = np.arange(3), np.arange(3 * gates)
        vectors = [  # where the input of every layer begins
            areas[:1],
            areas[1:2],
            np.full(3, areas[1]),
            results[_Z_HIDDEN] + mlp * kinds,
            results[_Z] + z * (groups // gates) + hyper_size * (groups % gates),
            results[_D_HIDDEN] + mlp * groups,
        ]
        from_knobs = np.pad(weights.hyper_input[:, size:].T, ((0, 0), (0, hyper_width - hyper_rows)))
        from_audio = np.pad(weights.main_input.reshape(gates, size, -1), ((0, 0), (0, pitch - size), (0, 0)))
        to_audio = np.zeros((len(weights.output), width + LANES), np.float32)
        to_audio[:, :size], to_audio[:, width] = weights.output[:, :size], weights.output[:, size]
        self._arguments = (
            *plan_products(layers, vectors, results),
            np.ascontiguousarray(from_knobs),
            np.ascontiguousarray(from_audio.reshape(gates * pitch, -1).T),
            to_audio,
            areas[:-1].astype(np.int64),
            size,
            hyper_size,
            pitch,
        )
        self._length = pad(int(results[-1]), LANES)
        self._memory = np.zeros((0, self._length), np.float32)

    def load_state(self, state: Any) -> None:
        """Go on from the states of both units, the main one first; an LSTM's is a pair of output and cell."""
        main, hyper = state
        parts = [main[0], hyper[0], main[1], hyper[1]] if self._is_lstm else [main, hyper]
        self._memory = aligned(len(parts[0]) * self._length).reshape(-1, self._length)
        for first, part in zip(self._arguments[6], parts):
            self._memory[:, first : first + part.shape[1]] = part.numpy()

    def process(self, audio: Array, knobs: Array) -> Array:
        """Play the next block; see :class:`~neuralfx.engine.player.Player`."""
        wet = np.empty_like(audio)
        columns = knobs if knobs.ndim == 2 else knobs.reshape(1, -1)

        def play(row: int) -> None:
            _play(self._memory[row], *self._arguments, audio[row], columns, wet[row], self._is_lstm, self._slope)

        over_rows(play, len(audio), audio.shape[2])
        return wet


_SEGMENT = 32  # samples that lie in memory together in training
_PITCH = (1 + _SEGMENT) * LANES  # between features in memory: also the sample before; an odd number of cache lines

# Areas of features in memory: the states of both units, what comes in, what a step computes, and gradients.
_OUTPUT, _CELL, _HYPER_OUTPUT, _HYPER_CELL, _AUDIO, _DRIVE, _FROM_MAIN, _FROM_HYPER, _HYPER_IN, _HYPER_GATES = range(10)
_ZH, _ZS, _DH, _DS, _FROM_AUDIO, _FROM_INPUT, _FROM_STATE, _GATES = range(10, 18)
_G_OUTPUT, _G_CELL, _G_HYPER_OUTPUT, _G_HYPER_CELL, _G_AUDIO, _G_FROM_MAIN, _G_FROM_HYPER = range(18, 25)
_G_ZH, _G_ZS, _G_DH, _G_DS, _G_FROM_AUDIO, _G_FROM_INPUT, _G_FROM_STATE, _G_HEARD, _BACK, _HYPER_BACK = range(25, 35)
# Further products of training, behind those of a step.
_FROM_INPUTS, _D_BACK, _D_HIDDEN_BACK, _Z_BACK, _Z_HIDDEN_BACK, _HYPER_PRODUCT_BACK, _MAIN_BACK, _AUDIO_BACK = range(
    6, 14
)


@compiled
def _run_products(
    memory: Array,
    table: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    packed: Array,
    stage: int,
    column: int,
    columns: int,
) -> None:
    """Run the products of a stage.

    Columns of the table are the stage, place of the weights, outputs, inputs, place of results, place of the offsets.
    """
    for row in range(len(table)):
        if table[row, 0] == stage:
            own, result = offsets[table[row, 5] :], table[row, 4]
            start, outputs, inputs = table[row, 1], table[row, 2], table[row, 3]
            multiply(memory, result, _PITCH, columns, memory, own, packed, start, outputs, inputs, column)


@compiled
def _rectify_lanes(memory: Array, area: int, features: int, column: int, slope: np.float32) -> None:
    for place in range(area + column, area + column + features * _PITCH, _PITCH):
        values = load(memory, place)
        store(memory, place, maximum(values, slope * values))


@compiled
def _rectify_back(memory: Array, area: int, gradient: int, features: int, column: int, slope: np.float32) -> None:
    for place in range(column, column + features * _PITCH, _PITCH):
        gradients = load(memory, gradient + place)
        passed = where_positive(load(memory, area + place), gradients, slope * gradients)
        store(memory, gradient + place, passed)


@compiled
def _advance(
    memory: Array,
    from_input: int,
    from_state: int,
    gates: int,
    output: int,
    cell: int,
    size: int,
    column: int,
    is_lstm: bool,
) -> None:
    """Advance a unit, keeping its gates."""
    gate = size * _PITCH
    for place in range(column, column + size * _PITCH, _PITCH):
        first, second, third, fourth = place, place + gate, place + 2 * gate, place + 3 * gate
        if is_lstm:
            i = sigmoid(load(memory, from_input + first) + load(memory, from_state + first))
            f = sigmoid(load(memory, from_input + second) + load(memory, from_state + second))
            g = tanh(load(memory, from_input + third) + load(memory, from_state + third))
            o = sigmoid(load(memory, from_input + fourth) + load(memory, from_state + fourth))
            content = f * load(memory, cell + place - LANES) + i * g
            store(memory, gates + first, i)
            store(memory, gates + second, f)
            store(memory, gates + third, g)
            store(memory, gates + fourth, o)
            store(memory, cell + place, content)
            store(memory, output + place, o * tanh(content))
        else:
            r = sigmoid(load(memory, from_input + first) + load(memory, from_state + first))
            z = sigmoid(load(memory, from_input + second) + load(memory, from_state + second))
            new = tanh(load(memory, from_input + third) + r * load(memory, from_state + third))
            store(memory, gates + first, r)
            store(memory, gates + second, z)
            store(memory, gates + third, new)
            store(memory, output + place, new + z * (load(memory, output + place - LANES) - new))


@compiled
def _go_back(
    memory: Array,
    from_state: int,
    gates: int,
    output: int,
    cell: int,
    gradient: int,
    cell_gradient: int,
    to_input: int,
    to_state: int,
    size: int,
    column: int,
    is_lstm: bool,
) -> None:
    """Gradients of a unit's step: from those of its state after it to those of its sums and of the state before it.

    The latter lack what passes through ``from_state``, which comes from a product with the state.
    """
    gate = size * _PITCH
    for place in range(column, column + size * _PITCH, _PITCH):
        before, second, third, fourth = place - LANES, place + gate, place + 2 * gate, place + 3 * gate
        above = load(memory, gradient + place)
        if is_lstm:
            i, f = load(memory, gates + place), load(memory, gates + second)
            g, o = load(memory, gates + third), load(memory, gates + fourth)
            heard = tanh(load(memory, cell + place))
            content = load(memory, cell_gradient + place) + above * o * (_ONE - heard * heard)
            to_i, to_f = content * g * i * (_ONE - i), content * load(memory, cell + before) * f * (_ONE - f)
            to_g, to_o = content * i * (_ONE - g * g), above * heard * o * (_ONE - o)
            for target in (to_input, to_state):
                store(memory, target + place, to_i)
                store(memory, target + second, to_f)
                store(memory, target + third, to_g)
                store(memory, target + fourth, to_o)
            store(memory, cell_gradient + before, content * f)
            store(memory, gradient + before, above * _ZERO)
        else:
            r, z, new = load(memory, gates + place), load(memory, gates + second), load(memory, gates + third)
            to_new = above * (_ONE - z) * (_ONE - new * new)
            to_z = above * (load(memory, output + before) - new) * z * (_ONE - z)
            to_r = to_new * load(memory, from_state + third) * r * (_ONE - r)
            for target in (to_input, to_state):
                store(memory, target + place, to_r)
                store(memory, target + second, to_z)
            store(memory, to_input + third, to_new)
            store(memory, to_state + third, to_new * r)
            store(memory, gradient + before, above * z)


@compiled
def _add_lanes(memory: Array, total: int, area: int, features: int, column: int, from_column: int) -> None:
    for place in range(0, features * _PITCH, _PITCH):
        values = load(memory, area + from_column + place)
        store(memory, total + column + place, load(memory, total + column + place) + values)


@compiled
def _run_forward(
    memory: Array,
    areas: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    table: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    packed: Array,
    samples: int,
    is_lstm: bool,
    slope: np.float32,
) -> None:
    """Run a segment, from the states and inputs in memory."""
    gates, size, hyper_size, mlp, d_pitch = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4] * _PITCH
    rows, hyper_rows, kind = gates * size, gates * hyper_size, gates * d_pitch
    _run_products(memory, table, offsets, packed, _FROM_INPUTS, LANES, samples * LANES)
    for column in range(LANES, (1 + samples) * LANES, LANES):
        _run_products(memory, table, offsets, packed, _MAIN, column, LANES)
        _run_products(memory, table, offsets, packed, _HYPER, column, LANES)
        for place in range(column, column + hyper_rows * _PITCH, _PITCH):
            values = load(memory, areas[_DRIVE] + place) + load(memory, areas[_FROM_MAIN] + place)
            store(memory, areas[_HYPER_IN] + place, values)
        _advance(
            memory,
            areas[_HYPER_IN],
            areas[_FROM_HYPER],
            areas[_HYPER_GATES],
            areas[_HYPER_OUTPUT],
            areas[_HYPER_CELL],
            hyper_size,
            column,
            is_lstm,
        )
        _run_products(memory, table, offsets, packed, _Z_HIDDEN, column, LANES)
        _rectify_lanes(memory, areas[_ZH], 3 * mlp, column, slope)
        _run_products(memory, table, offsets, packed, _Z, column, LANES)
        _run_products(memory, table, offsets, packed, _D_HIDDEN, column, LANES)
        _rectify_lanes(memory, areas[_DH], 3 * gates * mlp, column, slope)
        _run_products(memory, table, offsets, packed, _D, column, LANES)
        for k in range(rows):
            place = k * _PITCH + column
            scale = areas[_DS] + k // size * d_pitch + k % size * _PITCH + column
            values = load(memory, scale + kind) * load(memory, areas[_FROM_AUDIO] + place)
            store(memory, areas[_FROM_INPUT] + place, values + load(memory, scale + 2 * kind))
            values = load(memory, scale) * load(memory, areas[_FROM_MAIN] + hyper_rows * _PITCH + place)
            store(memory, areas[_FROM_STATE] + place, values)
        _advance(
            memory,
            areas[_FROM_INPUT],
            areas[_FROM_STATE],
            areas[_GATES],
            areas[_OUTPUT],
            areas[_CELL],
            size,
            column,
            is_lstm,
        )


@compiled
def _run_backward(
    memory: Array,
    areas: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    table: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    packed: Array,
    samples: int,
    is_lstm: bool,
    slope: np.float32,
) -> None:
    """Go back through a segment that :func:`_run_forward` left in memory, from the gradients of the states after it."""
    gates, size, hyper_size, mlp, d_pitch = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4] * _PITCH
    rows, hyper_rows, kind = gates * size, gates * hyper_size, gates * d_pitch
    for column in range(samples * LANES, 0, -LANES):
        _add_lanes(memory, areas[_G_OUTPUT], areas[_G_HEARD], size, column, column)
        _go_back(
            memory,
            areas[_FROM_STATE],
            areas[_GATES],
            areas[_OUTPUT],
            areas[_CELL],
            areas[_G_OUTPUT],
            areas[_G_CELL],
            areas[_G_FROM_INPUT],
            areas[_G_FROM_STATE],
            size,
            column,
            is_lstm,
        )
        for k in range(rows):
            place = k * _PITCH + column
            product = hyper_rows * _PITCH + place
            scale = k // size * d_pitch + k % size * _PITCH + column
            above, beside = load(memory, areas[_G_FROM_INPUT] + place), load(memory, areas[_G_FROM_STATE] + place)
            store(memory, areas[_G_DS] + scale, beside * load(memory, areas[_FROM_MAIN] + product))
            store(memory, areas[_G_DS] + kind + scale, above * load(memory, areas[_FROM_AUDIO] + place))
            store(memory, areas[_G_DS] + 2 * kind + scale, above)
            store(memory, areas[_G_FROM_AUDIO] + place, above * load(memory, areas[_DS] + kind + scale))
            store(memory, areas[_G_FROM_MAIN] + product, beside * load(memory, areas[_DS] + scale))
        _run_products(memory, table, offsets, packed, _D_BACK, column, LANES)
        _rectify_back(memory, areas[_DH], areas[_G_DH], 3 * gates * mlp, column, slope)
        _run_products(memory, table, offsets, packed, _D_HIDDEN_BACK, column, LANES)
        _run_products(memory, table, offsets, packed, _Z_BACK, column, LANES)
        _rectify_back(memory, areas[_ZH], areas[_G_ZH], 3 * mlp, column, slope)
        _run_products(memory, table, offsets, packed, _Z_HIDDEN_BACK, column, LANES)
        _add_lanes(memory, areas[_G_HYPER_OUTPUT], areas[_HYPER_BACK], hyper_size, column, column)
        _go_back(
            memory,
            areas[_FROM_HYPER],
            areas[_HYPER_GATES],
            areas[_HYPER_OUTPUT],
            areas[_HYPER_CELL],
            areas[_G_HYPER_OUTPUT],
            areas[_G_HYPER_CELL],
            areas[_G_FROM_MAIN],
            areas[_G_FROM_HYPER],
            hyper_size,
            column,
            is_lstm,
        )
        _run_products(memory, table, offsets, packed, _HYPER_PRODUCT_BACK, column, LANES)
        _add_lanes(memory, areas[_G_HYPER_OUTPUT], areas[_HYPER_BACK], hyper_size, column - LANES, column)
        _run_products(memory, table, offsets, packed, _MAIN_BACK, column, LANES)
        _add_lanes(memory, areas[_G_OUTPUT], areas[_BACK], size, column - LANES, column)
    _run_products(memory, table, offsets, packed, _AUDIO_BACK, LANES, samples * LANES)


class _Loop:
    """Memory and packed weights of the training loops for one set of weights.

    Args:
        weights: As :class:`Steering`, as arrays.
        is_lstm: Whether units are LSTMs.
        slope: Of leaky rectifiers below zero.
    """

    def __init__(self, weights: Steering, is_lstm: bool, slope: float) -> None:
        self.weights, self._is_lstm, self._slope = weights, is_lstm, np.float32(slope)
        size, channels = weights.from_main.shape[1], weights.from_audio.shape[1]
        rows, hyper_rows, hyper_size = len(weights.from_audio), *_layer_shape(weights.from_hyper)
        gates, mlp_size = rows // size, weights.z_hidden.shape[1]
        self.size, self.hyper_size, self.hyper_rows, self.gates = size, hyper_size, hyper_rows, gates
        z, mlp, d = pad(hyper_rows, OUTPUTS), pad(mlp_size, OUTPUTS), pad(size, OUTPUTS)
        self._z, self._mlp, self._d = z, mlp, d
        cells, hyper_cells = (size, hyper_size) if is_lstm else (0, 0)
        # Products write whole groups of outputs, so what is behind each area is spare.
        self.states = [size, cells, hyper_size, hyper_cells]
        heights = [
            *self.states, channels, hyper_rows, hyper_rows + rows, hyper_rows, hyper_rows, hyper_rows,
            3 * mlp, 3 * z, 3 * gates * mlp, 3 * gates * d, rows, rows, rows, rows,
            *self.states, channels, hyper_rows + rows, hyper_rows,
            3 * mlp, 3 * z, 3 * gates * mlp, 3 * gates * d, rows, rows, rows, size, size, hyper_size,
        ]  # fmt: skip
        spaced = [pad(height, OUTPUTS) + OUTPUTS for height in heights]
        self._first = np.cumsum([0, *spaced])
        self._areas = (self._first * _PITCH).astype(np.int64)
        self.memory = aligned(int(self._areas[-1]))
        self._features = self.memory.reshape(-1, _PITCH)
        self._table: list[tuple[int, ...]] = []
        self._offsets: list[npt.NDArray[np.int64]] = []
        self._packed: list[Array] = []
        area = self._first.tolist()
        kinds, groups = range(3), range(3 * gates)
        z_places = [kind * z + gate * hyper_size for kind in kinds for gate in range(gates)]
        self._add(_MAIN, _unbiased(weights.from_main), area[_FROM_MAIN], area[_OUTPUT], before=True)
        self._add(_HYPER, weights.from_hyper, area[_FROM_HYPER], area[_HYPER_OUTPUT], before=True)
        self._add(_FROM_INPUTS, _unbiased(weights.from_audio), area[_FROM_AUDIO], area[_AUDIO])
        for kind in kinds:
            self._add(_Z_HIDDEN, weights.z_hidden[kind], area[_ZH] + kind * mlp, area[_HYPER_OUTPUT])
            self._add(_Z, weights.z[kind], area[_ZS] + kind * z, area[_ZH] + kind * mlp)
        for group, place in zip(groups, z_places):
            self._add(_D_HIDDEN, weights.d_hidden[group], area[_DH] + group * mlp, area[_ZS] + place)
            self._add(_D, weights.d[group], area[_DS] + group * d, area[_DH] + group * mlp)
        for group, place in zip(groups, z_places):
            self._add(_D_BACK, _back(weights.d[group]), area[_G_DH] + group * mlp, area[_G_DS] + group * d)
            self._add(_D_HIDDEN_BACK, _back(weights.d_hidden[group]), area[_G_ZS] + place, area[_G_DH] + group * mlp)
        for kind in kinds:
            self._add(_Z_BACK, _back(weights.z[kind]), area[_G_ZH] + kind * mlp, area[_G_ZS] + kind * z)
        hidden = np.zeros((3, mlp, hyper_size + 1), np.float32)
        hidden[:, :mlp_size] = weights.z_hidden
        self._add(_Z_HIDDEN_BACK, _back(hidden.reshape(3 * mlp, -1)), area[_HYPER_BACK], area[_G_ZH])
        self._add(_HYPER_PRODUCT_BACK, _back(weights.from_hyper), area[_HYPER_BACK], area[_G_FROM_HYPER])
        self._add(_MAIN_BACK, _back(_unbiased(weights.from_main)), area[_BACK], area[_G_FROM_MAIN])
        self._add(_AUDIO_BACK, _back(_unbiased(weights.from_audio)), area[_G_AUDIO], area[_G_FROM_AUDIO])
        self._arguments = (
            self.memory,
            self._areas,
            np.array([gates, size, hyper_size, mlp, d], np.int64),
            np.array(self._table, np.int64),
            np.concatenate(self._offsets),
            join(self._packed),
        )
        self.gradients = Steering(*map(np.zeros_like, weights))

    def _add(self, stage: int, layer: Array, result: int, source: int, before: bool = False) -> None:
        """Plan a product: feature ``result`` and those behind it from ``source`` and those behind it."""
        outputs, inputs = _layer_shape(layer)
        start, place = sum(map(len, self._packed)), sum(map(len, self._offsets))
        self._packed.append(pack_tiles(layer))
        self._offsets.append((source + np.arange(inputs)) * _PITCH - (LANES if before else 0))
        self._table.append((stage, start, outputs, inputs, result * _PITCH, place))

    def view(self, area: int, features: int, samples: int, before: bool = False) -> Array:
        """An area of memory, shape (features, samples * 16): at the samples, or one before each."""
        first, column = self._first[area], 0 if before else LANES
        return self._features[first : first + features, column : column + samples * LANES]

    def enter(self, area: int, values: Array) -> None:
        """Write values of shape (rows, samples, features), at most 16 rows, into an area; other lanes become 0."""
        rows, samples, features = values.shape
        target = self.view(area, features, samples).reshape(features, samples, LANES)
        target[..., :rows] = values.transpose(2, 1, 0)
        target[..., rows:] = 0

    def leave(self, area: int, features: int, rows: int, samples: int) -> Array:
        """The opposite of :meth:`enter`."""
        values = self.view(area, features, samples).reshape(features, samples, LANES)
        return values[..., :rows].transpose(2, 1, 0)

    def states_at(self, area: int, sample: int) -> list[Array]:
        """The four parts of a state, or of its gradient, after so many samples; shape (features, 16)."""
        column = sample * LANES
        return [
            self._features[first : first + features, column : column + LANES]
            for first, features in zip(self._first[area:], self.states)
        ]

    def forward(self, samples: int) -> None:
        """Run a segment."""
        _run_forward(*self._arguments, samples, self._is_lstm, self._slope)

    def backward(self, samples: int) -> None:
        """Go back through it, and add up the gradients of the weights."""
        _run_backward(*self._arguments, samples, self._is_lstm, self._slope)
        size, hyper_size, hyper_rows, gates = self.size, self.hyper_size, self.hyper_rows, self.gates
        rows, groups, mlp_size = gates * size, 3 * gates, self.weights.z_hidden.shape[1]
        own, hyper = self.gradients, self.view(_HYPER_OUTPUT, hyper_size, samples)

        def grouped(area: int, count: int, pitch: int, features: int) -> Array:
            return self.view(area, count * pitch, samples).reshape(count, pitch, -1)[:, :features]

        def add(total: Array, gradients: Array, values: Array) -> None:
            """Gradients of a layer, the bias last."""
            width = values.shape[-2]
            total[..., :width] += _multiply(gradients, values.swapaxes(-1, -2))
            if width < total.shape[-1]:
                total[..., width] += gradients @ self._ones[: gradients.shape[-1]]

        z = grouped(_ZS, 3, self._z, hyper_rows).reshape(3, gates, hyper_size, -1)
        d_hidden = grouped(_DH, groups, self._mlp, mlp_size)
        to_d_hidden = grouped(_G_DH, groups, self._mlp, mlp_size)
        add(own.from_main, self.view(_G_FROM_MAIN, hyper_rows + rows, samples), self.view(_OUTPUT, size, samples, True))
        before = self.view(_HYPER_OUTPUT, hyper_size, samples, True)
        add(own.from_hyper, self.view(_G_FROM_HYPER, hyper_rows, samples), before)
        add(
            own.from_audio, self.view(_G_FROM_AUDIO, rows, samples), self.view(_AUDIO, own.from_audio.shape[1], samples)
        )
        add(own.z_hidden, grouped(_G_ZH, 3, self._mlp, mlp_size), hyper)
        add(own.z, grouped(_G_ZS, 3, self._z, hyper_rows), grouped(_ZH, 3, self._mlp, mlp_size))
        split = own.d_hidden.reshape(3, gates, mlp_size, -1)
        add(split, to_d_hidden.reshape(3, gates, mlp_size, -1), z)
        add(own.d, grouped(_G_DS, groups, self._d, size), d_hidden)

    _ones = np.ones(_SEGMENT * LANES, np.float32)


def _multiply(first: Array, second: Array) -> Array:
    """A matrix product by torch: NumPy's may have threads of their own in each of ours."""
    product: Array = np.empty((*first.shape[:-1], second.shape[-1]), np.float32)
    # With a place for its result, autocast leaves it alone.
    torch.matmul(torch.from_numpy(first), torch.from_numpy(second), out=torch.from_numpy(product))
    return product


def _layer_shape(layer: Array) -> tuple[int, int]:
    """Outputs and inputs of a layer of shape (out, in + 1)."""
    return layer.shape[0], layer.shape[1] - 1


def _unbiased(weight: Array) -> Array:
    """Weights (out, in) as a layer."""
    return np.pad(weight, ((0, 0), (0, 1)))


def _back(layer: Array) -> Array:
    """The layer that takes gradients of a layer's outputs to those of its inputs."""
    return _unbiased(layer[:, :-1].T)


class _Run(torch.autograd.Function):
    """The loop with its gradients; tensors as in :func:`run`, the four parts of the state side by side."""

    @staticmethod
    def forward(
        ctx: Any, audio: Tensor, drive: Tensor, state: Tensor, is_lstm: bool, slope: float, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run all rows, 16 at a time, and keep the states at the beginning of every segment."""
        batch_size, time, _ = audio.shape
        width, steering = state.shape[1], Steering(*(weight.detach().contiguous().numpy() for weight in weights))
        groups = _groups(batch_size)
        parts = parts_of(len(groups), LANES * time)
        outputs = np.empty((batch_size, time, steering.from_main.shape[1]), np.float32)
        after = np.empty(state.shape, np.float32)
        kept = np.empty((len(groups), -(-time // _SEGMENT), width, LANES), np.float32)
        inputs, drives, states = audio.detach().numpy(), drive.detach().numpy(), state.detach().numpy()

        def run(part: slice) -> None:
            loop = _Loop(steering, is_lstm, slope)
            for lanes, beginnings in zip(groups[part], kept[part]):
                rows = lanes.stop - lanes.start
                current = np.zeros((width, LANES), np.float32)
                current[:, :rows] = states[lanes].T
                for span, beginning in zip(_spans(time), beginnings):
                    beginning[:] = current
                    _prepare(loop, inputs[lanes, span], drives[lanes], span, current)
                    samples = span.stop - span.start
                    loop.forward(samples)
                    outputs[lanes, span] = loop.leave(_OUTPUT, loop.size, rows, samples)
                    current = np.concatenate(loop.states_at(_OUTPUT, samples))
                after[lanes] = current[:, :rows].T

        in_threads(run, parts)
        ctx.save_for_backward(audio, drive, torch.from_numpy(kept), *weights)
        ctx.is_lstm, ctx.slope = is_lstm, slope
        return torch.from_numpy(outputs), torch.from_numpy(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_outputs: Tensor, to_after: Tensor) -> tuple[Tensor | None, ...]:
        """Run every segment again, the last first, and go back through it."""
        audio, drive, kept, *weights = ctx.saved_tensors
        steering = Steering(*(weight.detach().contiguous().numpy() for weight in weights))
        batch_size, time, channels = audio.shape
        groups, beginnings = _groups(batch_size), kept.numpy()
        parts = parts_of(len(groups), LANES * time)
        inputs, drives, heard = audio.detach().numpy(), drive.detach().numpy(), to_outputs.numpy()
        to_audio, to_drive = np.empty_like(inputs), np.zeros_like(drives)
        to_state = np.empty(to_after.shape, np.float32)

        def go_back(part: slice) -> Steering:
            loop = _Loop(steering, ctx.is_lstm, ctx.slope)
            for lanes, before in zip(groups[part], beginnings[part]):
                rows = lanes.stop - lanes.start
                current = np.zeros((to_after.shape[1], LANES), np.float32)
                current[:, :rows] = to_after[lanes].numpy().T
                for segment, span in reversed(list(enumerate(_spans(time)))):
                    samples = span.stop - span.start
                    _prepare(loop, inputs[lanes, span], drives[lanes], span, before[segment])
                    loop.forward(samples)
                    loop.enter(_G_HEARD, heard[lanes, span])
                    _place(loop.states_at(_G_OUTPUT, samples), current)
                    loop.backward(samples)
                    current = np.concatenate(loop.states_at(_G_OUTPUT, 0))
                    to_audio[lanes, span] = loop.leave(_G_AUDIO, channels, rows, samples)
                    moved = loop.leave(_G_FROM_MAIN, loop.hyper_rows, rows, samples)
                    if drives.shape[1] == 1:
                        to_drive[lanes, 0] += moved.sum(1)
                    else:
                        to_drive[lanes, span] = moved
                to_state[lanes] = current[:, :rows].T
            return loop.gradients

        gradients = in_threads(go_back, parts)
        return (
            torch.from_numpy(to_audio),
            torch.from_numpy(to_drive),
            torch.from_numpy(to_state),
            None,
            None,
            *(torch.from_numpy(sum(shares)) for shares in zip(*gradients)),
        )


def _groups(batch_size: int) -> list[slice]:
    """Rows that play side by side in vectors."""
    return [slice(start, min(start + LANES, batch_size)) for start in range(0, batch_size, LANES)]


def _spans(time: int) -> list[slice]:
    """Segments of time."""
    return [slice(start, min(start + _SEGMENT, time)) for start in range(0, time, _SEGMENT)]


def _place(parts: list[Array], values: Array) -> None:
    """Write a state, shape (features, 16), where its parts are."""
    start = 0
    for part in parts:
        part[:] = values[start : start + len(part)]
        start += len(part)


def _prepare(loop: _Loop, audio: Array, drive: Array, span: slice, state: Array) -> None:
    """Write what a segment begins with: audio (rows, samples, channels), drive of all samples or one, and the state."""
    loop.enter(_AUDIO, audio)
    shape = (*audio.shape[:2], drive.shape[2])
    loop.enter(_DRIVE, np.broadcast_to(drive, shape) if drive.shape[1] == 1 else drive[:, span])
    _place(loop.states_at(_OUTPUT, 0), state)


def run(
    audio: Tensor, drive: Tensor, weights: tuple[Tensor, ...], state: Tensor, is_lstm: bool, slope: float
) -> tuple[Tensor, Tensor]:
    """Run the recurrence, differentiably. Tensors that are elsewhere or of another precision are copied.

    Args:
        audio: Shape (batch, time, channels), time at least 1.
        drive: What knobs and the input bias give to the gates of the hyper unit, shape (batch, 1, G * P), or
            (batch, time, G * P) if knobs move.
        weights: See :class:`Steering`.
        state: Outputs of the main unit, its cells (LSTM), then both of the hyper unit, shape (batch, features).
        is_lstm: Whether units are LSTMs with gates i, f, g, o; else GRUs with gates r, z, g.
        slope: Of leaky rectifiers below zero.

    Returns:
        Outputs of the main unit, shape (batch, time, H), and the state after them.
    """
    audio_copy, drive, state_copy, *weights_copy = (
        part.to("cpu", torch.float32) for part in (audio, drive, state, *weights)
    )
    outputs, after = _Run.apply(  # type: ignore[no-untyped-call]
        audio_copy, drive, state_copy, is_lstm, slope, *weights_copy
    )
    return outputs.to(audio), after.to(state)


def warm() -> None:
    """Compile, or load what has been compiled before."""
    shapes = ((6, 1), (3, 2), (3, 1), (3, 1, 2), (3, 3, 2), (9, 1, 2), (9, 1, 2))
    loop = _Loop(Steering(*(np.zeros(shape, np.float32) for shape in shapes)), False, 0.0)
    loop.forward(1)
    loop.backward(1)
    layers = [np.zeros(shape, np.float32) for shape in ((3, 2), (3, 2), (3, 1), (3, 1), *shapes[3:], (1, 2))]
    player = DynamicHyperPlayer(Weights(*layers), is_lstm=False, slope=0.0)
    player.load_state((torch.zeros(1, 1), torch.zeros(1, 1)))
    player.process(np.zeros((1, 1, 1), np.float32), np.zeros(0, np.float32))
