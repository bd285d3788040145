from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from neuralfx.batch import Batch
from neuralfx.datasets.paired import PairedAudioDataModule
from neuralfx.errors import AudioFileError, FormatError
from tests.data.generate import RATE, write_recordings


def module(root: Path, **arguments: Any) -> PairedAudioDataModule:
    return PairedAudioDataModule(str(root), **{"lanes": 3, "segment_samples": 256, "warmup_s": 0.05, **arguments})


def count(batches: Any) -> int:
    return sum(int(batch.scored.sum()) for batch in batches)


def test_the_effect_is_known_without_decoding_audio(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    data = module(tmp_path)
    assert data.effect.slug == "toy-amp"
    assert not data.alignments


def test_offsets_are_found_and_corrected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(write_recordings(tmp_path, offsets=(-900, 1200)))
    with caplog.at_level(logging.INFO):
        data.setup()
    offsets = [alignment.offset_samples for alignment in data.alignments]
    assert offsets[0] == pytest.approx(-900, abs=2)
    assert offsets[1] == pytest.approx(1200, abs=2)
    assert sum("offset" in record.message for record in caplog.records) == 2
    drive = torch.tensor([4 * 0.25, 4 * 0.5])
    for batch in data.test_dataloader():
        estimate = torch.tanh(drive[batch.take][:, None, None] * batch.dry)
        for lag in range(3):
            if torch.allclose(
                estimate[:, :, : 256 - lag][batch.scored[:, None, lag:]],
                batch.wet[:, :, lag:][batch.scored[:, None, lag:]],
                atol=1e-5,
            ):
                break
        else:
            pytest.fail("wet is not a late copy of the device's output")


def test_sample_exact_recordings_are_left_alone(tmp_path: Path) -> None:
    data = module(write_recordings(tmp_path, offsets=(500, 500)), align=False)
    assert [take["offset_samples"] for take in data.summary()["takes"]] == [0, 0]
    assert {alignment.offset_samples for alignment in data.alignments} == {0}


@pytest.mark.parametrize(("offset", "corrected"), [(20, 0), (200, 200)])
def test_auto_corrects_only_large_offsets(tmp_path: Path, offset: int, corrected: int) -> None:
    data = module(write_recordings(tmp_path, offsets=(offset,)), align="auto")
    assert data.summary()["takes"][0]["offset_samples"] == pytest.approx(corrected, abs=2)


def test_unclear_takes_stay_as_recorded_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_recordings(tmp_path)
    noise = np.random.default_rng(100).standard_normal(24_000) * 0.1
    soundfile.write(tmp_path / "toy_amp" / "take1.wav", noise, RATE, "FLOAT")
    data = module(tmp_path)
    data.setup()
    assert data.alignments[1].offset_samples == 0
    assert any("take1.wav: no clear onset" in record.message for record in caplog.records)


def test_splits_share_no_sample_and_keep_their_guards(tmp_path: Path) -> None:
    data = module(write_recordings(tmp_path), align=False, guard_samples=100)
    ranges = data.summary()["takes"][0]["splits"]
    assert ranges == {"train": [[0, 16_700]], "validation": [[16_800, 19_200]], "test": [[19_200, 24_000]]}
    assert 2 * 16_700 <= count(data.train_dataloader()) < 2.2 * 16_700
    assert count(data.val_dataloader()) == 2 * 2_400
    assert count(data.test_dataloader()) == 2 * 4_800


def test_given_ranges_take_precedence(tmp_path: Path) -> None:
    data = module(
        write_recordings(tmp_path), align=False, validation=[[0.0, 0.25]], test=[[0.5, 0.75]], guard_samples=0
    )
    assert data.summary()["takes"][0]["splits"]["train"] == [[6_000, 12_000], [18_000, 24_000]]


def test_splits_json_counts_in_seconds_of_the_input(tmp_path: Path) -> None:
    write_recordings(tmp_path, offsets=(-900,))
    (tmp_path / "splits.json").write_text('{"validation": [[1.0, 1.5]], "test": [[2.5, 9.0]]}')
    take = module(tmp_path).summary()["takes"][0]
    shift = take["offset_samples"]
    assert take["splits"]["validation"] == [[8_000 + shift, 12_000 + shift]]
    assert take["splits"]["test"] == [[20_000 + shift, 24_000 + shift]]


def test_whole_takes_may_be_held_out(tmp_path: Path) -> None:
    write_recordings(tmp_path, offsets=(0, 0, 0))
    path = tmp_path / "recordings.json"
    manifest = json.loads(path.read_text())
    for take, split in zip(manifest["toy_amp"]["takes"], ("train", "validation", "test")):
        take["split"] = split
    path.write_text(json.dumps(manifest))
    data = module(tmp_path, align=False)
    assert {int(take) for batch in data.val_dataloader() for take in batch.take} == {1}
    assert {int(take) for batch in data.train_dataloader() for take in batch.take} == {0}
    assert count(data.test_dataloader()) == 24_000


def test_every_iteration_plays_another_order(tmp_path: Path) -> None:
    loader = module(write_recordings(tmp_path), align=False, warmup_s=0).train_dataloader()
    orders = [next(iter(loader)).dry for _ in range(3)]
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[1], orders[2])


def test_settings_that_are_held_out_play_in_their_split_alone(tmp_path: Path) -> None:
    write_recordings(tmp_path, offsets=(0, 0, 0))
    data = module(
        tmp_path, align=False, validation_settings=[{"gain": 0.5}], test_settings=[{"gain": 0.75}], guard_samples=0
    )
    splits = [take["splits"] for take in data.summary()["takes"]]
    assert [take["values"]["gain"] for take in data.summary()["takes"]] == [0.25, 0.5, 0.75]
    assert splits[0] == {"train": [[0, 16_800]], "validation": [], "test": []}
    assert splits[1] == {"train": [], "validation": [[16_800, 19_200]], "test": []}
    assert splits[2] == {"train": [], "validation": [], "test": [[19_200, 24_000]]}


def test_settings_that_were_not_recorded_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no take was recorded at"):
        module(write_recordings(tmp_path), align=False, test_settings=[{"gain": 0.3}]).setup()


def test_cut_points_move_into_silence(tmp_path: Path) -> None:
    write_recordings(tmp_path, offsets=(0,))
    path = tmp_path / "toy_amp" / "input.wav"
    dry, rate = soundfile.read(path)
    dry[18_500:18_900] = 0
    soundfile.write(path, dry, rate, "FLOAT")
    data = module(tmp_path, align=False, silence_s=0.2)
    splits = data.summary()["takes"][0]["splits"]
    assert 18_500 <= splits["validation"][0][1] <= 18_900
    assert splits["test"] == [[splits["validation"][0][1], 24_000]]


@pytest.mark.parametrize(("role", "other"), [("test", "validation"), ("validation", "test")])
def test_where_one_role_has_takes_the_other_has_its_usual_part_of_those_that_train(
    tmp_path: Path, role: str, other: str
) -> None:
    path = write_recordings(tmp_path, offsets=(0, 0)) / "recordings.json"
    manifest = json.loads(path.read_text())
    manifest["toy_amp"]["takes"][1]["split"] = role
    path.write_text(json.dumps(manifest))
    first, second = (take["splits"] for take in module(tmp_path, align=False).summary()["takes"])
    assert first[role] == second["train"] == second[other] == []
    assert first[other] == {"validation": [[16_800, 19_200]], "test": [[19_200, 24_000]]}[other]
    assert first["train"] and second[role] == [[0, 24_000]]


def test_audio_that_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_recordings(tmp_path, offsets=(0,)) / "toy_amp"
    (path,) = folder.glob("take*.wav")
    wet, rate = soundfile.read(path)
    wet[100] = np.nan
    soundfile.write(path, wet, rate, "FLOAT")
    with pytest.raises(AudioFileError, match=rf"{path.name}: expected finite audio, got NaN"):
        module(tmp_path).setup()


def test_a_manifest_may_begin_with_a_mark_of_the_byte_order(tmp_path: Path) -> None:
    path = write_recordings(tmp_path) / "recordings.json"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert module(tmp_path).recording.takes


@pytest.mark.parametrize("silent", [15_000, 16_790, 19_210, 23_000])
def test_no_part_becomes_empty_on_the_way_to_silence(tmp_path: Path, silent: int) -> None:
    write_recordings(tmp_path, offsets=(0,))
    path = tmp_path / "toy_amp" / "input.wav"
    dry, rate = soundfile.read(path)
    dry[silent : silent + 900] = 0
    soundfile.write(path, dry, rate, "FLOAT")
    splits = module(tmp_path, align=False, silence_s=2.0).summary()["takes"][0]["splits"]
    (train,), (validation,), (test,) = splits["train"], splits["validation"], splits["test"]
    assert train[1] <= validation[0] < validation[1] == test[0] < test[1] == 24_000
    assert validation[1] - validation[0] >= 0.2 * 2_400 - 1


def test_unused_ranges_neither_train_nor_test(tmp_path: Path) -> None:
    data = module(write_recordings(tmp_path, offsets=(0,)), align=False, guard_samples=10)
    takes = [dataclasses.replace(take, unused_s=((0.0, 0.1), (2.5, 2.6))) for take in data.recording.takes]
    data.recording = dataclasses.replace(data.recording, takes=tuple(takes))
    assert data.summary()["takes"][0]["splits"] == {
        "train": [[810, 16_790]],
        "validation": [[16_800, 19_200]],
        "test": [[19_200, 19_990], [20_810, 24_000]],
    }


def test_stated_offsets_are_taken_as_they_are(tmp_path: Path) -> None:
    data = module(write_recordings(tmp_path, offsets=(300,)), align=False)
    takes = [dataclasses.replace(take, offset_samples=300) for take in data.recording.takes]
    data.recording = dataclasses.replace(data.recording, takes=tuple(takes))
    assert data.summary()["takes"][0]["offset_samples"] == 300


def test_takes_weigh_by_the_level_of_their_training_part(tmp_path: Path) -> None:
    data = module(write_recordings(tmp_path), align=False)
    data.setup()
    wet = torch.cat(
        [batch.wet[batch.scored[:, None] & (batch.take == 1)[:, None, None]] for batch in data.train_dataloader()]
    )
    scale = next(float(s) for batch in data.train_dataloader() for s, take in zip(batch.scale, batch.take) if take == 1)
    assert scale == pytest.approx(1 / float(wet.square().mean().sqrt()), rel=1e-4)


def test_the_summary_describes_files_and_knobs(tmp_path: Path) -> None:
    summary = module(write_recordings(tmp_path)).summary()
    assert summary["knobs"] == {"gain": [0.25, 0.5]}
    assert summary["device"] == "Toy amplifier"
    assert summary["takes"][1]["wet"]["file"] == "take1.wav"
    assert len(summary["takes"][1]["wet"]["sha256"]) == 64
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lanes": 0}, "lanes of at least 1, got 0"),
        ({"num_workers": -1}, "num_workers of at least 0, got -1"),
        ({"validation": [[0.5, 0.2]]}, r"fractions \[start, stop\]"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        module(tmp_path, **arguments)


def test_overlapping_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="without overlap"):
        module(write_recordings(tmp_path), align=False, test=[[0.5, 1.0]]).setup()


class Gain(lightning.LightningModule):
    """Multiplies by a learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.first: list[Tensor] = []

    def training_step(self, batch: Batch, index: int) -> Tensor:
        if index == 0:
            self.first.append(batch.dry)
        error = (self.gain * batch.dry - batch.wet)[:, 0] * batch.scored
        return error.square().mean()

    def validation_step(self, batch: Batch, index: int) -> None:
        assert isinstance(batch, Batch)

    test_step = validation_step

    def predict_step(self, batch: Batch, index: int) -> Tensor:
        return self.gain * batch.dry

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_plays_it_and_goes_on_with_the_next_epoch(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    write_recordings(tmp_path)

    def fit(max_epochs: int, checkpoint: Path | None = None) -> tuple[lightning.Trainer, Gain, PairedAudioDataModule]:
        data, model = module(tmp_path, align=False, warmup_s=0), Gain()
        trainer = lightning.Trainer(max_epochs=max_epochs, **options)
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
        return trainer, model, data

    trainer, model, data = fit(2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    trainer.test(model, data, verbose=False)
    trainer.predict(model, data)
    _, resumed, _ = fit(3, tmp_path / "last.ckpt")
    _, whole, _ = fit(3)
    assert not torch.equal(whole.first[0], whole.first[1])
    torch.testing.assert_close(model.first + resumed.first, whole.first)
    torch.testing.assert_close(resumed.gain, whole.gain)
