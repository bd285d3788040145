from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from neuralfx.datasets import PairedAudioDataModule
from neuralfx.datasets.lanes import AlignedTake, Span
from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import ConfigError, FormatError, KnobError
from neuralfx.evaluation import Evaluation, Identity, Material, Model, evaluate, read_material
from neuralfx.evaluation.run import DEFAULT_METRICS, choose_metrics, play
from neuralfx.metrics import METRICS, error_to_signal_ratio
from tests.checks import tiny_model, two_knobs
from tests.data.generate import RATE

ESR = choose_metrics(["esr"])


class Late:
    """A wire with latency."""

    latency_samples = 5

    def __init__(self) -> None:
        self.before = np.zeros((1, 5), np.float32)

    def process(self, block: np.ndarray) -> np.ndarray:
        joined = np.concatenate([self.before, block], axis=-1)
        self.before = joined[:, -5:]
        return joined[:, :-5]


def test_every_take_is_measured_as_if_it_was_played_whole(
    evaluation: Evaluation, material: Material, model: Model
) -> None:
    for index, (span,) in enumerate(material.spans):
        dry, wet = material.aligned[index].read(0, material.aligned[index].samples)
        estimate = model.module.process(dry, material.recorded[index].values)[:, span.start : span.stop]
        expected = error_to_signal_ratio(*map(torch.from_numpy, (estimate, wet[:, span.start : span.stop])))
        (row,) = [row for row in evaluation.rows if row.model == "tiny" and row.take == material.names[index]]
        assert row.values["esr"] == pytest.approx(float(expected), rel=1e-5)
        assert row.seconds == pytest.approx((span.stop - span.start) / RATE)


@pytest.mark.parametrize("block_samples", [1_000, 4_801])
def test_the_size_of_blocks_changes_nothing(
    evaluation: Evaluation, material: Material, model: Model, block_samples: int
) -> None:
    found = evaluate(material, [model], ESR, block_samples=block_samples)
    for row in found.rows:
        (other,) = [other for other in evaluation.rows if (other.model, other.take) == (row.model, row.take)]
        assert row.values["esr"] == pytest.approx(other.values["esr"], rel=1e-5)
    for moment in found.moments:
        (same,) = [other for other in evaluation.moments if moment[:4] == other[:4]]
        assert (moment.error, moment.power) == pytest.approx((same.error, same.power), rel=1e-5)


def test_moments_add_up_to_the_take(evaluation: Evaluation) -> None:
    for row in evaluation.rows:
        assert evaluation.take_esr(row.model, row.take).value == pytest.approx(row.values["esr"], rel=1e-6)


def test_no_more_than_a_block_is_read_at_once(
    material: Material, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []
    read_dry = AlignedTake.read_dry

    def spy(take: AlignedTake, start: int, stop: int) -> np.ndarray:
        lengths.append(stop - start)
        return read_dry(take, start, stop)

    monkeypatch.setattr(AlignedTake, "read_dry", spy)
    evaluate(material, [model], ESR, block_samples=700)
    assert max(lengths) == 700


def test_latency_is_taken_out_up_to_the_end_of_the_take(material: Material) -> None:
    take = material.aligned[0]
    pieces = list(play(Late(), take, Span(0, 1_000, take.samples, 300), 777))
    assert [start for start, _, _ in pieces] == [1_000, *np.cumsum([len(w[0]) for _, w, _ in pieces])[:-1] + 1_000]
    estimate = np.concatenate([estimate for _, _, estimate in pieces], axis=-1)
    np.testing.assert_array_equal(estimate, take.read_dry(1_000, take.samples))
    target = np.concatenate([target for _, target, _ in pieces], axis=-1)
    np.testing.assert_array_equal(target, take.read_wet(1_000, take.samples))


def test_a_warm_up_is_heard_before_the_range(material: Material, model: Model) -> None:
    cold = dataclasses.replace(material, spans=tuple((span._replace(warmup=0),) for (span,) in material.spans))
    warm, without = (evaluate(part, [model], ESR).rows[0].values["esr"] for part in (material, cold))
    assert warm != without


def test_whole_takes_and_other_splits_can_be_measured(recordings: Path) -> None:
    data = PairedAudioDataModule(str(recordings), validation=[[0.5, 0.6]], test=[[0.9, 1.0]])
    lengths = {
        split: read_material(data, recordings, split).samples for split in ("test", "validation", "train", "all")
    }
    assert lengths["all"] == 24_000 + 24_000 - 37
    assert lengths["test"] == pytest.approx(4_800, abs=10)
    assert lengths["validation"] == pytest.approx(4_800, abs=10)
    assert 36_000 < lengths["train"] < 38_400  # less the guards


def test_an_empty_split_is_told(recordings: Path) -> None:
    data = PairedAudioDataModule(str(recordings), validation=[], test=[[0.8, 1.0]])
    with pytest.raises(FormatError, match="'validation'"):
        read_material(data, recordings, "validation")


def test_a_table_of_sounds_gives_rows_by_kind(recordings: Path, tmp_path: Path, model: Model) -> None:
    (tmp_path / "segments.csv").write_text("segment,start_s,end_s\nnotes,2.5,2.7\nnoise,2.7,2.9\nearly,0,1\n")
    data = PairedAudioDataModule(str(recordings))
    material = read_material(data, recordings)
    named = read_material(data, tmp_path)
    assert not evaluate(material, [Identity()], ESR).sounds
    found = evaluate(dataclasses.replace(material, sounds=named.sounds), [model, Identity()], ESR)
    assert {row.sound for row in found.sounds} == {"notes", "noise"}
    assert len(found.sounds) == 2 * 2 * 2
    take, sound = material.aligned[1], [row for row in found.sounds if row.model == "identity"][-2]
    start, stop = round(2.5 * RATE) - take.dry_start, round(2.7 * RATE) - take.dry_start
    expected = error_to_signal_ratio(*map(torch.from_numpy, take.read(start, stop)))
    assert sound.sound == "notes" and sound.values["esr"] == pytest.approx(float(expected), rel=1e-5)


def test_a_damaged_table_of_sounds_is_told(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "segments.csv").write_text("segment,begin\nnotes,2.5\n")
    with pytest.raises(FormatError, match="segment, start_s and end_s"):
        read_material(PairedAudioDataModule(str(recordings)), tmp_path)


def test_models_of_other_knobs_are_refused(material: Material) -> None:
    for count, message in ((1, "the model does not have tone"), (3, "the recordings do not state mix")):
        other = Model("other", tiny_model("GRUConcat", two_knobs(RATE, count)))
        with pytest.raises(ConfigError, match=message):
            evaluate(material, [other], ESR)


def test_values_that_a_model_cannot_take_are_refused(material: Material, caplog: pytest.LogCaptureFixture) -> None:
    narrow = Effect("tiny", RATE, Knobs([Knob("drive", 0.0, 0.5), Knob("tone")]))
    with pytest.raises(KnobError, match=r"take1\.wav: knob drive expects"):
        evaluate(material, [Model("narrow", tiny_model("GRUConcat", narrow))], ESR)
    assert "knob drive is 0 to 0.5 in the model and 0 to 1 in the recordings" in caplog.text


def test_a_model_at_another_rate_is_resampled(material: Material) -> None:
    other = Model("fast", tiny_model("GRUConcat", two_knobs(2 * RATE)))
    (row, _) = evaluate(material, [other], ESR).rows
    assert math.isfinite(row.values["esr"])


def test_stereo_recordings_are_played_channel_by_channel(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((8_000, 2))
    soundfile.write(tmp_path / "input.wav", noise, RATE, "FLOAT")
    soundfile.write(tmp_path / "output.wav", noise * [1.0, 0.5], RATE, "FLOAT")
    (tmp_path / "recordings.json").write_text('{"input": "input.wav", "takes": [{"file": "output.wav", "knobs": {}}]}')
    material = read_material(PairedAudioDataModule(str(tmp_path), align=False), tmp_path)
    (row,) = evaluate(material, [Identity()], choose_metrics(["mse"])).rows
    assert row.values["mse"] == pytest.approx(0.5 * 0.25 * 0.01, rel=0.05)


def test_metrics_are_explained_by_a_sentence(material: Material) -> None:
    found = evaluate(material, [Identity()], choose_metrics())
    assert list(found.metrics) == list(DEFAULT_METRICS)
    assert found.metrics["mse"]["explanation"].startswith("Mean of the squared differences")
    assert all(":func:" not in what["explanation"] for what in found.metrics.values())


def test_metrics_are_chosen_by_name() -> None:
    assert list(choose_metrics(["mae"])) == ["mae"]
    assert choose_metrics(["all"]) == METRICS
    with pytest.raises(ConfigError, match="did you mean mse or mae"):
        choose_metrics(["mea"])
