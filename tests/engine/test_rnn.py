"""Compiled LSTM and GRU against torch, in double precision where it says so."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from neuralfx import engine
from neuralfx.engine import rnn
from neuralfx.engine.player import Player
from neuralfx.engine.threads import over_rows
from neuralfx.nn.network import Network, State
from neuralfx.nn.recurrent import GRUUnit, LSTMUnit, Recurrent, RecurrentWeights, Unit
from neuralfx.nn.rnn_concat import ConcatRNN
from neuralfx.nn.rnn_film import FiLMRNN
from neuralfx.nn.rnn_statichyper import StaticHyperRNN
from neuralfx.nn.state import map_state
from tests.checks import noise
from tests.nn.reference import as_tuple

UNITS = {"LSTM": LSTMUnit(), "GRU": GRUUnit()}
NETWORKS: dict[str, Callable[[Unit, int, int], Network]] = {
    "concat": lambda unit, knobs, size: ConcatRNN(unit, 1, knobs, size),
    "film": lambda unit, knobs, size: FiLMRNN(unit, 1, knobs, size, mlp_size=5),
    "statichyper": lambda unit, knobs, size: StaticHyperRNN(unit, 1, knobs, size, mlp_size=9),
}
BATCH = 3


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Unit:
    monkeypatch.setenv(engine.SWITCH, "wait")
    return UNITS[request.param]


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest, unit: Unit) -> Network:
    return build(request.param, unit)


def build(name: str, unit: Unit, knobs: int = 2, size: int = 7) -> Network:
    network = NETWORKS[name](unit, knobs, size)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def random_weights(unit: Unit, features: int, size: int, rows: int | None) -> RecurrentWeights:
    gates, shared = unit.gates * size, () if rows is None else (rows,)
    shapes = ((gates, features), (gates, size), (gates,), (gates,))
    return RecurrentWeights(*(0.4 * torch.randn(*shared, *shape) for shape in shapes))


def differentiate(
    unit: Unit, features: Tensor, weights: RecurrentWeights, state: State, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Outputs, state after them, and the gradients of all that goes in."""
    parts = {"features": features, **weights._asdict(), **dict(enumerate(as_tuple(state)))}
    leaves = {name: part.to(dtype, copy=True).requires_grad_() for name, part in parts.items()}
    own = RecurrentWeights(*(leaves[name] for name in weights._fields))
    start = tuple(leaves[number] for number in range(len(as_tuple(state))))
    outputs, after = unit.run(leaves["features"], own, start if isinstance(state, tuple) else start[0])
    nodes = (outputs.grad_fn, outputs.grad_fn.next_functions[0][0])  # a slice of padded ones, or themselves
    assert (dtype == torch.float64) == ("_Run" not in str(nodes))
    results = [outputs, *as_tuple(after)]
    fixed = torch.Generator().manual_seed(0)
    loss = sum((result * torch.randn(result.shape, generator=fixed).to(dtype)).sum() for result in results)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return {**{f"result {n}": part for n, part in enumerate(results)}, **dict(zip(map(str, leaves), gradients))}


def random_state(unit: Unit, rows: int, size: int) -> State:
    return map_state(torch.randn_like, unit.initial_state(rows, size, None, torch.float32))


@pytest.mark.parametrize("rows", [None, BATCH], ids=["shared weights", "weights of each row"])
@pytest.mark.parametrize("features, size, time", [(1, 32, 50), (4, 8, 37), (3, 5, 1), (8, 40, 20), (11, 1, 30)])
def test_training_agrees_with_double_precision(
    unit: Unit, rows: int | None, features: int, size: int, time: int
) -> None:
    weights, state = random_weights(unit, features, size, rows), random_state(unit, BATCH, size)
    arguments = (unit, torch.randn(BATCH, time, features), weights, state)
    compiled, reference = (differentiate(*arguments, dtype) for dtype in (torch.float32, torch.float64))
    for name, part in compiled.items():
        error = (part - reference[name]).abs().max() / reference[name].abs().max()
        assert error < 1e-5, f"{name}: {error}"


def test_gradients_can_be_taken_twice_from_one_run(unit: Unit) -> None:
    layer = Recurrent(unit, 2, 6)
    outputs, _ = layer(torch.randn(2, 30, 2), layer.initial_state(2, None, torch.float32))
    loss, parameters = outputs.square().sum(), list(layer.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    for one, other in zip(first, torch.autograd.grad(loss, parameters)):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_features_and_gradients_may_lie_in_any_order(unit: Unit) -> None:
    layer, features = Recurrent(unit, 2, 6), torch.randn(2, 2, 30).transpose(1, 2)
    state = layer.initial_state(2, None, torch.float32)
    gradients = []
    for given in (features, features.contiguous()):
        layer.zero_grad()
        (
            layer(given, state)[0].transpose(1, 2) * torch.randn(2, 6, 30, generator=torch.manual_seed(0))
        ).sum().backward()
        gradients.append([parameter.grad for parameter in layer.parameters()])
    torch.testing.assert_close(*gradients, atol=0, rtol=0)


def test_without_gradients_the_outputs_are_the_same(unit: Unit) -> None:
    layer, features = Recurrent(unit, 2, 6), torch.randn(2, 30, 2)
    state = layer.initial_state(2, None, torch.float32)
    with torch.no_grad():
        quick = layer(features, state)
    torch.testing.assert_close(quick, layer(features, state), atol=0, rtol=0)


def test_segments_of_any_length_add_up(unit: Unit) -> None:
    layer, features = Recurrent(unit, 2, 6), torch.randn(2, 60, 2)
    state = layer.initial_state(2, None, torch.float32)
    whole, end = layer(features, state)
    parts = []
    for segment in features.split([1, 40, 19], dim=1):
        part, state = layer(segment, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=0, rtol=0)
    torch.testing.assert_close(state, end, atol=0, rtol=0)


def play(player: Player, state: State, audio: np.ndarray, knobs: np.ndarray, blocks: int) -> np.ndarray:
    player.load_state(state)
    parts = []
    for start in range(0, audio.shape[-1], blocks):
        span = slice(start, start + blocks)
        parts.append(player.process(audio[..., span], knobs if knobs.ndim == 1 else knobs[span]))
    return np.concatenate(parts, axis=-1)


def reference(network: Network, audio: np.ndarray, knobs: np.ndarray, state: State | None = None) -> np.ndarray:
    """The network in double precision."""
    double = copy.deepcopy(network).double()
    values = torch.from_numpy(knobs).double().expand(len(audio), *knobs.shape)
    if state is None:
        state = double.initial_state(len(audio), dtype=torch.float64)
    else:
        state = map_state(lambda part: part.double() if part.is_floating_point() else part, state)
    with torch.no_grad():
        return double(torch.from_numpy(audio).double(), values, state)[0].numpy()


def moving_knobs(time: int) -> np.ndarray:
    """One knob moves all the time, the other in two steps of which the second is off the grid."""
    steps = np.repeat([0.1, 0.8, 0.3], [time // 2, 101, time - time // 2 - 101])
    return np.stack([np.linspace(0, 1, time), steps], axis=1).astype(np.float32)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("rows", [1, 2])
def test_a_player_plays_what_the_network_computes(network: Network, rows: int, moving: bool) -> None:
    audio = noise(rows, 1, 700).numpy()
    knobs = moving_knobs(700) if moving else np.array([0.3, 0.9], dtype=np.float32)
    player, expected = network.player(), reference(network, audio, knobs)
    assert player is not None
    for blocks in (1, 7, 16, 64, 512, 700):
        wet = play(player, network.initial_state(rows), audio, knobs, blocks)
        assert wet.dtype == np.float32
        np.testing.assert_allclose(wet, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [4, 24, 32, 33])
@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_of_several_groups_play_through_several_inner_blocks(name: str, unit: Unit, size: int) -> None:
    network, audio = build(name, unit, size=size), noise(1, 1, 1200).numpy()
    player = network.player()
    assert player is not None
    for knobs in (moving_knobs(1200), np.array([0.3, 0.9], dtype=np.float32)):
        wet = play(player, network.initial_state(1), audio, knobs, 1000)
        np.testing.assert_allclose(wet, reference(network, audio, knobs), atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_without_knobs_plays(name: str, unit: Unit) -> None:
    network, audio, knobs = build(name, unit, knobs=0), noise(1, 1, 100).numpy(), np.zeros(0, dtype=np.float32)
    player = network.player()
    assert player is not None
    for values in (knobs, np.zeros((100, 0), dtype=np.float32)):
        wet = play(player, network.initial_state(1), audio, values, 33)
        np.testing.assert_allclose(wet, reference(network, audio, knobs), atol=1e-6, rtol=0)


@pytest.mark.parametrize("first", [3, 64, 101])
def test_a_player_goes_on_where_the_network_stopped(network: Network, first: int) -> None:
    audio, knobs = noise(2, 1, 300), torch.from_numpy(moving_knobs(300))
    before, after = audio[..., :first], audio[..., first:]
    with torch.no_grad():
        _, state = network(before, knobs[:first].expand(2, -1, -1), network.initial_state(2))
    player = network.player()
    assert player is not None
    for rest in (knobs[first:].numpy(), knobs[-1].numpy()):
        wet = play(player, state, after.numpy(), rest, 50)
        np.testing.assert_allclose(wet, reference(network, after.numpy(), rest, state), atol=1e-6, rtol=0)


def test_rows_may_stand_at_different_places_of_the_grid(unit: Unit) -> None:
    network, audio = build("film", unit), noise(2, 1, 100)
    knobs = torch.tensor([[0.9, 0.4], [0.1, 0.8]])
    with torch.no_grad():
        states = [
            network(audio[:1, :, :n], value[None], network.initial_state(1))[1] for n, value in zip((3, 6), knobs)
        ]
    state = merge(states)
    player = network.player()
    assert player is not None
    now = np.array([0.5, 0.5], dtype=np.float32)
    wet = play(player, state, audio.numpy(), now, 30)
    for row, own in enumerate(states):
        alone = reference(network, audio[row : row + 1].numpy(), now, own)
        np.testing.assert_allclose(wet[row : row + 1], alone, atol=1e-6, rtol=0)


def merge(states: list[State]) -> State:
    if isinstance(states[0], tuple):
        return tuple(merge(list(parts)) for parts in zip(*states))
    return torch.cat(states)


def test_a_knob_set_between_blocks_is_a_step_of_a_moving_knob(network: Network) -> None:
    audio, values = noise(1, 1, 240).numpy(), np.array([[0.2, 0.5], [0.9, 0.1], [0.9, 0.7]], dtype=np.float32)
    player = network.player()
    assert player is not None
    player.load_state(network.initial_state(1))
    lengths = (75, 2, 163)
    blocks = np.split(audio, np.cumsum(lengths)[:-1], axis=-1)
    wet = np.concatenate([player.process(block, value) for block, value in zip(blocks, values)], axis=-1)
    expected = reference(network, audio, np.repeat(values, lengths, axis=0))
    np.testing.assert_allclose(wet, expected, atol=1e-6, rtol=0)


def test_a_player_keeps_its_own_copy_of_weights_and_state(network: Network) -> None:
    audio, knobs, state = noise(1, 1, 64).numpy(), np.array([0.3, 0.9], dtype=np.float32), network.initial_state(1)
    player = network.player()
    assert player is not None
    first = play(player, state, audio, knobs, 64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(play(player, state, audio, knobs, 64), first)


def test_long_blocks_of_several_rows_sound_the_same_in_threads(network: Network, two_threads: None) -> None:
    audio, knobs = noise(2, 1, 4096).numpy(), moving_knobs(4096)
    player = network.player()
    assert player is not None
    alone = [play(player, network.initial_state(1), audio[row : row + 1], knobs, 4096) for row in range(2)]
    np.testing.assert_array_equal(play(player, network.initial_state(2), audio, knobs, 4096), np.concatenate(alone))


def test_several_channels_of_audio_are_left_to_torch(unit: Unit) -> None:
    assert ConcatRNN(unit, 2, 1, 4).player() is None
    assert FiLMRNN(unit, 2, 1, 4, 4).player() is None
    assert StaticHyperRNN(unit, 2, 1, 4, 4).player() is None


def test_an_error_in_one_row_is_raised(two_threads: None) -> None:
    def fail(row: int) -> None:
        raise ValueError(f"row {row}")

    for time in (1, 4096):
        with pytest.raises(ValueError, match="row 0"):
            over_rows(fail, 2, time)


def test_what_has_decayed_becomes_zero() -> None:
    state = np.array([[1.0, 1e-29, -1e-29], [1e-31, -1e-31, 1e-40]], dtype=np.float32)
    rnn._clear_inaudible(state)
    np.testing.assert_array_equal(state, np.array([[1.0, 1e-29, -1e-29], [0, 0, 0]], dtype=np.float32))
