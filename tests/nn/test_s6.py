"""The selective state space layer against its definition, sample by sample in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuralfx.nn import s6
from neuralfx.nn.operations import Operations
from neuralfx.nn.s6 import S6, scan


def recur(layer: S6, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence of the docstring as it stands there."""
    rank, size = layer.rank, layer.state_size
    outputs = []
    for sample in features.unbind(1):
        selected = sample @ layer.selection.weight.T
        ranked, into, readout = selected[:, :rank], selected[:, rank : rank + size], selected[:, rank + size :]
        step = torch.log(1 + torch.exp(ranked @ layer.step.weight.T + layer.step.bias))
        decay = torch.exp(step.unsqueeze(-1) * -layer.log_decay.exp())
        state = decay * state + (step * sample).unsqueeze(-1) * into.unsqueeze(1)
        output = (state * readout.unsqueeze(1)).sum(-1) + layer.direct * sample
        outputs.append(output @ layer.output.weight.T + layer.output.bias)
    return torch.stack(outputs, dim=1), state


@pytest.fixture
def layer() -> S6:
    layer = S6(features=4, state_size=3, rank=2, shortest_samples=3.0, longest_samples=50_000.0).double()
    with torch.no_grad():
        layer.direct.normal_()
        layer.log_decay.add_(0.1 * torch.randn(4, 3))
    return layer


@pytest.mark.parametrize("time", [1, 2, 16, 17, 200])
def test_the_blocked_scan_equals_the_recurrence_from_any_state(layer: S6, time: int) -> None:
    features = torch.randn(2, time, 4, dtype=torch.float64)
    state = torch.randn(2, 4, 3, dtype=torch.float64)
    output, after = layer(features, state)
    expected, expected_after = recur(layer, features, state)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after, expected_after, atol=1e-12, rtol=0)


def test_playing_it_keeps_the_states_of_a_few_samples_only(layer: S6, monkeypatch: pytest.MonkeyPatch) -> None:
    features, state = torch.randn(2, 100, 4, dtype=torch.float64), torch.randn(2, 4, 3, dtype=torch.float64)
    expected, expected_after = layer(features, state)
    lengths = []
    monkeypatch.setattr(s6, "_STATES", 7 * state.numel())
    monkeypatch.setattr(s6, "scan", lambda decay, *others: lengths.append(decay.shape[1]) or scan(decay, *others))
    with torch.no_grad():
        output, after = layer(features, state)
    assert lengths == [7] * 14 + [2]
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after, expected_after, atol=1e-12, rtol=0)


@pytest.mark.parametrize("step", [1e-4, 0.1, 2.0])
def test_scan_equals_a_loop_for_steps_of_any_size(step: float) -> None:
    rates = step * (0.5 + torch.rand(2, 2400, 3, 1, dtype=torch.float64))
    decay = torch.exp(-rates * torch.arange(1.0, 7.0, dtype=torch.float64))
    added = rates * torch.randn(2, 2400, 3, 6, dtype=torch.float64)
    expected = [torch.randn(2, 3, 6, dtype=torch.float64)]
    states, last = scan(decay, added, expected[0])
    for factor, addend in zip(decay.unbind(1), added.unbind(1)):
        expected.append(factor * expected[-1] + addend)
    torch.testing.assert_close(states, torch.stack(expected[1:], dim=1), atol=1e-13, rtol=1e-12)
    torch.testing.assert_close(last, expected[-1], atol=1e-13, rtol=1e-12)


def test_gradients_equal_those_of_the_recurrence(layer: S6) -> None:
    features = torch.randn(2, 130, 4, dtype=torch.float64, requires_grad=True)
    state = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    gradients = []
    for run in (layer, lambda *values: recur(layer, *values)):
        output, after = run(features, state)
        loss = output.square().sum() + after.square().sum()
        gradients.append(torch.autograd.grad(loss, [*layer.parameters(), features, state]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-9, rtol=1e-9)


def test_a_step_of_one_state_by_hand() -> None:
    layer = S6(features=1, state_size=1, rank=1, shortest_samples=10.0, longest_samples=10.0).double()
    with torch.no_grad():
        layer.selection.weight.copy_(torch.tensor([[0.0], [1.0], [1.0]]))  # B = C = u
        layer.step.bias.fill_(math.log(math.e - 1))  # Delta = 1
        layer.log_decay.fill_(math.log(math.log(2.0)))  # the state halves
        layer.direct.fill_(0.0)
        layer.output.weight.fill_(1.0)
        layer.output.bias.fill_(0.0)
    features = torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64).view(1, 3, 1)
    output, state = layer(features, layer.initial_state(1, None, torch.float64))
    # s = B u = 4, then 2, then 1 + 1; v = C s.
    torch.testing.assert_close(output.flatten(), torch.tensor([8.0, 0.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(state.flatten(), torch.tensor([2.0], dtype=torch.float64))


def test_blocks_of_one_sample_equal_the_whole_with_poles_of_seconds() -> None:
    layer = S6(features=3, state_size=2, rank=2, shortest_samples=9600.0, longest_samples=96_000.0)  # 2 s at 48 kHz
    features, start = torch.rand(1, 2000, 3), layer.initial_state(1, None, torch.float32)
    with torch.no_grad():
        whole, after = layer(features, start)
        outputs, state = [], start
        for block in features.split(1, dim=1):
            output, state = layer(block, state)
            outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(state, after, atol=1e-6, rtol=0)


def test_the_recurrence_is_stable_for_all_parameters_and_silence_lets_the_state_decay(layer: S6) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 3)
    features = torch.randn(1, 5000, 4, dtype=torch.float64)
    output, _ = layer(features, layer.initial_state(1, None, torch.float64))
    assert output.isfinite().all()
    state = torch.randn(1, 4, 3, dtype=torch.float64)
    _, after = layer(torch.zeros(1, 48_000, 4, dtype=torch.float64), state)
    assert (after.abs() < state.abs()).all()


def test_time_constants_start_in_the_range_asked_for() -> None:
    layer = S6(features=5, state_size=4, rank=2, shortest_samples=10.0, longest_samples=40_000.0)
    step = torch.nn.functional.softplus(layer.step.bias.double())  # Delta in silence
    time_constants = 1 / (step.unsqueeze(-1) * layer.log_decay.double().exp())
    torch.testing.assert_close(time_constants.max().item(), 40_000.0, rtol=1e-5, atol=0)
    torch.testing.assert_close(time_constants.min().item(), 10.0, rtol=1e-5, atol=0)
    torch.testing.assert_close(time_constants[:, 0] / time_constants[:, 3], torch.full((5,), 4.0, dtype=torch.float64))


def test_operations_are_those_of_the_recurrence() -> None:
    # 4 features, 3 states, rank 2: W_x 8 x 4; W_Delta 4 x 2 and bias; softplus 4; exp(Delta A) 12 + 12; Delta u 4,
    # times B 12; a s + b 12 + 12; C s 12 + 8; D u 4 + 4; W_o 4 x 4 and bias.
    multiplications = 32 + 8 + 12 + 4 + 12 + 12 + 12 + 4 + 16
    additions = 24 + 8 + 12 + 8 + 4 + 16
    assert S6(4, 3, 2, 10.0, 1000.0).operations() == Operations(multiplications, additions, 4 + 12)
