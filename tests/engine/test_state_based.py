"""Players of all five state-based networks, against torch in double and in single precision."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuralfx import engine
from neuralfx.effect import Effect
from neuralfx.nn.network import Network
from neuralfx.nn.state import map_state
from tests.checks import noise, tiny_model, two_knobs

LENGTH = 700  # several chunks of the compiled loops, and a part of one
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTMFiLMGLU", {}),
    "lstm-odd": ("LSTMFiLMGLU", {"hidden_size": 11, "features": 5, "window": 13}),
    "ed": ("EDFiLMGLU", {}),
    "ed-published": (
        "EDFiLMGLU", {"hidden_size": 4, "encoder_taps": 63, "decoder_taps": 1, "combine": "add"}
    ),
    "ed-odd": ("EDFiLMGLU", {"hidden_size": 9, "features": 3, "encoder_taps": 1, "decoder_taps": 5}),
    "s4d": ("S4DFiLMGLU", {}),
    "s4d-stacked": ("S4DFiLMGLU", {"features": 11, "state_size": 6, "num_blocks": 3, "window": 1}),
    "lru": ("LRUFiLMGLU", {}),
    "lru-stacked": ("LRUFiLMGLU", {"features": 9, "state_size": 17, "num_blocks": 2, "window": 30}),
    "s6": ("S6FiLMGLU", {}),
    "s6-stacked": ("S6FiLMGLU", {"features": 9, "state_size": 3, "rank": 2, "num_blocks": 2, "window": 17}),
}  # fmt: skip


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    name, arguments = NETWORKS[request.param]
    return tiny_model(name, **arguments).network


def knobs_of(moving: bool, length: int = LENGTH) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(length, 2, generator=generator) if moving else torch.tensor([0.3, 0.9])


def by_torch(
    network: Network, audio: Tensor, knobs: Tensor, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> Tensor:
    monkeypatch.setenv(engine.SWITCH, "torch")
    network = copy.deepcopy(network).to(dtype)
    with torch.no_grad():
        state = network.initial_state(len(audio), None, dtype)
        output, _ = network(audio.to(dtype), knobs.to(dtype).expand(len(audio), *knobs.shape), state)
    monkeypatch.delenv(engine.SWITCH)
    return output


def by_player(network: Network, audio: Tensor, knobs: Tensor, block: int) -> Tensor:
    player = network.player()
    assert player is not None
    player.load_state(network.initial_state(len(audio)))
    parts = []
    for start in range(0, audio.shape[-1], block):
        now = knobs[start : start + block] if knobs.dim() == 2 else knobs
        parts.append(player.process(audio[..., start : start + block].numpy(), now.numpy()))
    return torch.from_numpy(np.concatenate(parts, axis=-1))


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_players_give_what_torch_gives_at_every_block_size(
    network: Network, moving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, knobs = noise(2, 1, LENGTH), knobs_of(moving)
    exact = by_torch(network, audio, knobs, torch.float64, monkeypatch).float()
    single = by_torch(network, audio, knobs, torch.float32, monkeypatch)
    whole = by_player(network, audio, knobs, LENGTH)
    torch.testing.assert_close(whole, exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(whole, single, atol=1e-6, rtol=0)
    for block in (1, 7, 16, 64, 512):
        torch.testing.assert_close(by_player(network, audio, knobs, block), whole, atol=5e-7, rtol=0)


def test_players_go_on_from_a_state_of_the_network(network: Network) -> None:
    audio, knobs = noise(2, 1, LENGTH), knobs_of(False)
    with torch.no_grad():
        expected, _ = network(audio, knobs.expand(2, 2), network.initial_state(2))
        _, state = network(audio[..., :333], knobs.expand(2, 2), network.initial_state(2))
    player = network.player()
    assert player is not None
    player.load_state(state)
    played = torch.from_numpy(player.process(audio[..., 333:].numpy(), knobs.numpy()))
    torch.testing.assert_close(played, expected[..., 333:], atol=1e-6, rtol=0)
    held: list[Tensor] = []
    map_state(lambda part: held.append(part.clone()) or part, state)
    player.process(audio.numpy(), knobs.numpy())
    map_state(lambda part: torch.testing.assert_close(part, held.pop(0), atol=0, rtol=0) or part, state)


def test_rows_play_as_they_would_alone_even_in_threads(network: Network, two_threads: None) -> None:
    audio, knobs = noise(3, 1, 5000), knobs_of(True, 5000)
    together = by_player(network, audio, knobs, 5000)
    alone = torch.cat([by_player(network, row, knobs, 5000) for row in audio.split(1)])
    torch.testing.assert_close(together, alone, atol=0, rtol=0)


def test_a_knob_set_between_blocks_is_a_step_of_a_moving_knob(network: Network) -> None:
    audio = noise(1, 1, 300)
    moving = torch.tensor([0.2, 0.9, 0.4]).repeat_interleave(100).unsqueeze(1).expand(300, 2).contiguous()
    player = network.player()
    assert player is not None
    parts = [player.process(block.numpy(), moving[100 * i].numpy()) for i, block in enumerate(audio.split(100, dim=-1))]
    stepped = torch.from_numpy(np.concatenate(parts, axis=-1))
    torch.testing.assert_close(stepped, by_player(network, audio, moving, 300), atol=1e-6, rtol=0)


def test_a_player_keeps_the_weights_that_it_was_made_with(network: Network) -> None:
    audio, knobs = noise(1, 1, 50).numpy(), knobs_of(False).numpy()
    player, other = network.player(), network.player()
    assert player is not None and other is not None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    np.testing.assert_array_equal(player.process(audio, knobs), other.process(audio, knobs))


def test_silence_leaves_nothing_that_a_processor_would_call_denormal(network: Network) -> None:
    player = network.player()
    assert player is not None
    for size in (1e-37, 0):
        player.process((size * noise(1, 1, 400)).numpy(), np.zeros(2, np.float32))
    for name in ("_history", "_memory"):
        size = np.abs(getattr(player, name))
        assert not ((size > 0) & (size < np.finfo(np.float32).tiny)).any()


@pytest.mark.parametrize("name", sorted({name for name, _ in NETWORKS.values()}))
def test_networks_without_knobs_have_players_and_those_of_two_channels_have_none(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, audio = tiny_model(name, two_knobs(count=0)).network, noise(1, 1, 100)
    expected = by_torch(network, audio, torch.zeros(0), torch.float64, monkeypatch).float()
    torch.testing.assert_close(by_player(network, audio, torch.zeros(0), 30), expected, atol=1e-6, rtol=0)
    stereo = Effect("stereo", 48_000, two_knobs().knobs, channels=2)
    assert tiny_model(name, stereo).network.player() is None


def test_states_of_s4d_that_nothing_enters_stay_finite() -> None:
    network = tiny_model("S4DFiLMGLU").network
    with torch.no_grad():
        network.blocks[0].recurrent.log_decay[0] = -900.0  # the gain underflows to 0
    audio = noise(1, 1, 100)
    with torch.no_grad():
        expected, _ = network(audio, torch.zeros(1, network.num_knobs), network.initial_state(1))
    player = network.player()
    assert player is not None
    player.load_state(network.initial_state(1))
    played = player.process(audio.numpy(), np.zeros(network.num_knobs, np.float32))
    np.testing.assert_allclose(played, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["S4DFiLMGLU", "LRUFiLMGLU", "S6FiLMGLU"])
def test_time_constants_of_two_seconds_stay_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_model(name, longest_ms=2000.0).network
    audio, knobs = noise(1, 1, 24_000), knobs_of(False)
    exact = by_torch(network, audio, knobs, torch.float64, monkeypatch).float()
    whole = by_player(network, audio, knobs, 24_000)
    torch.testing.assert_close(whole, exact, atol=1e-6, rtol=0)
    torch.testing.assert_close(by_player(network, audio, knobs, 500), whole, atol=5e-7, rtol=0)
