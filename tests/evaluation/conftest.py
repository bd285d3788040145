"""A small model that fits the saturator's recordings, and the recordings as an evaluation plays them."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuralfx.datasets import PairedAudioDataModule
from neuralfx.evaluation import Evaluation, Identity, LinearFilter, Material, Model, evaluate, read_material
from neuralfx.evaluation.run import choose_metrics
from tests.checks import tiny_model, two_knobs
from tests.data.generate import RATE


@pytest.fixture(scope="session")
def material(recordings: Path) -> Material:
    return read_material(PairedAudioDataModule(str(recordings)), recordings)


@pytest.fixture(scope="session")
def model() -> Model:
    return Model("tiny", tiny_model("GRUConcat", two_knobs(RATE), longest_ms=0.0))


@pytest.fixture(scope="session")
def evaluation(material: Material, model: Model) -> Evaluation:
    return evaluate(material, [model, Identity(), LinearFilter()], choose_metrics(["esr", "mae"]))
