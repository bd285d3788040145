"""The temporal convolutional network against explicit sums over the past, sample by sample in double precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from neuralfx.errors import ConfigError
from neuralfx.hub.package import load_folder, replay_check, save_folder
from neuralfx.models import architecture
from neuralfx.models.base import EffectModule
from neuralfx.models.tcn import TCNConcat
from neuralfx.nn.network import State
from neuralfx.nn.operations import Operations
from tests.checks import noise, run, tiny_model, two_knobs

PAIRS = ("TCNConcat", "TCNFiLM")
LA2A = {"num_blocks": 9, "kernel_size": 5, "dilation_growth": 3}
KERNEL, GROWTH = 3, 2


def small(name: str, count: int = 2) -> EffectModule:
    """Three blocks, with statistics of BatchNorm that matter, in double precision."""
    model = tiny_model(name, two_knobs(count=count), channels=4, num_blocks=3).double()
    for buffer, statistic in model.network.named_buffers():
        if buffer.endswith("running_mean"):
            statistic.normal_(0, 0.1)
        elif buffer.endswith("running_var"):
            statistic.uniform_(0.5, 2.0)
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
    weights = {**dict(model.network.named_parameters()), **dict(model.network.named_buffers())}
    pasts = [list(part.unbind(-1)) for part in state]
    outputs: list[Tensor] = []
    for sample in range(audio.shape[-1]):
        features, centred = audio[..., sample], 2 * knobs[:, sample] - 1
        if isinstance(model, TCNConcat):
            features = torch.cat([features, centred], dim=1)
        for number, past in enumerate(pasts):
            block = f"blocks.{number}"
            past.append(features)
            normed = convolve(weights, block, past, GROWTH**number) - weights[f"{block}.norm.running_mean"]
            normed = normed / (weights[f"{block}.norm.running_var"] + 1e-5).sqrt()
            if isinstance(model, TCNConcat):
                normed = normed * weights[f"{block}.norm.weight"] + weights[f"{block}.norm.bias"]
            elif centred.shape[1]:
                normed = film(weights, block, normed, centred)
            rectified = torch.where(normed > 0, normed, 0.1 * normed)
            features = rectified + features @ weights[f"{block}.residual.weight"][..., 0].T
        outputs.append(features @ weights["output.weight"][..., 0].T + weights["output.bias"])
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
    ("name", "count", "sizes", "parameters"),
    [
        ("TCNConcat", 2, {}, 21_769),
        ("TCNConcat", 1, LA2A, 28_609),
        ("TCNFiLM", 2, {}, 29_849),
        ("TCNFiLM", 1, LA2A, 35_953),
    ],
)
def test_parameter_counts_equal_the_published_ones(
    name: str, count: int, sizes: dict[str, Any], parameters: int
) -> None:
    model = architecture(name)(effect=two_knobs(count=count).to_dict(), **sizes)
    assert sum(parameter.numel() for parameter in model.network.parameters()) == parameters


def test_operations_are_counted_by_hand() -> None:
    # Per block: 3 taps x in x 4 + bias, BatchNorm, rectifier, residual in x 4 without bias, sum of both.
    first = Operations(12 + 4 + 4, 12 + 4 + (4 - 4) + 4, 4)
    other = Operations(48 + 4 + 16, 48 + 4 + (16 - 4) + 4, 4)
    output = Operations(4, 4, 0)
    audio_alone = Operations(*(a + 2 * b + c for a, b, c in zip(first, other, output)))
    assert small("TCNFiLM", count=0).network.operations(moving=True) == audio_alone
    assert small("TCNConcat", count=0).network.operations(moving=False) == audio_alone
    # Still knobs: FiLM's gain and shift of 4 features per block; or a bias for the residual of the first block.
    film_still = Operations(audio_alone[0] + 12, audio_alone[1] + 12, audio_alone[2])
    assert small("TCNFiLM").network.operations(moving=False) == film_still
    concat_still = Operations(audio_alone[0], audio_alone[1] + 4, audio_alone[2])
    assert small("TCNConcat").network.operations(moving=False) == concat_still
    # Moving knobs: MLP 2 > 16 > 16 > 16 with biases and 32 rectifiers, 16 > 8 in each block.
    generator = 32 + 256 + 256 + 3 * 128
    film_moving = Operations(film_still[0] + generator, film_still[1] + generator, film_still[2] + 32)
    assert small("TCNFiLM").network.operations(moving=True) == film_moving
    # Moving knobs as channels: two more inputs to the first convolution and residual.
    concat_moving = Operations(audio_alone[0] + 24 + 8, audio_alone[1] + 24 + 8, audio_alone[2])
    assert small("TCNConcat").network.operations(moving=True) == concat_moving


@pytest.mark.parametrize("name", PAIRS)
def test_use_does_not_change_the_statistics_of_training(name: str) -> None:
    model = small(name).float().train()
    model.process(noise(100))
    before = {key: value.clone() for key, value in model.network.named_buffers()}
    model.process(noise(1000))
    model.stream().process(noise(100))
    assert model.network.training
    for key, value in model.network.named_buffers():
        torch.testing.assert_close(value, before[key], atol=0, rtol=0)


@pytest.mark.parametrize("name", PAIRS)
def test_a_model_folder_keeps_what_use_depends_on(name: str, tmp_path: Path) -> None:
    model = small(name).float()
    model.train()
    model.network(noise(2, 1, 100), torch.rand(2, 2), model.network.initial_state(2))
    counted = model.network.state_dict()["blocks.0.norm.num_batches_tracked"]
    assert (counted.dtype, int(counted)) == (torch.int64, 1)
    save_folder(
        model.eval(), tmp_path / "my-amp", name="my-amp", card="# x", metrics={}, training={}, recipe="", licence="mit"
    )  # fmt: skip
    loaded = load_folder(tmp_path / "my-amp")
    assert loaded.network.state_dict().keys() == model.network.state_dict().keys()
    torch.testing.assert_close(loaded.process(noise(100)), model.process(noise(100)), atol=0, rtol=0)
    assert replay_check(loaded, tmp_path / "my-amp") == 0.0


@pytest.mark.parametrize("name", ["TCNConcat", "TCNFiLM", "GCNConcat", "GCNFiLM"])
def test_dilations_that_no_audio_reaches_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="dilation_growth: expected dilations of at most 2147483648 samples"):
        tiny_model(name, two_knobs(), num_blocks=32, kernel_size=1, dilation_growth=16)
