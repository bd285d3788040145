"""EffectModule: everything about training and using a network that is the same for all architectures."""

from __future__ import annotations

import inspect
import logging
import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from neuralfx import __version__
from neuralfx.batch import Batch
from neuralfx.effect import Effect, Knobs
from neuralfx.engine import compiler
from neuralfx.engine.memory import keep_freed_memory
from neuralfx.errors import ConfigError, FormatError
from neuralfx.losses import WeightedSum
from neuralfx.metrics import ErrorToSignalRatio
from neuralfx.models import architecture
from neuralfx.models.averaging import AveragedWeights
from neuralfx.nn.network import Network, State
from neuralfx.nn.state import SETTLING_S, detach, hear_silence, map_state, reset_where, settling_samples
from neuralfx.streaming import Audio, Stream, process_offline

log = logging.getLogger(__name__)

CHECKPOINT_KEY = "neuralfx"  # our block in a checkpoint
CHECKPOINT_FORMAT = 1
SCHEDULES = ("constant", "exponential", "steps", "cosine")
MOST_OVERFLOWS = 100  # steps in a row


class EffectModule(lightning.LightningModule):
    """A network together with the effect it models: trains it, processes audio with it.

    Training is truncated back-propagation through time: each batch holds one segment of every lane, the state of each
    lane is carried from batch to batch without its history, and starts anew where ``Batch.fresh`` says so.
    Samples with ``Batch.scored`` False warm the state up and count nowhere.

    Args:
        effect: Plain dictionary of the modelled :class:`~neuralfx.effect.Effect`; the command line fills it from the
            data.
        losses: Weight by name of the loss, see :class:`~neuralfx.losses.WeightedSum`.
        normalise_takes: Divide each take by the level of its target inside the loss, so that quiet settings count as
            much as loud ones.
        lr: Initial learning rate of Adam.
        schedule: Course of the learning rate: ``constant``; ``exponential``: a factor of ``lr_decay`` every
            ``lr_decay_epochs`` epochs, little by little; ``steps``: the same, but at once; ``cosine``: half a cosine
            down to ``lr / 100`` at the last step, by the trainer's limits of epochs and steps.
        lr_decay: Factor of the exponential and stepped schedules; paper 1 uses 0.25, paper 2 uses 0.5.
        lr_decay_epochs: Epochs per factor; paper 1 uses 30, little by little, paper 2 uses 5, in steps.
        averaging: Decay per step, from 0 to below 1, of the running average of the weights that is validated, saved and
            tested in their place, see :class:`~neuralfx.models.averaging.AveragedWeights`; 0 averages nothing.

    Attributes:
        effect: What is modelled.
        network: The network, set by the subclass.
        name: Name of a packaged model, such as ``la2a-s4d``; empty before.
        card: Text of a packaged model's card; empty before.
        metrics: Measures of a packaged model by name; empty before.
    """

    network: Network

    def __init__(
        self,
        effect: dict[str, Any],
        losses: dict[str, Any] | None = None,
        normalise_takes: bool = False,
        lr: float = 3e-4,
        schedule: str = "constant",
        lr_decay: float = 0.25,
        lr_decay_epochs: float = 30.0,
        averaging: float = 0.0,
    ) -> None:
        super().__init__()
        if type(self) is EffectModule:
            raise TypeError("EffectModule is the base of all pairs; use one of them, such as LSTMFiLMGLU.")
        if schedule not in SCHEDULES:
            raise ConfigError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}.")
        if not 0.0 <= averaging < 1.0:
            raise ConfigError(f"averaging: expected a decay from 0 to below 1, got {averaging}.")
        self.save_hyperparameters()  # the subclass's too
        for added_by_command_line in ("_class_path", "_instantiator"):
            self.hparams.pop(added_by_command_line, None)
        self.effect = Effect.from_dict(effect)
        self.loss = WeightedSum(losses or {"mse": 1.0})
        self.normalise_takes = normalise_takes
        self.lr = lr
        self.schedule = schedule
        self.lr_decay = lr_decay
        self.lr_decay_epochs = lr_decay_epochs
        self.averaging = averaging
        self.validation_error = ErrorToSignalRatio()
        self.test_error = ErrorToSignalRatio()
        self.name = ""
        self.card = ""
        self.metrics: dict[str, Any] = {}
        self._lanes: State | None = None
        self._counts = True
        self._training_lanes: State | None = None
        self._overflows = 0  # in a row
        self._left_out = 0

    # Using a model ----------------------------------------------------------------------------------------------------

    @property
    def knobs(self) -> Knobs:
        """The knobs of the effect; prints as a table."""
        return self.effect.knobs

    @property
    def sample_rate(self) -> int:
        """Rate at which the network runs, in Hz."""
        return self.effect.sample_rate

    @property
    def latency_samples(self) -> int:
        """Samples by which the network's output lags behind its input; ``process`` compensates them."""
        return self.network.latency_samples

    def samples_in(self, milliseconds: float) -> float:
        """Samples in a duration, at the model's rate."""
        return milliseconds * (self.effect.sample_rate / 1000)

    def process(self, audio: Audio, knobs: Mapping[str, Any] | None = None, sample_rate: int | None = None) -> Audio:
        """Run audio through the modelled device.

        Args:
            audio: NumPy array or tensor of floats, full scale 1, shape (time,), (channels, time) or
                (batch, channels, time); channels are processed independently by a mono model.
            knobs: Values by name in the device's own units; an array of shape (time,) moves a knob. Knobs that are
                left out stand at their default.
            sample_rate: Rate of ``audio``, in Hz; None means the model's own.

        Returns:
            The wet audio, lined up with ``audio``: same kind, shape, dtype and device.

        Raises:
            AudioError: If the audio is empty, not finite or of integers.
            ShapeError: If the shape of the audio or of a moving knob does not fit.
            KnobError: If a knob is unknown or a value out of range.
        """
        return process_offline(self.network, self.effect, audio, knobs, sample_rate)

    def stream(self, sample_rate: int | None = None) -> Stream:
        """A real-time processor that keeps its state between blocks of any sizes.

        Args:
            sample_rate: Rate of the stream, in Hz; None means the model's own.
        """
        return Stream(self.network, self.effect, sample_rate)

    def architecture_arguments(self) -> dict[str, Any]:
        """The arguments of the pair itself, such as ``hidden_size``: what rebuilds the network for an effect."""
        own = [
            name
            for name, parameter in inspect.signature(type(self)).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD and name != "effect"
        ]
        return {name: self.hparams[name] for name in own}

    # Training ---------------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Adam with the configured course of the learning rate."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.lr)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._lr_factor)
        interval = "step" if self.schedule == "cosine" else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def _lr_factor(self, count: int) -> float:
        """Share of the initial learning rate after so many epochs, or steps for a cosine."""
        if self.schedule == "exponential":
            return float(self.lr_decay ** (count / self.lr_decay_epochs))
        if self.schedule == "steps":
            return float(self.lr_decay ** (count // self.lr_decay_epochs))
        if self.schedule == "cosine" and count:  # before the first step the trainer knows of no data
            progress = min(1.0, count / max(1, self.trainer.estimated_stepping_batches))
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))
        return 1.0

    def configure_callbacks(self) -> list[lightning.Callback]:
        """The average of the weights, if there is to be one."""
        return [AveragedWeights(decay=self.averaging)] if self.averaging else []

    def on_fit_start(self) -> None:
        """Let every step use the memory of the one before."""
        keep_freed_memory()

    def on_train_start(self) -> None:
        """Bring the lanes that a checkpoint held to where the model is."""
        if self._lanes is not None:
            self._lanes = map_state(lambda part: part.to(self.device), self._lanes)

    def on_train_epoch_start(self) -> None:
        """Lanes start anew; a run that resumes in the middle of an epoch keeps those of its checkpoint."""
        self._lanes = None

    on_test_epoch_start = on_predict_epoch_start = on_train_epoch_start

    def on_train_end(self) -> None:
        """Say how many steps were left out."""
        if self._left_out:
            log.warning("steps that were left out, as their gradients were not finite: %d", self._left_out)

    def on_validation_epoch_start(self) -> None:
        """Put the lanes of training aside: validation may come in the middle of an epoch."""
        self._training_lanes, self._lanes = self._lanes, None

    def on_validation_epoch_end(self) -> None:
        """Log the mean error-to-signal ratio over the takes, and go back to the lanes of training."""
        ratio = self.validation_error.compute().float()
        if ratio.isnan() and not self.trainer.sanity_checking:
            log.warning("val_esr is not a number: nothing but silence validates, or the model has diverged")
        self.log("val_esr", ratio, prog_bar=True)
        self.validation_error.reset()
        self._lanes, self._training_lanes = self._training_lanes, None

    def on_test_epoch_end(self) -> None:
        """Log the mean error-to-signal ratio over the takes, and each take's."""
        self.log("test_esr", self.test_error.compute().float())
        with self.test_error.sync_context():
            for take, ratio in self.test_error.per_take().items():
                self.log(f"test_esr_take{take}", ratio.float())
        self.test_error.reset()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One segment of every lane; while all of them, in all processes, warm up, the loss is 0."""
        self._counts = self._any_process(batch.scored.any())
        estimate = self._estimate(batch)
        if not self._counts:
            return 0.0 * estimate.sum()
        loss = self._scored_loss(estimate, batch)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(batch.dry))
        return loss

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Step, unless nothing counted: then even Adam's momentum stands still."""
        loss = optimizer_closure() if optimizer_closure is not None else None
        if self._counts:  # with a loss at hand, or half precision would take the gradients for missing
            super().optimizer_step(epoch, batch_idx, optimizer, lambda: loss)

    @property
    def has_stepped(self) -> bool:
        """Whether the last batch counted, so that the optimiser made a step."""
        return self._counts

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave a step out whose gradients have overflowed: clipping would make every weight NaN.

        Back-propagation through long time does so now and then.

        Raises:
            ConfigError: If it happens a hundred times in a row.
        """
        parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        if all(bool(torch.isfinite(parameter.grad).all()) for parameter in parameters):  # type: ignore[arg-type]
            self._overflows = 0
            return
        if not self._left_out:
            log.warning("step %d has gradients that are not finite; such steps are left out", self.global_step)
        self._left_out += 1
        self._overflows += 1
        if self._overflows >= MOST_OVERFLOWS:
            raise ConfigError(
                f"training has diverged: {MOST_OVERFLOWS} steps in a row had gradients that are not finite; begin anew "
                "with a lower lr or shorter segments."
            )
        for parameter in parameters:
            parameter.grad = None

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Accumulate the error of one segment of every lane; returns the estimate, shape (batch, channels, time)."""
        estimate = self._estimate(batch)
        self.validation_error.update(estimate, batch.wet, batch.take, batch.scored)
        return estimate

    def test_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Accumulate the error of one segment of every lane; returns the estimate, shape (batch, channels, time)."""
        estimate = self._estimate(batch)
        self.test_error.update(estimate, batch.wet, batch.take, batch.scored)
        return estimate

    def predict_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The estimate of one segment of every lane, shape (batch, channels, time)."""
        return self._estimate(batch)

    def _any_process(self, flag: Tensor) -> bool:
        """Whether it is true in any of the processes that train together: they step together or not at all."""
        if self.trainer.world_size > 1:
            flag = self.trainer.strategy.reduce(flag.float(), reduce_op="sum")
        return bool(flag)

    def _estimate(self, batch: Batch) -> Tensor:
        """Run the network from the state that each lane has, and keep the state after it."""
        fresh = torch.ones_like(batch.fresh) if self._lanes is None else batch.fresh
        state = self.network.initial_state(len(batch.dry), batch.dry.device, batch.dry.dtype)
        estimate: Tensor
        with compiler.waiting():
            if not self.training:
                state = self._settle(state, fresh, batch)
            if self._lanes is not None:
                state = reset_where(fresh, self._lanes, state)
            estimate, state = self.network(batch.dry, batch.knobs, state)
        self._lanes = detach(state)
        return estimate

    def _settle(self, initial: State, fresh: Tensor, batch: Batch) -> State:
        """The initial state with the rows that start anew at rest, as streams start; training starts from zeros."""
        rows = fresh.nonzero().flatten()
        if not len(rows):
            return initial
        knobs = batch.knobs[rows] if batch.knobs.dim() == 2 else batch.knobs[rows, 0]
        samples = settling_samples(SETTLING_S, self.sample_rate)
        with torch.no_grad():
            begun = map_state(lambda part: part[rows], initial)
            rest = hear_silence(self.network, knobs, begun, batch.dry, samples)
        # Under autocast a network may return states of less precision than it takes.
        return map_state(lambda part, rested: part.index_copy(0, rows, rested.to(part.dtype)), initial, rest)

    def _scored_loss(self, estimate: Tensor, batch: Batch) -> Tensor:
        """Loss over the whole batch; what is not scored is silenced in both signals, so that it adds nothing."""
        scale = batch.scored.to(estimate.dtype).unsqueeze(1)
        if self.normalise_takes:
            scale = scale * batch.scale.view(-1, 1, 1)
        loss: Tensor = self.loss(estimate * scale, batch.wet * scale)
        return loss

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the block from which :func:`load_checkpoint` rebuilds the model: plain data only."""
        checkpoint[CHECKPOINT_KEY] = {
            "format": CHECKPOINT_FORMAT,
            "version": __version__,
            "architecture": type(self).__name__,
            "arguments": self.architecture_arguments(),
            "effect": self.effect.to_dict(),
            "lanes": self._unfinished_lanes(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the lanes of a run that was stopped in the middle of an epoch."""
        self._lanes = checkpoint.get(CHECKPOINT_KEY, {}).get("lanes")

    def _unfinished_lanes(self) -> State | None:
        """The states of lanes that run on behind a checkpoint; several processes, with different ones, keep none."""
        if self._trainer is None or self.trainer.world_size > 1:
            return None
        if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return None
        return self._lanes if self._training_lanes is None else self._training_lanes


def load_checkpoint(path: str | Path) -> EffectModule:
    """Rebuild a model from a training checkpoint of this or an earlier version; nothing in it is executed.

    Args:
        path: A ``.ckpt`` file that a run wrote.

    Returns:
        The model on the CPU, ready for use.

    Raises:
        FormatError: If the file is missing, is no checkpoint of neuralfx, or does not fit its own description.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        block = checkpoint[CHECKPOINT_KEY]
        if block["format"] != CHECKPOINT_FORMAT:
            raise FormatError(f"{path}: checkpoint format {block['format']} needs a newer neuralfx.")
        model = architecture(block["architecture"])(effect=block["effect"], **block["arguments"])
        prefix = "network."
        weights = {
            key[len(prefix) :]: value for key, value in checkpoint["state_dict"].items() if key.startswith(prefix)
        }
        model.network.load_state_dict(weights)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such checkpoint; a run writes them to runs/<name>/checkpoints.") from None
    except (KeyError, TypeError, AttributeError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path}: not a checkpoint that neuralfx can use: {reason}") from None
    return model.eval()
