"""What every architecture/conditioning pair promises."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import neuralfx
from neuralfx import engine
from neuralfx.cli import main
from neuralfx.effect import Effect
from neuralfx.engine import compiler
from neuralfx.errors import AudioError, ShapeError
from neuralfx.hub.package import replay_check
from neuralfx.models import architecture
from neuralfx.models.base import load_checkpoint
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.nn.state import map_state
from neuralfx.streaming import Stream, process_offline
from tests.checks import noise, run, tiny_model, two_knobs

PAIRS = neuralfx.list_architectures()
pytestmark = pytest.mark.parametrize("name", PAIRS)


@pytest.mark.parametrize("blocks", [[1], [7], [63], [64], [65], [127, 1, 300], [441], [4096]], ids=str)
def test_every_block_size_gives_the_same_sound(name: str, blocks: list[int]) -> None:
    length = 500 if blocks == [1] else 4500 if blocks == [4096] else 1500
    model, dry = tiny_model(name), noise(2, length)
    moving = np.linspace(0, 1, length)
    expected = model.process(dry, {"drive": moving, "tone": 0.3})
    stream, parts, start = model.stream(), [], 0
    stream.set_knobs(tone=0.3)
    while start < length:
        stop = min(start + blocks[len(parts) % len(blocks)], length)
        parts.append(stream.process(dry[..., start:stop], {"drive": moving[start:stop]}))
        start = stop
    torch.testing.assert_close(torch.cat(parts, dim=-1), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("block", [1, 7, 16, 64, 512, 600])
def test_torch_alone_plays_what_double_precision_computes(
    name: str, block: int, moving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(engine.SWITCH, "torch")
    model, dry = tiny_model(name), noise(60 if block == 1 else 600)
    drive = np.linspace(0, 1, len(dry)) if moving else np.full(len(dry), 0.7)
    exact = copy.deepcopy(model.network).double()
    expected = process_offline(exact, model.effect, dry.double(), {"drive": drive, "tone": 0.3}, settling_s=0)
    stream = Stream(model.network, model.effect, settling_s=0)
    stream.set_knobs(tone=0.3)
    spans = [slice(start, start + block) for start in range(0, len(dry), block)]
    wet = torch.cat([stream.process(dry[span], {"drive": drive[span] if moving else 0.7}) for span in spans])
    late = stream.latency_samples
    torch.testing.assert_close(wet[late:].double(), expected[: len(wet) - late], atol=2e-6, rtol=0)


@pytest.mark.parametrize("sample_rate", [44_100, 96_000])
def test_block_sizes_do_not_matter_at_other_sample_rates(name: str, sample_rate: int) -> None:
    model, dry = tiny_model(name), noise(2, 600)
    expected = model.process(dry, {"drive": 0.8}, sample_rate=sample_rate)
    assert expected.shape == dry.shape
    for size in (16, 441):
        stream = model.stream(sample_rate)
        fed = torch.nn.functional.pad(dry, (0, stream.latency_samples))
        parts = [stream.process(block, {"drive": 0.8}) for block in fed.split(size, dim=-1)]
        wet = torch.cat(parts, dim=-1)[..., stream.latency_samples :]
        torch.testing.assert_close(wet, expected, atol=1e-6, rtol=0)


def test_a_knob_set_between_blocks_is_a_step_of_a_moving_knob(name: str) -> None:
    model, dry = tiny_model(name), noise(300)
    moving = np.repeat([0.2, 0.9, 0.4], [100, 150, 50])
    stream, parts = model.stream(), []
    for value, block in zip((0.2, 0.9, 0.4), dry.split([100, 150, 50])):
        stream.set_knobs(drive=value)
        parts.append(stream.process(block))
    torch.testing.assert_close(torch.cat(parts), model.process(dry, {"drive": moving}), atol=1e-6, rtol=0)


def test_turning_a_knob_makes_no_clicks(name: str) -> None:
    model, length = tiny_model(name), 2400  # a twentieth of a second from end to end of the knob
    dry = 0.5 * torch.sin(torch.arange(length) * 2 * torch.pi * 100 / 48_000)
    still = torch.stack([model.process(dry, {"drive": drive}) for drive in (0.0, 0.5, 1.0)])
    moving = model.process(dry, {"drive": np.linspace(0, 1, length)})
    audible = slice(length // 4, None)  # behind the transient of starting from silence
    whole_effect = (still.amax(0) - still.amin(0))[audible].max()
    assert moving[audible].diff().abs().max() < still[:, audible].diff().abs().max() + 0.01 * whole_effect


def test_unusual_blocks_leave_the_stream_whole(name: str) -> None:
    model, dry = tiny_model(name), noise(192).numpy()
    stream, parts = model.stream(), []
    parts.append(stream.process(dry[:64]))
    with pytest.raises(AudioError, match=r"finite|range"):
        stream.process(np.full(64, 1e39))  # no infinity, but one in single precision
    with pytest.raises(ShapeError):
        stream.process(np.array(0.5, dtype=np.float32))
    parts.append(stream.process(np.frombuffer(dry[64:128].tobytes(), np.float32)))  # read-only
    parts.append(stream.process(dry[128:][::-1][::-1].astype(">f4")))
    assert parts[-1].dtype == np.dtype(">f4")
    np.testing.assert_allclose(np.concatenate(parts), model.process(dry), atol=1e-6)


def test_mixed_precision_trains(name: str) -> None:
    network = tiny_model(name).network.train()
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = network(noise(2, 1, 40), torch.rand(2, 2), network.initial_state(2))
        output.float().square().mean().backward()
    assert not compiler._broken  # by having been loaded here
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())


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


def test_stereo_effects_are_heard_together(name: str) -> None:
    network = tiny_model(name, Effect("stereo", 48_000, two_knobs().knobs, channels=2)).network.double()
    audio, knobs = noise(3, 2, 100, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    output = run(network, audio, knobs)
    assert output.shape == audio.shape
    assert output.dtype == torch.float64
    silenced = run(network, audio * torch.tensor([[1.0], [0.0]]), knobs)
    assert not torch.equal(output[:, 0], silenced[:, 0])


def test_it_can_be_built_without_memory(name: str) -> None:
    with torch.device("meta"):
        assert next(architecture(name)(effect=two_knobs().to_dict()).network.parameters()).is_meta


def test_state_can_be_kept_and_played_again(name: str, tmp_path: Path) -> None:
    network, knobs, audio = tiny_model(name).network, torch.tensor([[0.2, 0.7]]), noise(1, 1, 500)
    with torch.no_grad():
        _, state = network(audio, knobs, network.initial_state(1))
        torch.save(state, tmp_path / "state.pt")
        first, _ = network(audio, knobs, state)
        second, _ = network(audio, knobs, torch.load(tmp_path / "state.pt", weights_only=True))
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


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_one_sample_at_a_time_has_the_same_output_and_gradients(name: str, moving: bool) -> None:
    """Training forms against the recurrence: in double precision, gradients through all states."""
    model = tiny_model(name).double()
    audio = noise(2, 1, 100, dtype=torch.float64)
    knobs = torch.rand(2, 100 if moving else 1, 2, dtype=torch.float64).expand(2, 100, 2)
    weight = torch.linspace(-1, 1, 100, dtype=torch.float64)
    results = []
    for size in (100, 1):
        model.network.zero_grad()
        state, parts = model.network.initial_state(2, dtype=torch.float64), []
        for start in range(0, 100, size):
            seen = knobs[:, start : start + size] if moving else knobs[:, 0]
            part, state = model.network(audio[..., start : start + size], seen, state)
            parts.append(part)
        output = torch.cat(parts, dim=-1)
        (output * weight).sum().backward()
        results.append((output.detach(), {n: p.grad for n, p in model.network.named_parameters()}))
    (whole, whole_gradients), (stepped, stepped_gradients) = results
    torch.testing.assert_close(whole, stepped, atol=1e-11, rtol=0)
    for parameter, gradient in stepped_gradients.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(whole_gradients[parameter], gradient, atol=1e-9 * max(1.0, scale), rtol=0)


def test_silence_after_sound_stays_bounded_and_calms_down(name: str) -> None:
    stream = tiny_model(name).stream()
    stream.process(noise(1200))
    tail = stream.process(torch.zeros(6000))
    assert tail.abs().max() < 100  # and finite
    assert tail[-2000:].diff().abs().max() <= tail[:2000].diff().abs().max() + 1e-6


def test_a_sound_that_dies_away_leaves_no_denormal_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURALFX_ENGINE", "torch")  # compiled loops keep their state to themselves
    stream = tiny_model(name).stream()
    stream.process(1e-37 * noise(200))
    for block in torch.zeros(600).split(100):
        stream.process(block)

    def check(state: Tensor) -> Tensor:
        size = torch.view_as_real(state).abs() if state.is_complex() else state.abs()
        assert not ((size > 0) & (size < torch.finfo(torch.float32).tiny)).any()
        return state

    map_state(check, stream._state)


@pytest.mark.slow
def test_an_hour_of_silence_is_stable(name: str) -> None:
    stream = tiny_model(name).stream()
    stream.process(noise(4800))
    silence = torch.zeros(480_000)
    for _ in range(359):
        assert stream.process(silence).abs().max() < 100
    last = stream.process(silence)
    assert float(last.max() - last.min()) < 1e-4


def test_one_step_from_its_configuration_gives_a_checkpoint_and_a_model_folder(
    name: str, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["fit", "--config", ARCHITECTURES[name].tail, "--data", "PairedAudioDataModule", "--run", "run"]
    settings = {
        "data.root": recordings, "data.segment_samples": 2048, "data.lanes": 2, "data.repeats": 1,
        "data.warmup_s": 0.01, "data.evaluation_warmup_s": 0.01, "data.validation": "[[0.7, 0.75]]",
        "data.test": "[[0.9, 0.95]]", "trainer.max_epochs": 1, "trainer.limit_train_batches": 1,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false", "trainer.enable_model_summary": "false",
    }  # fmt: skip
    for setting, value in settings.items():
        arguments += [f"--{setting}", str(value)]
    assert main(arguments) == 0
    checkpoint = tmp_path / "run/checkpoints/best.ckpt"
    model = load_checkpoint(checkpoint)
    assert type(model) is architecture(name)
    again = type(model).load_from_checkpoint(checkpoint, weights_only=True).eval()
    assert main(["package", str(checkpoint), "--name", "tiny", "-o", "folder"]) == 0
    packaged = neuralfx.load("./folder")
    assert replay_check(packaged, tmp_path / "folder") == 0
    dry = noise(500)
    for other in (again, packaged):
        torch.testing.assert_close(other.process(dry), model.process(dry), atol=0, rtol=0)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_sound_and_gradients(name: str) -> None:
    model, dry, knobs = tiny_model(name), noise(4, 1, 600), torch.rand(4, 2)

    def train(device: str) -> list[Tensor]:
        model.to(device).train().zero_grad()
        state = model.network.initial_state(4, torch.device(device))
        estimate, _ = model.network(dry.to(device), knobs.to(device), state)
        estimate.square().mean().backward()
        gradients = [parameter.grad.cpu() for parameter in model.parameters() if parameter.grad is not None]
        return [estimate.detach().cpu(), *gradients]

    for on_gpu, on_cpu in zip(train("cuda"), train("cpu")):
        torch.testing.assert_close(on_gpu, on_cpu, atol=1e-4, rtol=1e-2)
    expected = model.eval().process(dry[0], {"drive": 0.7})
    wet = model.to("cuda").process(dry[0].to("cuda"), {"drive": 0.7})
    torch.testing.assert_close(wet.cpu(), expected, atol=1e-5, rtol=0)
