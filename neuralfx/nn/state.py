"""States are nested tuples of tensors, batch first: map, detach, reset and select them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuralfx.nn.control import GRID_SAMPLES
from neuralfx.nn.network import Network, State

SETTLING_S = 0.5  # from then on silence has made of nearly every network what a device is that has long been on
_BLOCK = 2400  # samples; bounds the memory that playing takes


def map_state(function: Callable[..., Tensor], *states: State) -> State:
    """Apply ``function`` to the tensors at the same place of equally nested states."""
    if isinstance(states[0], Tensor):
        return function(*states)
    return tuple(map_state(function, *parts) for parts in zip(*states))


def detach(state: State) -> State:
    """The same values without their history: where truncated back-propagation through time cuts."""
    return map_state(Tensor.detach, state)


def reset_where(fresh: Tensor, state: State, initial: State) -> State:
    """Replace the state of every row where ``fresh`` (shape (batch,), boolean) is True by its initial value."""

    def choose(carried: Tensor, start: Tensor) -> Tensor:
        rows = fresh.view(-1, *[1] * (carried.dim() - 1))
        return torch.where(rows, start, carried)

    return map_state(choose, state, initial)


def settling_samples(seconds: float, sample_rate: int) -> int:
    """Samples of silence that a network hears so long; whole cells of the grid on which some read their knobs."""
    return -(-round(seconds * sample_rate) // GRID_SAMPLES) * GRID_SAMPLES


def hear_silence(network: Network, knobs: Tensor, state: State, like: Tensor, samples: int) -> State:
    """The state after so many samples of silence.

    Args:
        network: The network.
        knobs: Normalised knob values, shape (rows, knobs).
        state: The state before, of as many rows.
        like: Audio of shape (any, channels, any) with the device and dtype that the network takes.
        samples: How many, at least 1.
    """
    silence = like.new_zeros(len(knobs), like.shape[1], samples)
    return play_in_blocks(network, silence, knobs, state)[1]


def play_in_blocks(network: Network, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
    """What the network returns for audio of shape (rows, channels, time) and still knobs, a block at a time."""
    wet = []
    for block in torch.split(audio, _BLOCK, dim=-1):
        heard, state = network(block.contiguous(), knobs, state)
        wet.append(heard)
    return torch.cat(wet, dim=-1), state
