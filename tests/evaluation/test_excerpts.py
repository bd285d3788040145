from __future__ import annotations

import dataclasses

import numpy as np

from neuralfx.evaluation import Evaluation, Identity, LinearFilter, Material, Model, cut_excerpts
from neuralfx.evaluation.excerpts import worst_moments


def test_worst_and_best_take_are_cut_around_their_worst_moments(
    evaluation: Evaluation, material: Material, model: Model
) -> None:
    excerpts = cut_excerpts(evaluation, material, [model, Identity(), LinearFilter()], seconds=0.2)
    assert [excerpt.title for excerpt in excerpts][:2] == ["worst take", "best take"]
    errors = {row.take: row.values["esr"] for row in evaluation.rows if row.model == "tiny"}
    assert errors[excerpts[0].take] == max(errors.values())
    for excerpt in excerpts:
        index = material.names.index(excerpt.take)
        (span,) = material.spans[index]
        start = round(excerpt.start_s * excerpt.sample_rate)
        assert span.start <= start and start + len(excerpt.dry) <= span.stop
        dry, wet = material.aligned[index].read(start, start + len(excerpt.dry))
        np.testing.assert_array_equal(excerpt.target, wet[0])
        np.testing.assert_array_equal(excerpt.estimates["identity"], dry[0])
        whole = model.module.process(material.aligned[index].read_dry(0, span.stop)[0], excerpt.knobs)
        np.testing.assert_allclose(excerpt.estimates["tiny"], whole[start : start + len(excerpt.dry)], atol=1e-5)


def test_every_worst_moment_can_be_heard(evaluation: Evaluation, material: Material, model: Model) -> None:
    excerpts = cut_excerpts(evaluation, material, [model], seconds=0.2, moments=4)
    heard = {moment for excerpt in excerpts for moment in excerpt.moments}
    assert heard == set(worst_moments(evaluation, 4))
    assert any(excerpt.title == "worst moment" for excerpt in excerpts)


def test_moments_are_compared_by_the_level_of_their_take(evaluation: Evaluation) -> None:
    louder = tuple(
        moment._replace(error=100 * moment.error, power=100 * moment.power) if moment.take == 0 else moment
        for moment in evaluation.moments
    )
    same = dataclasses.replace(evaluation, moments=louder)
    assert [moment[1:4] for moment in worst_moments(same, 5)] == [m[1:4] for m in worst_moments(evaluation, 5)]
