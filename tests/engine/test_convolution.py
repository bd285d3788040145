"""Vectors of sixteen numbers in compiled code, and products whose sums stay in registers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuralfx.engine.convolution import CHUNK, warm
from neuralfx.engine.player import Player
from neuralfx.nn.network import Network, State
from neuralfx.nn.state import map_state
from tests.checks import noise, tiny_model, two_knobs

PAIRS = ["TCNConcat", "TCNFiLM", "GCNConcat", "GCNFiLM"]
LENGTH = 1200
SMALL = {"channels": 5, "num_blocks": 4, "kernel_size": 4, "dilation_growth": 3}


def build(name: str, inputs: int = 1, knobs: int = 2, **sizes: Any) -> Network:
    """A network whose normalisations have statistics of their own."""
    effect = two_knobs(count=knobs)
    effect = type(effect)(effect.slug, effect.sample_rate, effect.knobs, channels=inputs)
    network = tiny_model(name, effect, **sizes).network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network


def play(player: Player, audio: torch.Tensor, knobs: torch.Tensor, block: int) -> np.ndarray:
    parts = []
    for start in range(0, audio.shape[-1], block):
        span = slice(start, start + block)
        parts.append(
            player.process(audio[..., span].contiguous().numpy(), (knobs[span] if knobs.dim() == 2 else knobs).numpy())
        )
    return np.concatenate(parts, axis=-1)


def expect(network: Network, audio: torch.Tensor, knobs: torch.Tensor) -> tuple[State, np.ndarray]:
    """A state in the middle of a stream, and what follows, in double precision."""
    double = copy.deepcopy(network).double()
    with torch.no_grad():
        before = 0.5 * noise(*audio.shape[:-1], 400).double().flip(-1)
        state = double.initial_state(len(audio), None, torch.float64)
        state = double(before, torch.full((len(audio), network.num_knobs), 0.3).double(), state)[1]
        wet = double(audio.double(), knobs.double().expand(len(audio), *knobs.shape), state)[0]
    return map_state(lambda part: part.float(), state), wet.numpy()


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_every_block_size_plays_what_the_network_computes(name: str, moving: bool) -> None:
    network, audio = build(name), noise(2, 1, LENGTH)
    knobs = torch.rand(LENGTH, 2) if moving else torch.rand(2)
    state, expected = expect(network, audio, knobs)
    first = None
    for block in (1, 7, 16, 64, CHUNK, CHUNK + 1, 512, LENGTH):
        player = network.player()
        player.load_state(state)
        wet = play(player, audio, knobs, block)
        first = wet if first is None else first
        np.testing.assert_allclose(wet, expected, atol=1e-6 * max(1, np.abs(expected).max()), rtol=0)
        np.testing.assert_allclose(wet, first, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sizes", [{}, SMALL, {"kernel_size": 1}, {"num_blocks": 1}], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_every_size_plays_what_the_network_computes(name: str, sizes: dict[str, int]) -> None:
    for channels, count in ((2, 2), (1, 0), (1, 1)):
        network, audio = build(name, channels, count, **sizes), noise(1, channels, 300)
        knobs = torch.rand(count)
        state, expected = expect(network, audio, knobs)
        player = network.player()
        player.load_state(state)
        wet = play(player, audio, knobs, 200)
        np.testing.assert_allclose(wet, expected, atol=1e-6 * max(1, np.abs(expected).max()), rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_knobs_set_between_blocks_act_from_there_on(name: str) -> None:
    network, audio = build(name), noise(1, 1, 600)
    settings = torch.rand(3, 2)
    state, expected = expect(network, audio, settings.repeat_interleave(200, dim=0))
    player = network.player()
    player.load_state(state)
    parts = [play(player, part, knobs, 64) for part, knobs in zip(audio.split(200, dim=-1), settings)]
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_knobs_may_move_and_stand_still_in_turn(name: str) -> None:
    network, audio = build(name), noise(1, 1, 600)
    still, moving = torch.rand(2), torch.rand(200, 2)
    values = torch.cat([still.repeat(200, 1), moving, still.repeat(200, 1)])
    state, expected = expect(network, audio, values)
    player = network.player()
    player.load_state(state)
    parts = [play(player, part, knobs, 64) for part, knobs in zip(audio.split(200, dim=-1), (still, moving, still))]
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), expected, atol=2e-6, rtol=0)


def test_a_player_keeps_the_weights_that_it_was_made_with() -> None:
    network, audio = build("TCNFiLM"), noise(1, 1, 100)
    player = network.player()
    player.load_state(network.initial_state(1))
    before = play(player, audio, torch.rand(2), 100)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    player.load_state(network.initial_state(1))
    assert np.isfinite(before).all()
    torch.manual_seed(0)
    knobs = torch.rand(2)
    first = play(player, audio, knobs, 100)
    player.load_state(network.initial_state(1))
    np.testing.assert_array_equal(first, play(player, audio, knobs, 100))


def test_all_kernels_compile_ahead() -> None:
    warm()
