"""The notebooks run from top to bottom, and are stored with what they showed."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
MOST_BYTES = 1_500_000
# Takes the place of what the cell with the tag "parameters" says.
QUICK = {
    "2_train_your_own": "STEPS = 20",
    "3_compare_architectures": 'MODELS = {"lstm": {}}\nDEVICES = ["clipper"]\nSEEDS = [0]\nEPOCHS = 1',
}
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|opt|usr|work|var|mnt|Users|private)/|\b[A-Z]:\\\\?\w")


class ThisPython(AsyncKernelManager):  # type: ignore[misc]
    """Starts the kernel of the interpreter that runs the tests, whatever others are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it is started."""
        return KernelSpec(argv=make_ipkernel_cmd(), display_name="this one", language="python")


def execute(name: str, folder: Path, parameters: str | None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run a copy of a notebook; the folder that it ran in."""
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))  # without the user's profile
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "jupyter"))
    place = folder / "notebooks"
    place.mkdir()
    if (ROOT / "model_cards/studies").is_dir():
        shutil.copytree(ROOT / "model_cards/studies", folder / "model_cards/studies")
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    if parameters is not None:
        tagged = [index for index, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())]
        notebook.cells.insert(tagged[0] + 1, nbformat.v4.new_code_cell(parameters))
    NotebookClient(
        notebook, kernel_manager_class=ThisPython, timeout=1800, resources={"metadata": {"path": str(place)}}
    ).execute()
    for kind, text in texts(notebook):
        assert kind != "stderr", text
    return place


def texts(notebook: Any) -> list[tuple[str, str]]:
    """What the cells of a notebook wrote as text: the stream or type of each output, and the text."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                found.append((output.name, output.text))
            elif output.output_type == "error":
                found.append(("error", "\n".join(output.traceback)))
            else:
                found.append((output.output_type, output.data.get("text/plain", "")))
    return found


def mean_esr(run: Path) -> dict[str, float]:
    """The error of a run and of its baselines."""
    measured: dict[str, float] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["mean"]
    return measured


def test_there_are_four_notebooks() -> None:
    assert [name[:2] for name in NOTEBOOKS] == ["1_", "2_", "3_", "4_"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(name, tmp_path, QUICK.get(name), monkeypatch)


@pytest.mark.slow
def test_the_training_of_a_model_of_ones_own_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = execute("2_train_your_own", tmp_path, None, monkeypatch)
    measured = mean_esr(place / "runs/train-your-own/run")
    assert measured["esr"] < 0.2 * measured["linear_esr"]


@pytest.mark.slow
def test_the_networks_of_the_comparison_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = execute("3_compare_architectures", tmp_path, None, monkeypatch)
    runs = sorted((place / "runs/compare/study/cells").glob("*-clipper-*"))
    assert len(runs) == 6
    for run in runs:
        measured = mean_esr(run)
        assert measured["esr"] < measured["linear_esr"], run.name


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_with_its_outputs(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    nbformat.validate(notebook)
    assert NOTEBOOKS[name].stat().st_size < MOST_BYTES
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = [output.get("data", {}) for cell in code for output in cell.outputs]
    assert any("image/png" in data for data in shown)
    assert not any("widget" in kind for data in shown for kind in data)
    for kind, text in texts(notebook):
        assert kind not in ("error", "stderr"), text
        assert not MACHINE.search(text) and sys.prefix not in text and str(Path.home()) not in text, text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_of_a_notebook_lead_somewhere(name: str) -> None:
    for cell in nbformat.read(NOTEBOOKS[name], as_version=4).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)\)", cell.source):
                assert target.startswith("https://") or (ROOT / "notebooks" / target).exists(), target
