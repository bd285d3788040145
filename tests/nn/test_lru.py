"""The linear recurrent unit against its definition, sample by sample in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuralfx.nn.lru import LRU
from neuralfx.nn.operations import Operations


def recur(layer: LRU, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence of the docstring as it stands there."""
    pole = torch.exp(torch.complex(-layer.log_decay.exp(), layer.log_phase.exp()))
    gamma = layer.gamma_log.exp()
    into = torch.complex(layer.input_real, layer.input_imag)
    readout = torch.complex(layer.output_real, layer.output_imag)
    outputs = []
    for sample in features.unbind(1):
        state = pole * state + gamma * (sample.to(into.dtype) @ into.T)
        outputs.append((state @ readout.T).real + layer.direct * sample)
    return torch.stack(outputs, dim=1), state


@pytest.fixture
def layer() -> LRU:
    layer = LRU(features=3, state_size=4, shortest_samples=3.0, longest_samples=50_000.0).double()
    with torch.no_grad():
        layer.gamma_log.add_(torch.randn(4))
    return layer


@pytest.mark.parametrize("time", [1, 31, 32, 33, 200])
def test_chunks_equal_the_recurrence_from_any_state(layer: LRU, time: int) -> None:
    features = torch.randn(2, time, 3, dtype=torch.float64)
    state = torch.randn(2, 4, dtype=torch.complex128)
    output, after = layer(features, state)
    expected, expected_after = recur(layer, features, state)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after, expected_after, atol=1e-12, rtol=0)


def test_gradients_equal_those_of_the_recurrence(layer: LRU) -> None:
    features = torch.randn(2, 130, 3, dtype=torch.float64, requires_grad=True)
    state = torch.randn(2, 4, dtype=torch.complex128, requires_grad=True)
    gradients = []
    for run in (layer, lambda *values: recur(layer, *values)):
        output, after = run(features, state)
        loss = output.square().sum() + after.abs().square().sum()
        gradients.append(torch.autograd.grad(loss, [*layer.parameters(), features, state]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-9, rtol=1e-9)


def test_one_real_pole_is_a_leaky_integrator() -> None:
    layer = LRU(features=1, state_size=1, shortest_samples=1.0, longest_samples=1.0).double()
    with torch.no_grad():
        layer.log_decay.fill_(math.log(math.log(2.0)))  # lambda = 1/2
        layer.log_phase.fill_(-50.0)
        layer.gamma_log.fill_(math.log(3.0))
        for parameter in (layer.input_real, layer.output_real):
            parameter.fill_(1.0)
        for parameter in (layer.input_imag, layer.output_imag, layer.direct):
            parameter.fill_(0.0)
    impulse = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64).view(1, 4, 1)
    output, _ = layer(impulse, layer.initial_state(1, None, torch.float64))
    torch.testing.assert_close(output.flatten(), torch.tensor([3.0, 1.5, 0.75, 0.375], dtype=torch.float64))


def test_blocks_of_one_sample_equal_the_whole_with_poles_of_seconds() -> None:
    layer = LRU(features=3, state_size=4, shortest_samples=9600.0, longest_samples=96_000.0)  # up to 2 s at 48 kHz
    features, start = 0.2 * torch.randn(1, 2000, 3), layer.initial_state(1, None, torch.float32)
    with torch.no_grad():
        whole, after = layer(features, start)
        outputs, state = [], start
        for block in features.split(1, dim=1):
            output, state = layer(block, state)
            outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(state, after, atol=1e-6, rtol=0)


def test_single_precision_audio_keeps_slow_poles_exact() -> None:
    layer = LRU(features=1, state_size=1, shortest_samples=1e6, longest_samples=1e6, max_phase=1e-6)
    features, start = torch.rand(1, 20_000, 1), layer.initial_state(1, None, torch.float32)
    output, _ = layer(features, start)
    reference, _ = recur(layer.double(), features.double(), start)
    torch.testing.assert_close(output.double(), reference, atol=0, rtol=3e-6)


def test_poles_are_stable_for_all_parameters_and_silence_lets_the_state_decay(layer: LRU) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 5)
    assert (torch.exp(torch.complex(-layer.log_decay.exp(), layer.log_phase.exp())).abs() < 1).all()
    state = torch.randn(1, 4, dtype=torch.complex128)
    output, after = layer(torch.zeros(1, 48_000, 3, dtype=torch.float64), state)
    assert output.isfinite().all()
    assert (after.abs() < state.abs()).all()


def test_time_constants_and_phases_start_in_the_range_asked_for() -> None:
    layer = LRU(features=2, state_size=200, shortest_samples=1.0, longest_samples=1000.0, max_phase=0.5)
    decays, phases = layer.log_decay.exp(), layer.log_phase.exp()
    torch.testing.assert_close(1 / decays.min(), torch.tensor(1000.0))
    torch.testing.assert_close(1 / decays.max(), torch.tensor(1.0))
    assert phases.min() > 0 and 0.4 < phases.max() <= 0.5
    assert (phases <= decays * 1.001).all()  # no slow pole rings


def test_gamma_gives_states_unit_variance_even_at_poles_of_minutes() -> None:
    layer = LRU(features=1, state_size=3, shortest_samples=3.0, longest_samples=1e7)
    decay = layer.log_decay.double().exp()
    variance = torch.exp(2 * layer.gamma_log.double()) / -torch.expm1(-2 * decay)  # sum of gamma^2 |lambda|^2n
    torch.testing.assert_close(variance, torch.ones(3, dtype=torch.float64), atol=2e-6, rtol=0)


def test_operations_are_those_of_the_recurrence() -> None:
    # 4 states, 3 features: lambda s 16 + 8; B u 24 + 16, added to it 8; Re(C s) 24 + 21; D u 3 + 3.
    assert LRU(3, 4, 10.0, 1000.0).operations() == Operations(67, 56, 0)
