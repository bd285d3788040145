"""Chunks, Toeplitz matrices and the carry between chunks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralfx.nn.diagonal import CHUNK_SAMPLES, carry, precise, run_in_chunks, toeplitz


def test_a_toeplitz_matrix_delays_the_kernel_by_the_time_in() -> None:
    expected = [[1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]
    torch.testing.assert_close(toeplitz(torch.tensor([1.0, 2.0, 3.0])), torch.tensor(expected))
    torch.testing.assert_close(toeplitz(torch.tensor([[5.0], [7.0]])), torch.tensor([[[5.0]], [[7.0]]]))


@pytest.mark.parametrize("chunks", [1, 2, 3, 8, 13])
def test_the_carry_equals_a_loop_over_chunks(chunks: int) -> None:
    exponent = torch.complex(-torch.rand(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64))
    added = torch.randn(4, chunks, 2, 3, dtype=torch.complex128)
    expected = [torch.randn(4, 2, 3, dtype=torch.complex128)]
    for addend in added.unbind(1):
        expected.append(torch.exp(exponent) * expected[-1] + addend)
    states = carry(added, exponent, expected[0])
    torch.testing.assert_close(states, torch.stack(expected, dim=1), atol=1e-13, rtol=0)


@pytest.mark.parametrize("time", [0, 1, CHUNK_SAMPLES, 3 * CHUNK_SAMPLES, 3 * CHUNK_SAMPLES + 5])
def test_whole_chunks_run_first_and_then_the_rest(time: int) -> None:
    lengths = []

    def count(features: Tensor, state: Tensor, length: int) -> tuple[Tensor, Tensor]:
        assert features.shape[1] % length == 0
        lengths.append(length)
        return 2 * features, state + features.shape[1]

    features = torch.randn(2, time, 3)
    output, state = run_in_chunks(count, features, torch.zeros(2))
    torch.testing.assert_close(output, 2 * features)
    assert state.tolist() == [time, time]
    assert lengths == [CHUNK_SAMPLES] * (time >= CHUNK_SAMPLES) + [time % CHUNK_SAMPLES] * (time % CHUNK_SAMPLES > 0)


def test_only_apples_devices_go_without_double_precision() -> None:
    assert precise(None) == precise(torch.device("cpu")) == precise(torch.device("cuda")) == torch.float64
    assert precise(torch.device("mps")) == torch.float32
