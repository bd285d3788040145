"""``neuralfx list``: the models by name, one a line. Needs no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from neuralfx.commands import ArgumentParser
from neuralfx.commands.info import printable
from neuralfx.errors import FormatError
from neuralfx.hub.card import COMMON_TAGS
from neuralfx.hub.package import WEIGHTS, read_config
from neuralfx.hub.registry import bundled_folder, list_models, matches
from neuralfx.hub.remote import find_models
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.text import align

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

COST_HEAD = ("architecture", "tail", "parameters", "multiply-adds", "FLOPs", "window", "latency")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the models, or the architectures, or write a gallery, and return the exit status.

    Args:
        argv: Arguments after ``neuralfx list``; None takes those of the process.

    Raises:
        ConfigError: If options do not go together.
        HubError: If the Hub was asked for and does not answer.
        FormatError: If a model of the gallery is damaged.
        AudioFileError: If the gallery cannot be written.
    """
    parser = ArgumentParser(prog="neuralfx list", description="List models by name.")
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern such as 'la2a*'; default: all")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--hub", action="store_true", help="also ask the Hugging Face Hub (needs the network)")
    others.add_argument(
        "--gallery",
        metavar="FOLDER",
        help="write README.md and gallery.html there: the models with their numbers, pictures, sounds and cards",
    )
    others.add_argument(
        "--architectures",
        action="store_true",
        help="list architectures instead, with the tails of their models' names; parameters for 0, 1, 2 and 4 knobs; "
        "multiply-adds and FLOPs per sample with 2 knobs that stand still and that move; samples that the part "
        "without recurrence sees; latency in samples",
    )
    arguments = parser.parse_args(argv)
    if arguments.gallery and (names := list_models(arguments.pattern)):
        return _write_gallery(Path(arguments.gallery), names)
    if arguments.architectures:
        rows: list[tuple[str, ...]] = [COST_HEAD, *_cost_rows()]
    else:
        head = ("name", "effect", "architecture", "knobs", "ESR", "parameters", "size")
        rows = [head, *(_row(name) for name in list_models(arguments.pattern))]
        if arguments.hub:
            rows += [_hub_row(model) for model in find_models() if matches(model.id, arguments.pattern)]
        if len(rows) == 1:
            where = "" if arguments.hub else "; --hub asks the Hugging Face Hub, too"
            print(f"No model is named like {arguments.pattern!r}; 'neuralfx list' shows all{where}.")
            return 0
    print(align(rows))
    return 0


def _write_gallery(folder: Path, names: Sequence[str]) -> int:
    from tqdm import tqdm

    from neuralfx.engine import compiler
    from neuralfx.reports.gallery import write_gallery

    with tqdm(total=len(names), unit=" models", disable=None, leave=False, file=sys.stderr) as progress:
        with compiler.waiting():  # the same loops play everything, so that the same files come again
            written = write_gallery(folder, names, progress.update)
    for path in written:
        print(path)
    return 0


def _cost_rows() -> list[tuple[str, ...]]:
    counted = json.loads((resources.files("neuralfx.reports") / "costs.json").read_text(encoding="utf-8"))
    rows: list[tuple[str, ...]] = []
    for name, pair in ARCHITECTURES.items():
        if name in counted:
            cells = [
                "/".join(map(str, counted[name][kind].values())) for kind in ("parameters", "multiply_adds", "flops")
            ]
            cells += [str(counted[name][kind]) for kind in ("receptive_field", "latency_samples")]
        else:  # new: not counted yet
            cells = ["-"] * 5
        rows.append((name, pair.tail, *cells))
    return rows


def _row(name: str) -> tuple[str, ...]:
    try:
        folder = bundled_folder(name)
        config = read_config(folder)
        size = (folder / WEIGHTS).stat().st_size
    except (FormatError, OSError):
        return (name, "(damaged: reinstall neuralfx)", "", "", "", "", "")
    esr = f"{config.metrics['esr']:.4g}" if "esr" in config.metrics else "-"
    knobs = ", ".join(config.effect.knobs.names()) or "-"
    return (name, config.effect.slug, config.architecture, knobs, esr, str(config.parameters), f"{size / 1000:.1f} kB")


def _hub_row(model: ModelInfo) -> tuple[str, ...]:
    """What the front matter of a card tells; the owner wrote it, so it may be anything."""
    card = model.card_data
    tags = [tag for tag in getattr(card, "tags", None) or [] if isinstance(tag, str)]
    architecture = next((tag for tag in tags if tag in ARCHITECTURES), "-")
    effect = next((tag for tag in tags if tag not in (*COMMON_TAGS, architecture)), "-")
    errors = [
        result.metric_value for result in getattr(card, "eval_results", None) or [] if result.metric_type == "esr"
    ]
    esr = f"{errors[0]:.4g}" if errors and isinstance(errors[0], (int, float)) else "-"
    return (printable(model.id), printable(effect)[:40], architecture, "-", esr, "-", "-")
