from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from neuralfx.errors import ConfigError, FormatError
from neuralfx.evaluation import NAM, Identity, Material, Model, evaluate, load_nam
from neuralfx.evaluation.run import choose_metrics
from tests.data.generate import RATE

ESR = choose_metrics(["esr"])


class Difference(torch.nn.Module):
    """Stands for a WaveNet: the input less that of two samples before, times a gain."""

    receptive_field = 3

    def __init__(self, gain: float = 1.0, sample_rate: float | None = float(RATE)) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))
        self.sample_rate = sample_rate

    def forward(self, audio: torch.Tensor, pad_start: bool = True) -> torch.Tensor:
        assert not pad_start
        return self.gain * (audio[:, 2:] - audio[:, :-2])


class LSTM(torch.nn.Module):
    """Stands for the package's LSTM: its state is the sum of the input so far."""

    sample_rate = float(RATE)

    def _initial_state(self, channels: int) -> torch.Tensor:
        return torch.zeros(channels, 1)

    def _core(self, audio: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sums = state.unsqueeze(-1) + audio.cumsum(1)
        return sums, sums[:, -1]

    def _apply_head(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, :, 0]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for an installed package neural-amp-modeler."""
    models = ModuleType("nam.models")
    models.init_from_nam = lambda content: Difference(content["config"]["gain"], content.get("sample_rate"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nam", ModuleType("nam"))
    monkeypatch.setitem(sys.modules, "nam.models", models)


def write_nam(path: Path, **content: Any) -> Path:
    path.write_text(json.dumps({"architecture": "WaveNet", "config": {"gain": 0.5}, **content}), encoding="utf-8")
    return path


def test_a_file_is_read_by_the_package(package: None, tmp_path: Path) -> None:
    network = load_nam(write_nam(tmp_path / "amp.nam", sample_rate=44_100.0))
    assert not network.training
    described = NAM("amp.nam", network, {"drive": 0.25}).describe()
    assert described == {
        "kind": "model", "name": "amp.nam", "architecture": "NAM Difference", "parameters": 1,
        "sample_rate": 44_100, "knobs": {"drive": 0.25},
    }  # fmt: skip


def test_a_file_without_a_rate_has_the_standard_one(package: None, tmp_path: Path) -> None:
    assert NAM("amp.nam", load_nam(write_nam(tmp_path / "amp.nam")), {}).sample_rate == 48_000


def test_what_cannot_be_read_is_told(package: None, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        load_nam(tmp_path / "none.nam")
    with pytest.raises(FormatError, match="expected a model that the installed neural-amp-modeler reads: KeyError"):
        load_nam(write_nam(tmp_path / "other.nam", config={}))
    (tmp_path / "damaged.nam").write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match="update the package"):
        load_nam(tmp_path / "damaged.nam")


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "nam", None)
    monkeypatch.delitem(sys.modules, "nam.models", raising=False)
    with pytest.raises(ConfigError, match="pip install neural-amp-modeler"):
        load_nam(tmp_path / "amp.nam")


@pytest.mark.parametrize("network", [Difference(), LSTM()], ids=["convolution", "recurrence"])
def test_every_block_size_gives_the_same_sound(network: Any, material: Material) -> None:
    dry = np.random.default_rng(0).standard_normal((1, 100)).astype(np.float32)
    expected = dry - np.pad(dry, ((0, 0), (2, 0)))[:, :-2] if network.__class__ is Difference else dry.cumsum(-1)
    for sizes in ([100], [1, 1, 98], [40, 60]):
        player = NAM("amp.nam", network, {}).begin(material, 0)
        assert player is not None and player.latency_samples == 0
        parts = [player.process(block) for block in np.split(dry, np.cumsum(sizes)[:-1], axis=-1)]
        np.testing.assert_allclose(np.concatenate(parts, -1), expected, atol=1e-5)


def test_only_takes_of_its_setting_are_played_and_the_others_noted(material: Material) -> None:
    values = material.recorded[1].values
    found = evaluate(material, [NAM("amp.nam", Difference(), values), Identity()], ESR)
    assert [(row.model, row.take) for row in found.rows] == [
        ("identity", material.names[0]), ("amp.nam", material.names[1]), ("identity", material.names[1]),
    ]  # fmt: skip
    assert found.notes == (
        f"amp.nam has no part in {material.names[0]}: compare its mean with means of the same takes only.",
    )


def test_without_a_setting_it_plays_every_take(material: Material) -> None:
    found = evaluate(material, [NAM("amp.nam", Difference(), {})], ESR)
    assert len(found.rows) == len(material.names) and not found.notes


def test_a_setting_that_was_not_recorded_is_refused_with_those_that_were(material: Material) -> None:
    with pytest.raises(ConfigError, match=r"amp.nam: .*recorded \(drive .*, tone .*; drive .*\), got drive 0.123"):
        evaluate(material, [NAM("amp.nam", Difference(), {"drive": 0.123})], ESR)


def test_another_sample_rate_is_refused(material: Material) -> None:
    with pytest.raises(ConfigError, match=f"expected recordings of 96000 Hz, got {RATE} Hz"):
        evaluate(material, [NAM("amp.nam", Difference(sample_rate=96_000.0), {})], ESR)


@pytest.mark.skipif(importlib.util.find_spec("nam") is None, reason="needs neural-amp-modeler")
@pytest.mark.filterwarnings("default")  # not our code
@pytest.mark.parametrize("architecture", ["WaveNet", "LSTM"])
def test_the_real_package_plays_in_blocks_what_it_plays_at_once(
    architecture: str, material: Material, model: Model, tmp_path: Path
) -> None:
    from nam.models import LSTM as RealLSTM  # type: ignore[import-not-found]
    from nam.models import WaveNet

    torch.manual_seed(0)
    layer = {
        "input_size": 1, "condition_size": 1, "channels": 2, "kernel_size": 3, "dilations": [1, 2],
        "activation": "Tanh", "head": {"out_channels": 1, "kernel_size": 1, "bias": True},
    }  # fmt: skip
    made = (
        RealLSTM(hidden_size=3, sample_rate=RATE)
        if architecture == "LSTM"
        else WaveNet.init_from_config({"layers_configs": [layer], "sample_rate": RATE})
    )
    made.export(tmp_path, basename="amp")
    network = load_nam(tmp_path / "amp.nam")
    dry = 0.1 * np.random.default_rng(0).standard_normal((1, 3000)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(dry)).numpy()
    player = NAM("amp.nam", network, {}).begin(material, 0)
    assert player is not None
    parts = [player.process(block) for block in np.split(dry, [1, 64, 2000], axis=-1)]
    np.testing.assert_allclose(np.concatenate(parts, -1), expected, atol=1e-6)
    found = evaluate(material, [model, NAM("amp.nam", network, {})], ESR)
    assert found.candidates[1]["architecture"] == f"NAM {architecture}"
