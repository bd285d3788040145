"""What all compiled networks have in common."""

from __future__ import annotations

import abc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float32]

INAUDIBLE = 1e-30  # what decays below becomes 0: CPUs calculate many times slower below 1e-38

_WORTH_A_THREAD = 4096  # samples; starting one takes about as long as playing a few hundred


class Player(abc.ABC):
    """A network compiled for playing: a copy of its weights, and its state, in arrays of its own.

    Plays what the network's ``forward`` in evaluation mode computes, to within 1e-6 of full scale, block after block.
    A player serves one stream; a network whose weights have changed since needs a new one.
    """

    @abc.abstractmethod
    def load_state(self, state: Any) -> None:
        """Go on from a state of the network (nested tuples of CPU tensors); its batch size is the number of rows."""

    @abc.abstractmethod
    def process(self, audio: Array, knobs: Array) -> Array:
        """Play the next block.

        Args:
            audio: Dry audio, shape (rows, channels, time), time at least 1.
            knobs: Normalised knobs of all rows, shape (knobs,), or (time, knobs) if they move.

        Returns:
            Wet audio, same shape, in memory of its own.
        """


def over_rows(function: Callable[[int], None], rows: int, time: int) -> None:
    """Call a function for every row, in threads where blocks are long enough to be worth it.

    Args:
        function: Plays the row with this number; leaves the interpreter's lock to others meanwhile.
        rows: Number of rows.
        time: Samples in each.
    """
    threads = min(rows, torch.get_num_threads())
    if threads < 2 or time < _WORTH_A_THREAD:
        for row in range(rows):
            function(row)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(function, range(rows)))
