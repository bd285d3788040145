"""Measures the run of a cell: ``python -m neuralfx.study.measure FOLDER METRICS BASELINES``."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from neuralfx.errors import ConfigError, NeuralfxError, closest, join_words
from neuralfx.evaluation import BASELINES, Model, evaluate, read_material
from neuralfx.metrics import METRICS
from neuralfx.models.base import load_checkpoint
from neuralfx.study.plan import SETTINGS
from neuralfx.study.results import MEASURES, MODEL


def require_known(metrics: Sequence[str], baselines: Sequence[str]) -> None:
    """Make sure that there are such metrics and baselines.

    Raises:
        ConfigError: If there is no such metric or baseline.
    """
    known: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
        ("metric", metrics, sorted(METRICS)),
        ("baseline", baselines, sorted(BASELINES)),
    )
    for kind, names, there in known:
        for name in names:
            if name not in there:
                close = closest(name, there)
                hint = f"did you mean {join_words(close, last='or')}?" if close else f"there are {join_words(there)}."
                raise ConfigError(f"evaluate: no {kind} is called {name!r}; {hint}")


def measure(folder: Path, metrics: Sequence[str], baselines: Sequence[str]) -> Path:
    """Measure the best checkpoint of a run, and baselines, on the part of its data that tests.

    Args:
        folder: Folder of the run, with the settings of its cell.
        metrics: Names of metrics.
        baselines: Names of baselines.

    Returns:
        The file with the results, for :func:`~neuralfx.study.results.read_measures`.

    Raises:
        NeuralfxError: If the checkpoint or the data cannot be read, or a metric needs a package that is not there.
    """
    settings = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))["data"]
    module, _, name = settings["class_path"].rpartition(".")
    data = getattr(importlib.import_module(module or "neuralfx.datasets.modules"), name)(**settings["init_args"])
    network = load_checkpoint(folder / "checkpoints" / "best.ckpt")
    material = read_material(data, settings["init_args"].get("root") or "")
    chosen = {name: METRICS[name] for name in metrics}
    found = evaluate(material, [Model(MODEL, network), *(BASELINES[name]() for name in baselines)], chosen)
    content: dict[str, Any] = {
        "metrics": {name: {"higher_is_better": bool(metric.higher_is_better)} for name, metric in chosen.items()},
        "parameters": sum(parameter.numel() for parameter in network.network.parameters()),
        "rows": [
            {"candidate": row.model, "take": row.take, "knobs": row.knobs, "values": row.values} for row in found.rows
        ],
    }
    path = folder / MEASURES
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(path)
    return path


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        measure(Path(sys.argv[1]), *(names.split(",") if names else [] for names in sys.argv[2:4]))
    except NeuralfxError as error:
        sys.exit(f"neuralfx: {error}")
