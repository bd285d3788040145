"""What every architecture/conditioning pair promises."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

import neuralfx
from neuralfx.datasets import PairedAudioDataModule
from neuralfx.models import architecture
from neuralfx.models.base import load_checkpoint
from neuralfx.nn.state import map_state
from tests.checks import noise, run, tiny_model, two_knobs

PAIRS = neuralfx.list_architectures()
pytestmark = pytest.mark.parametrize("name", PAIRS)


@pytest.mark.parametrize("blocks", [[1], [7], [63], [64], [65], [127, 1, 300], [441], [4096]], ids=str)
def test_every_block_size_gives_the_same_sound(name: str, blocks: list[int]) -> None:
    model, dry = tiny_model(name), noise(2, 4096)
    moving = np.linspace(0, 1, 4096)
    expected = model.process(dry, {"drive": moving, "tone": 0.3})
    stream, parts, start = model.stream(), [], 0
    stream.set_knobs(tone=0.3)
    while start < dry.shape[-1]:
        stop = min(start + blocks[len(parts) % len(blocks)], dry.shape[-1])
        parts.append(stream.process(dry[..., start:stop], {"drive": moving[start:stop]}))
        start = stop
    torch.testing.assert_close(torch.cat(parts, dim=-1), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000])
def test_block_sizes_do_not_matter_at_any_sample_rate(name: str, sample_rate: int) -> None:
    model, dry = tiny_model(name), noise(2, 3000)
    expected = model.process(dry, {"drive": 0.8}, sample_rate=sample_rate)
    assert expected.shape == dry.shape
    for size in (1, 64, 441):
        stream = model.stream(sample_rate)
        fed = torch.nn.functional.pad(dry, (0, stream.latency_samples))
        parts = [stream.process(block, {"drive": 0.8}) for block in fed.split(size, dim=-1)]
        wet = torch.cat(parts, dim=-1)[..., stream.latency_samples :]
        torch.testing.assert_close(wet, expected, atol=1e-6, rtol=0)


def test_the_future_does_not_reach_the_past(name: str) -> None:
    network, knobs = tiny_model(name).network, torch.tensor([[0.2, 0.7]])
    audio = noise(1, 1, 600)
    changed = audio.clone()
    changed[..., 400:] += 0.5
    before, after = run(network, audio, knobs), run(network, changed, knobs)
    torch.testing.assert_close(before[..., :400], after[..., :400], atol=1e-6, rtol=0)
    assert (before[..., 400:] - after[..., 400:]).abs().max() > 1e-3


def test_latency_is_what_it_says(name: str) -> None:
    network, knobs = tiny_model(name).network, torch.tensor([[0.2, 0.7]])
    click = torch.zeros(1, 1, 300)
    click[..., 100] = 1.0
    difference = (run(network, click, knobs) - run(network, torch.zeros(1, 1, 300), knobs)).abs()[0, 0]
    assert int((difference > 1e-6).nonzero()[0]) == 100 + network.latency_samples


def test_both_knobs_change_the_sound(name: str) -> None:
    network, audio = tiny_model(name).network, noise(1, 1, 500)
    base = run(network, audio, torch.tensor([[0.2, 0.2]]))
    for knobs in ([0.9, 0.2], [0.2, 0.9]):
        assert (run(network, audio, torch.tensor([knobs])) - base).abs().max() > 1e-3


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_any_number_of_knobs_works(name: str, count: int) -> None:
    model = tiny_model(name, two_knobs(count=count))
    assert model.process(noise(100)).shape == (100,)
    moving = torch.rand(1, 100, count)
    assert run(model.network, noise(1, 1, 100), moving).shape == (1, 1, 100)


def test_state_can_be_kept_and_played_again(name: str) -> None:
    network, knobs, audio = tiny_model(name).network, torch.tensor([[0.2, 0.7]]), noise(1, 1, 500)
    with torch.no_grad():
        _, state = network(audio, knobs, network.initial_state(1))
        kept = map_state(torch.clone, state)
        first, _ = network(audio, knobs, state)
        second, _ = network(audio, knobs, copy.deepcopy(kept))
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_rows_of_a_batch_do_not_touch_each_other(name: str) -> None:
    network, audio, knobs = tiny_model(name).network, noise(3, 1, 300), torch.rand(3, 2)
    together = run(network, audio, knobs)
    for row in range(3):
        alone = run(network, audio[row : row + 1], knobs[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-6, rtol=0)


def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    model = tiny_model(name).train()
    estimate, _ = model.network(noise(2, 1, 300), torch.rand(2, 2), model.network.initial_state(2))
    estimate.square().mean().backward()
    for parameter_name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


def test_silence_after_sound_settles_and_stays_finite(name: str) -> None:
    model = tiny_model(name)
    stream = model.stream()
    stream.process(noise(4800))
    tail = torch.cat([stream.process(torch.zeros(48_000)) for _ in range(12)])
    assert tail.isfinite().all()
    assert tail[-48_000:].abs().max() <= tail[:48_000].abs().max() + 1e-6
    assert math.isclose(float(tail[-1]), float(tail[-24_000]), abs_tol=1e-2)


def test_a_fit_writes_a_checkpoint_that_loads_as_data(name: str, recordings: Path, tmp_path: Path) -> None:
    data = PairedAudioDataModule(str(recordings), segment_samples=1200, lanes=2, warmup_s=0.01, evaluation_warmup_s=0.1)
    model = architecture(name)(effect=data.effect.to_dict(), losses={"esr": 1.0}, normalise_takes=True, lr=1e-3)
    trainer = lightning.Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=2, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = load_checkpoint(tmp_path / "last.ckpt")
    assert type(loaded) is type(model)
    assert loaded.effect == data.effect
    again = type(model).load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    dry = noise(500)
    for other in (loaded, again):
        torch.testing.assert_close(other.process(dry), model.process(dry), atol=0, rtol=0)
