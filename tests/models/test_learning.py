"""What the pairs are able to learn: minutes, so only on request, ``pytest -m slow tests/models/test_learning.py``."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import neuralfx
from neuralfx.models import architecture
from neuralfx.nn.state import detach
from tests.checks import two_knobs

pytestmark = pytest.mark.slow
RATE = 48_000


def excitation(rows: int, samples: int, seed: int) -> Tensor:
    """Noise through one pole, its level wandering over 40 dB, shape (rows, 1, samples)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, samples, generator=generator)
    level = torch.randn(rows, samples // 480 + 2, generator=generator)
    level = torch.nn.functional.interpolate(level.unsqueeze(1), size=samples, mode="linear").squeeze(1)
    lowpass = 0.9 ** torch.arange(100.0)
    smooth = torch.nn.functional.conv1d(noise.unsqueeze(1), lowpass.flip(0).view(1, 1, -1) / 3, padding=99)
    return smooth[..., :samples] * 10 ** (level.unsqueeze(1).clamp(-2, 1) / 2 - 0.7)


def one_pole(audio: Tensor, pole: Tensor) -> Tensor:
    """y = pole y' + (1 - pole) x along time; audio (rows, samples), pole (rows,)."""
    output, memory = [], torch.zeros(len(audio))
    for sample in audio.unbind(1):
        memory = pole * memory + (1 - pole) * sample
        output.append(memory)
    return torch.stack(output, dim=1)


def saturator(dry: Tensor, knobs: Tensor) -> Tensor:
    """A device with memory and two knobs: drive into a saturation, and a low-pass tone behind it."""
    driven = torch.tanh((1 + 3 * knobs[:, 0]).view(-1, 1) * dry.squeeze(1))
    return one_pole(driven, 0.8 - 0.6 * knobs[:, 1]).unsqueeze(1)


def train(model: torch.nn.Module, dry: Tensor, wet: Tensor, knobs: Tensor, steps: int, segment: int, lr: float) -> None:
    """Truncated back-propagation through time over lanes that run on, the learning rate falling to nothing."""
    network = model.network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.1)
    per_pass = dry.shape[-1] // segment
    state = network.initial_state(len(dry))
    for step in range(steps):
        place = step % per_pass
        if place == 0:
            state = network.initial_state(len(dry))
        span = slice(place * segment, (place + 1) * segment)
        estimate, state = network(dry[..., span], knobs, detach(state))
        loss = (estimate - wet[..., span]).square().mean() / wet[..., span].square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    network.eval()


def error_db(model: torch.nn.Module, dry: Tensor, wet: Tensor, knobs: Tensor, skip: int) -> float:
    """Level of the error relative to the target, in dB, behind ``skip`` samples of warm-up."""
    with torch.no_grad():
        estimate, _ = model.network(dry, knobs, model.network.initial_state(len(dry)))
    error = (estimate - wet)[..., skip:].square().mean() / wet[..., skip:].square().mean()
    return 10 * math.log10(float(error))


@pytest.mark.parametrize("name", neuralfx.list_architectures())
def test_every_pair_learns_a_device_with_two_knobs_to_20_db(name: str) -> None:
    torch.manual_seed(0)
    model = architecture(name)(effect=two_knobs(RATE).to_dict())
    knobs = torch.rand(24, 2)
    dry = excitation(len(knobs), 48_000, seed=1)
    steps = 1500 if name.startswith(("TCN", "GCN")) else 3000
    train(model, dry, saturator(dry, knobs), knobs, steps, segment=600, lr=0.01)
    unseen, settings = (
        excitation(4, 12_000, seed=2),
        torch.tensor([[0.25, 0.25], [0.25, 0.75], [0.75, 0.4], [0.9, 0.1]]),
    )
    reached = error_db(model, unseen, saturator(unseen, settings), settings, skip=2400)
    print(f"{name}: {reached:.1f} dB")
    assert reached < -20


@pytest.mark.parametrize("name", ["S4DFiLMGLU", "LRUFiLMGLU", "S6FiLMGLU"])
def test_state_space_models_remember_beyond_their_window(name: str) -> None:
    """A leaky integral of white noise over 1000 samples, of which the window of 64 holds little.

    What the last 64 samples do not hold is independent of them, so no model that sees these alone, linear or not, can
    bring the error below pole^(2 * 64) = -0.56 dB.
    """
    torch.manual_seed(0)
    model = architecture(name)(effect=two_knobs(RATE, count=0).to_dict())
    pole = torch.tensor(math.exp(-1 / 1000))
    no_knobs = torch.zeros(8, 0)

    def draw(seed: int) -> tuple[Tensor, Tensor]:
        dry = 0.3 * torch.randn(8, 24_000, generator=torch.Generator().manual_seed(seed))
        return dry.unsqueeze(1), 20 * one_pole(dry, pole.expand(8)).unsqueeze(1)

    train(model, *draw(seed=1), no_knobs, steps=800, segment=2400, lr=0.01)
    reached = error_db(model, *draw(seed=2), no_knobs, skip=2400)
    print(f"{name}: {reached:.1f} dB, without memory at best {20 * 64 * math.log10(float(pole)):.1f} dB")
    assert reached < -15
