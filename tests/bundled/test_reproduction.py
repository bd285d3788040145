"""``neuralfx evaluate`` finds the numbers of the cards again, where the recordings are: minutes, ``pytest -m slow``.

``NEURALFX_RECORDINGS`` and ``NEURALFX_VIRTUAL_RACK`` name the folders that the configurations call ``recordings`` and
``virtual_rack``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from neuralfx.cli import main
from neuralfx.hub.package import ModelConfig
from neuralfx.hub.registry import bundled_folder
from neuralfx.recipes import configs_folder

FOLDERS = {"recordings": "NEURALFX_RECORDINGS", "virtual_rack": "NEURALFX_VIRTUAL_RACK"}
TOLERANCE = 1e-4  # relative; other machines and blocks round differently


def recordings_of(config: ModelConfig) -> str:
    """The folder of the recordings that a model was made from; skips where it is not here."""
    data = (configs_folder() / "data" / f"{config.effect.slug}.yaml").read_text(encoding="utf-8")
    variable = FOLDERS[yaml.safe_load(data)["data"]["init_args"]["root"]]
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} names no folder of recordings")
    return folder


@pytest.mark.slow
def test_evaluate_finds_the_errors_of_the_card_again(config: ModelConfig, tmp_path: Path) -> None:
    command = ["evaluate", "-m", str(bundled_folder(config.name)), "--data", recordings_of(config)]
    command += ["--config", config.effect.slug, "--metrics", "esr", "--baselines", "identity", "-o", str(tmp_path)]
    assert main(command) == 0
    measured = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    names = {"esr": config.name, "identity_esr": "identity"}
    for key, model in names.items():
        rows = {Path(row["take"]).name: row for row in measured["takes"] if row["model"] == model}
        assert {*rows} == {take["name"] for take in config.metrics["takes"]}
        for take in config.metrics["takes"]:
            assert rows[take["name"]]["knobs"] == take["knobs"]
            assert rows[take["name"]]["values"]["esr"] == pytest.approx(take[key], rel=TOLERANCE), take["name"]
