"""Stacks of dilated convolutions, played in chunks of time: every layer is a matrix product with rings of the past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from neuralfx.engine.fastmath import compiled
from neuralfx.engine.lanes import LANES, aligned, load, maximum, sigmoid, store, tanh, where_positive
from neuralfx.engine.player import INAUDIBLE, Array, Player
from neuralfx.engine.threads import over_rows
from neuralfx.engine.tiles import OUTPUTS, join, multiply, pack_tiles, pad

CHUNK = 128  # samples that pass through all layers at once: what they touch stays in the nearest cache
STRIDE = CHUNK + LANES  # of rows of scratch; a power of two would put all rows into the same lines of the cache

_INAUDIBLE = np.float32(INAUDIBLE)
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_MINUS = np.float32(-1)
_UNKNOWN = -1e9  # as a knob's value

# Columns of a plan, which has a row per block; places are those of rows of memory or of packed weights.
_INPUTS, _RING, _RING_STRIDE, _RING_SIZE, _TAPS, _DILATION, _OUTPUTS, _CHANNELS = range(8)
_FILTER, _FILM, _LINK, _LINK_ROWS, _LINKED, _HEARD = range(8, 14)
# Areas of memory for what lives within a chunk.
_FILTERED, _JOINED, _SCALES, _CODE, _CODE_NEXT, _KNOBS = range(6)


class Block(NamedTuple):
    """A block of a stack: features > convolution > scale and shift by the knobs > linear map that adds the features.

    Layers are arrays of shape (out, in + 1), the bias last.

    Attributes:
        filter: The convolution; its columns are the inputs at the oldest tap, then those at the next, and so on.
        taps: Samples that one output of the convolution sees.
        dilation: Distance between them in samples.
        film: What makes scales and then shifts of the block's features from the code; not used if there is no code.
        link: What makes the next block's input, unless this is the last, and behind it what is heard of this block. Its
            columns are the block's features, followed by its inputs; if there are some for its inputs only, the
            features are added to its result.
    """

    filter: Array
    taps: int
    dilation: int
    film: Array
    link: Array


@compiled
def _keep(memory: Array, ring: int, size: int, place: int, source: int, length: int) -> None:
    """Write samples at ``source`` of memory into a row of a ring, sixteen at a time.

    What is written too much takes the place of samples that have left the ring's past. The row goes on behind its size
    with the samples at its beginning, so that every chunk of the past lies in one piece.
    """
    for column in range(0, length, LANES):
        values = load(memory, source + column)
        loud = where_positive(maximum(values, values * _MINUS) - _INAUDIBLE, values, _ZERO)
        store(memory, ring + place + column, loud)
    for index in range(max(place, size), place + length, LANES):
        store(memory, ring + index - size, load(memory, ring + index))
    for index in range(place, min(place + length, CHUNK), LANES):
        store(memory, ring + size + index, load(memory, ring + index))


@compiled
def _enter(
    memory: Array,
    plan: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    position: int,
    audio: Array,
    knobs: Array,
    begin: int,
    length: int,
) -> None:
    """Write audio, and as many centred knobs as the first block has further inputs, into its ring."""
    channels, size = audio.shape[0], plan[0, _RING_SIZE]
    row = memory[areas[_JOINED] : areas[_JOINED] + length]
    for number in range(plan[0, _INPUTS]):
        for sample in range(length):
            if number < channels:
                row[sample] = audio[number, begin + sample]
            else:
                row[sample] = _TWO * knobs[min(begin + sample, len(knobs) - 1), number - channels] - _ONE
        ring = plan[0, _RING] + number * plan[0, _RING_STRIDE]
        _keep(memory, ring, size, position % size, areas[_JOINED], length)


@compiled
def _locate(offsets: npt.NDArray[np.int64], start: int, first: int, stride: int, count: int) -> None:
    """Rows of memory as inputs of a product, from input ``start`` on."""
    for row in range(count):
        offsets[start + row] = first + row * stride


@compiled
def _filter(
    memory: Array,
    weights: Array,
    plan: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    position: int,
    length: int,
) -> None:
    """The convolution of a block, whose row of the plan is given."""
    inputs, taps = plan[_INPUTS], plan[_TAPS]
    for tap in range(taps):
        place = (position - (taps - 1 - tap) * plan[_DILATION]) % plan[_RING_SIZE]
        _locate(offsets, tap * inputs, plan[_RING] + place, plan[_RING_STRIDE], inputs)
    target, outputs = areas[_FILTERED], plan[_OUTPUTS]
    multiply(memory, target, STRIDE, length, memory, offsets, weights, plan[_FILTER], outputs, taps * inputs)


@compiled
def _link(
    memory: Array,
    weights: Array,
    plan: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    position: int,
    length: int,
) -> None:
    """The linear map of features and inputs of a block, whose row of the plan is given."""
    linked, inputs = plan[_LINKED], plan[_INPUTS]
    _locate(offsets, 0, areas[_FILTERED], STRIDE, linked)
    _locate(offsets, linked, plan[_RING] + position % plan[_RING_SIZE], plan[_RING_STRIDE], inputs)
    target, rows = areas[_JOINED], plan[_LINK_ROWS]
    multiply(memory, target, STRIDE, length, memory, offsets, weights, plan[_LINK], rows, linked + inputs)


@compiled
def _generate(
    memory: Array,
    weights: Array,
    layers: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    knobs: Array,
    begin: int,
    length: int,
    slope: np.float32,
) -> Any:
    """Run the perceptron of the knobs over a chunk; returns where its output lies."""
    source, target, other = areas[_KNOBS], areas[_CODE], areas[_CODE_NEXT]
    for knob in range(knobs.shape[1]):
        for sample in range(length):
            value = knobs[min(begin + sample, len(knobs) - 1), knob]
            memory[source + knob * STRIDE + sample] = _TWO * value - _ONE
    for layer in range(len(layers)):
        start, outputs, inputs = layers[layer, 0], layers[layer, 1], layers[layer, 2]
        _locate(offsets, 0, source, STRIDE, inputs)
        multiply(memory, target, STRIDE, length, memory, offsets, weights, start, outputs, inputs)
        if layer + 1 < len(layers):
            for row in range(outputs):
                for place in range(target + row * STRIDE, target + row * STRIDE + length, LANES):
                    values = load(memory, place)
                    store(memory, place, maximum(values, slope * values))
        source, target, other = target, other, target
    return source


@compiled
def _scale(
    memory: Array,
    weights: Array,
    plan: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    code: int,
    code_size: int,
    length: int,
) -> None:
    """Scales and shifts of a block, whose row of the plan is given, from the code of a chunk."""
    _locate(offsets, 0, code, STRIDE, code_size)
    outputs = 2 * plan[_CHANNELS]
    multiply(memory, areas[_SCALES], STRIDE, length, memory, offsets, weights, plan[_FILM], outputs, code_size)


@compiled
def _update(
    memory: Array,
    weights: Array,
    plan: npt.NDArray[np.int64],
    layers: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    coefficients: Array,
    known: Array,
    knobs: Array,
    slope: np.float32,
) -> None:
    """Bring the coefficients of all blocks up to date with knobs that stand still."""
    changed = False
    for knob in range(len(known)):
        changed |= known[knob] != knobs[0, knob]
        known[knob] = knobs[0, knob]
    if not changed:
        return
    code = _generate(memory, weights, layers, areas, offsets, knobs, 0, 1, slope)
    for block in range(len(plan)):
        _scale(memory, weights, plan[block], areas, offsets, code, layers[-1, 1], 1)
        for row in range(2 * plan[block, _CHANNELS]):
            coefficients[block, row] = memory[areas[_SCALES] + row * STRIDE]


@compiled
def _activate(
    memory: Array,
    features: int,
    scales: int,
    coefficients: Array,
    channels: int,
    length: int,
    gated: bool,
    modulated: bool,
    moving: bool,
    slope: np.float32,
) -> None:
    """Gate, scale, shift and rectify what a convolution gave."""
    behind = channels * STRIDE  # the other half of the convolution, and of the coefficients
    for channel in range(channels):
        scale, shift = coefficients[channel], coefficients[channels + channel]
        for place in range(channel * STRIDE, channel * STRIDE + length, LANES):
            values = load(memory, features + place)
            if gated:
                values = tanh(values) * sigmoid(load(memory, features + behind + place))
            if modulated and moving:
                values = load(memory, scales + place) * values + load(memory, scales + behind + place)
            elif modulated:
                values = scale * values + shift
            if not gated:
                values = maximum(values, slope * values)
            store(memory, features + place, values)


@compiled
def _play(
    memory: Array,
    offsets: npt.NDArray[np.int64],
    coefficients: Array,
    known: Array,
    position: int,
    weights: Array,
    plan: npt.NDArray[np.int64],
    layers: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    audio: Array,
    knobs: Array,
    wet: Array,
    gated: bool,
    slope: np.float32,
) -> None:
    """Add to ``wet`` what a stack makes of audio, shape (channels, time), and knobs, shape (time or 1, knobs)."""
    modulated, moving = len(layers) > 0, len(knobs) > 1
    if modulated and not moving:
        _update(memory, weights, plan, layers, areas, offsets, coefficients, known, knobs, slope)
    for begin in range(0, audio.shape[1], CHUNK):
        length = min(CHUNK, audio.shape[1] - begin)
        _enter(memory, plan, areas, position, audio, knobs, begin, length)
        code = areas[_CODE]
        if modulated and moving:
            code = _generate(memory, weights, layers, areas, offsets, knobs, begin, length, slope)
        for block in range(len(plan)):
            own = plan[block]
            channels = own[_CHANNELS]
            _filter(memory, weights, own, areas, offsets, position, length)
            if modulated and moving:
                _scale(memory, weights, own, areas, offsets, code, layers[-1, 1], length)
            features, scales, joined = areas[_FILTERED], areas[_SCALES], areas[_JOINED]
            own_coefficients = coefficients[block]
            _activate(memory, features, scales, own_coefficients, channels, length, gated, modulated, moving, slope)
            _link(memory, weights, own, areas, offsets, position, length)
            if block + 1 < len(plan):
                ring, stride = plan[block + 1, _RING], plan[block + 1, _RING_STRIDE]
                size = plan[block + 1, _RING_SIZE]
                for channel in range(channels):
                    first = joined + channel * STRIDE
                    if not own[_LINKED]:
                        for place in range(0, length, LANES):
                            values = load(memory, features + channel * STRIDE + place)
                            store(memory, first + place, load(memory, first + place) + values)
                    _keep(memory, ring + channel * stride, size, position % size, first, length)
            for channel in range(own[_HEARD]):
                first = joined + (own[_LINK_ROWS] - own[_HEARD] + channel) * STRIDE
                for sample in range(length):
                    wet[channel, begin + sample] += memory[first + sample]
        position += length


class ConvolutionPlayer(Player):
    """A stack of dilated convolutions whose features are gated, or rectified, and scaled and shifted by the knobs.

    Args:
        channels: Channels of audio.
        num_knobs: Knobs. The first block gets them, centred to -1 to 1, behind the channels of audio if it has inputs
            for them.
        blocks: The blocks, at least one.
        layers: The perceptron that makes the code from centred knobs, with leaky rectifiers between its layers; none
            if knobs do not modulate.
        gated: Whether features are tanh times sigmoid of the two halves of the convolution, modulated; else they are
            the leaky rectification of the modulated convolution.
        slope: Of leaky rectifiers below zero.
    """

    def __init__(
        self,
        channels: int,
        num_knobs: int,
        blocks: Sequence[Block],
        layers: Sequence[Array],
        gated: bool,
        slope: float,
    ) -> None:
        self._gated, self._slope = gated, np.float32(slope)
        packed: list[Array] = []

        def keep(layer: Array) -> int:
            """Pack a layer; returns its place."""
            start = sum(map(len, packed))
            packed.append(pack_tiles(layer))
            return start

        sizes = [(keep(layer), layer.shape[0], layer.shape[1] - 1) for layer in layers]
        self._layers = np.array(sizes, np.int64).reshape(-1, 3)
        self._plan = np.zeros((len(blocks), 14), np.int64)
        size = 0
        for plan, block in zip(self._plan, blocks):
            outputs, inputs = len(block.filter), (block.filter.shape[1] - 1) // block.taps
            features = outputs // 2 if gated else outputs
            rows, columns = len(block.link), block.link.shape[1] - 1
            is_last = block is blocks[-1]
            ring_size = pad((block.taps - 1) * block.dilation + CHUNK + LANES, LANES)
            stride = ring_size + CHUNK + LANES
            stride += LANES * (stride // LANES % 2 == 0)  # an odd number of cache lines: rows use all of the cache
            plan[[_INPUTS, _RING, _RING_SIZE, _RING_STRIDE]] = inputs, size, ring_size, stride
            plan[[_TAPS, _DILATION, _CHANNELS, _OUTPUTS]] = block.taps, block.dilation, features, outputs
            plan[_FILTER] = keep(block.filter)
            plan[_LINK] = keep(block.link)
            plan[[_LINK_ROWS, _LINKED, _HEARD]] = rows, columns - inputs, rows - (0 if is_last else features)
            plan[_FILM] = keep(block.film) if layers else 0
            size += inputs * stride
        widest = int(self._plan[:, [_OUTPUTS, _LINK_ROWS]].max())
        code = max(num_knobs, *self._layers[:, 1].tolist(), 1)
        heights = [pad(rows, OUTPUTS) for rows in (widest, widest, 2 * widest, code, code, code)]
        self._areas = np.cumsum([size, *(STRIDE * height for height in heights)], dtype=np.int64)
        self._inputs = int((self._plan[:, _TAPS] * self._plan[:, _INPUTS]).max()) + 2 * widest + code
        self._coefficients = 2 * widest
        self._known = num_knobs if layers else 0
        self._packed = (join(packed), self._plan, self._layers, self._areas)
        self._rows: list[tuple[Any, ...]] = []
        self._position = 0

    def load_state(self, state: Any) -> None:
        """Go on from the inputs that each block's convolution still sees, shape (rows, inputs, past samples) each."""
        self._position = 0
        self._rows = []
        for row in range(len(state[0])):
            memory = aligned(int(self._areas[-1]))
            for plan, history in zip(self._plan.tolist(), state):
                ring, stride, size = plan[_RING], plan[_RING_STRIDE], plan[_RING_SIZE]
                rows = memory[ring : ring + plan[_INPUTS] * stride].reshape(-1, stride)
                rows[:, size - history.shape[-1] : size] = history[row].numpy()
            known = np.full(self._known, _UNKNOWN, np.float32)
            coefficients = np.zeros((len(self._plan), self._coefficients), np.float32)
            self._rows.append((memory, np.zeros(self._inputs, np.int64), coefficients, known))

    def process(self, audio: Array, knobs: Array) -> Array:
        """Play the next block; see :class:`~neuralfx.engine.player.Player`."""
        wet = np.zeros_like(audio)
        columns = knobs if knobs.ndim == 2 else knobs.reshape(1, -1)

        def play(row: int) -> None:
            own = self._rows[row]
            _play(*own, self._position, *self._packed, audio[row], columns, wet[row], self._gated, self._slope)

        over_rows(play, len(audio), audio.shape[2])
        self._position += audio.shape[2]
        return wet


def warm() -> None:
    """Compile, or load what has been compiled before."""
    layer, silence = np.zeros((1, 2), np.float32), np.zeros((1, 1, 1), np.float32)
    player = ConvolutionPlayer(1, 0, [Block(layer, 1, 1, layer, layer)], [], gated=False, slope=0.0)
    player.load_state([torch.zeros(1, 1, 0)])
    player.process(silence, silence[0, 0, :0])
