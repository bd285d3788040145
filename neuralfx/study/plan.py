"""From a study's YAML to its cells: one run for every model, effect and seed.

::

    name: small                                # default: name of the file
    models:                                    # names of configurations, or of variants of one
      - lstm
      - gru-film-64: {config: gru-film, hidden_size: 64}
    data:
      od300: {root: recordings}                # the configuration of this name, with another root
      my-amp: {class_path: PairedAudioDataModule, root: recordings, device: my-amp}
    seeds: [0, 1]                              # of weights and of the order of training
    trainer: {max_epochs: 20}                  # instead of what the models' configurations say
    evaluate:
      metrics: [esr, mae]
      baselines: [identity, linear]
      nam: {od300: {file: nam/od300.nam, knobs: {level: 0.5}}}   # a model of NAM and the one setting that it knows
    published: {od300: od300}                  # data, and the device in papers whose values stand beside ours
    jobs: 2                                    # cells that run side by side
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from neuralfx.datasets.manifest import KnobValue
from neuralfx.errors import ConfigError, closest, join_words
from neuralfx.recipes import STUDIES, find_config
from neuralfx.study.published import published_devices

KEYS = ("name", "models", "data", "seeds", "trainer", "evaluate", "published", "jobs")
# What a cell says goes into a file.
QUIET = {"enable_progress_bar": False, "enable_model_summary": False}
# Whatever these are, the result is the same.
FREE = ("root", "num_workers")
SETTINGS = "cell.yaml"

Settings = dict[str, Any]


class Capture(NamedTuple):
    """A model of Neural Amp Modeler that stands beside the models of a study.

    Attributes:
        file: Its file ``.nam``.
        knobs: The setting at which it was trained.
    """

    file: Path
    knobs: dict[str, KnobValue]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        model: Name of the model in the study.
        effect: Name of the data in the study.
        seed: Seed of the weights and of the order of training.
        settings: Configuration of the run, as ``neuralfx fit`` reads it.
        folder: Folder of the run.
        baselines: Baselines that are measured beside the model; of one cell per effect.
        capture: Model of NAM that is measured beside it; of the same cell, if there is one.
    """

    model: str
    effect: str
    seed: int
    settings: Settings
    folder: Path
    baselines: tuple[str, ...] = ()
    capture: Capture | None = None

    @property
    def name(self) -> str:
        """Name of the cell, and of its folder."""
        return self.folder.name

    @property
    def has_other_settings(self) -> bool:
        """Whether its folder has a run of other settings, but for those that leave the result alone."""
        try:
            before = yaml.safe_load((self.folder / SETTINGS).read_text(encoding="utf-8"))
        except OSError:  # not begun
            return False
        except (ValueError, yaml.YAMLError):
            return True
        return bool(_what_counts(before) != _what_counts(yaml.safe_load(self.dump())))

    def dump(self) -> str:
        """The settings as YAML."""
        return str(yaml.safe_dump(self.settings, sort_keys=False))


@dataclasses.dataclass(frozen=True)
class Study:
    """What is compared with what.

    Attributes:
        name: Name of the study.
        models: Section ``model`` and section ``trainer`` of each model's configuration, by name.
        data: Section ``data`` of each effect's configuration, by name.
        seeds: Seeds that every model is trained from on every effect.
        trainer: Arguments of the trainer for all cells.
        metrics: Names of the measures, the first of which matters most.
        baselines: Names of baselines.
        captures: Models of NAM by name of the effect.
        published: Device in papers whose values stand beside ours, by name of the effect.
        jobs: Cells that run side by side.
    """

    name: str
    models: dict[str, tuple[Settings, Settings]]
    data: dict[str, Settings]
    seeds: tuple[int, ...]
    trainer: Settings
    metrics: tuple[str, ...]
    baselines: tuple[str, ...]
    captures: dict[str, Capture]
    published: dict[str, str]
    jobs: int

    def pair(self, model: str) -> str:
        """Name of the class of a model."""
        path: str = self.models[model][0]["class_path"]
        return path.rpartition(".")[2]

    def cells(self, folder: Path) -> list[Cell]:
        """All runs, below a folder: first everything from the first seed."""
        cells = []
        first = (next(iter(self.models)), self.seeds[0])
        for seed in self.seeds:
            for effect, data in self.data.items():
                for model, (arguments, trainer) in self.models.items():
                    settings = {
                        "seed_everything": seed,
                        "trainer": {**QUIET, **trainer, **self.trainer},
                        "model": arguments,
                        "data": {**data, "init_args": {"seed": seed, **data["init_args"]}},
                    }
                    place = folder / "cells" / f"{model}-{effect}-seed{seed}"
                    cell = Cell(model, effect, seed, settings, place)
                    if (model, seed) == first:
                        cell = dataclasses.replace(cell, baselines=self.baselines, capture=self.captures.get(effect))
                    cells.append(cell)
        return cells


def read_study(path: str | os.PathLike[str]) -> Study:
    """Read a study and the configurations that it names.

    Args:
        path: YAML file, as at the top of this module, or the name of a shipped one.

    Raises:
        ConfigError: If the file is missing, damaged, or names what is not there.
    """
    path = find_config(str(path), STUDIES)
    given = _read_yaml(path)
    _refuse_others(path, given, KEYS)
    for key in ("models", "data"):
        if not given.get(key):
            raise ConfigError(f"{path}: expected at least one entry under {key}.")
    evaluate = given.get("evaluate") or {}
    trainer = given.get("trainer") or {}
    for key, value in (("evaluate", evaluate), ("trainer", trainer)):
        _require_mapping(path, key, value)
    _refuse_others(path, evaluate, ("metrics", "baselines", "nam"))
    data = _entries(path, "data", given["data"])
    effects = [name for name, _ in data]
    study = Study(
        name=_require_name(path, str(given.get("name", path.stem))),
        models={name: _resolve(path, "model", name, own) for name, own in _entries(path, "models", given["models"])},
        data={name: _resolve(path, "data", name, own)[0] for name, own in data},
        seeds=_list_of(path, "seeds", given.get("seeds", [0]), int),
        trainer=trainer,
        metrics=_list_of(path, "metrics", evaluate.get("metrics", ["esr"]), str),
        baselines=_list_of(path, "baselines", evaluate.get("baselines", ["identity", "linear"]), str, least=0),
        captures=_require_captures(path, evaluate.get("nam") or {}, effects),
        published=_require_published(path, given.get("published") or {}, effects),
        jobs=_require_jobs(path, given.get("jobs", 1)),
    )
    names = [cell.name for cell in study.cells(Path())]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two cells would be called {name}; give their models or data other names.")
    return study


def _entries(path: Path, key: str, given: Any) -> list[tuple[str, Settings]]:
    """Name and own settings of each entry of a mapping, or of a list of names and mappings."""
    entries: list[tuple[str, Settings]] = []
    for item in given if isinstance(given, list) else [given]:
        if isinstance(item, str):
            entries.append((Path(item).stem if item.endswith(".yaml") else item, {"config": item}))
        elif isinstance(item, dict):
            entries += [(str(name), {} if own is None else own) for name, own in item.items()]
        else:
            raise ConfigError(f"{path}: expected names or mappings under {key}, got {item!r}.")
    names = [_require_name(path, name) for name, _ in entries]
    for name, own in entries:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: {key} has {name} twice; give one of them another name.")
        if not isinstance(own, dict):
            raise ConfigError(
                f"{path}: expected settings of {name} as a mapping such as {{config: lstm}}, got {own!r}."
            )
    return entries


def _resolve(path: Path, section: str, name: str, own: Settings) -> tuple[Settings, Settings]:
    """Class and arguments of a model or of data, and what its configuration says about the trainer."""
    arguments = {key: value for key, value in own.items() if key not in ("class_path", "config", "init_args")}
    arguments = {**(own.get("init_args") or {}), **arguments}
    if "class_path" in own:
        if "config" in own:
            raise ConfigError(f"{path}: {name} has a config and a class_path; leave one out.")
        return {"class_path": own["class_path"], "init_args": arguments}, {}
    source = find_config(str(own.get("config", name)))
    config = _read_yaml(source)
    part = config.get(section)
    if not isinstance(part, dict) or "class_path" not in part:
        raise ConfigError(f"{source}: expected a section {section} with a class_path, as {path} wants of {name}.")
    return {**part, "init_args": {**(part.get("init_args") or {}), **arguments}}, config.get("trainer") or {}


def _read_yaml(path: Path) -> Settings:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not a configuration that can be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(content).__name__}.")
    return content


def _refuse_others(path: Path, given: Iterable[str], known: Iterable[str]) -> None:
    for key in given:
        if key not in known:
            close = closest(str(key), known)
            hint = f"did you mean {join_words(close, last='or')}?" if close else f"known are {join_words(list(known))}."
            raise ConfigError(f"{path}: no setting is called {key!r}; {hint}")


def _require_name(path: Path, name: str) -> str:
    """Names are parts of names of folders."""
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ConfigError(f"{path}: expected a name of letters, digits and . _ + -, got {name!r}.")
    return name


def _require_mapping(path: Path, key: str, given: Any) -> Settings:
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: expected a mapping under {key}, got {given!r}.")
    return given


def _by_effect(path: Path, key: str, given: Any, effects: list[str]) -> Settings:
    for effect in _require_mapping(path, key, given):
        if effect not in effects:
            raise ConfigError(f"{path}: {key} has {effect!r}, which is not under data: {join_words(effects)}.")
    return dict(given)


def _require_jobs(path: Path, jobs: Any) -> int:
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise ConfigError(f"{path}: expected a whole number of at least 1 as jobs, got {jobs!r}.")
    return jobs


def _require_captures(path: Path, given: Any, effects: list[str]) -> dict[str, Capture]:
    """Files are relative to the study."""
    captures = {}
    for effect, capture in _by_effect(path, "nam", given, effects).items():
        if not isinstance(capture, dict) or set(capture) != {"file", "knobs"} or not isinstance(capture["knobs"], dict):
            raise ConfigError(
                f"{path}: expected a file and its setting as nam of {effect}, such as "
                f"{{file: {effect}.nam, knobs: {{gain: 0.5}}}}, got {capture!r}."
            )
        captures[effect] = Capture(path.parent / str(capture["file"]), dict(capture["knobs"]))
    return captures


def _require_published(path: Path, given: Any, effects: list[str]) -> dict[str, str]:
    for device in _by_effect(path, "published", given, effects).values():
        if device not in published_devices():
            raise ConfigError(
                f"{path}: published: no paper has values of {device!r}; there are {join_words(published_devices())}."
            )
    return dict(given)


def _list_of(path: Path, key: str, given: Any, kind: type, least: int = 1) -> tuple[Any, ...]:
    fits = isinstance(given, list) and all(type(value) is kind for value in given)
    if not fits or len(given) < least or len(set(given)) < len(given):
        raise ConfigError(f"{path}: expected a list of different {kind.__name__}s as {key}, got {given!r}.")
    return tuple(given)


def _what_counts(settings: Any) -> Any:
    """Settings without those that leave the result alone."""
    if not isinstance(settings, Mapping) or not isinstance(settings.get("data"), Mapping):
        return settings
    arguments = {key: value for key, value in settings["data"].get("init_args", {}).items() if key not in FREE}
    return {**settings, "data": {**settings["data"], "init_args": arguments}}
