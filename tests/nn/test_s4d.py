"""The diagonal state space layer against its definition, sample by sample in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralfx.nn.s4d import S4D


def recur(layer: S4D, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence of the docstring as it stands there."""
    decay = layer.log_decay.exp()
    poles = decay * torch.complex(-torch.ones_like(decay), layer.frequency)
    step = layer.log_step.exp().unsqueeze(-1)
    transition = torch.exp(step * poles)
    into = (transition - 1) / poles * decay
    readout = torch.complex(layer.output_real, layer.output_imag)
    outputs = []
    for sample in features.unbind(1):
        state = transition * state + into * sample.unsqueeze(-1)
        outputs.append(2 * (readout * state).sum(-1).real + layer.direct * sample)
    return torch.stack(outputs, dim=1), state


@pytest.fixture
def layer() -> S4D:
    layer = S4D(features=3, pairs=2, shortest_samples=3.0, longest_samples=50_000.0).double()
    with torch.no_grad():
        layer.frequency.uniform_(-2, 2)
        layer.log_step.uniform_(-1, 1)
    return layer


@pytest.mark.parametrize("time", [1, 63, 64, 65, 200])
def test_chunks_equal_the_recurrence_from_any_state(layer: S4D, time: int) -> None:
    features = torch.randn(2, time, 3, dtype=torch.float64)
    state = torch.randn(2, 3, 2, dtype=torch.complex128)
    output, after = layer(features, state)
    expected, expected_after = recur(layer, features, state)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after, expected_after, atol=1e-12, rtol=0)


def test_gradients_equal_those_of_the_recurrence(layer: S4D) -> None:
    features = torch.randn(1, 130, 3, dtype=torch.float64)
    state = torch.randn(1, 3, 2, dtype=torch.complex128)
    gradients = []
    for run in (layer, lambda *values: recur(layer, *values)):
        layer.zero_grad()
        run(features, state)[0].square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-9, rtol=1e-9)


def test_single_precision_audio_keeps_slow_poles_exact() -> None:
    layer = S4D(features=1, pairs=1, shortest_samples=1e6, longest_samples=1e6)
    features = torch.rand(1, 20_000, 1)
    state = layer.initial_state(1, None, torch.float32)
    outputs = []
    for block in features.split(1, dim=1)[:2000]:
        output, state = layer(block, state)
        outputs.append(output)
    reference, _ = recur(layer.double(), features.double()[:, :2000], torch.zeros(1, 1, 1, dtype=torch.complex128))
    torch.testing.assert_close(torch.cat(outputs, dim=1).double(), reference, atol=3e-7, rtol=0)


def test_poles_are_stable_for_all_parameters(layer: S4D) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 5)
    output, state = layer(torch.randn(1, 5000, 3, dtype=torch.float64), layer.initial_state(1, None, torch.float64))
    assert output.isfinite().all()
    silence = torch.zeros(1, 48_000, 3, dtype=torch.float64)
    _, after = layer(silence, state)
    assert after.abs().max() <= state.abs().max()


def test_time_constants_start_in_the_range_asked_for() -> None:
    layer = S4D(features=2, pairs=3, shortest_samples=10.0, longest_samples=1000.0)
    taus = torch.exp(-layer.log_decay).flatten()
    torch.testing.assert_close(taus.min(), torch.tensor(10.0))
    torch.testing.assert_close(taus.max(), torch.tensor(1000.0))
    assert len(taus.unique()) == 6
