"""What the layers with diagonal recurrences share: their precision, and evaluation in chunks with a carried state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_SAMPLES = 32  # the fastest on a CPU for segments of 2400 samples; 64 is up to 1.4 times faster for 48000


def precise(device: torch.device | None) -> torch.dtype:
    """Double precision, except on Apple's GPUs, which have none.

    Poles and states need it: a pole with a time constant of seconds lies within float32's rounding of 1.
    """
    return torch.float32 if device is not None and device.type == "mps" else torch.float64


def run_in_chunks(
    run: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]], features: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run all whole chunks side by side, then the samples that are left as one shorter chunk.

    Args:
        run: Recurs over a whole number of chunks: takes features, state and samples per chunk, returns features and
            the state after them.
        features: Shape (batch, time, features), of any length.
        state: State before the first sample, batch first.

    Returns:
        Features of the same shape, and the state after the last sample.
    """
    time = features.shape[1]
    whole = time - time % CHUNK_SAMPLES
    outputs = [features[:, :0]]
    for start, stop, length in ((0, whole, CHUNK_SAMPLES), (whole, time, time - whole)):
        if stop > start:
            output, state = run(features[:, start:stop], state, length)
            outputs.append(output)
    return torch.cat(outputs, dim=1), state


def toeplitz(kernel: Tensor) -> Tensor:
    """The causal convolution of one chunk with a kernel, as a matrix.

    Args:
        kernel: Shape (..., length), from lag 0 on.

    Returns:
        Shape (..., length, length): rows are times in, columns are times out.
    """
    length = kernel.shape[-1]
    return functional.pad(kernel, (length - 1, 0)).unfold(-1, length, 1).flip(-2)


def carry(added: Tensor, exponent: Tensor, state: Tensor) -> Tensor:
    """States before each chunk and after the last one: s_c = exp(exponent) s_{c-1} + added_c, by doubling.

    Args:
        added: What each chunk adds to the state, shape (batch, chunks, ...).
        exponent: Logarithm of the pole to the power of the chunk's length, shape (...).
        state: State before the first chunk, shape (batch, ...).

    Returns:
        States of shape (batch, chunks + 1, ...).
    """
    states = torch.cat([state.unsqueeze(1), added], dim=1)
    step = 1
    while step < states.shape[1]:
        moved = torch.exp(exponent * step) * states[:, :-step]
        states = torch.cat([states[:, :step], states[:, step:] + moved], dim=1)
        step *= 2
    return states
