"""Training from the command line: from recipe to packaged model, interrupted and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import neuralfx
from neuralfx.cli import main
from neuralfx.commands.train import find_recipes
from neuralfx.errors import ConfigError
from neuralfx.files import lock
from neuralfx.recipes import configs_folder

QUICK = [
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.accelerator", "cpu", "--trainer.limit_train_batches", "3"),
]
RECIPE = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 1},
    "model": {"class_path": "LSTMFiLMGLU", "init_args": {"lr": 1e-3, "losses": {"mse": 1.0}}},
    "data": {
        "class_path": "PairedAudioDataModule",
        "init_args": {"device": "saturator", "segment_samples": 1200, "lanes": 2, "warmup_s": 0.05},
    },
}


@pytest.fixture
def fit(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of a fit that takes seconds, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    return ["fit", "--config", "tiny.yaml", "--data.root", str(recordings), *QUICK]


def test_fit_leaves_a_complete_run_that_can_be_packaged_and_loaded(fit: list[str]) -> None:
    assert main(fit) == 0
    run = Path("runs/tiny")
    assert (run / "checkpoints/best.ckpt").is_file()
    assert len(list(run.glob("test/take*.png"))) == 2
    assert len(list(run.glob("validation/take*-model.wav"))) == 2
    assert "val_esr" in (run / "log/version_0/metrics.csv").read_text(encoding="utf-8")
    measures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    effort = json.loads((run / "effort.json").read_text(encoding="utf-8"))
    assert effort["seconds"] > 0 and effort["hardware"]
    assert set(measures["mean"]) == {"esr", "identity_esr", "linear_esr"}
    assert [take["knobs"]["drive"] for take in measures["takes"]] == [0.25, 0.75]

    assert main(["package", str(run / "checkpoints/best.ckpt"), "--name", "my-amp", "-o", "my-amp"]) == 0
    model = neuralfx.load("./my-amp")
    assert model.effect.sample_rate == 8000
    assert model.metrics["esr"] == pytest.approx(measures["mean"]["esr"])
    assert model.process(torch.zeros(100), {"drive": 0.3}).shape == (100,)


def test_fit_goes_on_where_it_was_stopped(fit: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert main(fit) == 0
    first = torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)
    assert main([*fit, "--trainer.max_epochs", "2"]) == 0
    assert "resuming" in caplog.text
    second = torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)
    assert (first["global_step"], second["global_step"]) == (3, 6)
    assert main([*fit, "--fresh", "true"]) == 0
    assert torch.load("runs/tiny-2/checkpoints/last.ckpt", weights_only=True)["global_step"] == 3


def test_the_last_checkpoint_is_the_last_even_if_validation_got_worse(fit: list[str]) -> None:
    assert main([*fit, "--model.lr", "1.0", "--trainer.max_epochs", "4"]) == 0
    last, best = (torch.load(f"runs/tiny/checkpoints/{name}.ckpt", weights_only=True) for name in ("last", "best"))
    assert last["global_step"] == 12
    assert best["global_step"] < 12


def test_a_resumed_run_of_short_epochs_is_the_run_that_was_not_stopped(fit: list[str]) -> None:
    short = [*fit, "--trainer.limit_train_batches", "2"]
    assert main([*short, "--trainer.max_epochs", "3", "--run", "whole"]) == 0
    for epochs in ("1", "2", "3"):
        assert main([*short, "--trainer.max_epochs", epochs, "--run", "parts"]) == 0
    whole, parts = (torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True) for run in ("whole", "parts"))
    assert whole["global_step"] == parts["global_step"] == 6
    for name, weights in whole["state_dict"].items():
        torch.testing.assert_close(parts["state_dict"][name], weights, atol=0, rtol=0)


def test_a_run_without_a_validation_says_so(fit: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert main([*fit, "--trainer.max_steps", "1"]) == 0
    assert "no validation in 1 steps" in caplog.text


def test_a_run_may_do_without_a_test(fit: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert main([*fit, "--data.test", "[]"]) == 0
    assert "no part of the takes was kept for the test" in caplog.text
    assert not Path("runs/tiny/metrics.json").exists()


def test_predictions_can_be_heard(fit: list[str]) -> None:
    assert main(fit) == 0
    assert main(["predict", *fit[1:]]) == 0
    assert sorted(path.name for path in Path("runs/tiny/predict").iterdir()) == [
        f"take{take}-{name}.wav" for take in (0, 1) for name in ("dry", "model", "target")
    ]


def test_a_run_does_not_go_on_with_other_settings(fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(fit) == 0
    kept = Path("runs/tiny/config.yaml").read_text(encoding="utf-8")
    for option, value in (("model.lr", "0.05"), ("data.test", "[[0.1, 0.3]]")):
        assert main([*fit, f"--{option}", value]) == 2
        assert f"other settings of {option.split('.')[0]}; pass --fresh true" in capsys.readouterr().err
    assert Path("runs/tiny/config.yaml").read_text(encoding="utf-8") == kept


def test_a_run_is_trained_by_one_process_at_a_time(fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    held = lock(Path("runs/tiny/.lock"))
    assert held is not None
    assert main(fit) == 2
    assert "another process trains this run; wait for it, or pass --fresh true" in capsys.readouterr().err
    held.close()
    assert sorted(path.name for path in Path("runs/tiny").iterdir()) == [".lock"]
    assert main(fit) == 0
    assert main([*fit, "--trainer.max_epochs", "2"]) == 0


def test_measures_belong_to_the_checkpoint_that_was_tested(fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(fit) == 0
    last = torch.load("runs/tiny/checkpoints/last.ckpt", weights_only=True)
    torch.save({**last, "epoch": 7}, "runs/tiny/checkpoints/other.ckpt")
    assert main(["package", "runs/tiny/checkpoints/other.ckpt", "--name", "other", "-o", "other"]) == 0
    assert "not measured" in capsys.readouterr().err
    assert neuralfx.load("./other").metrics == {}


def test_the_saved_configuration_tests_the_best_checkpoint(fit: list[str], recordings: Path) -> None:
    assert main(fit) == 0
    assert main(["test", "--config", "runs/tiny/config.yaml", "--run", "runs/tiny", *QUICK]) == 0
    assert main(["validate", *fit[1:]]) == 0
    assert main(["predict", *fit[1:]]) == 0


def test_test_without_a_run_says_to_fit_first(fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", *fit[1:]]) == 1
    assert "run 'neuralfx fit' first" in capsys.readouterr().err


def test_wandb_is_offline_without_an_account(fit: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.netrc
    monkeypatch.setenv("WANDB_SILENT", "true")
    asked: list[dict[str, object]] = []

    def build(**arguments: object) -> None:
        asked.append(arguments)
        raise ConfigError("built")

    monkeypatch.setattr("wandb.init", build)
    assert main([*fit, "--config", "wandb"]) == 2
    assert asked
    assert asked[0]["mode"] == "offline"


def test_names_of_shipped_configurations_are_found() -> None:
    recipe = str(configs_folder() / "recipes" / "od300-lstm.yaml")
    assert find_recipes(["--config", "od300-lstm"]) == ["--config", recipe]
    assert find_recipes(["--config=od300-lstm", "--x", "od300-lstm"]) == [f"--config={recipe}", "--x", "od300-lstm"]
    with pytest.raises(ConfigError, match=r"did you mean od300-lstm"):
        find_recipes(["--config", "od300-lstn"])


def test_missing_recordings_and_devices_are_named(fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*fit, "--data.root", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err.splitlines()[-1]
    assert main([*fit, "--data.device", "saturato"]) in (1, 2)
    assert "saturator" in capsys.readouterr().err.splitlines()[-1]


def test_errors_in_the_configuration_are_told_in_one_line(fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for option, value, told in (
        ("losses", "{cosine: 1}", "losses: expected names among mse, l1, esr, mrstft, got 'cosine'."),
        ("hidden", "5", "Option 'hidden' is not accepted"),
        ("lr", "fast", "model.lr: Expected a <class 'float'>. Got value: fast"),
    ):
        assert main([*fit, f"--model.{option}", value]) == 2
        assert f"neuralfx: {told}" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("config", sorted((configs_folder() / "models").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_model_configuration_fits_one_step(config: Path, fit: list[str]) -> None:
    arguments = [*fit, "--config", str(config), "--trainer.fast_dev_run", "true"]
    assert main(arguments) == 0
