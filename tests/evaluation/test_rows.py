from __future__ import annotations

import json
import math

import numpy as np
import pytest

from neuralfx.evaluation import Evaluation, Moment, mean_interval
from neuralfx.evaluation.rows import ratio_interval


def test_a_bootstrap_of_the_mean_is_as_wide_as_its_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    found = mean_interval(list(values))
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_what_is_not_a_number_counts_nowhere() -> None:
    assert mean_interval([1.0, math.nan, 3.0]).value == 2.0
    assert mean_interval([1.0, math.nan, 3.0]).observations == 2
    assert math.isnan(mean_interval([math.nan]).value)


def test_one_value_has_no_interval() -> None:
    found = mean_interval([0.5])
    assert found.value == 0.5 and math.isnan(found.low) and math.isnan(found.high)


def test_the_ratio_of_a_take_weighs_its_moments_by_energy() -> None:
    loud, quiet = (Moment("m", 0, 0, 1, error, power, 10) for error, power in ((0.1, 1.0), (0.1, 0.0)))
    assert ratio_interval([loud, quiet]).value == pytest.approx(0.2)
    assert math.isnan(ratio_interval([quiet]).value)


def test_everything_is_written_as_plain_json(evaluation: Evaluation) -> None:
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert [candidate["name"] for candidate in content["candidates"]] == ["tiny", "identity", "linear"]
    assert len(content["takes"]) == 2 * 3 and len(content["settings"]) == 2 * 3
    mean = next(entry for entry in content["means"] if entry["model"] == "tiny")["values"]["esr"]
    takes = [take["values"]["esr"] for take in content["takes"] if take["model"] == "tiny"]
    assert mean["value"] == pytest.approx(sum(takes) / 2)
    assert mean["low"] <= mean["value"] <= mean["high"]
    assert content["takes"][0]["knobs"] == {"drive": 0.25, "tone": 0.75}
    assert sum(moment["model"] == "tiny" for moment in content["moments"]) >= 16
