"""``neuralfx fit``, ``validate``, ``test`` and ``predict``: Lightning's command line with our defaults.

Everything that a run writes lies in ``runs/<name>``: config.yaml, checkpoints, log, audio, plots and metrics.json.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import lightning
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger

import neuralfx.datasets.modules
import neuralfx.models
from neuralfx.errors import ConfigError, DatasetNotFoundError, NeuralfxError, join_words
from neuralfx.files import lock
from neuralfx.models.base import EffectModule
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.recipes import find_config
from neuralfx.reports.benchmark import cpu_name
from neuralfx.reports.run import RunReport

log = logging.getLogger(__name__)

LOCK = ".lock"  # in the run's folder
LONGEST_LOSS = timedelta(minutes=10)  # of work, when a run is stopped in the middle of an epoch

EXPECTED_MESSAGES = (
    "Tip: ",  # advertisements
    "`LightningModule.configure_callbacks` will override",  # a model's average of the weights, met again by the test
)
EXPECTED_WARNINGS = (
    "LightningCLI's args parameter",  # the arguments are the command line's own, with recipes found
    "Checkpoint directory .* exists and is not empty",  # a run that goes on
    "Detected call of `lr_scheduler.step",  # an epoch so short that it only warms up
    "`ModelCheckpoint\\(monitor='val_esr'\\)` could not find",  # stopped before the first validation, see after_fit
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning 2.6 beside torch 2.13
)


def main(command: str, argv: Sequence[str]) -> int:
    """Run one of Lightning's subcommands; returns the exit code."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(words in record.msg for words in EXPECTED_MESSAGES)
    )
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning 2.6 uses deprecated calls
    for expected in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", expected)
    for name in ARCHITECTURES:  # LightningCLI finds classes by name among those that are imported
        neuralfx.models.architecture(name)
    try:
        TrainingCommandLine([command, *find_recipes(argv)])
    except (ArgumentError, ValueError) as error:
        cause: BaseException | None = error
        while cause is not None:  # jsonargparse wraps what our classes raise while they are built
            if isinstance(cause, NeuralfxError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        raise ConfigError(summarise(str(error))) from error
    return 0


def summarise(message: str) -> str:
    """The lines of jsonargparse's report that say what is wrong, without its wrapping, in one line.

    Example:
        >>> summarise('''Parser key "model":
        ...   Errors:
        ...     - Option 'hidden' is not accepted
        ...   Given value: 5''')
        "Option 'hidden' is not accepted"
    """
    wrapping = ("Does not validate", "Subtypes:", "Errors:", "Given value", "Problem with given class")
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    keys, telling = [], []
    for line in lines:
        key = re.fullmatch(r'Parser key "(.+)":', line)
        if key:
            keys.append(key[1])
        elif line and not line.startswith(wrapping) and "NoneType" not in line:
            telling.append(f"{'.'.join(keys)}: {line}" if keys and line.startswith("Expected a <class") else line)
    return "; ".join(telling[:2]) or lines[0]


def find_recipes(argv: Sequence[str]) -> list[str]:
    """Replace the names of shipped configurations after ``--config`` by their paths, see :func:`find_config`.

    Raises:
        ConfigError: If a value is neither a file nor the name of a shipped configuration.
    """
    found = list(argv)
    for index, word in enumerate(argv):
        option, separator, value = word.partition("=")
        if option not in ("--config", "-c"):
            continue
        if separator:
            found[index] = f"{option}={find_config(value)}"
        elif index + 1 < len(argv):
            found[index + 1] = str(find_config(argv[index + 1]))
    return found


class TrainingCommandLine(LightningCLI):
    """LightningCLI in subclass mode: classes from YAML, the effect of the data handed to the model, one run folder."""

    _lock: IO[bytes] | None = None  # held while the run is trained

    def __init__(self, arguments: list[str]) -> None:
        logged = _wandb_run()
        try:
            super().__init__(
                EffectModule,
                lightning.LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                save_config_callback=None,  # before_fit writes one config.yaml into the run folder
                seed_everything_default=0,
                parser_kwargs={"exit_on_error": False},  # errors are told by neuralfx.cli, in one line
                trainer_defaults={"max_epochs": 100, "log_every_n_steps": 1, "num_sanity_val_steps": 0},
                args=arguments,
            )
        finally:
            if self._lock is not None:
                self._lock.close()
            if _wandb_run() is not logged:  # or the next training of this process would go on with it
                sys.modules["wandb"].finish()

    @property
    def settings(self) -> Namespace:
        """The configuration of the subcommand that runs."""
        return self.config[self.subcommand]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's own options; the model's effect comes from the data."""
        parser.add_argument(
            "--run", type=str | None, default=None, help="Folder of the run; default: runs/<name of the last config>."
        )
        parser.add_argument(
            "--fresh", type=bool, default=False, help="Start anew in a new folder instead of resuming the run."
        )
        parser.add_argument(
            "--examples_every", type=int, default=25, help="Epochs between examples to hear and see during training."
        )
        # Linked on instantiation: a link at parsing time would be missing from checkpoints.
        parser.link_arguments(
            "data", "model.init_args.effect", compute_fn=lambda data: data.effect.to_dict(), apply_on="instantiate"
        )

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as the user wrote it: Lightning would override it from the checkpoint."""

    def before_instantiate_classes(self) -> None:
        """Choose the run folder, and the checkpoint to go on from."""
        self.run_folder = self._choose_run_folder()
        checkpoints = self.run_folder / "checkpoints"
        if self.settings.get("ckpt_path") is None:
            last, best = checkpoints / "last.ckpt", checkpoints / "best.ckpt"
            if self.subcommand == "fit":
                if last.is_file() and not self.settings.trainer.fast_dev_run:
                    self._refuse_other_settings()
                    log.info("resuming %s from its last checkpoint (--fresh true starts anew)", self.run_folder)
                    self.settings.ckpt_path = str(last)
            elif best.is_file():
                self.settings.ckpt_path = str(best)
            else:
                raise DatasetNotFoundError(
                    f"no checkpoint in {checkpoints}; run 'neuralfx fit' first, or name one with --ckpt_path."
                )
        self._keep_wandb_quiet()

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """Add log, checkpoints and report of the run to what the configuration asks for."""
        if self.settings.trainer.logger is None:
            kwargs.setdefault("logger", CSVLogger(self.run_folder, name="log"))
        save = functools.partial(ModelCheckpoint, self.run_folder / "checkpoints", enable_version_counter=False)
        self.trainer_defaults["callbacks"] = [
            save(filename="best", monitor="val_esr"),
            save(filename="last", save_on_train_epoch_end=True),
            save(filename="last", train_time_interval=LONGEST_LOSS),
            Timer(),
            RunReport(self.run_folder, self.settings.examples_every),
        ]
        return super().instantiate_trainer(**kwargs)

    def _refuse_other_settings(self) -> None:
        """A run goes on with the model and data that it began with: its checkpoint holds their results."""
        before = yaml.safe_load((self.run_folder / "config.yaml").read_text(encoding="utf-8"))
        now = yaml.safe_load(self._dump_settings())
        for settings in (before, now):
            for free in ("root", "num_workers"):
                settings["data"].get("init_args", {}).pop(free, None)
        changed = [part for part in ("model", "data", "seed_everything") if before.get(part) != now.get(part)]
        if changed:
            raise ConfigError(
                f"{self.run_folder} was begun with other settings of {join_words(changed)}; pass --fresh true to begin "
                "a new run, or --run FOLDER to name one."
            )

    def before_fit(self) -> None:
        """Keep the full configuration beside what comes out of it, and others out of the run."""
        if self.trainer.is_global_zero and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._lock = lock(self.run_folder / LOCK)
            if self._lock is None:
                raise ConfigError(
                    f"{self.run_folder}: another process trains this run; wait for it, or pass --fresh true to begin a "
                    "new run, or --run FOLDER to name one."
                )
            (self.run_folder / "config.yaml").write_text(self._dump_settings(), encoding="utf-8")

    def after_fit(self) -> None:
        """Measure the best checkpoint on the held-out part, and say what to do next."""
        best = self.run_folder / "checkpoints" / "best.ckpt"
        best = self.trainer.strategy.broadcast(best)  # other processes may have found another name for a fresh run
        if self.trainer.fast_dev_run or self.trainer.interrupted:  # type: ignore[attr-defined]
            return
        if not best.is_file():
            log.warning(
                "no validation in %d steps, so that there is no best checkpoint: train longer, or validate more often "
                "(--trainer.val_check_interval)",
                self.trainer.global_step,
            )
            return
        if self.trainer.is_global_zero:
            self._write_effort()
        if self.settings.data.get("init_args", {}).get("test") == []:
            log.warning("no part of the takes was kept for the test: nobody knows how good the model is")
            return
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=str(best), weights_only=True)
        log.info("package it: neuralfx package %s --name my-model -o my-model", best)

    def _write_effort(self) -> None:
        """Keep what training took, over all parts of a run that was resumed, for the card of the model."""
        timer = next(callback for callback in self.trainer.callbacks if isinstance(callback, Timer))  # type: ignore[attr-defined]
        device = self.trainer.strategy.root_device
        hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name() or device.type
        effort = {"seconds": round(timer.time_elapsed("train"), 1), "hardware": hardware}
        (self.run_folder / "effort.json").write_text(json.dumps(effort), encoding="utf-8")

    def _dump_settings(self) -> str:
        settings = self.settings.clone()
        for name in ("config", "ckpt_path", "fresh", "run"):
            settings.pop(name, None)
        return str(self._parser(self.subcommand).dump(settings, skip_validation=True))

    def _choose_run_folder(self) -> Path:
        configs = [str(path) for path in self.settings.get("config") or []]
        name = Path(configs[-1]).stem if configs else "run"
        folder = Path(self.settings.run or Path("runs") / name)
        if not self.settings.fresh:
            return folder
        number = 2
        while (fresh := folder.with_name(f"{folder.name}-{number}")).exists():
            number += 1
        return fresh if folder.exists() else folder

    def _keep_wandb_quiet(self) -> None:
        """Without an account or a chosen mode, a WandbLogger works offline instead of asking for a key."""
        loggers = self.settings.trainer.logger
        for logger in loggers if isinstance(loggers, list) else [loggers]:
            if not isinstance(logger, Namespace) or not str(logger.get("class_path", "")).endswith("WandbLogger"):
                continue
            chosen = logger.get("init_args", Namespace())
            extra = logger.get("dict_kwargs") or {}
            mode = "offline" if chosen.get("offline") else extra.get("mode", os.environ.get("WANDB_MODE"))
            if mode is None:
                import wandb

                if not wandb.login(prompt=False, verify=False):
                    log.info("no wandb account: logging offline; 'wandb sync' uploads %s later", chosen.get("save_dir"))
                    mode = "offline"
            if mode is not None:  # wandb looks at the environment once per process only
                logger["dict_kwargs"] = {**extra, "mode": mode}


def _wandb_run() -> Any:
    """The run of Weights & Biases that this process logs to, if any."""
    return getattr(sys.modules.get("wandb"), "run", None)
