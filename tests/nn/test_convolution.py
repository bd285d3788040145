"""Causal convolutions against explicit sums over the past."""

from __future__ import annotations

import pytest
import torch

from neuralfx.nn.convolution import CausalConv1d, FIRBank
from neuralfx.nn.operations import Operations


def test_the_bank_is_a_linear_layer_on_windows() -> None:
    bank = FIRBank(1, 3, taps=5).double()
    audio = torch.randn(2, 1, 20, dtype=torch.float64)
    features, state = bank(audio, bank.initial_state(2, None, torch.float64))
    windows = torch.nn.functional.pad(audio[:, 0], (4, 0)).unfold(-1, 5, 1)
    torch.testing.assert_close(features, windows @ bank.weight[:, 0].T + bank.bias)
    torch.testing.assert_close(state, audio[..., -4:])


def test_blocks_shorter_than_the_window_carry_its_history() -> None:
    bank = FIRBank(1, 3, taps=8).double()
    audio = torch.randn(1, 1, 30, dtype=torch.float64)
    whole, _ = bank(audio, bank.initial_state(1, None, torch.float64))
    state, parts = bank.initial_state(1, None, torch.float64), []
    for block in audio.split(3, dim=-1):
        part, state = bank(block, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def test_one_tap_needs_no_history() -> None:
    bank = FIRBank(1, 2, taps=1)
    features, state = bank(torch.ones(1, 1, 4), bank.initial_state(1, None, torch.float32))
    assert features.shape == (1, 4, 2)
    assert state.shape == (1, 1, 0)


@pytest.mark.parametrize("time", [1, 5, 30])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 4), (2, 9)])
def test_a_dilated_convolution_is_a_sum_over_the_past(kernel_size: int, dilation: int, time: int) -> None:
    layer = CausalConv1d(2, 3, kernel_size, dilation).double()
    features = torch.randn(2, 2, time, dtype=torch.float64)
    state = torch.randn(2, 2, (kernel_size - 1) * dilation, dtype=torch.float64)
    assert layer.initial_state(2, None, torch.float64).shape == state.shape
    output, after = layer(features, state)
    past = torch.cat([state, features], dim=-1)
    for sample in range(time):
        expected = layer.convolution.state_dict()["bias"]
        for tap in range(kernel_size):  # the last tap meets the current sample
            moment = state.shape[-1] + sample - (kernel_size - 1 - tap) * dilation
            expected = expected + past[..., moment] @ layer.convolution.weight[..., tap].T
        torch.testing.assert_close(output[..., sample], expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after, past[..., time:], atol=0, rtol=0)


def test_a_hand_computed_convolution() -> None:
    layer = CausalConv1d(1, 1, kernel_size=2, dilation=2)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), ([[[10.0, 1.0]]], [0.5])):
            parameter.copy_(torch.tensor(value))
    output, state = layer(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[7.0, 8.0]]]))
    torch.testing.assert_close(output, torch.tensor([[[71.5, 82.5, 13.5]]]))
    torch.testing.assert_close(state, torch.tensor([[[2.0, 3.0]]]))


def test_a_convolution_costs_its_weights_and_biases() -> None:
    layer = CausalConv1d(3, 4, kernel_size=5, dilation=7)
    assert layer.operations() == Operations(60, 60, 0)
    assert layer.operations(known=2) == Operations(20, 20, 0)
