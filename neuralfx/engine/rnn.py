"""LSTM and GRU compiled: loops over samples for training and playing.

Weights are packed for vector instructions, gates side by side: bias (4 * H,), input (features, 4 * H) and hidden
(H, G * H) for H units. Columns of the LSTM, G = 4: i, f, o, g. Columns of the GRU, G = 3: r, z, what the state adds to
g, and what the input adds to g; its hidden weights lack the fourth, and its input weights are zero in the third. The
state of a row has shape (2, H), output and cell, or (1, H) for the GRU.

Loops take gates, states and outputs padded to P units, and weights in groups of 16 units whose gates are neighbours:
bias (groups, 1, 64), input (groups, features, 64) and hidden (groups, H, G * 16), where an odd H is made even. Padded
units have weights of zero, and so are always zero themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from neuralfx.engine.fastmath import compiled, inlined
from neuralfx.engine.lanes import LANES, add_up, aligned, load, sigmoid, store, tanh
from neuralfx.engine.player import INAUDIBLE, Array, Player
from neuralfx.engine.threads import in_threads, over_rows, shares_of
from neuralfx.engine.tiles import RESULT, lay_out, pad, plan_products, product, rectify

_BLOCK = 256  # samples between which the output layer runs; their features stay in the cache
_INAUDIBLE = np.float32(INAUDIBLE)
_ZERO, _ONE = np.float32(0), np.float32(1)


@inlined
def _add_features(values: Array, matrix: Array, i: Any, f: Any, o: Any, g: Any) -> Any:
    """Add values @ matrix, of one group, to four gates."""
    for j in range(len(values)):
        value, place = values[j], 4 * LANES * j
        i = i + value * load(matrix, place)
        f = f + value * load(matrix, place + LANES)
        o = o + value * load(matrix, place + 2 * LANES)
        g = g + value * load(matrix, place + 3 * LANES)
    return i, f, o, g


@inlined
def _add_four(values: Array, matrix: Array, i: Any, f: Any, o: Any, g: Any) -> Any:
    """The same of an even number of values, in two sums a gate, which do not wait for each other."""
    i2, f2 = values[1] * load(matrix, 4 * LANES), values[1] * load(matrix, 5 * LANES)
    o2, g2 = values[1] * load(matrix, 6 * LANES), values[1] * load(matrix, 7 * LANES)
    i, f = i + values[0] * load(matrix, 0), f + values[0] * load(matrix, LANES)
    o, g = o + values[0] * load(matrix, 2 * LANES), g + values[0] * load(matrix, 3 * LANES)
    for j in range(2, len(values), 2):
        place = 4 * LANES * j
        i = i + values[j] * load(matrix, place)
        f = f + values[j] * load(matrix, place + LANES)
        o = o + values[j] * load(matrix, place + 2 * LANES)
        g = g + values[j] * load(matrix, place + 3 * LANES)
        i2 = i2 + values[j + 1] * load(matrix, place + 4 * LANES)
        f2 = f2 + values[j + 1] * load(matrix, place + 5 * LANES)
        o2 = o2 + values[j + 1] * load(matrix, place + 6 * LANES)
        g2 = g2 + values[j + 1] * load(matrix, place + 7 * LANES)
    return i + i2, f + f2, o + o2, g + g2


@inlined
def _add_three(values: Array, matrix: Array, r: Any, z: Any, u: Any) -> Any:
    """The same for three gates."""
    r2, z2 = values[1] * load(matrix, 3 * LANES), values[1] * load(matrix, 4 * LANES)
    u2 = values[1] * load(matrix, 5 * LANES)
    r, z = r + values[0] * load(matrix, 0), z + values[0] * load(matrix, LANES)
    u = u + values[0] * load(matrix, 2 * LANES)
    for j in range(2, len(values), 2):
        place = 3 * LANES * j
        r = r + values[j] * load(matrix, place)
        z = z + values[j] * load(matrix, place + LANES)
        u = u + values[j] * load(matrix, place + 2 * LANES)
        r2 = r2 + values[j + 1] * load(matrix, place + 3 * LANES)
        z2 = z2 + values[j + 1] * load(matrix, place + 4 * LANES)
        u2 = u2 + values[j + 1] * load(matrix, place + 5 * LANES)
    return r + r2, z + z2, u + u2


@compiled
def _advance_lstm(
    features: Array, bias: Array, input: Array, hidden: Array, state: Array, outputs: Array, saved: Array
) -> None:
    size, pitch, last = hidden.shape[1], state.shape[1], len(saved) - 1
    for t in range(len(features)):
        before = outputs[t - 1] if t else state[0]
        for group in range(len(hidden)):
            unit, start = group * LANES, 4 * group * LANES
            i, f = load(bias, start), load(bias, start + LANES)
            o, g = load(bias, start + 2 * LANES), load(bias, start + 3 * LANES)
            i, f, o, g = _add_features(features[t], input[group], i, f, o, g)
            i, f, o, g = _add_four(before[:size], hidden[group], i, f, o, g)
            i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), tanh(g)
            cell = f * load(state, pitch + unit) + i * g
            place = min(t, last) * 5 * pitch + unit
            store(saved, place, i)
            store(saved, place + pitch, f)
            store(saved, place + 2 * pitch, o)
            store(saved, place + 3 * pitch, g)
            store(saved, place + 4 * pitch, cell)
            store(state, pitch + unit, cell)
            store(outputs, t * pitch + unit, o * tanh(cell))
    _keep_output(outputs, len(features), state)


@compiled
def _advance_gru(
    features: Array, bias: Array, input: Array, hidden: Array, state: Array, outputs: Array, saved: Array
) -> None:
    size, pitch, last = hidden.shape[1], state.shape[1], len(saved) - 1
    for t in range(len(features)):
        before = outputs[t - 1] if t else state[0]
        for group in range(len(hidden)):
            unit, start = group * LANES, 4 * group * LANES
            r, z = load(bias, start), load(bias, start + LANES)
            u, g = load(bias, start + 2 * LANES), load(bias, start + 3 * LANES)
            r, z, u, g = _add_features(features[t], input[group], r, z, u, g)
            r, z, u = _add_three(before[:size], hidden[group], r, z, u)
            r, z = sigmoid(r), sigmoid(z)
            g = tanh(g + r * u)
            place = min(t, last) * 4 * pitch + unit
            store(saved, place, r)
            store(saved, place + pitch, z)
            store(saved, place + 2 * pitch, u)
            store(saved, place + 3 * pitch, g)
            store(outputs, t * pitch + unit, g + z * (load(before, unit) - g))
    _keep_output(outputs, len(features), state)


@compiled
def _keep_output(outputs: Array, time: int, state: Array) -> None:
    """Copy the output of the last sample, if there is one, to the state."""
    if time:
        for unit in range(0, state.shape[1], LANES):
            store(state, unit, load(outputs, (time - 1) * state.shape[1] + unit))


@compiled
def _advance(
    features: Array, bias: Array, input: Array, hidden: Array, state: Array, outputs: Array, saved: Array
) -> None:
    """Run one row.

    Args:
        features: Shape (time, features).
        bias: In groups, as the two after it.
        input: Weights.
        hidden: Weights; their shape says which unit it is.
        state: State before the first sample, overwritten by the one after the last, shape (2 or 1, P).
        outputs: Filled, shape (time, P).
        saved: Filled with the gates of every sample, and behind them the LSTM's cells, shape (time, 4 * P or 5 * P);
            or a scratch of one sample.
    """
    if hidden.shape[2] == bias.shape[2]:
        _advance_lstm(features, bias, input, hidden, state, outputs, saved)
    else:
        _advance_gru(features, bias, input, hidden, state, outputs, saved)


@inlined
def _sum_gates(gradients: Array, pitch: int, first: Array, second: Array, gates: int) -> Any:
    """What two groups of units, with weights of shape (H, gates * 16), get from the first three gates."""
    r, r2 = gradients[0] * load(first, 0), gradients[0] * load(second, 0)
    z, z2 = gradients[pitch] * load(first, LANES), gradients[pitch] * load(second, LANES)
    u, u2 = gradients[2 * pitch] * load(first, 2 * LANES), gradients[2 * pitch] * load(second, 2 * LANES)
    for j in range(1, len(first)):
        place = gates * LANES * j
        value = gradients[j]
        r, r2 = r + value * load(first, place), r2 + value * load(second, place)
        value, place = gradients[pitch + j], place + LANES
        z, z2 = z + value * load(first, place), z2 + value * load(second, place)
        value, place = gradients[2 * pitch + j], place + LANES
        u, u2 = u + value * load(first, place), u2 + value * load(second, place)
    return r + z + u, r2 + z2 + u2


@inlined
def _sum_fourth(gradients: Array, pitch: int, first: Array, second: Array) -> Any:
    """The same of the fourth gate alone."""
    g, g2 = gradients[3 * pitch] * load(first, 3 * LANES), gradients[3 * pitch] * load(second, 3 * LANES)
    for j in range(1, len(first)):
        value, place = gradients[3 * pitch + j], 4 * LANES * j + 3 * LANES
        g, g2 = g + value * load(first, place), g2 + value * load(second, place)
    return g, g2


@compiled
def _back_lstm(
    d_outputs: Array, transposed: Array, initial: Array, saved: Array, d_state: Array, d_gates: Array
) -> None:
    pitch = d_state.shape[1]
    for t in range(len(d_outputs) - 1, -1, -1):
        cells = saved[t - 1, 4 * pitch :] if t else initial[1]
        for unit in range(0, pitch, LANES):
            place, target = t * 5 * pitch + unit, t * 4 * pitch + unit
            i, f = load(saved, place), load(saved, place + pitch)
            o, g = load(saved, place + 2 * pitch), load(saved, place + 3 * pitch)
            heard = tanh(load(saved, place + 4 * pitch))
            above = load(d_state, unit) + load(d_outputs, t * pitch + unit)
            d_cell = load(d_state, pitch + unit) + above * o * (_ONE - heard * heard)
            store(d_gates, target, d_cell * g * i * (_ONE - i))
            store(d_gates, target + pitch, d_cell * load(cells, unit) * f * (_ONE - f))
            store(d_gates, target + 2 * pitch, above * heard * o * (_ONE - o))
            store(d_gates, target + 3 * pitch, d_cell * i * (_ONE - g * g))
            store(d_state, pitch + unit, d_cell * f)
        for group in range(0, len(transposed), 2):
            other = min(group + 1, len(transposed) - 1)
            first, second = _sum_gates(d_gates[t], pitch, transposed[group], transposed[other], 4)
            third, fourth = _sum_fourth(d_gates[t], pitch, transposed[group], transposed[other])
            store(d_state, group * LANES, first + third)
            store(d_state, other * LANES, second + fourth)


@compiled
def _back_gru(
    d_outputs: Array,
    transposed: Array,
    initial: Array,
    outputs: Array,
    saved: Array,
    d_state: Array,
    d_gates: Array,
) -> None:
    pitch = d_state.shape[1]
    for t in range(len(d_outputs) - 1, -1, -1):
        before = outputs[t - 1] if t else initial[0]
        for unit in range(0, pitch, LANES):
            place = t * 4 * pitch + unit
            r, z = load(saved, place), load(saved, place + pitch)
            u, g = load(saved, place + 2 * pitch), load(saved, place + 3 * pitch)
            above = load(d_state, unit) + load(d_outputs, t * pitch + unit)
            d_g = above * (_ONE - z) * (_ONE - g * g)
            store(d_gates, place, d_g * u * r * (_ONE - r))
            store(d_gates, place + pitch, above * (load(before, unit) - g) * z * (_ONE - z))
            store(d_gates, place + 2 * pitch, d_g * r)
            store(d_gates, place + 3 * pitch, d_g)
            store(d_state, unit, above * z)
        for group in range(0, len(transposed), 2):
            other = min(group + 1, len(transposed) - 1)
            first, second = _sum_gates(d_gates[t], pitch, transposed[group], transposed[other], 3)
            first, second = first + load(d_state, group * LANES), second + load(d_state, other * LANES)
            store(d_state, group * LANES, first)
            store(d_state, other * LANES, second)


@compiled
def _back(
    d_outputs: Array,
    transposed: Array,
    initial: Array,
    outputs: Array,
    saved: Array,
    d_state: Array,
    d_gates: Array,
) -> None:
    """Run one row backward.

    Args:
        d_outputs: Gradient of the outputs, shape (time, P).
        transposed: Hidden weights, (groups, H, G * 16): of those from a unit to the gates of another, for the other.
        initial: State before the first sample.
        outputs: From :func:`_advance`.
        saved: From :func:`_advance`.
        d_state: Gradient of the state after the last sample, overwritten by that of the initial state.
        d_gates: Filled with the gradient of bias + features @ input, plus state @ hidden, shape (time, 4 * P).
    """
    if transposed.shape[2] == 4 * LANES:
        _back_lstm(d_outputs, transposed, initial, saved, d_state, d_gates)
    else:
        _back_gru(d_outputs, transposed, initial, outputs, saved, d_state, d_gates)


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
    size = state.shape[2]
    own = features.to("cpu", torch.float32)
    arguments = [_pad(part.to("cpu", torch.float32), size) for part in (bias, input, hidden, state)]
    if torch.is_grad_enabled() and any(argument.requires_grad for argument in (own, *arguments)):
        outputs, after = _Run.apply(own, *arguments)  # type: ignore[no-untyped-call]
    else:
        outputs, after, _ = _run(False, own, *arguments)
    if outputs.shape[2] > size:
        outputs, after = outputs[..., :size], after[..., :size]
    return outputs.to(features), after.to(state)


def _pad(packed: Tensor, size: int) -> Tensor:
    """What has gates of so many units side by side in its last dimension, each padded with zeros."""
    spare = -size % LANES
    if not spare:
        return packed
    return functional.pad(packed.reshape(*packed.shape[:-1], -1, size), (0, spare)).flatten(-2)


def _group(packed: Tensor, size: int) -> Tensor:
    """Weights of shape (..., rows, gates * size) in groups, shape (..., groups, rows, gates * 16)."""
    parts = _pad(packed, size)
    return parts.reshape(*parts.shape[:-1], -1, pad(size, LANES) // LANES, LANES).movedim(-2, -4).flatten(-2)


def _group_hidden(hidden: Tensor, size: int) -> Tensor:
    """Hidden weights, shape (..., H, G * size), in groups; their rows become an even number."""
    return _group(functional.pad(hidden, (0, 0, 0, hidden.shape[-2] % 2)), size)


def _transpose(hidden: Tensor, pitch: int) -> Tensor:
    """Padded hidden weights as :func:`_back` takes them, one per row, shape (n, groups, H, G * 16)."""
    rows, size, columns = hidden.shape
    gates = columns // pitch
    parts = functional.pad(hidden.reshape(rows, size, gates, pitch)[..., :size], (0, 0, 0, 0, 0, pitch - size))
    return parts.reshape(rows, -1, LANES, gates, size).permute(0, 1, 4, 3, 2).flatten(3).contiguous()


def _run(
    keep: bool, features: Tensor, bias: Tensor, input: Tensor, hidden: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Outputs, state after the last sample, and what the way back needs if it is to be kept; all padded."""
    batch_size, time, _ = features.shape
    after = state.clone(memory_format=torch.contiguous_format)
    parts, pitch = after.shape[1:]
    outputs = features.new_empty(batch_size, time, pitch)
    # One tensor per row: memory of this size is used again by the next call, where a whole batch's is paged in anew.
    saved = [features.new_empty(time if keep else 1, (3 + parts) * pitch) for _ in range(batch_size)]
    grouped = _group(bias.unsqueeze(1), pitch), _group(input, pitch), _group_hidden(hidden, pitch)
    weights = [weight.contiguous().numpy() for weight in grouped]
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
        batch_size, time, pitch = outputs.shape
        size, columns = hidden.shape[1:]
        d_state = d_after.clone(memory_format=torch.contiguous_format)
        d_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        d_bias = features.new_empty(batch_size, 4 * pitch)
        d_input = features.new_empty(batch_size, features.shape[2], 4 * pitch)
        d_hidden = features.new_empty(batch_size, size, columns)
        own = len(hidden) > 1
        transposed, into = _transpose(hidden.detach(), pitch), input.detach().mT
        rows = [tensor.detach().contiguous().numpy() for tensor in (d_outputs, state, outputs, d_state)]
        features, state, outputs = features.detach(), state.detach(), outputs.detach()

        def go_back(left: Iterator[int]) -> None:
            d_gates = torch.empty(time, 4 * pitch)
            for row in left:
                d_output, initial, output, d_memory = (array[row] for array in rows)
                weights = transposed[row if own else 0].numpy()
                _back(d_output, weights, initial, output, saved[row].numpy(), d_memory, d_gates.numpy())
                torch.sum(d_gates, 0, out=d_bias[row])
                torch.mm(features[row].T, d_gates, out=d_input[row])
                d_from_state = d_gates[:, :columns]
                torch.mm(outputs[row, :-1, :size].T, d_from_state[1:], out=d_hidden[row])
                d_hidden[row].addr_(state[row, 0, :size], d_from_state[0])
                if d_features is not None:
                    torch.mm(d_gates, into[row if own else 0], out=d_features[row])

        in_threads(go_back, shares_of(batch_size, time))
        d_weights: tuple[Tensor, ...] = (d_bias, d_input, d_hidden)
        if len(hidden) == 1:
            d_weights = tuple(gradient.sum(0, keepdim=True) for gradient in d_weights)
        return d_features, *d_weights, d_state


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
    pitch = state.shape[1]
    for start in range(0, len(features), _BLOCK):
        stop = min(start + _BLOCK, len(features))
        _advance(features[start:stop], bias, input, hidden, state, outputs, gates)
        for t in range(start, stop):
            place = (t - start) * pitch
            total = load(outputs, place) * load(head, 0)
            for unit in range(LANES, pitch, LANES):
                total = total + load(outputs, place + unit) * load(head, unit)
            wet[t] = head[pitch] + add_up(total)


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
        bias: In groups, as the two after it.
        input: Weights.
        hidden: Weights.
        head: Weights of the output layer, padded, and behind them its bias, shape (P + 1,).
        state: Overwritten by the state after the block.
        outputs: Scratch, shape (_BLOCK, P).
        gates: Scratch, see ``saved`` of :func:`_advance`.
        wet: Filled, shape (time,).
    """
    _play_span(features, bias, input, hidden, head, state, outputs, gates, wet)
    _clear_inaudible(state)


@compiled
def _generate(
    memory: Array,
    plan: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    packed: Array,
    base: Array,
    scaled: int,
    slope: np.float32,
) -> None:
    """Make weights from the knobs in memory; see :class:`GeneratedPlayer`."""
    product(memory, plan, 0, places, packed)
    rectify(memory, plan, 0, slope)
    product(memory, plan, 1, places, packed)
    rectify(memory, plan, 1, slope)
    product(memory, plan, 2, places, packed)
    groups, size, columns = base.shape
    for group in range(groups):
        for column in range(0, columns, LANES):
            factors = load(memory, scaled - (groups - group) * columns + column)
            place = group * size * columns + column
            for _ in range(size):
                store(memory, scaled + place, factors * load(base, place))
                place += columns


@inlined
def _equal(first: Array, second: Array) -> bool:
    for k in range(len(second)):
        if first[k] != second[k]:
            return False
    return True


@compiled
def _play_generated(
    audio: Array,
    knobs: Array,
    place: npt.NDArray[np.int64],
    memory: Array,
    plan: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    packed: Array,
    base: Array,
    scaled: int,
    slope: np.float32,
    cell: int,
    hidden: Array,
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
        memory: Begins with the knobs that made the weights, in which are the weights too; overwritten.
        plan: Of the generator's products, as are the two after it.
        places: See :func:`~neuralfx.engine.tiles.plan_products`.
        packed: See there.
        base: Hidden weights to scale, in groups.
        scaled: Where in memory they are when they are scaled, behind their factors.
        slope: Slope of the rectifiers.
        cell: Samples in a cell of the grid.
        hidden: The hidden weights in memory.
        head: As of :func:`_play`, as are the four after it.
        state: State.
        outputs: Scratch.
        gates: Scratch.
        wet: Filled, shape (time,).
    """
    time, points, first = len(audio), len(knobs), plan[2, RESULT]
    groups, columns = len(hidden), 4 * LANES
    bias = memory[first : first + groups * columns].reshape(groups, 1, columns)
    input = memory[first + groups * columns : first + 2 * groups * columns].reshape(groups, 1, columns)
    start = 0
    while start < time:
        turned = knobs[min(start, points - 1)]
        if place[0] == 0 and not _equal(memory, turned):
            for knob in range(len(turned)):
                memory[knob] = turned[knob]
            _generate(memory, plan, places, packed, base, scaled, slope)
        stop = start + cell - place[0]  # the next grid point at which the knobs have moved, or the end
        while stop < time and _equal(memory, knobs[min(stop, points - 1)]):
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
        self._size = len(head) - 1
        self._head = _array(torch.cat([_pad(head[:-1], self._size), head[-1:]]))

    def _load_memory(self, memory: Any) -> None:
        parts = memory if isinstance(memory, tuple) else (memory,)
        states = _pad(torch.stack(parts, dim=1), self._size)
        rows, _, pitch = states.shape
        self._states = [_array(state) for state in states]
        self._outputs = [_array(torch.zeros(_BLOCK, pitch)) for _ in range(rows)]
        self._gates = [_array(torch.zeros(1, (3 + len(parts)) * pitch)) for _ in range(rows)]


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
        bias, input = _group(bias.unsqueeze(0), self._size), _group(input, self._size)
        self._bias, self._input, self._hidden = map(_array, (bias, input, _group_hidden(hidden, self._size)))
        self._from_audio, self._from_knobs = _array(input[:, :1]), _array(input[:, 1:])
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
            features = np.empty((rows, time, input.shape[1]), dtype=np.float32)
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
            self._folded[:, 0] = self._bias[:, 0] + knobs @ self._from_knobs
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
        bias, input, hidden = last.unsqueeze(1).tensor_split((4 * self._size, 8 * self._size), dim=2)
        bias, input = _group(bias, self._size), _group(input, self._size)
        if len(base):
            hidden, base = _group(hidden, self._size), _group_hidden(base, self._size)
            self._shape = base.shape
        else:
            hidden = _group_hidden(hidden.reshape(len(last), self._size, -1), self._size)
            self._shape, base = hidden.shape[1:], base.new_zeros(0, 0, 0)
        groups = [part.flatten(1) for part in (bias, input, hidden)]
        layers: list[Array] = [_array(layer.T)[np.newaxis] for layer in (first, second, torch.cat(groups, dim=1))]
        # In memory are the knobs, what each layer makes of them, and scaled hidden weights if there is a base.
        results = lay_out(layers, pad(len(first) - 1, LANES))
        vectors = [np.array([0]), results[:1], results[1:2]]
        end = int(results[2]) + layers[2].shape[1]
        self._hidden = slice(end, end + base.numel()) if len(base) else slice(end - groups[2].shape[1], end)
        self._length = max(int(results[3]), self._hidden.stop)
        self._generator = *plan_products(layers, vectors, results), _array(base), end, np.float32(slope)
        self._cell = cell

    def load_state(self, state: Any) -> None:
        """Take the unit's state, the place on the grid, and the knobs held there."""
        memory, (places, held) = state
        self._load_memory(memory)
        self._places = [np.array([place], dtype=np.int64) for place in places.tolist()]
        self._memory = aligned(len(held) * pad(self._length, LANES)).reshape(len(held), -1)
        for row, knobs in zip(self._memory, held):
            row[: len(knobs)] = knobs
            _generate(row, *self._generator)

    def process(self, audio: Array, knobs: Array) -> Array:
        """Play the next block."""
        rows, _, time = audio.shape
        features = np.array(audio, dtype=np.float32, order="C").reshape(rows, time, 1)
        values = np.array(knobs if knobs.ndim == 2 else knobs[np.newaxis], dtype=np.float32, order="C")
        wet = np.empty((rows, 1, time), dtype=np.float32)

        def play(row: int) -> None:
            memory = self._memory[row]
            hidden = memory[self._hidden].reshape(self._shape)
            own = self._places[row], memory, *self._generator, self._cell, hidden, self._head
            work = self._states[row], self._outputs[row], self._gates[row]
            _play_generated(features[row], values, *own, *work, wet[row, 0])

        over_rows(play, rows, time)
        return wet


def _array(tensor: Tensor) -> Array:
    """A copy in memory of its own, which torch, unlike NumPy, lays where vector instructions read fastest."""
    own: Array = torch.empty(tensor.shape, dtype=torch.float32).copy_(tensor.detach()).numpy()
    return own


def warm() -> None:
    """Compile all kernels, or load them from the cache."""
    size, features = LANES, torch.zeros(1, 2, 1, requires_grad=True)
    bias, input, hidden = torch.zeros(1, 4 * size), torch.zeros(1, 1, 4 * size), torch.zeros(1, size, 4 * size)
    state = torch.zeros(1, 2, size)
    with torch.enable_grad():
        torch.autograd.grad(run(features, bias, input, hidden, state)[0].sum(), features)
    memory, head, audio = state.unbind(1), torch.zeros(size + 1), np.zeros((1, 1, 2), np.float32)
    fixed = FixedPlayer(bias[0], input[0], hidden[0], head)
    fixed.load_state(memory)
    fixed.process(audio, np.zeros(0, dtype=np.float32))
    layer, last = torch.zeros(1, 0), torch.zeros(1, 8 * size + 4 * size * size)
    generated = GeneratedPlayer(layer, layer, last, torch.zeros(0, 0), head, 0.0, 1)
    generated.load_state((memory, (torch.zeros(1), torch.zeros(1, 0))))
    generated.process(audio, np.zeros(0, dtype=np.float32))
