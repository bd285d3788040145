"""``neuralfx list``: the models by name, one a line. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

from neuralfx.commands import ArgumentParser
from neuralfx.errors import FormatError
from neuralfx.hub.package import WEIGHTS, read_config
from neuralfx.hub.registry import bundled, bundled_folder, list_models
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.text import align

COST_HEAD = ("architecture", "tail", "parameters", "multiply-adds", "FLOPs", "window", "latency")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the models, or the architectures, and return the exit status.

    Args:
        argv: Arguments after ``neuralfx list``; None takes those of the process.

    Raises:
        HubError: If the Hub was asked for and does not answer.
    """
    parser = ArgumentParser(prog="neuralfx list", description="List models by name.")
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern such as 'la2a*'; default: all")
    parser.add_argument("--hub", action="store_true", help="also ask the Hugging Face Hub (needs the network)")
    parser.add_argument(
        "--architectures",
        action="store_true",
        help="list architectures instead, with the tails of their models' names; parameters for 0, 1, 2 and 4 knobs; "
        "multiply-adds and FLOPs per sample with 2 knobs that stand still and that move; samples that the part "
        "without recurrence sees; latency in samples",
    )
    arguments = parser.parse_args(argv)
    if arguments.architectures:
        rows: list[tuple[str, ...]] = [COST_HEAD, *_cost_rows()]
    else:
        names = list_models(arguments.pattern, hub=arguments.hub)
        if not names:
            print(f"No model is named like {arguments.pattern!r}; 'neuralfx list' shows all.")
            return 0
        head = ("name", "effect", "architecture", "knobs", "ESR", "parameters", "size")
        rows = [head, *(_row(name) for name in names)]
    print(align(rows))
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
    if name not in bundled():
        return (name, "(on the Hub)", "", "", "", "", "")
    folder = bundled_folder(name)
    try:
        config = read_config(folder)
        size = (folder / WEIGHTS).stat().st_size
    except (FormatError, OSError):
        return (name, "(damaged: reinstall neuralfx)", "", "", "", "", "")
    esr = f"{config.metrics['esr']:.4g}" if "esr" in config.metrics else "-"
    knobs = ", ".join(config.effect.knobs.names()) or "-"
    return (name, config.effect.slug, config.architecture, knobs, esr, str(config.parameters), f"{size / 1000:.1f} kB")
