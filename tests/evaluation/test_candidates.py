from __future__ import annotations

from pathlib import Path

import lightning
import pytest

from neuralfx.errors import FormatError, ModelNotFoundError
from neuralfx.evaluation import load_models
from tests.checks import tiny_model


def save_checkpoint(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(tiny_model("GRUConcat"))
    trainer.save_checkpoint(path)
    return path


def test_bundled_models_bring_their_recipe() -> None:
    (model,) = load_models(["od300-lstm"])
    assert model.name == "od300-lstm" and "device: od300" in model.recipe
    assert model.describe()["parameters"] == 4933


def test_equal_names_are_told_apart() -> None:
    assert [model.name for model in load_models(["la2a-s4d"] * 3)] == ["la2a-s4d", "la2a-s4d-2", "la2a-s4d-3"]


def test_checkpoints_are_called_after_their_run(tmp_path: Path) -> None:
    in_run = save_checkpoint(tmp_path / "my-run/checkpoints/best.ckpt")
    (tmp_path / "my-run/config.yaml").write_text("data: {}\n")
    alone = save_checkpoint(tmp_path / "elsewhere/last.ckpt")
    first, second = load_models([str(in_run), str(alone)])
    assert (first.name, first.recipe) == ("my-run", "data: {}\n")
    assert (second.name, second.recipe) == ("last", "")


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        load_models([str(tmp_path / "none.ckpt")])
    with pytest.raises(ModelNotFoundError):
        load_models(["od300-lsmt"])
