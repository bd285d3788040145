"""The running average of the weights stands for them everywhere but in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from neuralfx.datasets.paired import PairedAudioDataModule
from neuralfx.errors import ConfigError
from neuralfx.models.base import EffectModule, load_checkpoint
from tests.checks import tiny_model
from tests.data.generate import write_recordings

DECAY = 0.9

pytestmark = [
    # Another trainer than the one that saved them reads these checkpoints, from another folder.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
]


def trainer_of(max_epochs: int, *callbacks: lightning.Callback) -> lightning.Trainer:
    options: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lightning.Trainer(
        max_epochs=max_epochs, callbacks=list(callbacks), enable_checkpointing=bool(callbacks), logger=False, **options
    )


def material(folder: Path) -> PairedAudioDataModule:
    return PairedAudioDataModule(str(folder), segment_samples=512, lanes=2, align=False)


def train(folder: Path, out: Path, max_epochs: int, ckpt_path: Path | None = None) -> tuple[EffectModule, float]:
    """A trained model, and the error that its last validation logged."""
    torch.manual_seed(0)
    data = material(folder)
    model = tiny_model("LSTMFiLMGLU", data.effect, averaging=DECAY, lr=1e-2).train()
    trainer = trainer_of(max_epochs, ModelCheckpoint(out, filename="it", save_last=False))
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return model, float(trainer.callback_metrics["val_esr"])


def test_what_was_validated_is_what_is_saved_and_tested(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "recordings", seconds=1.0)
    _, logged = train(folder, tmp_path / "out", 2)
    saved = tmp_path / "out" / "it.ckpt"
    model, alone = load_checkpoint(saved), trainer_of(1)
    (validated,) = alone.validate(model, datamodule=material(folder), verbose=False)
    assert validated["val_esr"] == pytest.approx(logged, rel=1e-5)

    (tested,) = alone.test(model, datamodule=material(folder), verbose=False)
    trained, _ = train(folder, tmp_path / "again", 2)
    (after,) = trainer_of(1).test(trained, material(folder), ckpt_path=saved, weights_only=True, verbose=False)
    assert after == pytest.approx(tested)


def test_a_test_right_after_training_measures_the_saved_average(tmp_path: Path) -> None:
    data = material(write_recordings(tmp_path / "recordings", seconds=1.0))
    model = tiny_model("LSTMFiLMGLU", data.effect, averaging=DECAY, lr=1e-2).train()
    trainer = trainer_of(2, ModelCheckpoint(tmp_path / "out", filename="it"))
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, ckpt_path=tmp_path / "out" / "it.ckpt", weights_only=True, verbose=False)
    for name, weight in load_checkpoint(tmp_path / "out" / "it.ckpt").network.state_dict().items():
        torch.testing.assert_close(model.network.state_dict()[name], weight, rtol=0, atol=0)


def test_the_average_follows_its_formula_and_training_does_not_notice(tmp_path: Path) -> None:
    data = material(write_recordings(tmp_path / "recordings", seconds=1.0))
    model = tiny_model("LSTMFiLMGLU", data.effect, averaging=DECAY, lr=1e-2).train()
    steps: list[torch.Tensor] = []

    class Recorder(lightning.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            if model.has_stepped:  # not in batches that only warm up
                steps.append(model.network.window.weight.detach().clone())

    trainer = trainer_of(1, Recorder(), ModelCheckpoint(tmp_path / "out", filename="it"))
    trainer.fit(model, datamodule=data)
    checkpoint = torch.load(tmp_path / "out" / "it.ckpt", weights_only=True)
    assert 2 / (1 - DECAY) < len(steps) < trainer.global_step
    average = steps[0]
    for count, weight in enumerate(steps[1:], start=1):
        decay = min(DECAY, count / (count + 1))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(checkpoint["state_dict"]["network.window.weight"], average)
    assert not torch.allclose(average, steps[-1])


def test_a_run_that_resumes_goes_on_with_weights_and_average(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path / "recordings", seconds=1.0)
    whole, _ = train(folder, tmp_path / "whole", 2)
    train(folder, tmp_path / "half", 1)
    resumed, _ = train(folder, tmp_path / "rest", 2, ckpt_path=tmp_path / "half" / "it.ckpt")
    for name, weight in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], weight)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="averaging"):
        tiny_model("LSTMFiLMGLU", averaging=decay)
