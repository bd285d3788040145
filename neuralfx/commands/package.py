"""``neuralfx package``: a checkpoint becomes a model folder with its card."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from neuralfx.commands import ArgumentParser
from neuralfx.errors import FormatError
from neuralfx.files import sha256
from neuralfx.text import describe_knobs

RUN_LEVELS = 4  # the checkpoint's own folder and those above it that may be the run's


def main(argv: Sequence[str] | None = None) -> int:
    """Write a model folder, replay its check, and return the exit status.

    Args:
        argv: Arguments after ``neuralfx package``; None takes those of the process.

    Raises:
        FormatError: If the checkpoint or a file of its run is missing or damaged, or the folder holds something else.
    """
    parser = ArgumentParser(prog="neuralfx package", description="Turn a checkpoint into a model folder.")
    parser.add_argument("checkpoint", type=Path, help="a .ckpt file of your own training run")
    parser.add_argument("--name", required=True, help="name of the model, such as my-amp")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--licence", help="licence of the weights, such as cc-by-4.0; default: that of the recordings")
    parser.add_argument(
        "--data-root", help="folder of recordings to name in the recipe instead of the one on this machine"
    )
    parser.add_argument(
        "--audio",
        action="store_true",
        help="add sounds from the run's test; mind the licence of the recordings",
    )
    arguments = parser.parse_args(argv)
    if not arguments.checkpoint.is_file():
        raise FormatError(f"{arguments.checkpoint}: there is no such checkpoint; they lie in the checkpoints of a run.")

    from neuralfx.evaluation.silence import measure_silence
    from neuralfx.hub.card import render_card
    from neuralfx.hub.package import describe_model, save_folder
    from neuralfx.hub.registry import normalise_name
    from neuralfx.models.base import load_checkpoint
    from neuralfx.reports.examples import write_examples

    run = find_run(arguments.checkpoint)
    recipe = read_recipe(run, arguments.data_root)
    metrics = read_metrics(run, arguments.checkpoint)
    if not metrics:
        print(
            f"{run}: no metrics.json of this checkpoint, so the card will say 'not measured'; 'neuralfx test' with "
            "--ckpt_path writes it.",
            file=sys.stderr,
        )
    data = read_summary(run, "data.json")
    model = load_checkpoint(arguments.checkpoint)
    silence = measure_silence(model)
    if silence["humming"]:
        print(
            f"{arguments.name} hums when nothing goes in, at {silence['humming']} of {silence['settings']} settings of "
            f"its knobs (loudest: {describe_knobs(silence['knobs'])}); its card will say so. Another seed may help; "
            "recordings of more settings do.",
            file=sys.stderr,
        )
    described: dict[str, Any] = {
        "name": normalise_name(arguments.name),
        "metrics": metrics,
        "training": {
            "data": data,
            "seed": recipe.get("seed_everything"),
            "arguments": training_arguments(recipe, model.architecture_arguments()),
            **read_summary(run, "effort.json"),
            "silence": silence,
        },
        "licence": arguments.licence or str(data.get("licence") or "other"),
    }
    config = describe_model(model, **described)
    with tempfile.TemporaryDirectory() as extras:
        shown = write_examples(run, Path(extras), arguments.audio) if metrics else []
        difference = save_folder(
            model,
            arguments.output,
            card=render_card(config.to_dict(), shown),
            recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
            extras=Path(extras),
            **described,
        )
    print(
        f"{arguments.output}: {config.architecture}, {config.parameters} parameters, "
        f"check replayed to within {difference:.1g}."
    )
    folder = Path(arguments.output)
    path = folder.as_posix() if folder.is_absolute() else f"./{folder.as_posix()}"  # a/b might be on the Hub
    print(f"Try it: neuralfx process in.wav -m {path} -o out.wav")
    return 0


def find_run(checkpoint: Path) -> Path:
    """The folder of a training run: the nearest one above a checkpoint that holds ``config.yaml``.

    Args:
        checkpoint: A checkpoint of that run.

    Raises:
        FormatError: If there is none.
    """
    for folder in checkpoint.resolve().parents[:RUN_LEVELS]:
        if (folder / "config.yaml").is_file():
            return folder
    raise FormatError(
        f"{checkpoint}: expected the run's config.yaml in its folder or just above; keep the two together."
    )


def read_recipe(run: Path, data_root: str | None = None) -> dict[str, Any]:
    """The configuration of a run.

    Args:
        run: Folder of the run.
        data_root: Replaces the folder of recordings in the recipe; None keeps it.

    Raises:
        FormatError: If it is no YAML dictionary, or has no such folder to replace.
    """
    path = run / "config.yaml"
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: expected YAML ({' '.join(str(error).split())[:120]}).") from error
    if not isinstance(recipe, dict):
        raise FormatError(f"{path}: expected a dictionary with model, data and trainer, got {type(recipe).__name__}.")
    if data_root is not None:
        data = recipe.get("data")
        arguments = data.get("init_args") if isinstance(data, dict) else None
        if not isinstance(arguments, dict) or "root" not in arguments:
            raise FormatError(f"{path}: expected data.init_args.root to replace, got none; leave --data-root out.")
        arguments["root"] = data_root
    return recipe


def read_metrics(run: Path, checkpoint: Path) -> dict[str, Any]:
    """What the run's test measured of a checkpoint, as a model folder states it: means by name, and ``takes``.

    Args:
        run: Folder of the run.
        checkpoint: The checkpoint in question.

    Returns:
        The measures; empty if there are none, or if they are those of another checkpoint.

    Raises:
        FormatError: If ``metrics.json`` is damaged.
    """
    measured = read_summary(run, "metrics.json")
    if not measured:
        return {}
    if not isinstance(measured.get("mean"), dict):
        raise FormatError(
            f"{run / 'metrics.json'}: expected the means as a dictionary under 'mean'; run 'neuralfx test' again."
        )
    if measured.get("checkpoint_sha256") != sha256(checkpoint):
        return {}
    return {**measured["mean"], "takes": measured.get("takes", [])}


def read_summary(run: Path, name: str) -> dict[str, Any]:
    """A JSON dictionary in the folder of a run; empty if the file is not there.

    Args:
        run: Folder of the run.
        name: File name.

    Raises:
        FormatError: If it is anything else.
    """
    from neuralfx.hub.package import parse_json

    path = run / name
    if not path.is_file():
        return {}
    summary = parse_json(path.read_bytes(), str(path))
    if not isinstance(summary, dict):
        raise FormatError(f"{path}: expected a dictionary, got {type(summary).__name__}.")
    return summary


def training_arguments(recipe: Mapping[str, Any], architecture_arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of training, such as ``lr`` and ``losses``, that a recipe gives to the model.

    Args:
        recipe: The configuration of a run.
        architecture_arguments: Those of the pair itself, which are left out.
    """
    model = recipe.get("model")
    given = model.get("init_args") if isinstance(model, dict) else None
    left_out = {"effect", *architecture_arguments}
    return {name: value for name, value in (given or {}).items() if name not in left_out and value is not None}
