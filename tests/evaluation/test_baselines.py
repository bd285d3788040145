from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from neuralfx.datasets import PairedAudioDataModule
from neuralfx.datasets.lanes import Span
from neuralfx.evaluation import BASELINES, Identity, LinearFilter, Material, evaluate, read_material
from neuralfx.evaluation import baselines as module
from neuralfx.evaluation.run import choose_metrics
from neuralfx.metrics.linear import LinearFit
from tests.data.generate import RATE

ESR = choose_metrics(["esr"])


@pytest.fixture
def filtered(tmp_path: Path) -> Material:
    """A device that is a filter of three taps."""
    dry = 0.1 * np.random.default_rng(0).standard_normal(40_000)
    wet = np.convolve(dry, [0.5, 0.3, -0.2])[: len(dry)]
    for name, audio in (("input.wav", dry), ("output.wav", wet)):
        soundfile.write(tmp_path / name, audio, RATE, "FLOAT")
    (tmp_path / "recordings.json").write_text('{"input": "input.wav", "takes": [{"file": "output.wav", "knobs": {}}]}')
    return read_material(PairedAudioDataModule(str(tmp_path), align=False), tmp_path)


def test_a_linear_device_is_found_from_its_training_part(filtered: Material) -> None:
    found = evaluate(filtered, [Identity(), LinearFilter(), LinearFilter(in_sample=True)], ESR)
    identity, linear, in_sample = (row.values["esr"] for row in found.rows)
    assert identity > 0.5
    assert linear < 1e-6 and in_sample < 1e-6


def test_a_fit_piece_by_piece_is_the_least_squares_of_the_whole(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_SAMPLES", 1_001)
    take = material.aligned[0]
    found = module._fit(LinearFit(9, ridge=0.0), [(take, Span(0, 0, 6_000)), (take, Span(0, 7_000, 8_000))], 0)
    dry, wet = (audio[0].astype(np.float64) for audio in take.read(0, 8_000))
    columns = np.stack([np.concatenate([np.zeros(late), dry[: 8_000 - late]]) for late in range(9)], axis=1)
    scored = np.r_[0:6_000, 7_000:8_000]
    expected = np.linalg.lstsq(columns[scored], wet[scored], rcond=None)[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_in_sample_a_filter_fits_at_least_as_well(material: Material) -> None:
    found = evaluate(material, [LinearFilter(), LinearFilter(in_sample=True)], ESR)
    outside, inside = (found.mean(name, "esr").value for name in found.names)
    assert inside < outside < 0.3


def test_a_take_that_only_tests_is_fitted_by_takes_of_its_setting(filtered: Material) -> None:
    take = filtered.aligned[0]
    twice = dataclasses.replace(
        filtered,
        names=("a", "b"),
        recorded=filtered.recorded * 2,
        aligned=(take, take),
        spans=((), (Span(1, 0, take.samples),)),
        training=((Span(0, 0, 20_000),), ()),
        sounds=((), ()),
    )
    (row,) = evaluate(twice, [LinearFilter()], ESR).rows
    assert row.take == "b" and row.values["esr"] < 1e-6


def test_a_take_without_anything_to_fit_is_noted(filtered: Material) -> None:
    found = evaluate(dataclasses.replace(filtered, training=((),)), [Identity(), LinearFilter()], ESR)
    assert [row.model for row in found.rows] == ["identity"]
    assert found.notes == ("linear has no part in output.wav: compare its mean with means of the same takes only.",)
    assert np.isnan(found.mean("linear", "esr").value)


def test_baselines_are_called_what_tables_call_them() -> None:
    assert [make().name for make in BASELINES.values()] == list(BASELINES)
