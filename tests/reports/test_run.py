"""What training leaves to hear and to see, and what loggers are given of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
from lightning.pytorch.loggers import Logger

from neuralfx.datasets import PairedAudioDataModule
from neuralfx.errors import ConfigError
from neuralfx.models.gru import GRUConcat
from neuralfx.reports.run import RunReport


class Writer:
    """TensorBoard's writer, as far as it is needed; keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str, Any, int, dict[str, Any]]] = []

    def add_audio(self, tag: str, sound: Any, step: int, **options: Any) -> None:
        self.given.append(("audio", tag, sound, step, options))

    def add_image(self, tag: str, picture: Any, step: int, **options: Any) -> None:
        self.given.append(("image", tag, picture, step, options))


class Plain(Logger):
    """A logger that takes numbers, and forgets them."""

    name = "plain"
    version = 0

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None: ...


class TensorBoard(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.writer = Writer()

    @property
    def experiment(self) -> Any:
        return self.writer


class WeightsAndBiases(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, Any, dict[str, Any]]] = []

    def log_audio(self, key: str, audios: list[Any], **options: Any) -> None:
        self.given.append((key, audios[0], options))

    def log_image(self, key: str, images: list[Any], **options: Any) -> None:
        self.given.append((key, images[0], options))


def train(recordings: Path, folder: Path, epochs: int, *loggers: Any, test: bool = False) -> lightning.Trainer:
    """Train a small model on two takes, with examples every other epoch."""
    data = PairedAudioDataModule(str(recordings), align=False, segment_samples=1200, lanes=2, warmup_s=0.0)
    model = GRUConcat(hidden_size=2, effect=data.effect.to_dict())
    trainer = lightning.Trainer(
        max_epochs=epochs, limit_train_batches=1, logger=list(loggers), callbacks=[RunReport(folder, 2)],
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        num_sanity_val_steps=0, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(model, data)
    if test:
        trainer.test(model, data, verbose=False)
    return trainer


def test_examples_come_at_the_chosen_cadence(recordings: Path, tmp_path: Path) -> None:
    logger = TensorBoard()
    train(recordings, tmp_path, 5, logger)
    sounds = [(tag, step) for kind, tag, _, step, _ in logger.writer.given if kind == "audio"]
    assert sounds == [(f"validation/take{take}", step) for step in (1, 3, 5) for take in (0, 1)]
    with pytest.raises(ConfigError, match="at least 1 epoch"):
        RunReport(tmp_path, 0)


def test_all_takes_are_heard_and_one_is_drawn_until_the_test_draws_all(recordings: Path, tmp_path: Path) -> None:
    train(recordings, tmp_path, 1, test=True)
    assert len(list(tmp_path.glob("validation/take*-model.wav"))) == len(list(tmp_path.glob("test/take*-dry.wav"))) == 2
    assert [path.name for path in tmp_path.glob("validation/*.png")] == ["take0.png"]
    assert len(list(tmp_path.glob("test/*.png"))) == 2


def test_tensorboard_gets_sounds_within_full_scale_and_pictures(recordings: Path, tmp_path: Path) -> None:
    logger = TensorBoard()
    train(recordings, tmp_path, 1, logger)
    sound, other, picture = sorted(logger.writer.given, key=lambda given: given[0])
    assert sound[2].shape == other[2].shape
    assert sound[2].ndim == 2
    assert np.abs(sound[2]).max() <= 1.0
    assert sound[4] == {"sample_rate": 8000}
    assert (picture[1], picture[2].shape[-1], picture[4]) == ("validation/take0-plot", 3, {"dataformats": "HWC"})


def test_weights_and_biases_gets_them_too(recordings: Path, tmp_path: Path) -> None:
    logger = WeightsAndBiases()
    train(recordings, tmp_path, 1, logger)
    assert [key for key, _, _ in logger.given] == ["validation/take0", "validation/take0-plot", "validation/take1"]
    assert logger.given[0][2] == {"step": 1, "sample_rate": [8000]}
    assert Path(logger.given[1][1]).is_file()


def test_tensorboard_itself_takes_them(recordings: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="board", version="one")
    train(recordings, tmp_path, 1, logger)
    logger.experiment.flush()
    found = EventAccumulator(str(tmp_path / "board/one"))
    found.Reload()
    assert found.Audio("validation/take1")[0].sample_rate == 8000
    assert found.Images("validation/take0-plot")[0].width > 100
