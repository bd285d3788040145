"""The gated convolutional network against explicit sums over the past, sample by sample in double precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neuralfx.hub.package import load_folder, replay_check, save_folder
from neuralfx.models import architecture
from neuralfx.models.base import EffectModule
from neuralfx.models.gcn import GCNConcat, GCNFiLM, GCNLink
from neuralfx.nn.network import State
from neuralfx.nn.operations import Operations
from tests.checks import noise, run, tiny_model, two_knobs

PAIRS = ("GCNConcat", "GCNFiLM")
LA2A = {"num_blocks": 9, "kernel_size": 5, "dilation_growth": 3}
KERNEL, GROWTH = 3, 2


def small(name: str, count: int = 2) -> EffectModule:
    """Three blocks in double precision."""
    model = tiny_model(name, two_knobs(count=count), channels=4, num_blocks=3).double()
    return model


def random_state(model: EffectModule) -> State:
    return tuple(torch.randn_like(part) for part in model.network.initial_state(2, dtype=torch.float64))


def knob_code(weights: Mapping[str, Tensor], knobs: Tensor) -> Tensor:
    """The three linear layers between -1..1 knobs and FiLM."""
    for number in (0, 2, 4):
        knobs = knobs @ weights[f"mlp.{number}.weight"].T + weights[f"mlp.{number}.bias"]
        if number < 4:
            knobs = torch.where(knobs > 0, knobs, 0.1 * knobs)
    return knobs


def film(weights: Mapping[str, Tensor], block: str, features: Tensor, knobs: Tensor) -> Tensor:
    generated = knob_code(weights, knobs) @ weights[f"{block}.film.linear.weight"].T
    generated = generated + weights[f"{block}.film.linear.bias"]
    return generated[:, :4] * features + generated[:, 4:]


def convolve(weights: Mapping[str, Tensor], block: str, past: list[Tensor], dilation: int) -> Tensor:
    """What a block's convolution makes of all its inputs so far, each of shape (batch, channels)."""
    total = weights[f"{block}.filter.convolution.bias"]
    for tap in range(KERNEL):
        moment = -1 - (KERNEL - 1 - tap) * dilation
        total = total + past[moment] @ weights[f"{block}.filter.convolution.weight"][..., tap].T
    return total


def recur(model: EffectModule, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
    """The equations of the docstring as they stand there, for knobs of shape (batch, time, knobs)."""
    weights = dict(model.network.named_parameters())
    pasts = [list(part.unbind(-1)) for part in state]
    outputs: list[Tensor] = []
    for sample in range(audio.shape[-1]):
        features, centred = audio[..., sample], 2 * knobs[:, sample] - 1
        if isinstance(model, GCNConcat):
            features = torch.cat([features, centred], dim=1)
        output = torch.zeros_like(audio[..., 0])
        for number, past in enumerate(pasts):
            past.append(features)
            filtered = convolve(weights, f"blocks.{number}", past, GROWTH**number)
            gated = filtered[:, :4].tanh() / (1 + torch.exp(-filtered[:, 4:]))
            if isinstance(model, GCNFiLM) and centred.shape[1]:
                gated = film(weights, f"blocks.{number}", gated, centred)
            output = output + gated @ weights["output.weight"][:, 4 * number : 4 * number + 4, 0].T
            if number < len(pasts) - 1:
                link = f"links.{number}"
                features = features @ weights[f"{link}.residual.weight"][..., 0].T + weights[f"{link}.residual.bias"]
                features = features + gated @ weights[f"{link}.mix.weight"][..., 0].T + weights[f"{link}.mix.bias"]
        outputs.append(output)
    lengths = [part.shape[-1] for part in state]
    after = tuple(torch.stack(past[-length:], dim=-1) for past, length in zip(pasts, lengths))
    return torch.stack(outputs, dim=-1), after


@pytest.mark.parametrize("time", [1, 5, 40])
@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("name", PAIRS)
def test_the_network_is_its_sums_over_the_past_from_any_state(name: str, count: int, time: int) -> None:
    model = small(name, count)
    state, audio = random_state(model), noise(2, 1, time, dtype=torch.float64)
    knobs = torch.rand(2, time, count, dtype=torch.float64)
    output, after = model.network(audio, knobs, state)
    expected, expected_after = recur(model, audio, knobs, state)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(after, expected_after, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_equal_those_of_the_sums(name: str) -> None:
    model = small(name)
    state = random_state(model)
    knobs = torch.rand(2, 30, 2, dtype=torch.float64)
    gradients = []
    for compute in (model.network, lambda *values: recur(model, *values)):
        audio = noise(2, 1, 30, dtype=torch.float64).requires_grad_()
        inputs = [audio, *model.network.parameters()]
        gradients.append(torch.autograd.grad(compute(audio, knobs, state)[0].square().sum(), inputs))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_knobs_that_move_without_going_anywhere_stand_still(name: str) -> None:
    network = small(name).network
    audio, still = noise(2, 1, 50, dtype=torch.float64), torch.rand(2, 2, dtype=torch.float64)
    moving = still.unsqueeze(1).expand(-1, 50, -1)
    torch.testing.assert_close(run(network, audio, moving), run(network, audio, still), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_blocks_of_any_size_carry_on_where_the_last_one_stopped(name: str) -> None:
    network = small(name).network
    audio, knobs = noise(2, 1, 60, dtype=torch.float64), torch.rand(2, 60, 2, dtype=torch.float64)
    state, parts, start = network.initial_state(2, dtype=torch.float64), [], 0
    for size in (1, 2, 30, 7, 20):
        block = slice(start, start + size)
        part, state = network(audio[..., block], knobs[:, block], state)
        parts.append(part)
        start += size
    torch.testing.assert_close(torch.cat(parts, dim=-1), run(network, audio, knobs), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("sizes", "samples"), [({}, 2047), (LA2A, 39_365)])
@pytest.mark.parametrize("name", PAIRS)
def test_receptive_fields_equal_the_published_ones(name: str, sizes: dict[str, Any], samples: int) -> None:
    assert architecture(name)(effect=two_knobs().to_dict(), **sizes).network.receptive_field == samples


@pytest.mark.parametrize("name", PAIRS)
def test_a_sample_hears_its_receptive_field_and_nothing_else(name: str) -> None:
    network = small(name).network
    audio = noise(1, 1, 40, dtype=torch.float64).requires_grad_()
    knobs = torch.full((1, 2), 0.3, dtype=torch.float64)
    output, _ = network(audio, knobs, network.initial_state(1, dtype=torch.float64))
    output[0, 0, 30].backward()
    assert audio.grad is not None
    assert network.receptive_field == 15
    assert audio.grad[0, 0].nonzero().flatten().tolist() == list(range(16, 31))


@pytest.mark.parametrize(
    ("name", "count", "sizes", "published"),
    [
        ("GCNConcat", 2, {}, 19_824),
        ("GCNConcat", 1, LA2A, 25_904),
        ("GCNFiLM", 2, {}, 32_368),
        ("GCNFiLM", 1, LA2A, 37_408),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, count: int, sizes: dict[str, Any], published: int) -> None:
    sized = {**sizes, "effect": two_knobs(count=count).to_dict()}
    networks = [architecture(name)(**sized, published_layout=layout).network for layout in (True, False)]
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [published, published - 544]
    assert networks[0].operations(True) == networks[1].operations(True)


@pytest.mark.parametrize(("name", "published"), [("GCNConcat", 1.855875e9), ("GCNFiLM", 1.834397e9)])
def test_multiply_adds_are_those_behind_the_published_operation_counts(name: str, published: float) -> None:
    """48000 samples in, each block shorter than the one before; 2 per multiply-add and 1 per bias of a convolution."""
    network: Any = architecture(name)(effect=two_knobs().to_dict()).network

    def cost(layer: torch.nn.Conv1d, length: int) -> int:
        return length * (2 * layer.weight.numel() + (0 if layer.bias is None else layer.bias.numel()))

    links: list[Any] = [*network.links, GCNLink(16, 16)]  # the published networks have one behind the last block too
    length, total = 48_000, 0
    for number, (block, link) in enumerate(zip(network.blocks, links)):
        total += cost(link.residual, length)
        length -= 2 * 2**number
        total += cost(block.filter.convolution, length) + cost(link.mix, length)
    total += cost(network.output, length)
    if name == "GCNFiLM":  # once per call: MLP of 32 with 64 rectifiers, then 10 layers from 32 to 32; biases are free
        total += 2 * (2 * 32 + 2 * 32 * 32) + 64 + 10 * 2 * 32 * 32
    assert length == 45_954
    assert total == pytest.approx(published, abs=500)


def test_operations_are_counted_by_hand() -> None:
    # Per block: 3 taps x in x 8 + bias, 8 functions, 4 products; the output hears 4 of each block, without a bias.
    first, other = Operations(24 + 4, 24, 8), Operations(96 + 4, 96, 8)
    # Per link: mix 4 x 4 + bias, residual in x 4 + bias, sum of both.
    first_link, other_link = Operations(16 + 4, 16 + 4 + 4, 0), Operations(16 + 16, 16 + 16 + 4, 0)
    output = Operations(12, 11, 0)
    parts = (first, other, other, first_link, other_link, output)
    audio_alone = Operations(*(sum(column) for column in zip(*parts)))
    assert small("GCNFiLM", count=0).network.operations(moving=True) == audio_alone
    # Still knobs: FiLM's gain and shift of 4 features per block; as channels they are in the biases.
    film_still = Operations(audio_alone[0] + 12, audio_alone[1] + 12, audio_alone[2])
    assert small("GCNFiLM").network.operations(moving=False) == film_still
    assert small("GCNConcat").network.operations(moving=False) == audio_alone
    # Moving knobs: MLP 2 > 32 > 32 > 32 with biases and 64 rectifiers, 32 > 8 in each block.
    generator = 64 + 1024 + 1024 + 3 * 256
    film_moving = Operations(film_still[0] + generator, film_still[1] + generator, film_still[2] + 64)
    assert small("GCNFiLM").network.operations(moving=True) == film_moving
    # Moving knobs as channels: two more inputs to the first convolution and residual.
    concat_moving = Operations(audio_alone[0] + 48 + 8, audio_alone[1] + 48 + 8, audio_alone[2])
    assert small("GCNConcat").network.operations(moving=True) == concat_moving


@pytest.mark.parametrize("name", PAIRS)
def test_a_model_folder_keeps_what_use_depends_on(name: str, tmp_path: Path) -> None:
    model = small(name).float()
    save_folder(
        model.eval(), tmp_path / "my-amp", name="my-amp", card="# x", metrics={}, training={}, recipe="", licence="mit"
    )  # fmt: skip
    loaded = load_folder(tmp_path / "my-amp")
    assert loaded.network.state_dict().keys() == model.network.state_dict().keys()
    torch.testing.assert_close(loaded.process(noise(100)), model.process(noise(100)), atol=0, rtol=0)
    assert replay_check(loaded, tmp_path / "my-amp") == 0.0
