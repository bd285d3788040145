"""``neuralfx evaluate``: models and baselines measured on recordings; tables, and a report to hear and to look at."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralfx.commands import ArgumentParser
from neuralfx.errors import AudioFileError, ConfigError, FormatError, closest, join_words

if TYPE_CHECKING:
    from neuralfx.datasets import PairedAudioDataModule
    from neuralfx.effect import Effect
    from neuralfx.evaluation import NAM, Candidate, Evaluation, Excerpt, Material, Model
    from neuralfx.metrics.device import DeviceMeasurements

SPLITS = ("test", "validation", "train", "all")
BASELINES = ("identity", "linear", "linear-in-sample")
# Of a recipe's data: what says which audio is which, not how training plays it.
SETTINGS = (
    "device", "knobs", "validation", "test", "silence_s", "validation_settings", "test_settings", "guard_samples",
    "align", "correct_polarity", "evaluation_warmup_s", "slug", "device_name", "subset",
)  # fmt: skip
VOICE_SECONDS = 130.0  # of all sounds of a report together, at 48 kHz: about 10 MB

_log = logging.getLogger(__name__)

_EPILOG = """\
Recordings of the device that the first model was made from are read as its recipe reads them: its declarations of
knobs, its ranges. Others are read as they describe themselves. --config and the options here come first.

With -o: evaluation.json (everything), rows.csv, tables.md, tables.tex, index.html, a page to hear and look at, and
device.json, what test signals say about the first model.

A model of Neural Amp Modeler knows one setting: --nam amp.nam gain=5 tone=0.5 plays the takes that were recorded there.

example: neuralfx evaluate -m la2a-s4d -m runs/la2a-gru/checkpoints/best.ckpt --data recordings -o report/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table of means and write the report; return the exit status.

    Args:
        argv: Arguments after ``neuralfx evaluate``; None takes those of the process.

    Raises:
        ConfigError: If an option is wrong, or a model does not fit the recordings.
        KnobError: If a take was recorded at a value that a model's knob cannot take.
        ModelNotFoundError: If there is no such model.
        DatasetNotFoundError: If the folder, or files of it, are missing.
        FormatError: If recordings, a model or a configuration are damaged.
        AudioFileError: If a file cannot be read, or the report cannot be written.
    """
    parser = ArgumentParser(
        prog="neuralfx evaluate",
        description="Measure models and baselines on recordings of a device.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-m", "--model", action="append", required=True,
        help="name (see 'neuralfx list'), model folder, owner/name or checkpoint (.ckpt); repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--data", required=True, metavar="FOLDER", help="recordings with a manifest, or in a known layout"
    )
    parser.add_argument("--device", help="which device of the folder, if it has several")
    parser.add_argument("--config", metavar="FILE", help="YAML with a block data, or its name: la2a, od300-lstm")
    parser.add_argument("--split", choices=SPLITS, default="test", help="what is measured; default: test")
    for split in ("validation", "test"):
        parser.add_argument(
            f"--{split}", type=_ranges, metavar="RANGES", help=f"fractions of every take for {split}, such as 0.8:1"
        )
    parser.add_argument(
        "--baselines", type=_names, default=["identity", "linear"], metavar="NAMES",
        help=f"of {', '.join(BASELINES)}, or none; default: identity,linear",
    )  # fmt: skip
    parser.add_argument(
        "--nam", action="append", nargs="+", default=[], metavar=("FILE", "KNOB=VALUE"),
        help="model of Neural Amp Modeler, and the knobs' values at which it was made: it plays takes of these values "
        "only; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=_names, metavar="NAMES", help="such as esr,mae, or all; default: those of the papers"
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write the report here")
    arguments = parser.parse_args(argv)
    baselines = _check_baselines(arguments.baselines)

    from neuralfx.evaluation import BASELINES as MADE
    from neuralfx.evaluation import choose_metrics, load_models, load_nam, read_material

    metrics = choose_metrics(arguments.metrics)
    models = load_models(arguments.model)
    networks = [load_nam(file) for file, *_ in arguments.nam]
    data = find_data(
        arguments.data, models[0], arguments.config, device=arguments.device, validation=arguments.validation,
        test=arguments.test,
    )  # fmt: skip
    material = read_material(data, arguments.data, arguments.split)
    captures = _captures(arguments.nam, networks, material.effect)
    candidates: list[Candidate] = [*models, *captures, *(MADE[name]() for name in baselines)]
    evaluation = _measure(material, candidates, metrics)
    _print(evaluation)
    if arguments.output:
        from neuralfx.evaluation import cut_excerpts, measure_settings

        seconds = _excerpt_seconds(len(candidates) + 2, material.effect.sample_rate)
        excerpts = cut_excerpts(evaluation, material, candidates, seconds)
        measured = measure_settings(models[0], [excerpt.knobs for excerpt in excerpts])
        for path in write_report(Path(arguments.output), evaluation, excerpts, measured):
            print(path)
    return 0


def find_data(folder: str, model: Model, config: str | None = None, **given: Any) -> PairedAudioDataModule:
    """The recordings in a folder, read as a configuration or the model's own recipe says.

    Args:
        folder: The recordings.
        model: Its recipe counts where the folder holds the device that it names and there is no configuration.
        config: YAML with a block ``data``, or the name of a shipped one; None for none.
        given: Arguments of the data that come first, such as ``test``; None stands for not given.

    Raises:
        ConfigError: If the configuration names no data set of ours.
        DatasetNotFoundError: If there is no such folder.
        FormatError: If a manifest is damaged.
    """
    from neuralfx import datasets
    from neuralfx.datasets.layout import slug_of
    from neuralfx.datasets.manifest import devices
    from neuralfx.recipes import find_config

    own = {name: value for name, value in given.items() if value is not None}
    place = Path(folder).resolve()
    recorded = devices(place) or [name for name in devices(place.parent) if name == slug_of(place.name)]
    if config is not None:
        class_name, settings = _read_config(find_config(config, ("data", "recipes")))
    else:
        class_name, settings = _recipe_data(model)
        trained = slug_of(str(settings.get("device") or model.module.effect.slug))
        wanted = slug_of(str(own.get("device", trained)))
        if class_name == "PairedAudioDataModule" and wanted == trained in recorded:
            settings["device"] = settings.get("device") or trained
            _log.info("%s: knobs and ranges as in the recipe of %s", folder, model.name)
        else:
            if class_name:
                _log.info("%s: read as it describes itself, not by the recipe of %s", folder, model.name)
            class_name, settings = "PairedAudioDataModule", {}
            if model.module.effect.slug in recorded:
                settings = {"device": model.module.effect.slug}
    if class_name not in datasets.__all__:
        raise ConfigError(f"{config}: expected a data set of neuralfx as data.class_path, got {class_name!r}.")
    arguments = {name: value for name, value in settings.items() if name in SETTINGS and value is not None}
    try:
        data: PairedAudioDataModule = getattr(datasets, class_name)(root=folder, **{**arguments, **own})
    except TypeError as error:
        raise ConfigError(f"{config or folder}: {class_name} does not take these arguments: {error}.") from None
    return data


def write_report(
    folder: Path,
    evaluation: Evaluation,
    excerpts: Sequence[Excerpt],
    measured: Mapping[str, DeviceMeasurements] | None = None,
) -> list[Path]:
    """Write the files of a report, each when it is complete.

    Args:
        folder: Where; made if need be.
        evaluation: What was measured.
        excerpts: What is to be heard.
        measured: What test signals say about the first model, by setting.

    Returns:
        The files.

    Raises:
        AudioFileError: If a file cannot be written.
    """
    from neuralfx.reports.evaluation_tables import csv_rows, write_latex, write_markdown
    from neuralfx.reports.page import render_page
    from neuralfx.reports.tables import render_csv, render_json

    contents = {
        "evaluation.json": render_json(evaluation.to_dict()),
        "rows.csv": render_csv(csv_rows(evaluation)),
        "tables.md": write_markdown(evaluation),
        "tables.tex": write_latex(evaluation),
        "index.html": render_page(evaluation, excerpts, measured),
    }
    if measured:
        contents["device.json"] = render_json({name: result.to_dict() for name, result in measured.items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            part = folder / f".{name}.part"
            part.write_text(content, encoding="utf-8")
            os.replace(part, folder / name)
    except OSError as error:
        raise AudioFileError(f"cannot write {folder}: {error}") from error
    return [folder / name for name in contents]


def _captures(given: Sequence[Sequence[str]], networks: Sequence[Any], effect: Effect) -> list[NAM]:
    """Models of Neural Amp Modeler at their settings, each under a name of its own."""
    from neuralfx.commands.process import parse_knobs
    from neuralfx.evaluation import NAM
    from neuralfx.evaluation.candidates import free_name
    from neuralfx.text import describe_knobs

    captures: list[NAM] = []
    for (file, *values), network in zip(given, networks):
        knobs = parse_knobs(values, effect)
        label = f"{Path(file).name} at {describe_knobs(knobs)}" if knobs else Path(file).name
        captures.append(NAM(free_name(label, [other.name for other in captures]), network, knobs))
    return captures


def _measure(material: Material, candidates: Sequence[Candidate], metrics: Any) -> Evaluation:
    from tqdm import tqdm

    from neuralfx.evaluation import evaluate

    with tqdm(
        total=material.samples * len(candidates), unit=" samples", unit_scale=True, disable=None, leave=False,
        file=sys.stderr,
    ) as progress:  # fmt: skip
        return evaluate(material, candidates, metrics, progress.update)


def _print(evaluation: Evaluation) -> None:
    """The table of means, with models side by side and a metric per line."""
    from neuralfx.reports.evaluation_tables import means_table
    from neuralfx.reports.tables import render_text
    from neuralfx.text import align

    table = means_table(evaluation)
    print(f"{table.title}\n")
    print(align(list(zip(*render_text(table)))))
    print("\n* best, + second best; in brackets: 95 % confidence by bootstrap over takes")
    for note in evaluation.notes:
        print(note)


def _recipe_data(model: Model) -> tuple[str, dict[str, Any]]:
    """Class and arguments of the data that a model was trained on; nothing if its recipe is not known."""
    return _data_block(model.recipe, f"recipe of {model.name}")


def _read_config(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    class_name, settings = _data_block(text, str(path))
    if not class_name:
        raise ConfigError(f"{path}: expected a block data with class_path and init_args, found none.")
    return class_name, settings


def _data_block(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Class name and arguments of the block ``data`` of a YAML; nothing if it has none."""
    import yaml

    try:
        block = (yaml.safe_load(text) or {}).get("data") or {}
        return str(block.get("class_path", "")).rpartition(".")[2], dict(block.get("init_args") or {})
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise FormatError(f"{where}: expected YAML with a block data of class_path and init_args.") from error


def _excerpt_seconds(voices: int, sample_rate: int) -> float:
    """Length of the three long excerpts of a report, beside five short ones, at which it stays small enough."""
    return min(8.0, VOICE_SECONDS * 48_000 / sample_rate / voices / 4.25)


def _check_baselines(names: Sequence[str]) -> list[str]:
    if list(names) == ["none"]:
        return []
    for name in names:
        if name not in BASELINES:
            close = closest(name, BASELINES)
            hint = f"did you mean {join_words(close, last='or')}?" if close else f"expected {', '.join(BASELINES)}."
            raise ConfigError(f"no baseline {name!r}; {hint}")
    return list(dict.fromkeys(names))


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected names separated by commas")
    return names


def _ranges(text: str) -> list[list[float]]:
    """``0.1:0.2,0.8:1`` as pairs of numbers."""
    try:
        ranges = [[float(bound) for bound in part.split(":")] for part in text.split(",")]
    except ValueError:
        ranges = []
    if not ranges or any(len(bounds) != 2 for bounds in ranges):
        raise argparse.ArgumentTypeError(f"expected fractions such as 0.8:1 or 0.1:0.2,0.8:1, got {text!r}")
    return ranges
