"""Compiled state-based networks: FIR bank > recurrence > linear > FiLM > GLU > linear; here the one with an LSTM.

A chunk of audio passes through the whole network at once; only the recurrence goes sample by sample.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import numpy as np

from neuralfx.engine.fastmath import compiled, sigmoid, tanh
from neuralfx.engine.front import (
    CHUNK_SAMPLES,
    LANES,
    combine_32,
    condition,
    copy,
    dense,
    filter_bank,
    flush,
    hear,
    padded,
    turn,
)
from neuralfx.engine.player import Array, Player
from neuralfx.engine.threads import over_rows

_ONE, _TWO = np.float32(1), np.float32(2)


class Head(NamedTuple):
    """What follows a recurrence; layers as (out, in + 1), the bias last.

    Attributes:
        linear: From the recurrence to the features.
        film: From the knobs to scales and shifts of the features.
        glu: From the features to contents and gates.
    """

    linear: Array
    film: Array
    glu: Array


class StateBasedPlayer(Player):
    """A state-based network, as a player.

    Args:
        filters: FIR bank, shape (features, taps + 1).
        mix: Last layer, shape (1, features + 1).
        past_samples: Audio that the network remembers.
    """

    def __init__(self, filters: Array, mix: Array, past_samples: int) -> None:
        self._filters, self._mix = filters, mix
        self._history = np.zeros((1, past_samples), np.float32)

    def process(self, audio: Array, knobs: Array) -> Array:
        """Play the next block; see :class:`~neuralfx.engine.player.Player`."""
        audio, knobs = np.ascontiguousarray(audio), np.ascontiguousarray(knobs)
        if knobs.ndim == 1:
            knobs = knobs[np.newaxis]
        wet = np.empty_like(audio)
        over_rows(lambda row: self._play(audio, knobs, wet, row), len(audio), audio.shape[-1])
        return wet

    def _load_history(self, history: Any) -> None:
        self._history = history[:, 0].numpy().astype(np.float32, order="C")

    @abc.abstractmethod
    def _play(self, audio: Array, knobs: Array, wet: Array, row: int) -> None:
        """Play one row; knobs of shape (1, knobs) stand still."""


class LSTMPlayer(StateBasedPlayer):
    """FIR bank > LSTM > head > linear.

    Args:
        filters: FIR bank, shape (features, taps + 1).
        weights: Of the four gates i, f, g, o, shapes (4 * hidden, features), (4 * hidden, hidden) and (4 * hidden,).
        head: What follows.
        mix: Last layer, shape (1, features + 1).
    """

    def __init__(self, filters: Array, weights: tuple[Array, Array, Array], head: Head, mix: Array) -> None:
        super().__init__(filters, mix, filters.shape[1] - 2)
        self._cell, self._head = cell_layout(*weights), head
        self._memory = np.zeros((1, 2, padded(weights[1].shape[1])), np.float32)

    def load_state(self, state: Any) -> None:
        """Take over the history of the window, and output and cell."""
        history, memory = state
        self._load_history(history)
        self._memory = load_cell(*memory)

    def _play(self, audio: Array, knobs: Array, wet: Array, row: int) -> None:
        _play_lstm(audio, knobs, wet, row, self._history, self._memory, self._filters, self._cell, *self._head,
                   self._mix)  # fmt: skip


def cell_layout(from_input: Array, from_state: Array, bias: Array) -> Array:
    """Weights of an LSTM cell as :func:`step` takes them: units in groups of ``LANES``, inputs padded in fours.

    A tanh is 2 sigmoid(2 x) - 1: with twice the weights the candidate g needs the same function as the gates.

    Args:
        from_input: Shape (4 * hidden, features), gates i, f, g, o.
        from_state: Shape (4 * hidden, hidden).
        bias: Shape (4 * hidden,).

    Returns:
        For each group the rows of bias, features and states one after another, each row with the gates i, f, g, o of
        the group's units; shape (groups, (1 + padded features + padded hidden) * 4 * LANES).
    """
    hidden, features = from_state.shape[1], from_input.shape[1]
    units, inputs = padded(hidden), features + -features % 4
    arranged = np.zeros((1 + inputs + units, 4, units), np.float32)
    for first, weights in ((0, bias[:, np.newaxis]), (1, from_input), (1 + inputs, from_state)):
        arranged[first : first + weights.shape[1], :, :hidden] = weights.T.reshape(-1, 4, hidden)
    arranged[:, 2] *= 2
    groups = arranged.reshape(-1, 4, units // LANES, LANES).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(groups).reshape(units // LANES, -1)


def load_cell(output: Any, cell: Any) -> Array:
    """Output and cell, each a tensor of shape (rows, hidden), as one array of shape (rows, 2, padded hidden)."""
    memory = np.zeros((len(output), 2, padded(output.shape[1])), np.float32)
    memory[:, 0, : output.shape[1]], memory[:, 1, : output.shape[1]] = output.numpy(), cell.numpy()
    return memory


@compiled
def step(inputs: Array, output: Array, cell: Array, weights: Array, gates: Array) -> None:
    """Advance an LSTM cell by one sample.

    Args:
        inputs: Features of the sample, padded to a multiple of 4, and behind them the output h before it.
        output: The part of ``inputs`` with h, padded to a multiple of ``LANES``; becomes that of this sample.
        cell: c, padded likewise.
        weights: See :func:`cell_layout`.
        gates: Afterwards i, f, (g + 1) / 2 and o of each group of units, shape (groups, 4 * LANES).
    """
    for group in range(gates.shape[0]):
        combine_32(inputs, weights[group], gates[group])
    for group in range(gates.shape[0]):
        values, first = gates[group], group * LANES
        for lane in range(4 * LANES):
            values[lane] = sigmoid(values[lane])
        c, h = cell[first : first + LANES], output[first : first + LANES]
        for lane in range(c.size):  # not LANES: a compiler unrolls loops of 8 into scalars
            candidate = _TWO * values[2 * LANES + lane] - _ONE
            value = values[LANES + lane] * c[lane] + values[lane] * candidate
            c[lane] = value
            h[lane] = values[3 * LANES + lane] * tanh(value)


@compiled
def _play_lstm(
    audio: Array,
    knobs: Array,
    wet: Array,
    row: int,
    histories: Array,
    memories: Array,
    filters: Array,
    weights: Array,
    linear: Array,
    film: Array,
    glu: Array,
    mix: Array,
) -> None:
    dry, played, history = audio[row, 0], wet[row, 0], histories[row]
    memory, cell = memories[row, 0], memories[row, 1]
    width, units = filters.shape[0], linear.shape[1] - 1
    heard = np.empty(history.size + CHUNK_SAMPLES, np.float32)
    turned = np.empty((knobs.shape[1], CHUNK_SAMPLES), np.float32)
    features = np.empty((width, CHUNK_SAMPLES), np.float32)
    states = np.empty((units, CHUNK_SAMPLES), np.float32)
    scratch = np.empty((3 * width, CHUNK_SAMPLES), np.float32)
    inputs = np.zeros(width + -width % 4 + cell.size, np.float32)
    output, gates = inputs[inputs.size - cell.size :], np.empty((cell.size // LANES, 4 * LANES), np.float32)
    copy(memory, output)
    for start in range(0, dry.size, CHUNK_SAMPLES):
        length = min(CHUNK_SAMPLES, dry.size - start)
        hear(history, dry[start : start + length], heard)
        filter_bank(heard, filters, length, features)
        for t in range(length):
            for feature in range(width):
                inputs[feature] = features[feature, t]
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


def warm() -> None:
    """Compile all that is here, or load it from the cache."""
    audio, knobs = np.zeros((1, 1, 1), np.float32), np.zeros(1, np.float32)
    filters, mix = np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32)
    weights = np.zeros((4, 1), np.float32), np.zeros((4, 1), np.float32), np.zeros(4, np.float32)
    head = Head(np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
    LSTMPlayer(filters, weights, head, mix).process(audio, knobs)
