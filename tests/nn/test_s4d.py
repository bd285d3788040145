"""The diagonal state space layer against its definition, sample by sample in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralfx.errors import ConfigError
from neuralfx.nn.operations import Operations
from neuralfx.nn.s4d import S4D, published_frequencies


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


@pytest.mark.parametrize("time", [1, 31, 32, 33, 200])
def test_chunks_equal_the_recurrence_from_any_state(layer: S4D, time: int) -> None:
    features = torch.randn(2, time, 3, dtype=torch.float64)
    state = torch.randn(2, 3, 2, dtype=torch.complex128)
    output, after = layer(features, state)
    expected, expected_after = recur(layer, features, state)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after, expected_after, atol=1e-12, rtol=0)


def test_gradients_equal_those_of_the_recurrence(layer: S4D) -> None:
    features = torch.randn(1, 130, 3, dtype=torch.float64, requires_grad=True)
    state = torch.randn(1, 3, 2, dtype=torch.complex128, requires_grad=True)
    gradients = []
    for run in (layer, lambda *values: recur(layer, *values)):
        output, after = run(features, state)
        loss = output.square().sum() + after.abs().square().sum()
        gradients.append(torch.autograd.grad(loss, [*layer.parameters(), features, state]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-9, rtol=1e-9)


def test_blocks_of_one_sample_equal_the_whole_with_poles_of_seconds() -> None:
    layer = S4D(features=2, pairs=2, shortest_samples=9600.0, longest_samples=96_000.0)  # up to 2 s at 48 kHz
    features, start = torch.rand(1, 2000, 2), layer.initial_state(1, None, torch.float32)
    with torch.no_grad():
        whole, after = layer(features, start)
        outputs, state = [], start
        for block in features.split(1, dim=1):
            output, state = layer(block, state)
            outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(state, after, atol=1e-6, rtol=0)


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


def test_operations_are_those_of_the_recurrence() -> None:
    # Per pair: A s 4 + 2, B u 2 + 2, Re(C s) 2 + 1; per feature: 1 addition between 2 pairs, the factor 2, D u 1 + 1.
    assert S4D(3, 2, 10.0, 1000.0).operations() == Operations(3 * (2 * 8 + 2), 3 * (2 * 5 + 2), 0)


def test_published_poles_are_those_of_the_papers() -> None:
    torch.testing.assert_close(published_frequencies("lin", 3), torch.pi * torch.arange(3.0))
    torch.testing.assert_close(published_frequencies("inv", 1), torch.tensor([2 / torch.pi]))
    # Eigenvalues of the normal part of HiPPO-LegS, computed once from its definition.
    legs = torch.tensor([0.379376, 1.556280, 3.503215, 6.806403, 13.772732, 45.317174])
    torch.testing.assert_close(published_frequencies("legs", 6), legs, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="one of decay, lin, inv, legs, got 'real'"):
        S4D(1, 1, 1.0, 10.0, poles="real")


@pytest.mark.parametrize("poles", ["lin", "inv", "legs"])
def test_layers_with_published_poles_have_the_time_constants_asked_for(poles: str) -> None:
    layer = S4D(3, 4, 10.0, 1000.0, poles=poles)
    exponent, relative, _ = layer._exactly(torch.float64)
    torch.testing.assert_close(-1 / exponent.real[:, 0], torch.tensor([10.0, 100.0, 1000.0], dtype=torch.float64))
    torch.testing.assert_close(relative.imag[0].float() / 2, published_frequencies(poles, 4))


def test_mixing_follows_the_recurrence(layer: S4D) -> None:
    mixed = S4D(features=3, pairs=2, shortest_samples=3.0, longest_samples=50_000.0, mixing=True).double()
    mixed.load_state_dict(layer.state_dict(), strict=False)
    features, state = torch.randn(2, 70, 3, dtype=torch.float64), layer.initial_state(2, None, torch.float64)
    plain, after = layer(features, state)
    output, mixed_after = mixed(features, state)
    hidden = 0.5 * plain * (1 + torch.erf(plain / 2**0.5))
    content, gate = (hidden @ mixed.mixing.weight.T + mixed.mixing.bias).chunk(2, dim=-1)  # type: ignore[union-attr]
    torch.testing.assert_close(output, content * torch.sigmoid(gate))
    torch.testing.assert_close(mixed_after, after)
    extra = [more - less for more, less in zip(mixed.operations(), layer.operations())]
    assert extra == [18 + 3, 18, 6]
