"""What is measured is complete, finite and positive; how fast it is, is nobody's business here."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from neuralfx import engine
from neuralfx.reports.benchmark import Settings
from neuralfx.reports.costs import count_costs
from neuralfx.reports.timing import measure_growth, measure_pair, run

TINY = Settings(
    batch=2, segment=32, block=16, seconds=0.01, repetitions=2, blocks=5, naive_samples=5, limit_s=1.0, threads=1
)


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(engine.SWITCH, "torch")


def numbers(measured: Any) -> list[float]:
    if isinstance(measured, Mapping):
        return [number for value in measured.values() for number in numbers(value)]
    if isinstance(measured, list):
        return [number for value in measured for number in numbers(value)]
    return [measured]


@pytest.mark.parametrize("name", ["S4DFiLMGLU", "TCNConcat"])
def test_every_measure_of_a_pair_is_finite_and_positive(name: str) -> None:
    measured = measure_pair(name, TINY)
    memory = [measured.pop(key) for key in ("file_memory_bytes", "training_memory_bytes")]
    assert all(size is None or size >= 0 for size in memory)
    assert all(math.isfinite(number) and number > 0 for number in numbers(measured))
    for key in ("training", "file_still", "file_moving", "naive"):
        assert measured[key]["lowest"] <= measured[key]["median"] <= measured[key]["highest"]
        assert measured[key]["repetitions"] == 2
    for key in ("block_still", "block_moving"):
        assert measured[key]["worst_us"] >= measured[key]["median_us"]["highest"]


def test_sizes_and_costs_are_those_that_are_counted() -> None:
    measured, counted = measure_pair("GRUConcat", TINY), count_costs("GRUConcat")
    assert measured["parameters"] == counted["parameters"]["2"]
    assert measured["multiply_adds"] == counted["multiply_adds"]["still"]
    assert measured["flops"] == counted["flops"]["still"]
    assert measured["weight_bytes"] == 4 * measured["parameters"]
    assert measured["state_bytes"] == 4 * 32


@pytest.mark.parametrize(("name", "batch", "segment"), [("LSTMFiLMGLU", 8, 2400), ("LSTMConcat", 32, 2048)])
def test_training_is_measured_at_the_paper_s_batch_and_segment(name: str, batch: int, segment: int) -> None:
    measured = measure_pair(name, TINY._replace(batch=0, segment=0))
    assert (measured["batch"], measured["segment"]) == (batch, segment)


def test_growth_covers_length_knobs_and_hidden_size() -> None:
    grown = measure_growth("GRUFiLM", TINY, sizes=[2, 4])
    assert len(grown["length"]["seconds"]) == len(grown["length"]["time_s"]) > 1
    assert grown["knobs"]["count"] == [0, 1, 2, 4, 8]
    assert grown["hidden_size"]["size"] == [2, 4]
    assert {len(values) for values in grown["knobs"].values()} == {5}
    assert {len(values) for values in grown["hidden_size"].values()} == {2}


def test_lengths_that_would_take_too_long_are_left_out() -> None:
    assert len(measure_growth("LSTMConcat", TINY._replace(limit_s=1e-9))["length"]["seconds"]) == 1


def test_a_task_is_plain_data() -> None:
    settings = TINY._replace(threads=torch.get_num_threads())._asdict()
    assert run({"what": "growth", "name": "GRUConcat", "sizes": [], "settings": settings}).keys() == {"length", "knobs"}


def test_the_naive_loop_leaves_the_engine_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engine.SWITCH)
    measure_pair("LRUFiLMGLU", TINY)
    assert engine.SWITCH not in os.environ
