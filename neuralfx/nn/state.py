"""States are nested tuples of tensors, batch first: map, detach, reset and select them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuralfx.nn.network import State


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
