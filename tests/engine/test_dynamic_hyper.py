"""Vectors of sixteen numbers in compiled code, and products whose sums stay in registers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuralfx.engine.dynamic_hyper import warm
from neuralfx.nn.network import Network, State
from neuralfx.nn.state import map_state
from tests.checks import noise, tiny_model, two_knobs

PAIRS = ["GRUDynamicHyper", "LSTMDynamicHyper"]
SIZES = [{}, {"hidden_size": 6, "hyper_size": 5, "mlp_size": 7}, {"hidden_size": 40, "hyper_size": 9, "mlp_size": 33}]
LENGTH = 700


def build(name: str, inputs: int = 1, knobs: int = 2, **sizes: Any) -> Network:
    effect = two_knobs(count=knobs)
    effect = type(effect)(effect.slug, effect.sample_rate, effect.knobs, channels=inputs)
    return tiny_model(name, effect, **sizes).network


def leaves(state: State) -> list[Tensor]:
    parts: list[Tensor] = []
    map_state(lambda part: parts.append(part) or part, state)
    return parts


def random_state(network: Network, rows: int) -> State:
    return map_state(lambda part: 0.5 * torch.randn_like(part), network.initial_state(rows))


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_every_block_size_plays_what_the_network_computes(name: str, sizes: dict[str, int], moving: bool) -> None:
    network, audio = build(name, **sizes), noise(2, 1, LENGTH)
    knobs = torch.rand(LENGTH, 2) if moving else torch.rand(2)
    state = random_state(network, 2)
    double = copy.deepcopy(network).double()
    with torch.no_grad():
        rows = knobs.double().expand(2, *knobs.shape)
        expected = double(audio.double(), rows, map_state(lambda part: part.double(), state))[0].numpy()
    first = None
    for block in (1, 7, 16, 64, 512, LENGTH):
        player, parts = network.player(), []
        player.load_state(state)
        for start in range(0, LENGTH, block):
            span = slice(start, start + block)
            parts.append(
                player.process(audio[..., span].contiguous().numpy(), (knobs[span] if moving else knobs).numpy())
            )
        wet = np.concatenate(parts, axis=-1)
        first = wet if first is None else first
        np.testing.assert_allclose(wet, expected, atol=1e-6, rtol=0)
        np.testing.assert_allclose(wet, first, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_players_take_several_channels_and_no_knobs(name: str) -> None:
    for channels, count in ((2, 2), (1, 0)):
        network, audio = build(name, channels, count), noise(1, channels, 100)
        knobs = torch.rand(count)
        double = copy.deepcopy(network).double()
        with torch.no_grad():
            start = double.initial_state(1, None, torch.float64)
            expected = double(audio.double(), knobs.double().unsqueeze(0), start)[0].numpy()
        player = network.player()
        player.load_state(network.initial_state(1))
        np.testing.assert_allclose(player.process(audio.numpy(), knobs.numpy()), expected, atol=1e-6, rtol=0)


def test_the_published_layout_plays_the_same_way() -> None:
    network, audio, knobs = build("GRUDynamicHyper", published_layout=True), noise(1, 1, 100), torch.rand(2)
    double = copy.deepcopy(network).double()
    with torch.no_grad():
        start = double.initial_state(1, None, torch.float64)
        expected = double(audio.double(), knobs.double().unsqueeze(0), start)[0]
        compiled = network(audio, knobs.unsqueeze(0), network.initial_state(1))[0]
    player = network.player()
    player.load_state(network.initial_state(1))
    np.testing.assert_allclose(player.process(audio.numpy(), knobs.numpy()), expected.numpy(), atol=1e-6, rtol=0)
    torch.testing.assert_close(compiled.double(), expected, atol=1e-6, rtol=0)


def run_with_gradients(network: Network, audio: Tensor, knobs: Tensor, state: State) -> list[Tensor]:
    """Output, state after it, and gradients of everything that goes in."""
    audio, knobs = audio.clone().requires_grad_(), knobs.clone().requires_grad_()
    state = map_state(lambda part: part.clone().requires_grad_(), state)
    wet, after = network(audio, knobs, state)
    loss = wet.sin().sum() + sum(part.square().sum() for part in leaves(after))
    inputs = [audio, *([knobs] if knobs.numel() else []), *leaves(state), *network.parameters()]
    return [wet, *leaves(after), *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize(
    "rows, time, moving, channels, count", [(3, 75, False, 1, 2), (17, 40, True, 2, 1), (1, 1, False, 1, 0)]
)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_training_has_the_gradients_of_the_torch_path(
    name: str, sizes: dict[str, int], rows: int, time: int, moving: bool, channels: int, count: int
) -> None:
    # Slower units have gates so near to 1 that single precision knows little of what they lack.
    network = build(name, channels, count, **sizes, longest_ms=1.0).train()
    audio, knobs = noise(rows, channels, time), torch.rand(rows, *([time] if moving else []), count)
    state = random_state(network, rows)
    compiled = run_with_gradients(network, audio, knobs, state)
    double = copy.deepcopy(network).double()  # stays in torch
    in_double = map_state(lambda part: part.double(), state)
    for value, expected in zip(compiled, run_with_gradients(double, audio.double(), knobs.double(), in_double)):
        scale = max(expected.abs().max().item(), 0.1)
        torch.testing.assert_close(value.double(), expected, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_segments_of_any_lengths_run_on(name: str) -> None:
    network, audio, knobs = build(name), noise(2, 1, 150), torch.rand(2, 2)
    state = random_state(network, 2)
    with torch.no_grad():
        whole, last = network(audio, knobs, state)
        parts = []
        for part in audio.split([1, 31, 32, 33, 53], dim=-1):
            wet, state = network(part, knobs, state)
            parts.append(wet)
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, atol=1e-6, rtol=0)
    for part, expected in zip(leaves(state), leaves(last)):
        torch.testing.assert_close(part, expected, atol=1e-6, rtol=0)


def test_all_kernels_compile_ahead() -> None:
    warm()
