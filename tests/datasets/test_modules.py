"""Every public data set trains from its own layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neuralfx import datasets
from neuralfx.datasets import catalogue
from neuralfx.datasets.paired import PairedAudioDataModule
from neuralfx.errors import ConfigError, DatasetNotFoundError
from tests.data import layouts
from tests.data.public import DEVICES, WRITERS, write_signaltrain
from tests.data.simionato import write_pickles


def module(name: str, root: Path, **arguments: Any) -> PairedAudioDataModule:
    options = {"align": False, "guard_samples": 0, "lanes": 2, "segment_samples": 64, "warmup_s": 0.001}
    data: PairedAudioDataModule = getattr(datasets, name)(str(root), **DEVICES.get(name, {}), **(options | arguments))
    return data


def test_every_data_set_has_its_module() -> None:
    assert {getattr(datasets, name).dataset for name in WRITERS} == {*catalogue.names()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_data_set_is_read_and_split(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    data = module(name, tmp_path)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batch = next(iter(loader))
        assert batch.dry.shape == batch.wet.shape
        assert batch.knobs.shape == (len(batch.dry), len(data.effect.knobs))
    facts = catalogue.find(getattr(datasets, name).dataset)
    summary = data.summary()
    assert facts.homepage in summary["source"]
    assert summary["licence"] == facts.licence


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_data_set_says_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"neuralfx data download|Open http"):
        _ = module(name, tmp_path / "nothing").effect


def test_what_paper_2_took_from_signaltrain_has_one_knob(tmp_path: Path) -> None:
    write_signaltrain(tmp_path)
    data = module("SignalTrainLA2A", tmp_path, subset="hyper-rnn", validation=[[0.8, 0.9]], test=[[0.9, 1.0]])
    assert data.effect.knobs.names() == ("peak_reduction",)
    assert len(data.summary()["takes"]) == 11
    with pytest.raises(ConfigError, match="'all' or 'hyper-rnn'"):
        module("SignalTrainLA2A", tmp_path, subset="paper2")


def test_boss_od3_is_split_as_in_its_paper(tmp_path: Path) -> None:
    layouts.write_boss_od3(tmp_path)
    splits = module("BossOD3", tmp_path).summary()["takes"][0]["splits"]
    assert splits == {"train": [[0, 472]], "validation": [[472, 560]], "test": [[560, 590]]}


def test_simionato_validates_on_a_ninth_of_what_trains(tmp_path: Path) -> None:
    write_pickles(tmp_path, "OD")
    takes = module("SimionatoVol1", tmp_path, silence_s=0.0).summary()["takes"]
    trains = [take["splits"] for take in takes if take["splits"]["train"]]
    tests = [take["splits"] for take in takes if take["splits"]["test"]]
    assert len(trains) + len(tests) == len(takes)
    for splits in trains:
        (start, stop), (begin, end) = splits["validation"][0], splits["train"][0]
        assert start == 0 and stop == begin
        assert stop == pytest.approx(end / 9, abs=1)
    assert all(splits["validation"] == [] for splits in tests)


def test_knobs_of_a_public_data_set_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knobs is known from the data set"):
        module("BossOD3", tmp_path, knobs=[{"name": "gain"}])
