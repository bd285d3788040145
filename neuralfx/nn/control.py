"""When a network reads its knobs: on a grid of samples that starts with the stream."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from neuralfx.nn.network import State

GRID_SAMPLES = 16  # at 48 kHz a knob that moves from end to end in 50 ms takes 150 steps


def initial_grid(batch_size: int, num_knobs: int, device: torch.device | None, dtype: torch.dtype) -> State:
    """The grid at the first sample of a stream.

    Returns:
        Place of the next sample within its cell, shape (batch,), from 0 to ``GRID_SAMPLES - 1``, and the knobs that the
        cell holds, shape (batch, knobs).
    """
    place = torch.zeros(batch_size, dtype=torch.int64, device=device)
    return place, torch.zeros(batch_size, num_knobs, device=device, dtype=dtype)


def hold(knobs: Tensor, time: int, grid: State) -> tuple[Iterator[tuple[slice, Tensor]], State]:
    """Divide a block into spans within which knobs stand still, each knob read at the start of its grid cell.

    The grid counts from the first sample of the stream, so blocks of any sizes read the same values at the same
    samples as the whole signal does. Networks whose coefficients are costly to make from knobs use it.

    Args:
        knobs: Shape (batch, knobs), or (batch, time, knobs) if they move.
        time: Samples in the block, at least 1.
        grid: From :func:`initial_grid` or the block before.

    Returns:
        The spans in order, each a slice of time and the knobs that hold in it, shape (batch, knobs); and the grid after
        the block.
    """
    place, held = grid
    moving = knobs.dim() == 3
    until = -place % GRID_SAMPLES  # samples to the first grid point in the block, shape (batch,)
    rows = torch.arange(len(knobs), device=knobs.device)

    def values_at(sample: int) -> Tensor:
        point = (sample - (sample - until) % GRID_SAMPLES).clamp(min=0)
        read = knobs[rows, point] if moving else knobs
        return torch.where((until <= sample).unsqueeze(-1), read, held)

    def spans() -> Iterator[tuple[slice, Tensor]]:
        step = GRID_SAMPLES if moving else time
        points = {sample for first in until.unique().tolist() for sample in range(first, time, step)}
        start, values = 0, values_at(0)
        for sample in sorted(points - {0}):
            upcoming = values_at(sample)
            if not torch.equal(upcoming, values):
                yield slice(start, sample), values
                start, values = sample, upcoming
        yield slice(start, time), values

    return spans(), ((place + time) % GRID_SAMPLES, values_at(time - 1))
