"""LSTM and GRU compiled: loops over samples for training and playing.

Weights are packed for vector instructions, gates side by side: bias (4 * H,), input (features, 4 * H) and hidden
(H, G * H) for H units. Columns of the LSTM, G = 4: i, f, o, g. Columns of the GRU, G = 3: r, z, what the state adds to
g, and what the input adds to g; its hidden weights lack the fourth, and its input weights are zero in the third. The
state of a row has shape (2, H), output and cell, or (1, H) for the GRU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuralfx.engine.fastmath import compiled, sigmoid, tanh
from neuralfx.engine.player import INAUDIBLE, Array, Player
from neuralfx.engine.threads import in_threads, over_rows, parts_of

_BLOCK = 256  # samples between which the output layer runs; their features stay in the cache
_INAUDIBLE = np.float32(INAUDIBLE)
_ZERO, _ONE = np.float32(0), np.float32(1)


@compiled
def _add_product(vector: Array, matrix: Array, total: Array) -> None:
    """Add vector @ matrix to as many values of total, reading and writing them once per eight rows of the matrix."""
    rows, columns = matrix.shape
    in_eights = rows - rows % 8
    for j in range(0, in_eights, 8):
        v0, v1, v2, v3 = vector[j], vector[j + 1], vector[j + 2], vector[j + 3]
        v4, v5, v6, v7 = vector[j + 4], vector[j + 5], vector[j + 6], vector[j + 7]
        for k in range(columns):
            total[k] += (
                (v0 * matrix[j, k] + v1 * matrix[j + 1, k]) + (v2 * matrix[j + 2, k] + v3 * matrix[j + 3, k])
            ) + ((v4 * matrix[j + 4, k] + v5 * matrix[j + 5, k]) + (v6 * matrix[j + 6, k] + v7 * matrix[j + 7, k]))
    for j in range(in_eights, rows):
        v0 = vector[j]
        for k in range(columns):
            total[k] += v0 * matrix[j, k]


# Loops over units are functions of a few arrays each: with more in one loop, the compiler gives up telling them apart
# and leaves it scalar.


@compiled
def _sum_gates(sample: Array, bias: Array, input: Array, gates: Array) -> None:
    first = sample[0]
    for k in range(len(gates)):
        gates[k] = bias[k] + first * input[0, k]
    for j in range(1, len(sample)):
        value = sample[j]
        for k in range(len(gates)):
            gates[k] += value * input[j, k]


@compiled
def _apply_sigmoid(values: Array) -> None:
    for k in range(len(values)):
        values[k] = sigmoid(values[k])


@compiled
def _apply_tanh(values: Array) -> None:
    for k in range(len(values)):
        values[k] = tanh(values[k])


@compiled
def _set_cell(i: Array, f: Array, g: Array, cell: Array, copy: Array) -> None:
    for k in range(len(cell)):
        value = f[k] * cell[k] + i[k] * g[k]
        cell[k] = value
        copy[k] = value


@compiled
def _set_lstm_output(o: Array, cell: Array, output: Array, copy: Array) -> None:
    for k in range(len(output)):
        value = o[k] * tanh(cell[k])
        output[k] = value
        copy[k] = value


@compiled
def _advance_lstm(
    features: Array, bias: Array, input: Array, hidden: Array, state: Array, outputs: Array, saved: Array
) -> None:
    size = hidden.shape[0]
    output, cell = state[0], state[1]
    last = len(saved) - 1
    for t in range(len(features)):
        gates, cells = saved[min(t, last), : 4 * size], saved[min(t, last), 4 * size :]
        _sum_gates(features[t], bias, input, gates)
        _add_product(output, hidden, gates)
        _apply_sigmoid(gates[: 3 * size])
        _apply_tanh(gates[3 * size :])
        _set_cell(gates[:size], gates[size : 2 * size], gates[3 * size :], cell, cells)
        _set_lstm_output(gates[2 * size : 3 * size], cell, output, outputs[t])


@compiled
def _set_new(r: Array, from_state: Array, g: Array) -> None:
    for k in range(len(g)):
        g[k] = tanh(g[k] + r[k] * from_state[k])


@compiled
def _set_gru_output(z: Array, g: Array, output: Array, copy: Array) -> None:
    for k in range(len(output)):
        value = g[k] + z[k] * (output[k] - g[k])
        output[k] = value
        copy[k] = value


@compiled
def _advance_gru(
    features: Array, bias: Array, input: Array, hidden: Array, state: Array, outputs: Array, saved: Array
) -> None:
    size = hidden.shape[0]
    output = state[0]
    last = len(saved) - 1
    for t in range(len(features)):
        gates = saved[min(t, last)]
        _sum_gates(features[t], bias, input, gates)
        _add_product(output, hidden, gates)
        _apply_sigmoid(gates[: 2 * size])
        _set_new(gates[:size], gates[2 * size : 3 * size], gates[3 * size :])
        _set_gru_output(gates[size : 2 * size], gates[3 * size :], output, outputs[t])


@compiled
def _advance(
    features: Array, bias: Array, input: Array, hidden: Array, state: Array, outputs: Array, saved: Array
) -> None:
    """Run one row.

    Args:
        features: Shape (time, features).
        bias: Packed, as the two after it.
        input: Packed.
        hidden: Packed; its shape says which unit it is.
        state: State before the first sample, overwritten by the one after the last.
        outputs: Filled, shape (time, H).
        saved: Filled with the gates of every sample, and behind them the LSTM's cells, shape (time, 4 * H or 5 * H);
            or a scratch of one sample.
    """
    if hidden.shape[1] == len(bias):
        _advance_lstm(features, bias, input, hidden, state, outputs, saved)
    else:
        _advance_gru(features, bias, input, hidden, state, outputs, saved)


@compiled
def _add(values: Array, total: Array) -> None:
    for k in range(len(total)):
        total[k] += values[k]


@compiled
def _back_lstm_output(o: Array, cell: Array, d_h: Array, d_cell: Array, d_o: Array) -> None:
    for k in range(len(d_h)):
        squashed = tanh(cell[k])
        d_o[k] = d_h[k] * squashed * o[k] * (_ONE - o[k])
        d_h[k] *= o[k] * (_ONE - squashed * squashed)
    for k in range(len(d_h)):
        d_cell[k] += d_h[k]
        d_h[k] = _ZERO


@compiled
def _back_cell(i: Array, f: Array, g: Array, before: Array, d_cell: Array, d_i: Array, d_f: Array, d_g: Array) -> None:
    for k in range(len(d_cell)):
        d_i[k] = d_cell[k] * g[k] * i[k] * (_ONE - i[k])
        d_g[k] = d_cell[k] * i[k] * (_ONE - g[k] * g[k])
    for k in range(len(d_cell)):
        d_f[k] = d_cell[k] * before[k] * f[k] * (_ONE - f[k])
        d_cell[k] *= f[k]


@compiled
def _back_lstm(d_outputs: Array, hidden: Array, initial: Array, saved: Array, d_state: Array, d_gates: Array) -> None:
    size = hidden.shape[1]
    i, f, o, g = slice(0, size), slice(size, 2 * size), slice(2 * size, 3 * size), slice(3 * size, 4 * size)
    d_output, d_cell = d_state[0], d_state[1]
    for t in range(len(d_outputs) - 1, -1, -1):
        gates, d = saved[t], d_gates[t]
        before = saved[t - 1, 4 * size :] if t else initial[1]
        _add(d_outputs[t], d_output)
        _back_lstm_output(gates[o], gates[4 * size :], d_output, d_cell, d[o])
        _back_cell(gates[i], gates[f], gates[g], before, d_cell, d[i], d[f], d[g])
        _add_product(d, hidden, d_output)


@compiled
def _back_gru_output(z: Array, g: Array, before: Array, d_h: Array, d_z: Array, d_g: Array) -> None:
    for k in range(len(d_h)):
        d_g[k] = d_h[k] * (_ONE - z[k]) * (_ONE - g[k] * g[k])
    for k in range(len(d_h)):
        d_z[k] = d_h[k] * (before[k] - g[k]) * z[k] * (_ONE - z[k])
    for k in range(len(d_h)):
        d_h[k] *= z[k]


@compiled
def _back_new(r: Array, from_state: Array, d_g: Array, d_r: Array, d_from_state: Array) -> None:
    for k in range(len(d_g)):
        d_r[k] = d_g[k] * from_state[k] * r[k] * (_ONE - r[k])
        d_from_state[k] = d_g[k] * r[k]


@compiled
def _back_gru(
    d_outputs: Array, hidden: Array, initial: Array, outputs: Array, saved: Array, d_state: Array, d_gates: Array
) -> None:
    size = hidden.shape[1]
    r, z, u, g = slice(0, size), slice(size, 2 * size), slice(2 * size, 3 * size), slice(3 * size, 4 * size)
    d_output = d_state[0]
    for t in range(len(d_outputs) - 1, -1, -1):
        gates, d = saved[t], d_gates[t]
        before = outputs[t - 1] if t else initial[0]
        _add(d_outputs[t], d_output)
        _back_gru_output(gates[z], gates[g], before, d_output, d[z], d[g])
        _back_new(gates[r], gates[u], d[g], d[r], d[u])
        _add_product(d, hidden, d_output)


@compiled
def _back(
    d_outputs: Array, hidden: Array, initial: Array, outputs: Array, saved: Array, d_state: Array, d_gates: Array
) -> None:
    """Run one row backward.

    Args:
        d_outputs: Gradient of the outputs, shape (time, H).
        hidden: Packed and transposed, shape (G * H, H).
        initial: State before the first sample.
        outputs: From :func:`_advance`.
        saved: From :func:`_advance`.
        d_state: Gradient of the state after the last sample, overwritten by that of the initial state.
        d_gates: Filled with the gradient of bias + features @ input, plus state @ hidden, shape (time, 4 * H).
    """
    if hidden.shape[0] == d_gates.shape[1]:
        _back_lstm(d_outputs, hidden, initial, saved, d_state, d_gates)
    else:
        _back_gru(d_outputs, hidden, initial, outputs, saved, d_state, d_gates)


def run(features: Tensor, bias: Tensor, input: Tensor, hidden: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run a unit over time, differentiably.

    Args:
        features: Shape (batch, time, features), time at least 1. Tensors that are elsewhere or of another precision are
            copied, and the results go where the features are.
        bias: Packed, shape (n, 4 * H), where n is 1, or the batch size if every row has its own weights.
        input: Packed, shape (n, features, 4 * H).
        hidden: Packed, shape (n, H, G * H).
        state: Shape (batch, 2 or 1, H).

    Returns:
        Outputs, shape (batch, time, H), and the state after the last sample.
    """
    arguments = [part.to("cpu", torch.float32) for part in (features, bias, input, hidden, state)]
    if torch.is_grad_enabled() and any(argument.requires_grad for argument in arguments):
        outputs, after = _Run.apply(*arguments)  # type: ignore[no-untyped-call]
    else:
        outputs, after, _ = _run(False, *arguments)
    return outputs.to(features), after.to(state)


def _run(
    keep: bool, features: Tensor, bias: Tensor, input: Tensor, hidden: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Outputs, state after the last sample, and what the way back needs if it is to be kept."""
    batch_size, time, _ = features.shape
    after = state.clone(memory_format=torch.contiguous_format)
    parts, size = after.shape[1:]
    outputs = features.new_empty(batch_size, time, size)
    # One tensor per row: memory of this size is used again by the next call, where a whole batch's is paged in anew.
    saved = [features.new_empty(time if keep else 1, (3 + parts) * size) for _ in range(batch_size)]
    weights = [weight.contiguous().numpy() for weight in (bias, input, hidden)]
    rows = [tensor.contiguous().numpy() for tensor in (features, after, outputs)]

    def advance(row: int) -> None:
        own = [weight[min(row, len(weight) - 1)] for weight in weights]
        feature, memory, output = (array[row] for array in rows)
        _advance(feature, *own, memory, output, saved[row].numpy())

    over_rows(advance, batch_size, time)
    return outputs, after, saved


class _Run(torch.autograd.Function):
    """The way back of :func:`run`; gradients of weights are one matrix product per row."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, bias: Tensor, input: Tensor, hidden: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        outputs, after, saved = _run(True, features, bias, input, hidden, state)
        ctx.save_for_backward(features, input, hidden, state, outputs, *saved)
        return outputs, after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, d_after: Tensor) -> tuple[Tensor | None, ...]:
        features, input, hidden, state, outputs, *saved = ctx.saved_tensors
        batch_size, time, size = outputs.shape
        columns = hidden.shape[2]
        d_state = d_after.clone(memory_format=torch.contiguous_format)
        d_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        d_bias = features.new_empty(batch_size, 4 * size)
        d_input = features.new_empty(batch_size, features.shape[2], 4 * size)
        d_hidden = features.new_empty(batch_size, size, columns)
        own = len(hidden) > 1
        transposed, into = hidden.detach().mT.contiguous(), input.detach().mT
        rows = [tensor.detach().contiguous().numpy() for tensor in (d_outputs, state, outputs, d_state)]
        features, state, outputs = features.detach(), state.detach(), outputs.detach()

        def go_back(part: slice) -> None:
            d_gates = torch.empty(time, 4 * size)
            for row in range(part.start, part.stop):
                d_output, initial, output, d_memory = (array[row] for array in rows)
                weights = transposed[row if own else 0].numpy()
                _back(d_output, weights, initial, output, saved[row].numpy(), d_memory, d_gates.numpy())
                torch.sum(d_gates, 0, out=d_bias[row])
                torch.mm(features[row].T, d_gates, out=d_input[row])
                d_from_state = d_gates[:, :columns]
                torch.mm(outputs[row, :-1].T, d_from_state[1:], out=d_hidden[row])
                d_hidden[row].addr_(state[row, 0], d_from_state[0])
                if d_features is not None:
                    torch.mm(d_gates, into[row if own else 0], out=d_features[row])

        in_threads(go_back, parts_of(batch_size, time))
        d_weights: tuple[Tensor, ...] = (d_bias, d_input, d_hidden)
        if len(hidden) == 1:
            d_weights = tuple(gradient.sum(0, keepdim=True) for gradient in d_weights)
        return d_features, *d_weights, d_state


@compiled
def _dot(first: Array, second: Array) -> np.float32:
    total = _ZERO
    for k in range(len(first)):
        total += first[k] * second[k]
    return total


@compiled
def _play_span(
    features: Array,
    bias: Array,
    input: Array,
    hidden: Array,
    head: Array,
    state: Array,
    outputs: Array,
    gates: Array,
    wet: Array,
) -> None:
    size = len(head) - 1
    for start in range(0, len(features), _BLOCK):
        stop = min(start + _BLOCK, len(features))
        _advance(features[start:stop], bias, input, hidden, state, outputs, gates)
        for t in range(start, stop):
            wet[t] = head[size] + _dot(outputs[t - start], head[:size])


@compiled
def _clear_inaudible(state: Array) -> None:
    for part in range(state.shape[0]):
        for k in range(state.shape[1]):
            if abs(state[part, k]) < _INAUDIBLE:
                state[part, k] = _ZERO


@compiled
def _play(
    features: Array,
    bias: Array,
    input: Array,
    hidden: Array,
    head: Array,
    state: Array,
    outputs: Array,
    gates: Array,
    wet: Array,
) -> None:
    """Play a block of one row.

    Args:
        features: Shape (time, features).
        bias: Packed, as the two after it.
        input: Packed.
        hidden: Packed.
        head: Weights of the output layer and behind them its bias, shape (H + 1,).
        state: Overwritten by the state after the block.
        outputs: Scratch, shape (_BLOCK, H).
        gates: Scratch, see ``saved`` of :func:`_advance`.
        wet: Filled, shape (time,).
    """
    _play_span(features, bias, input, hidden, head, state, outputs, gates, wet)
    _clear_inaudible(state)


@compiled
def _copy(values: Array, result: Array) -> None:
    for k in range(len(result)):
        result[k] = values[k]


@compiled
def _apply_layer(vector: Array, layer: Array, total: Array) -> None:
    """Set total to vector @ layer[:-1] + layer[-1]."""
    _copy(layer[len(vector)], total)
    _add_product(vector, layer[: len(vector)], total)


@compiled
def _rectify(values: Array, slope: float) -> None:
    for k in range(len(values)):
        values[k] = max(values[k], _ZERO) + slope * min(values[k], _ZERO)


@compiled
def _scale(base: Array, factors: Array, result: Array) -> None:
    for row in range(base.shape[0]):
        for k in range(base.shape[1]):
            result[row, k] = base[row, k] * factors[k]


@compiled
def _generate(
    knobs: Array,
    first: Array,
    second: Array,
    last: Array,
    base: Array,
    slope: float,
    scratch: Array,
    coefficients: Array,
    weights: Array,
) -> None:
    """Make weights from knobs; see :class:`GeneratedPlayer`."""
    _apply_layer(knobs, first, scratch[0])
    _rectify(scratch[0], slope)
    _apply_layer(scratch[0], second, scratch[1])
    _rectify(scratch[1], slope)
    if len(base) == 0:
        _apply_layer(scratch[1], last, weights)
        return
    _apply_layer(scratch[1], last, coefficients)
    columns = base.shape[1]
    start = len(coefficients) - columns
    _copy(coefficients, weights[:start])
    _scale(base, coefficients[start:], weights[start:].reshape(base.shape))


@compiled
def _equal(first: Array, second: Array) -> bool:
    for k in range(len(first)):
        if first[k] != second[k]:
            return False
    return True


@compiled
def _play_generated(
    audio: Array,
    knobs: Array,
    place: npt.NDArray[np.int64],
    held: Array,
    first: Array,
    second: Array,
    last: Array,
    base: Array,
    slope: float,
    cell: int,
    scratch: Array,
    coefficients: Array,
    weights: Array,
    head: Array,
    state: Array,
    outputs: Array,
    gates: Array,
    wet: Array,
) -> None:
    """Play a block of one row whose weights follow the knobs.

    Args:
        audio: Shape (time, 1).
        knobs: Shape (time, knobs), or (1, knobs) if they stand still.
        place: Place of the next sample within its cell of the grid, shape (1,), overwritten.
        held: Knobs that made the weights, shape (knobs,), overwritten.
        first: As of :class:`GeneratedPlayer`, as are the five after it.
        second: Second layer.
        last: Last layer.
        base: Hidden weights to scale.
        slope: Slope of the rectifiers.
        cell: Samples in a cell of the grid.
        scratch: Scratch for the hidden layers, shape (2, mlp size).
        coefficients: Scratch for the outputs of the last layer.
        weights: Bias, input and hidden weights, one behind the other; overwritten.
        head: As of :func:`_play`, as are the four after it.
        state: State.
        outputs: Scratch.
        gates: Scratch.
        wet: Filled, shape (time,).
    """
    time, points = len(audio), len(knobs)
    size = len(head) - 1
    bias, input = weights[: 4 * size], weights[4 * size : 8 * size].reshape(1, 4 * size)
    hidden = weights[8 * size :].reshape(size, len(weights) // size - 8)
    start = 0
    while start < time:
        if place[0] == 0 and not _equal(held, knobs[min(start, points - 1)]):
            _copy(knobs[min(start, points - 1)], held)
            _generate(held, first, second, last, base, slope, scratch, coefficients, weights)
        stop = start + cell - place[0]  # the next grid point at which the knobs have moved, or the end
        while stop < time and _equal(held, knobs[min(stop, points - 1)]):
            stop += cell
        stop = min(stop, time)
        _play_span(audio[start:stop], bias, input, hidden, head, state, outputs, gates, wet[start:stop])
        place[0] = (place[0] + stop - start) % cell
        start = stop
    _clear_inaudible(state)


class _UnitPlayer(Player):
    """What both players share: the state of every row, and memory to work in.

    Args:
        head: Weights of the output layer and behind them its bias, shape (H + 1,).
    """

    def __init__(self, head: Tensor) -> None:
        self._head = _array(head)

    def _load_memory(self, memory: Any) -> None:
        parts = memory if isinstance(memory, tuple) else (memory,)
        rows, size = parts[0].shape
        self._states = [_array(state) for state in torch.stack(parts, dim=1)]
        self._outputs = [_array(torch.zeros(_BLOCK, size)) for _ in range(rows)]
        self._gates = [_array(torch.zeros(1, (3 + len(parts)) * size)) for _ in range(rows)]


class FixedPlayer(_UnitPlayer):
    """Unit on audio and knobs side by side > linear.

    Args:
        bias: Packed, as the two after it.
        input: Packed; the first row is the audio's, the others are the knobs'.
        hidden: Packed.
        head: Weights of the output layer and behind them its bias, shape (H + 1,).
    """

    def __init__(self, bias: Tensor, input: Tensor, hidden: Tensor, head: Tensor) -> None:
        super().__init__(head)
        self._bias, self._input, self._hidden = _array(bias), _array(input), _array(hidden)
        self._from_audio, self._from_knobs = self._input[:1], self._input[1:]
        self._folded = _array(bias)
        self._folded_knobs: bytes | None = None

    def load_state(self, state: Any) -> None:
        """Take the output, or output and cell."""
        self._load_memory(state)

    def process(self, audio: Array, knobs: Array) -> Array:
        """Play the next block."""
        rows, _, time = audio.shape
        if knobs.ndim == 1:
            self._fold(knobs)
            bias, input = self._folded, self._from_audio
            features = np.array(audio, dtype=np.float32, order="C").reshape(rows, time, 1)
        else:
            bias, input = self._bias, self._input
            features = np.empty((rows, time, len(input)), dtype=np.float32)
            features[..., 0] = audio[:, 0]
            features[..., 1:] = knobs
        wet = np.empty((rows, 1, time), dtype=np.float32)

        def play(row: int) -> None:
            work = self._states[row], self._outputs[row], self._gates[row]
            _play(features[row], bias, input, self._hidden, self._head, *work, wet[row, 0])

        over_rows(play, rows, time)
        return wet

    def _fold(self, knobs: Array) -> None:
        values = knobs.tobytes()
        if values != self._folded_knobs:
            self._folded[:] = self._bias + knobs @ self._from_knobs
            self._folded_knobs = values


class GeneratedPlayer(_UnitPlayer):
    """Unit on audio with weights made from the knobs > linear.

    A perceptron of three layers makes coefficients. They are the weights themselves - packed bias, input and hidden
    weights one behind the other - or, with a base, the bias, the input weights, and a factor for each column of the
    hidden weights. Every layer is a matrix whose last row is its bias.

    Args:
        first: From knobs, shape (knobs + 1, mlp size).
        second: Shape (mlp size + 1, mlp size).
        last: Shape (mlp size + 1, coefficients).
        base: Packed hidden weights to scale; shape (0, 0) for none.
        head: Weights of the output layer and behind them its bias, shape (H + 1,).
        slope: Slope of the leaky rectifiers behind the first two layers, below zero.
        cell: Samples for which knobs are held once they are read.
    """

    def __init__(
        self, first: Tensor, second: Tensor, last: Tensor, base: Tensor, head: Tensor, slope: float, cell: int
    ) -> None:
        super().__init__(head)
        self._generator = (*map(_array, (first, second, last, base)), np.float32(slope))
        self._cell = cell
        self._mlp_size = first.shape[1]
        self._coefficients = last.shape[1]
        self._weights = self._coefficients if not len(base) else self._coefficients + (len(base) - 1) * base.shape[1]

    def load_state(self, state: Any) -> None:
        """Take the unit's state, the place on the grid, and the knobs held there."""
        memory, (places, held) = state
        self._load_memory(memory)
        self._places = [np.array([place], dtype=np.int64) for place in places.tolist()]
        self._held = [_array(knobs) for knobs in held]
        self._work: list[tuple[Array, ...]] = []
        for knobs in self._held:
            shapes = ((2, self._mlp_size), (self._coefficients,), (self._weights,))
            work = tuple(_array(torch.zeros(shape)) for shape in shapes)
            _generate(knobs, *self._generator, *work)
            self._work.append(work)

    def process(self, audio: Array, knobs: Array) -> Array:
        """Play the next block."""
        rows, _, time = audio.shape
        features = np.array(audio, dtype=np.float32, order="C").reshape(rows, time, 1)
        values = np.array(knobs if knobs.ndim == 2 else knobs[np.newaxis], dtype=np.float32, order="C")
        wet = np.empty((rows, 1, time), dtype=np.float32)

        def play(row: int) -> None:
            _play_generated(
                features[row],
                values,
                self._places[row],
                self._held[row],
                *self._generator,
                self._cell,
                *self._work[row],
                self._head,
                self._states[row],
                self._outputs[row],
                self._gates[row],
                wet[row, 0],
            )

        over_rows(play, rows, time)
        return wet


def _array(tensor: Tensor) -> Array:
    """A copy in memory of its own, which torch, unlike NumPy, lays where vector instructions read fastest."""
    own: Array = torch.empty(tensor.shape, dtype=torch.float32).copy_(tensor.detach()).numpy()
    return own


def warm() -> None:
    """Compile all kernels, or load them from the cache."""
    size, features = 2, torch.zeros(1, 2, 1)
    bias, input, hidden = torch.zeros(1, 4 * size), torch.zeros(1, 1, 4 * size), torch.zeros(1, size, 4 * size)
    state = torch.zeros(1, 2, size)
    outputs, after, saved = _run(True, features, bias, input, hidden, state)
    rows = map(_array, (outputs[0], hidden[0].mT, state[0], outputs[0], saved[0], after[0], torch.zeros(2, 4 * size)))
    _back(*rows)
    memory, head, audio = state.unbind(1), torch.zeros(size + 1), _array(features.mT)
    fixed = FixedPlayer(bias[0], input[0], hidden[0], head)
    fixed.load_state(memory)
    fixed.process(audio, np.zeros(0, dtype=np.float32))
    layer, last = torch.zeros(1, 0), torch.zeros(1, 8 * size + 4 * size * size)
    generated = GeneratedPlayer(layer, layer, last, torch.zeros(0, 0), head, 0.0, 1)
    generated.load_state((memory, (torch.zeros(1), torch.zeros(1, 0))))
    generated.process(audio, np.zeros(0, dtype=np.float32))
