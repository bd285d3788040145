"""``neuralfx package`` makes a folder that loads, out of a checkpoint and what its run left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lightning
import pytest
import soundfile
import torch

from neuralfx.commands import package
from neuralfx.errors import FormatError
from neuralfx.hub.package import load_folder, read_config, replay_check
from tests.data.generate import music
from tests.hub.conftest import METRICS

RECIPE = """\
seed_everything: 7
model:
  class_path: LSTMFiLMGLU
  init_args: {hidden_size: 3, lr: 0.002, losses: {mse: 1.0}, effect: null}
data:
  class_path: Recordings
  init_args: {root: /home/me/takes}
"""


@pytest.fixture
def run(model: Any, tmp_path: Path) -> Path:
    """The folder of a training run, as Lightning and the report leave it."""
    folder = tmp_path / "runs" / "amp"
    trainer = lightning.Trainer(max_epochs=0, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "checkpoints" / "best.ckpt")
    (folder / "config.yaml").write_text(RECIPE, encoding="utf-8")
    checksum = hashlib.sha256((folder / "checkpoints" / "best.ckpt").read_bytes()).hexdigest()
    measured = {"checkpoint_sha256": checksum, "mean": {"esr": 0.0123}, "takes": METRICS["takes"]}
    (folder / "metrics.json").write_text(json.dumps(measured), encoding="utf-8")
    (folder / "data.json").write_text('{"train_s": 12.5, "licence": "cc-by-4.0"}', encoding="utf-8")
    return folder


def call(run: Path, output: Path, *more: str) -> int:
    return package.main([str(run / "checkpoints" / "best.ckpt"), "--name", "My_Amp", "-o", str(output), *more])


def test_a_checkpoint_becomes_a_folder_that_proves_itself(
    run: Path,
    model: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(run, tmp_path / "out") == 0
    loaded = load_folder(tmp_path / "out")
    assert replay_check(loaded, tmp_path / "out") == 0.0
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor, atol=0, rtol=0)
    assert "check replayed" in capsys.readouterr().out


def test_the_folder_tells_where_the_model_comes_from(run: Path, tmp_path: Path) -> None:
    call(run, tmp_path / "out")
    config = read_config(tmp_path / "out")
    assert (config.name, config.licence) == ("my-amp", "cc-by-4.0")
    assert config.metrics == METRICS
    assert config.training["seed"] == 7
    assert config.training["arguments"] == {"lr": 0.002, "losses": {"mse": 1.0}}
    assert config.training["data"]["train_s"] == 12.5
    assert "trained on 12.5 seconds" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "/home/me/takes" in (tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8")


def write_test(run: Path) -> None:
    """What the report of a run leaves of its test: four takes of a second."""
    (run / "test").mkdir()
    for take in range(4):
        for name, gain in (("dry", 0.5), ("target", 1.4), ("model", 1.3)):
            soundfile.write(run / "test" / f"take{take}-{name}.wav", gain * music(24_000, seed=take), 24_000, "FLOAT")


def test_the_card_shows_pictures_and_on_request_lets_hear(run: Path, tmp_path: Path) -> None:
    write_test(run)
    assert call(run, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir()) == ["spectrum.png", "transfer.png"]
    assert not (tmp_path / "out" / "audio").exists()
    assert call(run, tmp_path / "out", "--audio") == 0
    sounds = sorted(path.name for path in (tmp_path / "out" / "audio").iterdir())
    assert sounds == [f"take{take}-{name}.flac" for take in range(3) for name in ("dry", "model", "target")]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "[target](audio/take1-target.flac)" in card
    assert "(pictures/transfer.png)" in card
    load_folder(tmp_path / "out")


def test_the_card_says_what_training_took(run: Path, tmp_path: Path) -> None:
    (run / "effort.json").write_text('{"seconds": 412.5, "hardware": "a laptop"}', encoding="utf-8")
    assert call(run, tmp_path / "out") == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "412.5" in card and "a laptop" in card
    assert read_config(tmp_path / "out").training["seconds"] == 412.5


def test_licence_and_data_root_can_be_given(run: Path, tmp_path: Path) -> None:
    call(run, tmp_path / "out", "--licence", "mit", "--data-root", "data/amp")
    assert read_config(tmp_path / "out").licence == "mit"
    recipe = (tmp_path / "out" / "recipe.yaml").read_text(encoding="utf-8")
    assert "root: data/amp" in recipe
    assert "/home/me" not in recipe


def test_an_unmeasured_run_says_so(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "metrics.json").unlink()
    (run / "data.json").unlink()
    call(run, tmp_path / "out")
    assert "no metrics.json" in capsys.readouterr().err
    assert "Not measured." in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert read_config(tmp_path / "out").licence == "other"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.yaml", None, r"expected the run's config\.yaml"),
        ("config.yaml", "a: [", "expected YAML"),
        ("config.yaml", "- 1", "expected a dictionary"),
        ("config.yaml", "!!python/object/apply:os.getcwd []", "expected YAML"),
        ("metrics.json", "{", "expected JSON"),
        ("metrics.json", '{"esr": 1}', "under 'mean'"),
        ("metrics.json", '{"mean": {"esr": NaN}}', "expected numbers"),
        ("data.json", "[]", "expected a dictionary"),
        ("checkpoints/best.ckpt", "x", "checkpoint"),
        ("checkpoints/best.ckpt", None, "no such checkpoint"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    run: Path, tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content, encoding="utf-8")
    with pytest.raises(FormatError, match=words) as caught:
        call(run, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_data_root_needs_a_place_in_the_recipe(run: Path, tmp_path: Path) -> None:
    (run / "config.yaml").write_text("model: {}\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"expected data\.init_args\.root"):
        call(run, tmp_path / "out", "--data-root", "x")
