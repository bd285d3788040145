"""Measures the run of a cell: ``python -m neuralfx.study.measure FOLDER WHAT``.

WHAT is JSON with the arguments of :func:`measure`.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from neuralfx.errors import ConfigError, NeuralfxError, closest, join_words
from neuralfx.evaluation import BASELINES, NAM, Candidate, Model, evaluate, load_nam, read_material
from neuralfx.metrics import METRICS
from neuralfx.models.base import load_checkpoint
from neuralfx.study.plan import SETTINGS
from neuralfx.study.results import CAPTURE, MEASURES, MODEL


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


def measure(
    folder: Path, metrics: Sequence[str], baselines: Sequence[str] = (), capture: Mapping[str, Any] | None = None
) -> Path:
    """Measure the best checkpoint of a run, and what stands beside it, on the part of its data that tests.

    Args:
        folder: Folder of the run, with the settings of its cell.
        metrics: Names of metrics.
        baselines: Names of baselines.
        capture: ``file`` and ``knobs`` of a model of NAM.

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
    candidates: list[Candidate] = [Model(MODEL, network), *(BASELINES[name]() for name in baselines)]
    if capture is not None:
        candidates.append(NAM(CAPTURE, load_nam(capture["file"]), capture["knobs"]))
    found = evaluate(material, candidates, chosen)
    operations = network.network.operations(moving=False)
    content: dict[str, Any] = {
        "candidates": [candidate.name for candidate in candidates],  # also those that nothing could be measured of
        "metrics": {name: {"higher_is_better": bool(metric.higher_is_better)} for name, metric in chosen.items()},
        "parameters": {told["name"]: told["parameters"] for told in found.candidates if "parameters" in told},
        "multiply_adds": None if operations is None else operations.multiplications,
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
        measure(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    except NeuralfxError as error:
        sys.exit(f"neuralfx: {error}")
