from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from neuralfx.datasets.lanes import AlignedTake, EvaluationLanes, LaneLoader, Span, TrainingLanes, inverse_rms
from neuralfx.errors import AudioFileError, ShapeError

SPANS = [Span(0, 0, 700, 0), Span(0, 900, 1000, 900), Span(1, 100, 640, 100)]


@pytest.fixture
def takes(tmp_path: Path) -> list[AlignedTake]:
    """Two takes whose dry samples tell take and position: 0.0001 * position, plus 0.5 in the second."""
    found = []
    for index in range(2):
        ramp = 0.5 * index + 1e-4 * np.arange(1100)
        soundfile.write(tmp_path / f"dry{index}.wav", ramp, 8000, "DOUBLE")
        soundfile.write(tmp_path / f"wet{index}.wav", -ramp, 8000, "DOUBLE")
        knobs = np.full(1, index, dtype=np.float32)
        dry, wet = tmp_path / f"dry{index}.wav", tmp_path / f"wet{index}.wav"
        found.append(AlignedTake(dry, wet, knobs, samples=1000, dry_start=30, wet_start=50))
    return found


def scored_positions(lanes: TrainingLanes | EvaluationLanes) -> dict[int, list[int]]:
    """Positions that count, by take, in order."""
    found: dict[int, list[int]] = {0: [], 1: []}
    for batch in LaneLoader(lanes):
        for row, take in enumerate(batch.take.tolist()):
            values = batch.dry[row, 0][batch.scored[row]] - 0.5 * take
            found[take] += [round(float(value) * 1e4) - 30 for value in values]
    return found


EXPECTED = {0: [*range(700), *range(900, 1000)], 1: [*range(100, 640)]}


@pytest.mark.parametrize("lanes", [1, 3, 8, 50])
@pytest.mark.parametrize("segment", [1, 64, 5000])
@pytest.mark.parametrize("scattered", [False, True])
def test_an_epoch_plays_every_sample_of_training(
    takes: list[AlignedTake], lanes: int, segment: int, scattered: bool
) -> None:
    training = TrainingLanes(takes, SPANS, lanes, segment, warmup_samples=90, scattered=scattered)
    played = scored_positions(training)
    assert {take: sorted(set(positions)) for take, positions in played.items()} == EXPECTED


def test_an_epoch_plays_little_more_than_every_sample(takes: list[AlignedTake]) -> None:
    played = scored_positions(TrainingLanes(takes, SPANS, 3, 8, warmup_samples=16, repeats=20))
    wanted = 20 * sum(map(len, EXPECTED.values()))
    assert wanted <= sum(map(len, played.values())) < 1.02 * wanted


@pytest.mark.parametrize("scattered", [False, True])
def test_all_epochs_have_the_same_length(takes: list[AlignedTake], scattered: bool) -> None:
    loader = LaneLoader(TrainingLanes(takes, SPANS, 3, 64, warmup_samples=90, scattered=scattered))
    assert {len(list(loader)) for _ in range(20)} == {len(loader)}


def test_scattered_segments_come_from_everywhere(takes: list[AlignedTake]) -> None:
    lanes = TrainingLanes(takes, SPANS, 2, 64, warmup_samples=90, scattered=True)
    for lane in lanes.plan(0):
        assert all(span.stop - span.start <= 64 for span in lane)
        assert all(span.warmup == min(span.start, 90) for span in lane)
        runs_on = [a.take == b.take and a.stop == b.start for a, b in itertools.pairwise(lane)]
        assert sum(runs_on) < len(lane) / 2


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_evaluation_plays_every_sample_once_in_order(takes: list[AlignedTake], lanes: int) -> None:
    played = scored_positions(EvaluationLanes(takes, SPANS, lanes, 64))
    assert {take: sorted(positions) for take, positions in played.items()} == EXPECTED


def test_repeats_play_the_material_as_often(takes: list[AlignedTake]) -> None:
    played = scored_positions(TrainingLanes(takes, SPANS, 4, 64, repeats=3))
    for take, positions in EXPECTED.items():
        assert min(played[take].count(position) for position in positions) >= 3


def test_rows_run_on_from_batch_to_batch_unless_fresh(takes: list[AlignedTake]) -> None:
    previous = None
    for batch in LaneLoader(TrainingLanes(takes, SPANS, 3, 64, warmup_samples=90)):
        assert batch.dry.shape == batch.wet.shape == (3, 1, 64)
        assert batch.knobs.shape == (3, 1)
        assert batch.scored.shape == (3, 64)
        torch.testing.assert_close(batch.knobs[:, 0], batch.take.float())
        for row in range(3):
            if previous is None:
                assert batch.fresh[row]
            elif not batch.fresh[row]:
                step = batch.dry[row, 0, 0] - previous.dry[row, 0, -1]
                torch.testing.assert_close(float(step), 1e-4, atol=1e-6, rtol=0)
        previous = batch


def test_wet_belongs_to_dry(takes: list[AlignedTake]) -> None:
    for batch in LaneLoader(EvaluationLanes(takes, SPANS, 2, 64)):
        difference = (batch.wet + batch.dry)[:, 0][batch.scored]
        torch.testing.assert_close(difference, torch.full_like(difference, -20e-4), atol=1e-6, rtol=0)


def test_fresh_pieces_warm_up_on_what_lies_before_them(takes: list[AlignedTake]) -> None:
    batches = list(LaneLoader(EvaluationLanes(takes, [Span(1, 100, 300, 70)], 4, 64)))
    assert [batch.fresh.tolist() for batch in batches] == [[True], [False], [False], [False], [False]]
    scored = torch.cat([batch.scored[0] for batch in batches])
    assert scored.nonzero()[:, 0].tolist() == [*range(70, 270)]
    torch.testing.assert_close(float(batches[0].dry[0, 0, 0]), 0.5 + 1e-4 * (100 - 70 + 30))
    assert not batches[-1].dry[0, 0, 270 - 4 * 64 :].any()


def test_training_cuts_warm_up_too(takes: list[AlignedTake]) -> None:
    for lane in TrainingLanes(takes, [Span(0, 0, 1000, 0)], 5, 64, warmup_samples=90).plan(0):
        for span in lane:
            assert span.warmup == min(span.start, 90)


def test_the_order_depends_on_seed_and_epoch_alone(takes: list[AlignedTake]) -> None:
    def plan(seed: int, epoch: int) -> list[list[Span]]:
        return TrainingLanes(takes, SPANS, 3, 64, seed=seed).plan(epoch)

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)


@pytest.mark.parametrize(("strip", "workers"), [(130, 0), (130, 3), (65_536, 2)])
def test_reading_ahead_changes_nothing(
    takes: list[AlignedTake], strip: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = TrainingLanes(takes, SPANS, 3, 64, warmup_samples=90)
    whole = list(LaneLoader(lanes, num_workers=0))
    monkeypatch.setattr("neuralfx.datasets.lanes.READ_SAMPLES", strip)
    pieces = list(LaneLoader(lanes, workers))
    assert len(pieces) == len(whole)
    for piece, expected in zip(pieces, whole):
        torch.testing.assert_close(piece, expected, rtol=0, atol=0)


@pytest.mark.parametrize("played", [0, 1, 7, 1000])
def test_an_epoch_goes_on_where_it_stopped(takes: list[AlignedTake], played: int) -> None:
    lanes = TrainingLanes(takes, SPANS, 3, 64, warmup_samples=90)
    first = LaneLoader(lanes)
    list(first)
    batches, taken = iter(first), 0
    for _ in itertools.islice(batches, played):
        taken += 1
    resumed = LaneLoader(lanes)
    resumed.load_state_dict(first.state_dict())
    rest = list(batches) if taken < len(first) else list(first)
    for again, expected in itertools.zip_longest(resumed, rest):
        torch.testing.assert_close(again, expected, rtol=0, atol=0)


def test_an_error_of_a_reading_thread_reaches_the_trainer(takes: list[AlignedTake]) -> None:
    takes[1].dry.unlink()
    with pytest.raises(AudioFileError, match="dry1"):
        list(LaneLoader(EvaluationLanes(takes, SPANS, 2, 64), num_workers=2))


def test_one_channel_is_taken_of_files_with_several(takes: list[AlignedTake]) -> None:
    stereo = np.stack([np.zeros(1100), 1e-4 * np.arange(1100)], axis=1)
    soundfile.write(takes[0].wet, stereo, 8000, "DOUBLE")
    dry, wet = dataclasses.replace(takes[0], channel=1).read(0, 10)
    assert dry.shape == wet.shape == (1, 10)
    np.testing.assert_allclose(wet[0], 1e-4 * np.arange(50, 60), rtol=1e-6)


def test_inverse_rms_measures_the_target(takes: list[AlignedTake]) -> None:
    wet = 1e-4 * (np.arange(1000) + 50)
    counted = np.concatenate([wet[:100], wet[400:900]])
    assert inverse_rms(takes[0], [(0, 100), (400, 900)]) == pytest.approx(1 / np.sqrt(np.mean(counted**2)), rel=1e-6)


def test_no_spans_are_refused(takes: list[AlignedTake]) -> None:
    with pytest.raises(ShapeError, match="at least one span"):
        TrainingLanes(takes, [])
