"""Compiled networks of S4D and LRU blocks; poles and states are double precision, as in torch's form."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuralfx.engine.fastmath import compiled
from neuralfx.engine.front import CHUNK_SAMPLES, condition, copy, dense, filter_bank, flush, hear, padded, turn
from neuralfx.engine.player import Array
from neuralfx.engine.state_based import Head, StateBasedPlayer

Exact = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]


class S4DPlayer(StateBasedPlayer):
    """FIR bank > blocks of (S4D > head) > linear.

    Args:
        filters: FIR bank, shape (features, taps + 1).
        poles: Shape (blocks, features, pairs), complex.
        gains: What a sample adds to the states, same shape.
        readouts: Same shape; the output is twice the real part of their sum with the states.
        direct: Shape (blocks, features).
        head: What follows each of them, stacked along a first dimension of blocks.
        mix: Last layer, shape (1, features + 1).
    """

    def __init__(
        self, filters: Array, poles: Complex, gains: Complex, readouts: Complex, direct: Array, head: Head, mix: Array
    ) -> None:
        super().__init__(filters, mix, filters.shape[1] - 2)
        # With the gain behind the states instead of in front of them, it is part of the readout.
        self._gains, self._direct, self._head = gains, direct.astype(np.float64), head
        self._poles, self._readouts = self._lanes(poles), self._lanes(2 * readouts * gains)
        self._memory = np.zeros((1, *self._poles.shape))

    def load_state(self, state: Any) -> None:
        """Take over the history of the window, and the states of all blocks."""
        history, memories = state
        self._load_history(history)
        rows = [
            [_without_gain(memory[row].numpy(), gain) for memory, gain in zip(memories, self._gains)]
            for row in range(len(history))
        ]
        self._memory = np.stack([self._lanes(np.stack(row)) for row in rows])

    def _play(self, audio: Array, knobs: Array, wet: Array, row: int) -> None:
        _play_s4d(audio, knobs, wet, row, self._history, self._memory, self._filters, self._poles, self._readouts,
                  self._direct, *self._head, self._mix)  # fmt: skip

    def _lanes(self, values: Complex) -> Exact:
        """From (blocks, features, pairs) to (blocks, pairs, 2, padded features), real and imaginary parts."""
        blocks, features, pairs = values.shape
        lanes = np.zeros((blocks, pairs, 2, padded(features)))
        lanes[:, :, 0, :features], lanes[:, :, 1, :features] = values.real.swapaxes(1, 2), values.imag.swapaxes(1, 2)
        return lanes


def _without_gain(state: Complex, gain: Complex) -> Complex:
    """States whose gain is taken out; those that nothing ever enters are 0."""
    return np.divide(state, gain, out=np.zeros_like(state), where=gain != 0)


class LRUPlayer(StateBasedPlayer):
    """FIR bank > blocks of (LRU > head) > linear.

    Args:
        filters: FIR bank, shape (features, taps + 1).
        poles: Shape (blocks, states), complex.
        inputs: gamma B, shape (blocks, states, features), complex.
        readouts: C, shape (blocks, features, states), complex.
        direct: Shape (blocks, features).
        head: What follows each of them, stacked along a first dimension of blocks.
        mix: Last layer, shape (1, features + 1).
    """

    def __init__(
        self, filters: Array, poles: Complex, inputs: Complex, readouts: Complex, direct: Array, head: Head, mix: Array
    ) -> None:
        super().__init__(filters, mix, filters.shape[1] - 2)
        self._direct, self._head = direct.astype(np.float64), head
        self._poles, self._inputs = self._lanes(poles), self._lanes(inputs.swapaxes(1, 2))
        blocks, features, states = readouts.shape
        outputs = np.zeros((blocks, 2, states, padded(features)))
        outputs[:, 0, :, :features], outputs[:, 1, :, :features] = (
            readouts.real.swapaxes(1, 2), -readouts.imag.swapaxes(1, 2)
        )  # fmt: skip
        self._outputs = outputs
        self._memory = np.zeros((1, *self._poles.shape))

    def load_state(self, state: Any) -> None:
        """Take over the history of the window, and the states of all blocks."""
        history, memories = state
        self._load_history(history)
        self._memory = np.stack([self._lanes(memory.numpy()) for memory in memories], axis=1)

    def _play(self, audio: Array, knobs: Array, wet: Array, row: int) -> None:
        _play_lru(audio, knobs, wet, row, self._history, self._memory, self._filters, self._poles, self._inputs,
                  self._outputs, self._direct, *self._head, self._mix)  # fmt: skip

    @staticmethod
    def _lanes(values: Complex) -> Exact:
        """From (..., states) to (..., 2, padded states), real and imaginary parts."""
        states = values.shape[-1]
        lanes = np.zeros((*values.shape[:-1], 2, padded(states)))
        lanes[..., 0, :states], lanes[..., 1, :states] = values.real, values.imag
        return lanes


@compiled
def _s4d(
    features: Array, poles: Exact, readouts: Exact, direct: Exact, length: int, states: Exact, outputs: Array
) -> None:
    """One layer on a chunk; states as (pairs, 2, lanes)."""
    width, lanes = direct.size, poles.shape[2]
    driving, sums = np.zeros(lanes), np.empty(lanes)
    for t in range(length):
        for feature in range(width):
            driving[feature] = features[feature, t]
        for lane in range(lanes):
            sums[lane] = 0
        for pair in range(poles.shape[0]):
            real, imag = states[pair, 0], states[pair, 1]
            p, q, c, d = poles[pair, 0], poles[pair, 1], readouts[pair, 0], readouts[pair, 1]
            for lane in range(lanes):
                x, y = real[lane], imag[lane]
                x, y = p[lane] * x - q[lane] * y + driving[lane], p[lane] * y + q[lane] * x
                real[lane] = x
                imag[lane] = y
                sums[lane] += c[lane] * x - d[lane] * y
        for feature in range(width):
            outputs[feature, t] = sums[feature] + direct[feature] * driving[feature]


@compiled
def _lru(
    features: Array,
    poles: Exact,
    inputs: Exact,
    readouts: Exact,
    direct: Exact,
    length: int,
    states: Exact,
    outputs: Array,
) -> None:
    """One layer on a chunk; states as (2, lanes)."""
    width, lanes = direct.size, poles.shape[1]
    real, imag, p, q = states[0], states[1], poles[0], poles[1]
    sums = np.empty(readouts.shape[2])
    for t in range(length):
        for lane in range(lanes):
            x, y = real[lane], imag[lane]
            real[lane] = p[lane] * x - q[lane] * y
            imag[lane] = p[lane] * y + q[lane] * x
        for feature in range(width):
            u, b, c = np.float64(features[feature, t]), inputs[feature, 0], inputs[feature, 1]
            for lane in range(lanes):
                real[lane] += b[lane] * u
                imag[lane] += c[lane] * u
        for lane in range(sums.size):
            sums[lane] = 0
        for state in range(readouts.shape[1]):
            x, y, c, d = real[state], imag[state], readouts[0, state], readouts[1, state]
            for lane in range(sums.size):
                sums[lane] += c[lane] * x + d[lane] * y
        for feature in range(width):
            outputs[feature, t] = sums[feature] + direct[feature] * features[feature, t]


@compiled
def _play_s4d(
    audio: Array,
    knobs: Array,
    wet: Array,
    row: int,
    histories: Array,
    memories: Exact,
    filters: Array,
    poles: Exact,
    readouts: Exact,
    direct: Exact,
    linear: Array,
    film: Array,
    glu: Array,
    mix: Array,
) -> None:
    dry, played, history, memory = audio[row, 0], wet[row, 0], histories[row], memories[row]
    width, moving = filters.shape[0], knobs.shape[0] > 1
    heard = np.empty(history.size + CHUNK_SAMPLES, np.float32)
    turned = np.empty((knobs.shape[1], CHUNK_SAMPLES), np.float32)
    features = np.empty((width, CHUNK_SAMPLES), np.float32)
    recurred = np.empty((width, CHUNK_SAMPLES), np.float32)
    scratch = np.empty((3 * width, CHUNK_SAMPLES), np.float32)
    for start in range(0, dry.size, CHUNK_SAMPLES):
        length = min(CHUNK_SAMPLES, dry.size - start)
        hear(history, dry[start : start + length], heard)
        filter_bank(heard, filters, length, features)
        turn(knobs, start, length, turned)
        for block in range(poles.shape[0]):
            _s4d(features, poles[block], readouts[block], direct[block], length, memory[block], recurred)
            condition(recurred, linear[block], True, film[block], turned, moving, glu[block], length, scratch, features)
        dense(features, mix, length, scratch)
        copy(scratch[0, :length], played[start:])
    flush(history)
    flush(memory.ravel())


@compiled
def _play_lru(
    audio: Array,
    knobs: Array,
    wet: Array,
    row: int,
    histories: Array,
    memories: Exact,
    filters: Array,
    poles: Exact,
    inputs: Exact,
    readouts: Exact,
    direct: Exact,
    linear: Array,
    film: Array,
    glu: Array,
    mix: Array,
) -> None:
    dry, played, history, memory = audio[row, 0], wet[row, 0], histories[row], memories[row]
    width, moving = filters.shape[0], knobs.shape[0] > 1
    heard = np.empty(history.size + CHUNK_SAMPLES, np.float32)
    turned = np.empty((knobs.shape[1], CHUNK_SAMPLES), np.float32)
    features = np.empty((width, CHUNK_SAMPLES), np.float32)
    recurred = np.empty((width, CHUNK_SAMPLES), np.float32)
    scratch = np.empty((3 * width, CHUNK_SAMPLES), np.float32)
    for start in range(0, dry.size, CHUNK_SAMPLES):
        length = min(CHUNK_SAMPLES, dry.size - start)
        hear(history, dry[start : start + length], heard)
        filter_bank(heard, filters, length, features)
        turn(knobs, start, length, turned)
        for block in range(poles.shape[0]):
            _lru(features, poles[block], inputs[block], readouts[block], direct[block], length, memory[block], recurred)
            condition(recurred, linear[block], True, film[block], turned, moving, glu[block], length, scratch, features)
        dense(features, mix, length, scratch)
        copy(scratch[0, :length], played[start:])
    flush(history)
    flush(memory.ravel())


def warm() -> None:
    """Compile all that is here, or load it from the cache."""
    audio, knobs = np.zeros((1, 1, 1), np.float32), np.zeros(1, np.float32)
    filters, mix, direct = np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float32)
    head = Head(np.zeros((1, 1, 2), np.float32), np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32))
    cube = np.zeros((1, 1, 1), np.complex128)
    S4DPlayer(filters, cube, cube, cube, direct, head, mix).process(audio, knobs)
    LRUPlayer(filters, cube[0], cube, cube, direct, head, mix).process(audio, knobs)
