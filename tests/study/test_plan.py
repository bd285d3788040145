from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from neuralfx.errors import ConfigError
from neuralfx.recipes import configs_folder
from neuralfx.study.plan import read_study

LSTM = {"config": "lstm"}
AMP: dict[str, Any] = {"class_path": "PairedAudioDataModule", "root": "rec"}
STUDY: dict[str, Any] = {"models": ["lstm"], "data": {"amp": AMP}}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(**changes: Any) -> Any:
    Path("mine.yaml").write_text(yaml.safe_dump({**STUDY, **changes}), encoding="utf-8")
    return read_study("mine.yaml")


def test_a_cell_for_every_model_effect_and_seed_and_seeds_come_last() -> None:
    study = read(models=["lstm", "s4d"], seeds=[3, 4])
    names = [cell.name for cell in study.cells(Path("out"))]
    assert names == ["lstm-amp-seed3", "s4d-amp-seed3", "lstm-amp-seed4", "s4d-amp-seed4"]
    assert study.name == "mine"
    assert study.cells(Path("out"))[0].folder == Path("out/cells/lstm-amp-seed3")


def test_a_cell_has_the_settings_of_its_configurations_changed_by_the_study() -> None:
    study = read(
        models=["lstm", {"wide": {"config": "lstm", "hidden_size": 64}}],
        data={"od300": {"root": "rec"}},
        seeds=[5],
        trainer={"max_epochs": 7},
    )
    plain, wide = (cell.settings for cell in study.cells(Path("out")))
    assert plain["seed_everything"] == plain["data"]["init_args"]["seed"] == 5
    assert (plain["trainer"]["max_epochs"], plain["trainer"]["gradient_clip_val"]) == (7, 1.0)
    assert plain["trainer"]["callbacks"][0]["class_path"] == "EarlyStopping"
    assert (plain["model"]["class_path"], plain["model"]["init_args"]["hidden_size"]) == ("LSTMFiLMGLU", 8)
    assert wide["model"]["init_args"] == {**plain["model"]["init_args"], "hidden_size": 64}
    assert (plain["data"]["init_args"]["device"], plain["data"]["init_args"]["root"]) == ("od300", "rec")


def test_files_and_recipes_are_configurations_too() -> None:
    Path("own.yaml").write_text("model: {class_path: GRUConcat, init_args: {lr: 0.5}}", encoding="utf-8")
    cell = read(models=["own.yaml"], data=["od300-lstm"]).cells(Path())[0]
    assert cell.name == "own-od300-lstm-seed0"
    assert cell.settings["model"] == {"class_path": "GRUConcat", "init_args": {"lr": 0.5}}
    assert cell.settings["data"]["init_args"]["test"] == [[0.8, 1.0]]
    assert "max_epochs" not in cell.settings["trainer"]


def test_baselines_are_measured_once_per_effect() -> None:
    cells = read(models=["lstm", "s4d"], data=["od300", "la2a"], seeds=[0, 1]).cells(Path())
    assert [cell.name for cell in cells if cell.baselines] == ["lstm-od300-seed0", "lstm-la2a-seed0"]
    assert cells[0].baselines == ("identity", "linear")


def test_published_values_are_wanted_by_device_and_change_no_cell() -> None:
    study = read(published={"amp": "la2a"})
    assert (study.published, read().published) == ({"amp": "la2a"}, {})
    assert study.cells(Path()) == read().cells(Path())


def test_other_settings_are_told_from_those_that_change_nothing(tmp_path: Path) -> None:
    def cell(**changes: Any) -> Any:
        return read(data={"amp": {**AMP, **changes}}).cells(tmp_path)[0]

    begun = cell()
    assert not begun.has_other_settings
    begun.folder.mkdir(parents=True)
    (begun.folder / "cell.yaml").write_text(begun.dump(), encoding="utf-8")
    assert not cell(root="elsewhere", num_workers=3).has_other_settings
    assert cell(lanes=3).has_other_settings
    (begun.folder / "cell.yaml").write_text("[", encoding="utf-8")
    assert cell().has_other_settings


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": ["lstm"]}, r"no setting is called 'model'; did you mean models"),
        ({"models": []}, "at least one entry under models"),
        ({"models": ["lstn"]}, "did you mean .*lstm"),
        ({"models": ["lstm", "lstm"]}, "lstm twice"),
        ({"models": [3]}, "expected names or mappings under models, got 3"),
        ({"models": [{"lstm": 3}]}, "expected settings of lstm as a mapping .*, got 3"),
        ({"models": ["od300"]}, "expected a section model with a class_path"),
        ({"models": [{"a b": {"config": "lstm"}}]}, "expected a name of letters"),
        ({"data": {"a": {"config": "od300", "class_path": "BossOD3"}}}, "leave one out"),
        ({"published": ["amp"]}, "expected a mapping under published"),
        ({"published": {"od300": "od300"}}, "'od300', which is not under data: amp"),
        ({"published": {"amp": "fuzz"}}, "no paper has values of 'fuzz'; there are boss-od3, cl1b"),
        ({"evaluate": {"nam": {"fuzz": AMP}}}, "nam has 'fuzz', which is not under data: amp"),
        ({"evaluate": {"nam": {"amp": "amp.nam"}}}, "expected a file and its setting as nam of amp"),
        ({"evaluate": {"nam": ["amp.nam"]}}, "expected a mapping under nam"),
        ({"seeds": [0, 0]}, "expected a list of different ints as seeds"),
        ({"seeds": 3}, "expected a list of different ints as seeds"),
        ({"jobs": 0}, "at least 1 as jobs, got 0"),
        ({"evaluate": {"metric": ["esr"]}}, "did you mean metrics"),
        ({"evaluate": ["esr"]}, "expected a mapping under evaluate"),
        ({"models": {"a": LSTM, "a-b": LSTM}, "data": {"b-c": AMP, "c": AMP}}, "two cells would be called a-b-c-seed0"),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(**changes)


def test_a_damaged_file_is_told_in_one_line() -> None:
    Path("mine.yaml").write_text("models: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a configuration that can be read") as told:
        read_study("mine.yaml")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("path", sorted((configs_folder() / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_have_cells_and_names(path: Path) -> None:
    assert len(read_study(path).cells(Path())) > 1
    assert read_study(path.stem) == read_study(path)
