"""What a training run leaves to hear and to look at: audio, plots, metrics.json."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from matplotlib.image import imread
from torch import Tensor

from neuralfx import audio
from neuralfx.batch import Batch
from neuralfx.errors import ConfigError
from neuralfx.files import sha256
from neuralfx.metrics.linear import Signal, apply_linear_filter, fit_linear_filter
from neuralfx.reports.figures import plot_signals

log = logging.getLogger(__name__)

Examples = dict[int, tuple[Signal, Signal, Signal]]  # dry, target and estimate by take, each of shape (time,)


class RunReport(lightning.Callback):
    """Writes audio examples and plots during training and on prediction, and the measures of each take after a test.

    Loggers that take sounds and pictures get them too: those of Weights & Biases and of TensorBoard. During training
    one take is drawn, after a test all examples are.

    Args:
        folder: Folder of the run.
        every_n_epochs: Epochs between examples during training, at least 1.
        seconds: Longest example per take, in s; the baselines are measured on it too. All of them together are ten
            times as long at most, so that memory is bounded.
        examples: Takes that are written as audio and pictures, at most; evenly chosen.

    Raises:
        ConfigError: If there is less than an epoch between examples.
    """

    def __init__(self, folder: str | Path, every_n_epochs: int = 25, seconds: float = 60.0, examples: int = 12) -> None:
        if every_n_epochs < 1:
            raise ConfigError(f"examples_every: expected at least 1 epoch between examples, got {every_n_epochs}.")
        self.folder = Path(folder)
        self.every_n_epochs = every_n_epochs
        self.seconds = seconds
        self.examples = examples
        # By take and row: ranges of one take may play side by side.
        self._pieces: dict[tuple[int, int], list[Tensor]] = {}

    def on_validation_batch_end(  # noqa: D102
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any, **__: Any
    ) -> None:
        if self._is_due(trainer):
            self._collect(trainer, pl_module, outputs, batch)

    def on_test_batch_end(  # noqa: D102
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any, **__: Any
    ) -> None:
        self._collect(trainer, pl_module, outputs, batch)

    on_predict_batch_end = on_test_batch_end

    def on_predict_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:  # noqa: D102
        self._write_examples(trainer, pl_module, "predict", self._examples(trainer), pictures=0)
        log.info("dry, target and model as audio: %s", self.folder / "predict")
        self._pieces = {}

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:  # noqa: D102
        if self._is_due(trainer) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._write_examples(trainer, pl_module, "validation", self._examples(trainer), pictures=1)
        self._pieces = {}

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:  # noqa: D102
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            examples = self._examples(trainer)
            self._write_examples(trainer, pl_module, "test", examples, pictures=self.examples)
            self._write_measures(trainer, pl_module, examples)
        self._pieces = {}

    def _collect(self, trainer: lightning.Trainer, model: Any, estimate: Tensor, batch: Batch) -> None:
        """Keep the scored samples of dry, wet and estimate by take, first channel, shape (3, time) each."""
        data: Any = getattr(trainer, "datamodule", None)
        takes = len(data.recording.takes) if hasattr(data, "recording") else 1
        limit = round(self.seconds * min(1.0, 10 / takes) * model.sample_rate)
        signals = torch.stack([batch.dry[:, 0], batch.wet[:, 0], estimate[:, 0]], dim=1).detach().float().cpu()
        for row, take in enumerate(batch.take.tolist()):
            pieces = self._pieces.setdefault((take, row), [])
            if sum(piece.shape[-1] for piece in pieces) < limit:
                pieces.append(signals[row][:, batch.scored[row].cpu()])

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        return not trainer.sanity_checking and trainer.current_epoch % self.every_n_epochs == 0

    def _examples(self, trainer: lightning.Trainer) -> Examples:
        """Dry, target and estimate by take; those of all processes that work together, in the first of them."""
        found: list[Any] = [self._pieces]
        if trainer.world_size > 1:
            found = [None] * trainer.world_size
            torch.distributed.all_gather_object(found, self._pieces)
        joined: dict[int, list[Tensor]] = {}
        if trainer.is_global_zero:
            for (take, _), pieces in sorted(
                (item for part in found for item in part.items()), key=lambda item: item[0]
            ):
                joined.setdefault(take, []).extend(pieces)
        signals = {take: torch.cat(pieces, dim=-1).numpy() for take, pieces in joined.items()}
        return {take: (dry, wet, estimate) for take, (dry, wet, estimate) in signals.items() if len(dry)}

    def _write_examples(
        self, trainer: lightning.Trainer, model: Any, stage: str, examples: Examples, pictures: int
    ) -> None:
        """Write takes as audio, and the first of them as pictures, which take longer than anything else here."""
        folder = self.folder / stage
        folder.mkdir(parents=True, exist_ok=True)
        rate, step = model.sample_rate, trainer.global_step
        for number, take in enumerate(sorted(examples)[:: max(math.ceil(len(examples) / self.examples), 1)]):
            dry, target, estimate = examples[take]
            for name, signal in (("dry", dry), ("target", target), ("model", estimate)):
                audio.write(folder / f"take{take}-{name}.wav", signal[np.newaxis], rate, subtype="FLOAT")
            for logger in trainer.loggers:
                _log_audio(logger, f"{stage}/take{take}", estimate, rate, step)
            if number < pictures:
                figure = plot_signals({"target": target, "model": estimate}, rate, f"{stage}, take {take}")
                figure.savefig(folder / f"take{take}.png", dpi=100)
                for logger in trainer.loggers:
                    _log_picture(logger, f"{stage}/take{take}-plot", folder / f"take{take}.png", step)

    def _write_measures(self, trainer: lightning.Trainer, model: Any, examples: Examples) -> None:
        """Write metrics.json: the error of each take beside those of the identity and of the best linear filter."""
        data: Any = getattr(trainer, "datamodule", None)
        summary = data.summary() if hasattr(data, "summary") else {}
        described = dict(enumerate(summary.get("takes", [])))
        with model.test_error.sync_context():
            ratios = model.test_error.per_take()  # of all samples and channels; silent takes are left out
        takes = []
        for index, (dry, target, _) in examples.items():
            if index not in ratios:
                continue
            take = {
                "name": described[index]["wet"]["file"] if index in described else f"take {index}",
                "knobs": described[index]["values"] if index in described else {},
                "esr": float(ratios[index]),
            }
            if target.any():  # or only other channels are heard
                linear = apply_linear_filter(dry, fit_linear_filter(dry, target))
                take |= {"identity_esr": _ratio(dry, target), "linear_esr": _ratio(linear, target)}
            takes.append(take)
        if not takes:
            return
        keys = ("esr", "identity_esr", "linear_esr")
        known = {key: [take[key] for take in takes if key in take] for key in keys}
        mean = {key: float(np.mean(values)) for key, values in known.items() if values}
        self.folder.mkdir(parents=True, exist_ok=True)
        checksum = sha256(trainer.ckpt_path) if trainer.ckpt_path else ""
        measured = {"checkpoint_sha256": checksum, "mean": mean, "takes": takes}
        for name, content in (("metrics.json", measured), ("data.json", summary)):
            (self.folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
        for take in takes:
            log.info(
                "%s: ESR %.4f (best linear filter %.4f, dry %.4f)",
                *(take.get(key, math.nan) for key in ("name", "esr", "linear_esr", "identity_esr")),
            )
        log.info("mean ESR %.4f; written to %s", mean["esr"], self.folder / "metrics.json")


def _log_audio(logger: Any, name: str, signal: Signal, sample_rate: int, step: int) -> None:
    """Give a sound of shape (time,) to loggers that take any: those of Weights & Biases and of TensorBoard."""
    if hasattr(logger, "log_audio"):
        logger.log_audio(name, [signal], step=step, sample_rate=[sample_rate])
    elif hasattr(logger.experiment, "add_audio"):
        logger.experiment.add_audio(name, np.clip(signal, -1.0, 1.0)[np.newaxis], step, sample_rate=sample_rate)


def _log_picture(logger: Any, name: str, path: Path, step: int) -> None:
    """Give a picture to loggers that take any."""
    if hasattr(logger, "log_image"):
        logger.log_image(name, [str(path)], step=step)
    elif hasattr(logger.experiment, "add_image"):
        logger.experiment.add_image(name, imread(path)[..., :3], step, dataformats="HWC")


def _ratio(estimate: Signal, target: Signal) -> float:
    error, energy = (np.square(signal, dtype=np.float64).sum() for signal in (target - estimate, target))
    return float(error / energy)
