"""Sizes and costs are what the networks have, and what the papers published wherever that can be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.nn.network import State
from neuralfx.nn.recurrent import RecurrentWeights, Unit
from neuralfx.reports.costs import COSTS, END, PUBLISHED, README, START, count_costs, count_parameters, render_markdown
from tests.checks import tiny_model

ROWS = json.loads(COSTS.read_text(encoding="utf-8"))
IN_CHUNKS = ("LRUFiLMGLU", "S4DFiLMGLU", "S6FiLMGLU")  # training trades more products for parallelism
FUSED = ("LSTMFiLMGLU", "LSTMConcat", "GRUConcat")
REPRODUCED = [name for name, published in PUBLISHED.items() if published.reproduced]


def test_every_pair_of_the_papers_is_beside_its_numbers() -> None:
    assert set(PUBLISHED) <= set(ROWS) <= set(ARCHITECTURES)
    assert len(PUBLISHED) == 17
    assert set(PUBLISHED) - set(REPRODUCED) == {"S4DFiLMGLU", "LSTMDynamicHyper"}


@pytest.mark.parametrize("name", REPRODUCED)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    published = PUBLISHED[name]
    for knobs, count in published.parameters.items():
        assert count_parameters(name, knobs, **published.arguments.get(knobs, {})) == count + published.surplus


@pytest.mark.parametrize("name", ROWS)
def test_the_data_file_holds_what_is_counted_now(name: str) -> None:
    assert ROWS[name] == count_costs(name), "python -m neuralfx.reports.costs"


@pytest.mark.parametrize("name", [name for name in ROWS if name not in IN_CHUNKS])
def test_the_products_that_torch_counts_are_among_those_that_we_count(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix products and convolutions per sample, counted while the network runs; gates have a few more products."""
    monkeypatch.setenv("NEURALFX_ENGINE", "torch")
    network = tiny_model(name).network.double()
    if name in FUSED:  # torch does not see into its kernel: the same unit step by step
        monkeypatch.setattr(network.recurrent.unit, "run_fused", step_by_step(network.recurrent.unit))
    knobs = torch.rand(2, 2, dtype=torch.float64)  # rows that differ, so that no row takes torch's fused kernel

    def products(samples: int) -> int:
        audio = torch.zeros(2, 1, samples, dtype=torch.float64)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(audio, knobs, network.initial_state(2, dtype=torch.float64))
        return counter.get_total_flops()

    per_sample = (products(40) - products(20)) / 20 / 2 / 2  # two rows, two FLOPs per multiply-add
    counted = ROWS[name]["multiply_adds"]["moving" if name.endswith("Concat") else "still"]
    assert per_sample <= counted <= 1.05 * per_sample


def step_by_step(unit: Unit) -> Callable[..., Any]:
    def run(features: Tensor, weights: RecurrentWeights, state: State) -> tuple[Tensor, State]:
        rows = RecurrentWeights(*(weight.unsqueeze(0).expand(len(features), *weight.shape) for weight in weights))
        return unit.run(features, rows, state)

    return run


def test_the_readme_shows_the_table() -> None:
    table = render_markdown(ROWS)
    shown = README.read_text(encoding="utf-8").split(START)[1].split(END)[0]
    assert shown.strip() == table, "python -m neuralfx.reports.costs"


def test_moving_knobs_never_cost_less() -> None:
    for name, cost in ROWS.items():
        assert cost["flops"]["moving"] >= cost["flops"]["still"] > cost["multiply_adds"]["still"], name
