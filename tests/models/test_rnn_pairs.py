"""The LSTM and GRU pairs of paper 2."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from neuralfx.errors import ConfigError
from neuralfx.models import architecture
from neuralfx.models.catalogue import ARCHITECTURES
from tests.checks import noise, tiny_model, two_knobs

# By the paper's text, without parameters that have no function.
OURS = {"LSTMDynamicHyper": (25569, 25537), "GRUDynamicHyper": (19401, 19377)}


def count(name: str, knobs: int) -> int:
    model = architecture(name)(effect=two_knobs(count=knobs).to_dict())
    return sum(parameter.numel() for parameter in model.network.parameters())


@pytest.mark.parametrize("name", OURS)
def test_dynamic_hyper_pairs_have_the_counts_of_the_papers_text(name: str) -> None:
    assert (count(name, 2), count(name, 1)) == OURS[name]


def test_the_published_layout_works() -> None:
    model = tiny_model("GRUDynamicHyper", published_layout=True)
    assert model.process(noise(50)).std() > 0


def test_the_published_layout_is_of_one_channel() -> None:
    with pytest.raises(ConfigError, match="published_layout: expected one channel of audio, got 2"):
        tiny_model("GRUDynamicHyper", dataclasses.replace(two_knobs(), channels=2), published_layout=True)


def test_at_still_knobs_film_and_statichyper_cost_as_much_as_the_plain_unit() -> None:
    # Table 3 has 0.307 GFLOPs for one second of 48 kHz (2 per multiply-add) for FiLM-GRU; its 0.003 for StaticHyper
    # leaves out the products with generated matrices.
    for name in ("GRUFiLM", "GRUStaticHyper"):
        operations = architecture(name)(effect=two_knobs().to_dict()).network.operations(False)
        products = operations.multiplications - 2 * 32  # type: ignore[union-attr]  # without the gates' own
        assert round(2 * products * 48_000 / 1e9, 3) == 0.307


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name.startswith(("LSTM", "GRU"))])
def test_networks_start_with_the_memory_that_is_asked_for(name: str) -> None:
    def share_left(longest_ms: float) -> float:
        """Of what an impulse does to the output, how much is left 450 samples later."""
        torch.manual_seed(0)
        network = architecture(name)(effect=two_knobs().to_dict(), longest_ms=longest_ms).network.double()
        audio = torch.zeros(2, 1, 600, dtype=torch.float64)
        audio[1, 0, :20] = 1.0
        knobs = torch.full((2, 2), 0.5, dtype=torch.float64)
        with torch.no_grad():
            wet, _ = network(audio, knobs, network.initial_state(2, dtype=torch.float64))
        response = (wet[1] - wet[0]).abs()
        return float(response[:, 470:].max() / response.max())

    assert share_left(20.0) > 0.005
    assert share_left(0.0) < 1e-9
