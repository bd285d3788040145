"""What EffectModule does around a network: loss, lanes, schedule, checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from neuralfx.batch import Batch
from neuralfx.datasets.paired import PairedAudioDataModule
from neuralfx.errors import ConfigError, FormatError
from neuralfx.models import LSTMFiLMGLU, architecture
from neuralfx.models.base import EffectModule, load_checkpoint
from neuralfx.nn.network import State
from tests.checks import noise, tiny_model, two_knobs
from tests.data.generate import write_recordings


def segment(**changes: Any) -> Batch:
    """Two lanes of 100 samples, all scored, running on."""
    batch = Batch(
        dry=noise(2, 1, 100),
        wet=noise(2, 1, 100).flip(-1),
        knobs=torch.rand(2, 2),
        fresh=torch.zeros(2, dtype=torch.bool),
        scored=torch.ones(2, 100, dtype=torch.bool),
        scale=torch.ones(2),
        take=torch.arange(2),
    )
    return batch._replace(**changes)


@pytest.mark.parametrize("training", [True, False])
def test_lanes_run_on_and_fresh_ones_start_anew(training: bool) -> None:
    model, batch = tiny_model("LSTMFiLMGLU").train(training), segment()
    start = model._estimate(batch)
    carried = model._estimate(batch._replace(fresh=torch.tensor([True, False])))
    torch.testing.assert_close(carried[0], start[0])
    assert (carried[1] - start[1]).abs().max() > 1e-4


def test_only_rows_that_start_anew_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("GRUConcat").eval()
    settled: list[int] = []
    forward = model.network.forward

    def count(audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        settled.append(len(audio) * audio.shape[-1] * (not audio.any()))
        wet, state = forward(audio, knobs, state)
        return wet, state.bfloat16()  # as under autocast

    monkeypatch.setattr(model.network, "forward", count)
    for fresh, rows in (([True, True], 2), ([False, True], 1), ([False, False], 0)):
        settled.clear()
        estimate = model.validation_step(segment(fresh=torch.tensor(fresh)), 0)
        assert sum(settled) == 24_000 * rows and estimate.isfinite().all()


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("name", ["LSTMFiLMGLU", "GRUStaticHyper", "TCNFiLM"])
def test_what_is_measured_while_training_is_what_users_hear(name: str, moving: bool) -> None:
    model = tiny_model(name).eval()
    knobs = torch.rand(2, 100, 2) if moving else torch.rand(2, 2)
    model.validation_step(segment(), 0)  # lanes that were somewhere else
    estimate = model.validation_step(segment(knobs=knobs, fresh=torch.tensor([True, False])), 1)[0]
    values = {knob.name: np.asarray(knob.denormalise(knobs[0, ..., n].numpy())) for n, knob in enumerate(model.knobs)}
    heard = model.process(segment().dry[0], {name: value if moving else value.item() for name, value in values.items()})
    torch.testing.assert_close(estimate, heard, atol=1e-5, rtol=0)


def test_validation_leaves_the_lanes_of_training_where_they_were() -> None:
    model, batch = tiny_model("LSTMFiLMGLU"), segment()
    model.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    model._estimate(batch)
    kept = model._lanes
    model.on_validation_epoch_start()
    model.validation_step(batch, 0)
    model.on_validation_epoch_end()
    assert model._lanes is kept


@pytest.mark.parametrize("loss", ["mse", "l1", "esr", "mrstft"])
def test_what_is_not_scored_neither_counts_nor_makes_the_rest_louder(loss: str) -> None:
    model = tiny_model("LSTMFiLMGLU", losses={loss: 1.0})
    batch, estimate = segment(dry=noise(2, 1, 4096), wet=noise(2, 1, 4096).flip(-1)), noise(2, 1, 4096)
    scored = torch.ones(2, 4096, dtype=torch.bool)
    whole = model._scored_loss(estimate, batch._replace(scored=scored))
    scored[0, 100:] = False
    part = model._scored_loss(estimate, batch._replace(scored=scored))
    estimate[0, :, 100:] += 7.0
    torch.testing.assert_close(model._scored_loss(estimate, batch._replace(scored=scored)), part)
    assert part <= 2 * whole  # a few samples in a row must not weigh as much as a whole batch


def test_normalised_takes_weigh_the_same_at_any_level() -> None:
    model, batch = tiny_model("LSTMFiLMGLU", normalise_takes=True), segment()
    loud = model._scored_loss(batch.dry, batch)
    quiet = batch._replace(wet=batch.wet / 100, scale=batch.scale * 100)
    torch.testing.assert_close(model._scored_loss(batch.dry / 100, quiet), loud)


def test_schedules_follow_their_formulas() -> None:
    exponential = tiny_model("LSTMFiLMGLU", schedule="exponential")
    assert exponential._lr_factor(30) == 0.25
    assert exponential._lr_factor(60) == 0.0625
    steps = tiny_model("LSTMFiLMGLU", schedule="steps", lr_decay=0.5, lr_decay_epochs=5)
    assert [steps._lr_factor(epoch) for epoch in (0, 4, 5, 9, 10)] == [1.0, 1.0, 0.5, 0.5, 0.25]
    cosine = tiny_model("LSTMFiLMGLU", schedule="cosine")
    cosine._trainer = SimpleNamespace(estimated_stepping_batches=10)  # type: ignore[assignment]
    assert cosine._lr_factor(0) == 1.0
    assert math.isclose(cosine._lr_factor(5), 0.505)
    assert math.isclose(cosine._lr_factor(10), 0.01)
    assert tiny_model("LSTMFiLMGLU")._lr_factor(99) == 1.0
    with pytest.raises(ConfigError, match="schedule: expected one of constant, exponential, steps, cosine"):
        tiny_model("LSTMFiLMGLU", schedule="linear")


def test_steps_with_gradients_that_overflow_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model("LSTMFiLMGLU")
    model._trainer = SimpleNamespace(global_step=7)  # type: ignore[assignment]
    optimizer = torch.optim.Adam(model.network.parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in model.network.parameters()]

    def step(gradient: float) -> None:
        for parameter in model.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        next(model.network.parameters()).grad.flatten()[0] = gradient  # type: ignore[union-attr]
        model.on_before_optimizer_step(optimizer)
        optimizer.step()

    for _ in range(3):
        step(math.inf)
        step(math.nan)
    assert all(map(torch.equal, before, model.network.parameters()))
    model.on_train_end()
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("step 7 has") and told[1:] == [
        "steps that were left out, as their gradients were not finite: 6"
    ]
    step(1.0)
    assert not any(map(torch.equal, before, model.network.parameters()))
    with pytest.raises(ConfigError, match="training has diverged: 100 steps in a row"):
        for _ in range(100):
            step(math.nan)


def test_the_base_is_not_a_model() -> None:
    with pytest.raises(TypeError, match="use one of them"):
        EffectModule(two_knobs().to_dict())


def test_architecture_arguments_leave_training_out() -> None:
    model = LSTMFiLMGLU(effect=two_knobs().to_dict(), hidden_size=3, lr=0.1)
    assert model.architecture_arguments() == {"hidden_size": 3, "features": 4, "window": 64, "longest_ms": 100.0}


def test_damaged_checkpoints_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.ckpt"
    with pytest.raises(FormatError, match="no such checkpoint"):
        load_checkpoint(path)
    path.write_text("not a checkpoint", encoding="utf-8")
    with pytest.raises(FormatError, match="not a checkpoint that neuralfx can use"):
        load_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(FormatError, match="not a checkpoint that neuralfx can use"):
        load_checkpoint(path)


def test_a_checkpoint_with_code_is_not_executed(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"neuralfx": Payload()}, tmp_path / "evil.ckpt")
    with pytest.raises(FormatError):
        load_checkpoint(tmp_path / "evil.ckpt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_run_stopped_in_an_epoch_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "max_epochs": 2,
    }

    def fit(checkpoint: Path | None, *callbacks: lightning.Callback) -> EffectModule:
        torch.manual_seed(1)
        data = PairedAudioDataModule(str(tmp_path), lanes=3, segment_samples=256, warmup_s=0.05, align=False)
        model = architecture("LSTMFiLMGLU")(effect=data.effect.to_dict(), lr=1e-2)
        trainer = lightning.Trainer(callbacks=list(callbacks), enable_checkpointing=bool(callbacks), **options)
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        return model

    every = ModelCheckpoint(tmp_path / "checkpoints", filename="{step}", every_n_train_steps=25, save_top_k=-1)
    whole = fit(None, every).state_dict()
    stopped = sorted((tmp_path / "checkpoints").glob("*.ckpt"))
    assert len(stopped) >= 3
    for path in stopped:
        again = fit(path).state_dict()
        for name, value in whole.items():
            torch.testing.assert_close(again[name], value, rtol=0, atol=0, msg=f"{path.name}: {name}")


def test_half_precision_with_scaled_gradients_learns(tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    data = PairedAudioDataModule(
        str(write_recordings(tmp_path, seconds=1.0)), segment_samples=512, lanes=2, align=False, warmup_s=0.0
    )
    model = tiny_model("GRUConcat", data.effect, lr=1e-2).train()
    before = [weight.detach().clone() for weight in model.network.parameters()]
    trainer = lightning.Trainer(
        max_steps=5, accelerator="cpu", plugins=MixedPrecision("16-mixed", "cpu", scaler), logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(model, data)
    changes = [float((now.detach() - weight).abs().max()) for now, weight in zip(model.network.parameters(), before)]
    assert min(changes) > 0
    assert scaler.get_scale() > 0
