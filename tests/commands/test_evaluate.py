from __future__ import annotations

import csv
import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import torch

from neuralfx.commands.evaluate import find_data, main
from neuralfx.errors import ConfigError, FormatError, KnobError, ModelNotFoundError
from neuralfx.evaluation import Model
from tests.checks import tiny_model, two_knobs
from tests.data.generate import RATE

RECIPE = """\
data:
  class_path: neuralfx.datasets.PairedAudioDataModule
  init_args:
    root: elsewhere
    device: saturator
    knobs:
      - {name: gain, column: drive, maximum: 100.0, factor: 100.0}
    test: [[0.5, 0.75]]
    segment_samples: 4096
"""


@pytest.fixture
def packaged(tmp_path: Path) -> str:
    from neuralfx.hub.package import save_folder

    save_folder(
        tiny_model("GRUConcat", two_knobs(RATE)),
        tmp_path / "my-saturator",
        name="my-saturator",
        card="---\nlicense: mit\n---\n\n# Test\n",
        metrics={"esr": 0.1, "takes": [{"name": "a", "knobs": {}, "esr": 0.1, "identity_esr": 1.0, "linear_esr": 0.5}]},
        training={"data": {"train_s": 1.0}, "seed": 0},
        recipe="model:\n  class_path: GRUConcat\n",
        licence="mit",
    )
    return str(tmp_path / "my-saturator")


def test_a_report_is_written_and_the_means_are_printed(
    recordings: Path, packaged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "report"
    argv = ["-m", packaged, "--data", str(recordings), "--metrics", "esr,mae", "-o", str(folder)]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Mean over 2 takes of One-pole saturator, test part.")
    assert "my-saturator" in printed and "identity" in printed and "linear" in printed
    names = ["device.json", "evaluation.json", "index.html", "rows.csv", "tables.md", "tables.tex"]
    assert sorted(path.name for path in folder.iterdir()) == names
    content = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    with (folder / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["esr"]) for row in rows] == [take["values"]["esr"] for take in content["takes"]]
    assert (folder / "index.html").stat().st_size < 15_000_000


def test_parts_and_baselines_can_be_chosen(recordings: Path, packaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["-m", packaged, "--data", str(recordings), "--metrics", "esr", "--baselines", "none"]
    main([*argv, "--split", "all"])
    assert "whole takes" in capsys.readouterr().out
    main([*argv, "--split", "validation", "--validation", "0.2:0.3,0.5:0.6"])
    printed = capsys.readouterr().out
    assert "validation part" in printed and "identity" not in printed


def test_recordings_of_the_models_device_are_read_as_its_recipe_says(recordings: Path) -> None:
    model = Model("own", tiny_model("GRUConcat", two_knobs(RATE)), RECIPE)
    unnamed = Model(
        "own",
        tiny_model("GRUConcat", dataclasses.replace(two_knobs(RATE), slug="saturator")),
        RECIPE.replace("saturator", "null"),
    )
    for folder, trained in itertools.product((recordings, recordings / "saturator"), (model, unnamed)):
        data = find_data(str(folder), trained)
        assert data.effect.knobs.names() == ("gain",)
        assert data.test == [[0.5, 0.75]]
        assert data.recording.takes[0].values == {"gain": 25.0}
    assert find_data(str(recordings), model, test=[[0.9, 1.0]]).test == [[0.9, 1.0]]


def test_other_recordings_are_read_as_they_describe_themselves(recordings: Path) -> None:
    other = RECIPE.replace("device: saturator", "device: amplifier")
    for recipe in (other, "", "model: {}\n"):
        data = find_data(str(recordings), Model("other", tiny_model("GRUConcat", two_knobs(RATE)), recipe))
        assert data.effect.knobs.names() == ("drive", "tone")


def test_a_configuration_comes_before_the_recipe(recordings: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(RECIPE.replace("gain", "volume"))
    model = Model("own", tiny_model("GRUConcat", two_knobs(RATE)), RECIPE)
    assert find_data(str(recordings), model, str(path)).effect.knobs.names() == ("volume",)
    for text, error, message in (
        ("model: {}\n", ConfigError, "found none"),
        ("data: {class_path: os.system}\n", ConfigError, "'system'"),
        ("data: [", FormatError, "YAML"),
        ("data: {class_path: SignalTrainLA2A, init_args: {device: x}}\n", ConfigError, "device"),
    ):
        path.write_text(text)
        with pytest.raises(error, match=message):
            find_data(str(recordings), model, str(path))


def test_bad_use_is_told(recordings: Path, packaged: str, tmp_path: Path) -> None:
    argv = ["-m", packaged, "--data", str(recordings)]
    for more, message in (
        (["--baselines", "linaer"], "did you mean linear"),
        (["--metrics", "esrr"], "did you mean esr"),
        (["--split", "tset"], "invalid choice"),
        (["--test", "0.8-1"], r"0\.8:1"),
    ):
        with pytest.raises(ConfigError, match=message):
            main([*argv, *more])
    with pytest.raises(ModelNotFoundError):
        main(["-m", "la2a-s4dd", "--data", str(recordings)])
    with pytest.raises(ConfigError, match=r"level and tone.*drive and tone"):
        main(["-m", "od300-lstm", "--data", str(recordings)])


def test_a_model_of_nam_is_measured_at_its_setting(
    recordings: Path, packaged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = torch.nn.Conv1d(1, 1, 1)
    network.receptive_field, network.sample_rate = 1, float(RATE)  # type: ignore[assignment]
    network.forward = lambda audio, pad_start: audio  # type: ignore[assignment]
    monkeypatch.setattr("neuralfx.evaluation.load_nam", {"a/amp.nam": network, "b/amp.nam": network}.__getitem__)
    argv = ["-m", packaged, "--data", str(recordings), "--metrics", "esr", "-o", str(tmp_path / "report")]
    assert main([*argv, "--nam", "a/amp.nam", "drive=0.25", "tone=0.75", "--nam", "b/amp.nam", "drive=0.25"]) == 0
    printed = capsys.readouterr().out
    assert "amp.nam at drive 0.25, tone 0.75" in printed and "amp.nam at drive 0.25 " in printed
    assert "compare its mean with means of the same takes only" in printed
    assert "amp.nam at drive 0.25, tone 0.75" in (tmp_path / "report/tables.md").read_text(encoding="utf-8")
    with pytest.raises(KnobError, match="no knob 'gain'"):
        main([*argv, "--nam", "a/amp.nam", "gain=1"])
    with pytest.raises(ConfigError, match=r"got drive 0\.99"):
        main([*argv, "--nam", "a/amp.nam", "drive=0.99"])
