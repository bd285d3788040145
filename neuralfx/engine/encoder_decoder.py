"""Compiled encoder-decoder: the network, and its cell alone for training, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from neuralfx.engine.fastmath import compiled, sigmoid, tanh
from neuralfx.engine.front import (
    CHUNK_SAMPLES,
    LANES,
    combine_8,
    condition,
    copy,
    dense,
    filter_bank,
    flush,
    hear,
    padded,
    turn,
)
from neuralfx.engine.player import Array
from neuralfx.engine.state_based import Head, StateBasedPlayer, cell_layout, load_cell, step
from neuralfx.engine.threads import in_threads, parts_of

_ONE, _TWO = np.float32(1), np.float32(2)


class EDPlayer(StateBasedPlayer):
    """Encoder and decoder, both FIR banks > LSTM cell > head > linear.

    Args:
        encoder: FIR bank on the older samples, to the states' outputs and cells, shape (2 * hidden, taps + 1).
        decoder: FIR bank on the newer samples, shape (features, taps + 1).
        weights: Of the four gates i, f, g, o, shapes (4 * hidden, features), (4 * hidden, hidden) and (4 * hidden,).
        gated: Whether the sigmoid of the state meets the encoding in a product; else the state in a sum.
        head: What follows.
        mix: Last layer, shape (1, features + 1).
    """

    def __init__(
        self,
        encoder: Array,
        decoder: Array,
        weights: tuple[Array, Array, Array],
        gated: bool,
        head: Head,
        mix: Array,
    ) -> None:
        super().__init__(decoder, mix, encoder.shape[1] + decoder.shape[1] - 3)
        self._encoder, self._gated = encoder, gated
        self._cell, self._head = cell_layout(*weights), head
        self._memory = np.zeros((1, 2, padded(weights[1].shape[1])), np.float32)

    def load_state(self, state: Any) -> None:
        """Take over the history of the windows, and output and cell."""
        history, *memory = state
        self._load_history(history)
        self._memory = load_cell(*memory)

    def _play(self, audio: Array, knobs: Array, wet: Array, row: int) -> None:
        _play_ed(audio, knobs, wet, row, self._history, self._memory, self._encoder, self._filters, self._gated,
                 self._cell, *self._head, self._mix)  # fmt: skip


def run_cell(
    driving: Tensor, encoded: Tensor, weight: Tensor, output: Tensor, cell: Tensor, gated: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM cell whose state meets an encoding at every sample.

    Tensors that are elsewhere or of another precision are copied, and the results go where they came from.

    Args:
        driving: W u + b of the gates i, f, g, o, from the layer of :func:`gate_layout`.
        encoded: h_e and c_e, shape (batch, time, 2, hidden).
        weight: U, shape (4 * hidden, hidden), gates i, f, g, o.
        output: h before the first sample, shape (batch, hidden).
        cell: c, likewise.
        gated: Whether state and encoding meet in a product, the state behind a sigmoid; else in a sum.

    Returns:
        h at every sample, shape (batch, time, hidden), and h and c after the last.
    """
    hidden, before = output.shape[1], output
    missing = (0, -hidden % LANES)
    driving, encoded, weight, output, cell = (
        part.to("cpu", torch.float32) for part in (driving, encoded, weight, output, cell)
    )
    outputs, last = _Cell.apply(  # type: ignore[no-untyped-call]
        driving,
        functional.pad(encoded, missing).flatten(2),
        functional.pad(gate_layout(weight), missing),
        functional.pad(output, missing),
        functional.pad(cell, missing),
        gated,
        torch.is_grad_enabled(),
    )
    outputs, last = outputs[..., :hidden].to(before), last[:, :hidden].to(before)
    return outputs, outputs[:, -1], last


def gate_layout(weights: Tensor) -> Tensor:
    """Rows of the gates as the cell takes them: in groups of ``LANES`` units, each with its i, f, g and o, g doubled.

    A tanh is 2 sigmoid(2 x) - 1: with twice the weights the candidate g needs the same function as the gates.

    Args:
        weights: Shape (4 * hidden, ...), gates i, f, g, o.

    Returns:
        Shape (4 * padded hidden, ...).
    """
    hidden = len(weights) // 4
    rows = weights.new_zeros(4, padded(hidden), *weights.shape[1:])
    rows[:, :hidden] = weights.reshape(4, hidden, *weights.shape[1:])
    rows = torch.cat([rows[:2], 2 * rows[2:3], rows[3:]])
    groups = rows.view(4, -1, LANES, *weights.shape[1:])
    return groups.transpose(0, 1).flatten(0, 2)


class _Cell(torch.autograd.Function):
    """The cell on padded arrays."""

    @staticmethod
    def forward(
        ctx: Any,
        driving: Tensor,
        encoded: Tensor,
        weight: Tensor,
        output: Tensor,
        cell: Tensor,
        gated: bool,
        kept: bool,
    ) -> tuple[Tensor, Tensor]:
        inputs = [part.detach().contiguous() for part in (driving, encoded, weight, output, cell)]
        batch_size, time, units = len(driving), driving.shape[1], output.shape[1]
        outputs, cells = (driving.new_empty(batch_size, time, units) for _ in range(2))
        gates = driving.new_empty(batch_size, time if kept else 1, 4 * units)
        rows = functional.pad(inputs[2].view(-1, 4 * LANES, units).mT, (0, 0, 1, 0)).flatten(1)  # no bias
        before = [tensor.numpy() for tensor in (*inputs[:2], *inputs[3:])]
        after, weights = [tensor.numpy() for tensor in (outputs, cells, gates)], rows.numpy()

        def run(part: slice) -> None:
            _forward(gated, *(array[part] for array in before), weights, *(array[part] for array in after))

        in_threads(run, parts_of(batch_size, time))
        if kept:
            ctx.save_for_backward(*inputs[1:], outputs, cells, gates)
            ctx.gated = gated
        return outputs, cells[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_outputs: Tensor, from_last: Tensor) -> tuple[Tensor | None, ...]:
        encoded, weight, output, cell, outputs, cells, gates = ctx.saved_tensors
        units = output.shape[1]
        rows = functional.pad(weight.view(4 * units, -1, LANES).transpose(0, 1), (0, 0, 1, 0)).flatten(1)
        to_driving, to_encoded, met = (torch.empty_like(part) for part in (gates, encoded, outputs))
        to_output, to_cell = torch.zeros_like(output), from_last.clone()
        tensors = (from_outputs.contiguous(), encoded, output, cell, outputs, cells, gates)
        arrays = [tensor.numpy() for tensor in (*tensors, to_driving, to_encoded, met, to_output, to_cell)]
        weights = rows.numpy()

        def go_back(part: slice) -> None:
            first, second, *others = (array[part] for array in arrays)
            _backward(ctx.gated, first, second, weights, *others)

        in_threads(go_back, parts_of(len(outputs), outputs.shape[1]))
        # Six times as fast in this order as in the other, with its result transposed.
        to_weight = (met.flatten(0, 1).T @ to_driving.flatten(0, 1)).T
        return to_driving, to_encoded, to_weight, to_output, to_cell, None, None


@compiled
def meet(gated: bool, state: Array, encoding: Array) -> None:
    """How the ED's state meets the encoding, in place; both padded to a multiple of ``LANES``."""
    if gated:
        for unit in range(state.size):
            state[unit] = sigmoid(state[unit]) * encoding[unit]
    else:
        for unit in range(state.size):
            state[unit] += encoding[unit]


@compiled
def _play_ed(
    audio: Array,
    knobs: Array,
    wet: Array,
    row: int,
    histories: Array,
    memories: Array,
    encoder: Array,
    decoder: Array,
    gated: bool,
    weights: Array,
    linear: Array,
    film: Array,
    glu: Array,
    mix: Array,
) -> None:
    dry, played, history = audio[row, 0], wet[row, 0], histories[row]
    memory, cell = memories[row, 0], memories[row, 1]
    width, units = decoder.shape[0], linear.shape[1] - 1
    encoder_taps = encoder.shape[1] - 1
    heard = np.empty(history.size + CHUNK_SAMPLES, np.float32)
    turned = np.empty((knobs.shape[1], CHUNK_SAMPLES), np.float32)
    encoded = np.empty((2 * units, CHUNK_SAMPLES), np.float32)
    features = np.empty((width, CHUNK_SAMPLES), np.float32)
    states = np.empty((units, CHUNK_SAMPLES), np.float32)
    scratch = np.empty((3 * width, CHUNK_SAMPLES), np.float32)
    inputs = np.zeros(width + -width % 4 + cell.size, np.float32)
    output, gates = inputs[inputs.size - cell.size :], np.empty((cell.size // LANES, 4 * LANES), np.float32)
    copy(memory, output)
    met = np.zeros((2, output.size), np.float32)
    for start in range(0, dry.size, CHUNK_SAMPLES):
        length = min(CHUNK_SAMPLES, dry.size - start)
        hear(history, dry[start : start + length], heard)
        filter_bank(heard, encoder, length, encoded)
        filter_bank(heard[encoder_taps:], decoder, length, features)
        for t in range(length):
            for feature in range(width):
                inputs[feature] = features[feature, t]
            for unit in range(units):
                met[0, unit] = encoded[unit, t]
                met[1, unit] = encoded[units + unit, t]
            meet(gated, output, met[0])
            meet(gated, cell, met[1])
            step(inputs, output, cell, weights, gates)
            for unit in range(units):
                states[unit, t] = output[unit]
        turn(knobs, start, length, turned)
        condition(states, linear, False, film, turned, knobs.shape[0] > 1, glu, length, scratch, features)
        dense(features, mix, length, scratch)
        copy(scratch[0, :length], played[start:])
    flush(history)
    copy(output, memory)
    flush(memory)
    flush(cell)


@compiled
def _forward(
    gated: bool,
    driving: Array,
    encoded: Array,
    first_output: Array,
    first_cell: Array,
    rows: Array,
    outputs: Array,
    cells: Array,
    kept: Array,
) -> None:
    batch_size, time, units = outputs.shape
    groups = units // LANES
    output, cell = np.empty(units, np.float32), np.empty(units, np.float32)
    weights, gates = rows.copy(), np.empty((groups, 4 * LANES), np.float32)
    for row in range(batch_size):
        copy(first_output[row], output)
        copy(first_cell[row], cell)
        for t in range(time):
            meet(gated, output, encoded[row, t, :units])
            meet(gated, cell, encoded[row, t, units:])
            for group in range(groups):  # the bias of this sample
                copy(driving[row, t, 4 * LANES * group : 4 * LANES * (group + 1)], weights[group])
            step(output, output, cell, weights, gates)
            copy(output, outputs[row, t])
            copy(cell, cells[row, t])
            if kept.shape[1] == time:
                copy(gates.ravel(), kept[row, t])


@compiled
def _backward(
    gated: bool,
    from_outputs: Array,
    encoded: Array,
    rows: Array,
    first_output: Array,
    first_cell: Array,
    outputs: Array,
    cells: Array,
    gates: Array,
    to_driving: Array,
    to_encoded: Array,
    met: Array,
    to_output: Array,
    to_cell: Array,
) -> None:
    """Gradients of everything that enters a sample; ``met`` becomes h_in, which the weights multiply."""
    batch_size, time, units = outputs.shape
    for row in range(batch_size):
        for t in range(time - 1, -1, -1):
            before_h = outputs[row, t - 1] if t > 0 else first_output[row]
            before_c = cells[row, t - 1] if t > 0 else first_cell[row]
            for first in range(0, units, LANES):
                end = first + LANES
                a, x = gates[row, t, 4 * first : 4 * end], to_driving[row, t, 4 * first : 4 * end]
                dy, dh, dc = from_outputs[row, t, first:end], to_output[row, first:end], to_cell[row, first:end]
                now, previous = cells[row, t, first:end], before_c[first:end]
                e = encoded[row, t, units + first : units + end]
                to_e = to_encoded[row, t, units + first : units + end]
                for lane in range(dh.size):
                    i, f, o = a[lane], a[LANES + lane], a[3 * LANES + lane]
                    g = _TWO * a[2 * LANES + lane] - _ONE
                    squashed, gradient = tanh(now[lane]), dy[lane] + dh[lane]
                    inner = dc[lane] + gradient * o * (_ONE - squashed * squashed)
                    if gated:
                        opened = sigmoid(previous[lane])
                        c_in, by_encoding, by_state = opened * e[lane], opened, e[lane] * opened * (_ONE - opened)
                    else:
                        c_in, by_encoding, by_state = previous[lane] + e[lane], _ONE, _ONE
                    x[lane] = inner * g * i * (_ONE - i)
                    x[LANES + lane] = inner * c_in * f * (_ONE - f)
                    x[2 * LANES + lane] = inner * i * (_ONE - g * g) / _TWO
                    x[3 * LANES + lane] = gradient * squashed * o * (_ONE - o)
                    to_e[lane] = inner * f * by_encoding
                    dc[lane] = inner * f * by_state
            for first in range(0, units, LANES):
                end = first + LANES
                dh, previous, h_in = to_output[row, first:end], before_h[first:end], met[row, t, first:end]
                combine_8(to_driving[row, t], rows[first // LANES], dh)
                e, to_e = encoded[row, t, first:end], to_encoded[row, t, first:end]
                for lane in range(dh.size):
                    if gated:
                        opened = sigmoid(previous[lane])
                        h_in[lane], by_encoding = opened * e[lane], opened
                        by_state = e[lane] * opened * (_ONE - opened)
                    else:
                        h_in[lane], by_encoding, by_state = previous[lane] + e[lane], _ONE, _ONE
                    to_e[lane] = dh[lane] * by_encoding
                    dh[lane] *= by_state


def warm() -> None:
    """Compile all that is here, or load it from the cache."""
    audio, knobs = np.zeros((1, 1, 1), np.float32), np.zeros(1, np.float32)
    filters, mix = np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32)
    weights = np.zeros((4, 1), np.float32), np.zeros((4, 1), np.float32), np.zeros(4, np.float32)
    head = Head(np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
    EDPlayer(np.zeros((2, 3), np.float32), filters, weights, True, head, mix).process(audio, knobs)
    driving, encoded = torch.zeros(1, 1, 4 * LANES), torch.zeros(1, 1, 2, 1)
    state = torch.zeros(1, 1)
    with torch.enable_grad():
        weight = torch.zeros(4, 1, requires_grad=True)
        run_cell(driving, encoded, weight, state, state, True)[0].sum().backward()  # type: ignore[no-untyped-call]
