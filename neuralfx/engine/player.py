"""What all compiled networks have in common."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

INAUDIBLE = 1e-30  # what decays below becomes 0: CPUs calculate many times slower below 1e-38


class Player(abc.ABC):
    """A network compiled for playing: a copy of its weights, and its state, in arrays of its own.

    Plays what the network's ``forward`` in evaluation mode computes, up to the rounding of single precision, block
    after block. That is 1e-6 of full scale for networks as they start; trained ones that hold on to what they have
    heard may enlarge it, among the bundled ones up to 1e-5.
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
