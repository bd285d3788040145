from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from neuralfx.datasets.lanes import AlignedTake, EvaluationLanes, Span, TrainingLanes, inverse_rms
from neuralfx.errors import ShapeError

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
    for batch in lanes:
        for row, take in enumerate(batch.take.tolist()):
            values = batch.dry[row, 0][batch.scored[row]] - 0.5 * take
            found[take] += [round(float(value) * 1e4) - 30 for value in values]
    return found


EXPECTED = {0: [*range(700), *range(900, 1000)], 1: [*range(100, 640)]}


@pytest.mark.parametrize("lanes", [1, 3, 8, 50])
@pytest.mark.parametrize("segment", [1, 64, 5000])
def test_an_epoch_plays_every_sample_of_training_once(takes: list[AlignedTake], lanes: int, segment: int) -> None:
    played = scored_positions(TrainingLanes(takes, SPANS, lanes, segment, warmup_samples=90))
    assert {take: sorted(positions) for take, positions in played.items()} == EXPECTED


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_evaluation_plays_every_sample_once_in_order(takes: list[AlignedTake], lanes: int) -> None:
    played = scored_positions(EvaluationLanes(takes, SPANS, lanes, 64))
    assert {take: sorted(positions) for take, positions in played.items()} == EXPECTED


def test_repeats_play_the_material_as_often(takes: list[AlignedTake]) -> None:
    played = scored_positions(TrainingLanes(takes, SPANS, 4, 64, repeats=3))
    assert {take: sorted(positions) for take, positions in played.items()} == {
        take: sorted(3 * positions) for take, positions in EXPECTED.items()
    }


def test_rows_run_on_from_batch_to_batch_unless_fresh(takes: list[AlignedTake]) -> None:
    previous = None
    for batch in TrainingLanes(takes, SPANS, 3, 64, warmup_samples=90):
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
    for batch in EvaluationLanes(takes, SPANS, 2, 64):
        difference = (batch.wet + batch.dry)[:, 0][batch.scored]
        torch.testing.assert_close(difference, torch.full_like(difference, -20e-4), atol=1e-6, rtol=0)


def test_fresh_pieces_warm_up_on_what_lies_before_them(takes: list[AlignedTake]) -> None:
    batches = list(EvaluationLanes(takes, [Span(1, 100, 300, 70)], 4, 64))
    assert [batch.fresh.tolist() for batch in batches] == [[True], [False], [False], [False], [False]]
    scored = torch.cat([batch.scored[0] for batch in batches])
    assert scored.nonzero()[:, 0].tolist() == [*range(70, 270)]
    torch.testing.assert_close(float(batches[0].dry[0, 0, 0]), 0.5 + 1e-4 * (100 - 70 + 30))
    assert not batches[-1].dry[0, 0, 270 - 4 * 64 :].any()


def test_training_cuts_warm_up_too(takes: list[AlignedTake]) -> None:
    for lane in TrainingLanes(takes, [Span(0, 0, 1000, 0)], 5, 64, warmup_samples=90).plan():
        for span in lane:
            assert span.warmup == min(span.start, 90)


def test_the_order_depends_on_seed_and_epoch_alone(takes: list[AlignedTake]) -> None:
    def plan(seed: int, epoch: int) -> list[list[Span]]:
        lanes = TrainingLanes(takes, SPANS, 3, 64, seed=seed)
        lanes.set_epoch(epoch)
        return lanes.plan()

    assert plan(1, 2) == plan(1, 2)
    assert plan(1, 2) != plan(1, 3)
    assert plan(1, 2) != plan(2, 2)


def test_long_spans_are_read_in_pieces_without_a_seam(
    takes: list[AlignedTake], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(EvaluationLanes(takes, SPANS, 2, 64))
    monkeypatch.setattr("neuralfx.datasets.lanes.READ_SAMPLES", 130)
    for pieces, expected in zip(EvaluationLanes(takes, SPANS, 2, 64), whole):
        for piece, value in zip(pieces, expected):
            torch.testing.assert_close(piece, value)


def test_inverse_rms_measures_the_target(takes: list[AlignedTake]) -> None:
    wet = 1e-4 * (np.arange(1000) + 50)
    counted = np.concatenate([wet[:100], wet[400:900]])
    assert inverse_rms(takes[0], [(0, 100), (400, 900)]) == pytest.approx(1 / np.sqrt(np.mean(counted**2)), rel=1e-6)


def test_no_spans_are_refused(takes: list[AlignedTake]) -> None:
    with pytest.raises(ShapeError, match="at least one span"):
        TrainingLanes(takes, [])
