"""The grid on which costly networks read their knobs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralfx.nn.control import GRID_SAMPLES, hold, initial_grid
from neuralfx.nn.network import State


def read(knobs: Tensor, time: int, grid: State) -> tuple[Tensor, State]:
    """What holds at every sample, shape (batch, time, knobs)."""
    spans, grid = hold(knobs, time, grid)
    held, end = [], 0
    for span, values in spans:
        assert span.start == end
        end = span.stop
        held.append(values.unsqueeze(1).expand(-1, span.stop - span.start, -1))
    assert end == time
    return torch.cat(held, dim=1), grid


def test_moving_knobs_are_read_at_the_start_of_each_cell() -> None:
    knobs = torch.arange(100.0).view(1, 100, 1)
    held, _ = read(knobs, 100, initial_grid(1, 1, None, torch.float32))
    expected = torch.arange(100) // GRID_SAMPLES * GRID_SAMPLES
    torch.testing.assert_close(held[0, :, 0], expected.float())


@pytest.mark.parametrize("size", [1, 7, 31, 32, 33, 100])
def test_blocks_read_what_the_whole_reads(size: int) -> None:
    knobs = torch.rand(2, 150, 3)
    expected, after = read(knobs, 150, initial_grid(2, 3, None, torch.float32))
    parts, grid = [], initial_grid(2, 3, None, torch.float32)
    for block in knobs.split(size, dim=1):
        held, grid = read(block, block.shape[1], grid)
        parts.append(held)
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, atol=0, rtol=0)
    for part, whole in zip(grid, after):
        torch.testing.assert_close(part, whole)


def test_a_knob_set_between_blocks_waits_for_the_next_cell() -> None:
    grid = initial_grid(1, 1, None, torch.float32)
    _, grid = read(torch.zeros(1, 1), 3, grid)
    held, grid = read(torch.ones(1, 1), 2, grid)
    assert (held == 0).all()
    held, _ = read(torch.ones(1, 1), 20, grid)
    waiting = GRID_SAMPLES - 5
    assert held.flatten().tolist() == [0.0] * waiting + [1.0] * (20 - waiting)


def test_knobs_that_stand_still_make_one_span() -> None:
    for knobs in (torch.rand(2, 3), torch.rand(2, 1, 3).expand(2, 500, 3)):
        spans, _ = hold(knobs, 500, initial_grid(2, 3, None, torch.float32))
        assert [span for span, _ in spans] == [slice(0, 500)]


def test_every_row_has_its_own_grid() -> None:
    knobs = torch.rand(2, 100, 1)
    _, late = read(torch.zeros(2, 1), 10, initial_grid(2, 1, None, torch.float32))
    mixed = tuple(
        torch.stack([fresh[0], carried[1]]) for fresh, carried in zip(initial_grid(2, 1, None, torch.float32), late)
    )
    held, _ = read(knobs, 100, mixed)
    for row, start in enumerate((initial_grid(1, 1, None, torch.float32), tuple(part[1:] for part in late))):
        alone, _ = read(knobs[row : row + 1], 100, start)
        torch.testing.assert_close(held[row : row + 1], alone, atol=0, rtol=0)
