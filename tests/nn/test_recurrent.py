"""Gated units against their equations, in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuralfx.errors import ConfigError
from neuralfx.nn.recurrent import GRUUnit, LSTMUnit, Recurrent, RecurrentWeights, Unit
from tests.nn.reference import STEPS, as_tuple, assert_same_with_gradients, gates_of

UNITS = {"LSTM": LSTMUnit(), "GRU": GRUUnit()}
FEATURES, SIZE = 2, 3


@pytest.fixture(params=UNITS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def a_state(unit: Unit, batch_size: int) -> tuple[Tensor, ...]:
    zeros = as_tuple(unit.initial_state(batch_size, SIZE, None, torch.float64))
    return tuple(torch.randn_like(part) for part in zeros)


def as_state(unit: Unit, parts: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return parts if isinstance(unit, LSTMUnit) else parts[0]


def recur(kind: str, features: Tensor, weights: RecurrentWeights, state: tuple[Tensor, ...]) -> Tensor:
    """The unit sample by sample; weights of one row."""
    outputs = []
    for sample in features:
        x = [w @ sample + b for w, b in zip(gates_of(weights.input, SIZE), gates_of(weights.input_bias, SIZE))]
        u = [w @ state[0] + b for w, b in zip(gates_of(weights.hidden, SIZE), gates_of(weights.hidden_bias, SIZE))]
        state = STEPS[kind](x, u, state)
        outputs.append(state[0])
    return torch.stack([*outputs, *state[1:]])


def test_the_layer_computes_its_equations(kind: str) -> None:
    unit, features = UNITS[kind], torch.randn(2, 40, FEATURES, dtype=torch.float64)
    layer, state = Recurrent(unit, FEATURES, SIZE).double(), a_state(unit, 2)

    def run() -> Tensor:
        output, after = layer(features, as_state(unit, state))
        return torch.cat([output, *(part.unsqueeze(1) for part in as_tuple(after)[1:])], dim=1)

    def reference() -> Tensor:
        rows = range(len(features))
        return torch.stack(
            [recur(kind, features[row], layer.weights(), tuple(part[row] for part in state)) for row in rows]
        )

    assert_same_with_gradients(layer, run, reference)


def test_rows_with_their_own_weights_equal_the_fused_kernel_row_by_row(kind: str) -> None:
    unit, features = UNITS[kind], torch.randn(2, 40, FEATURES, dtype=torch.float64)
    layers = [Recurrent(unit, FEATURES, SIZE).double() for _ in range(2)]
    state, both = a_state(unit, 2), torch.nn.ModuleList(layers)

    def run() -> Tensor:
        stacked = RecurrentWeights(*map(torch.stack, zip(*(layer.weights() for layer in layers))))
        output, after = unit.run(features, stacked, as_state(unit, state))
        return torch.cat([output, *(part.unsqueeze(1) for part in as_tuple(after)[1:])], dim=1)

    def reference() -> Tensor:
        parts = []
        for row, layer in enumerate(layers):
            start = as_state(unit, tuple(part[row : row + 1] for part in state))
            output, after = layer(features[row : row + 1], start)
            parts.append(torch.cat([output, *(part.unsqueeze(1) for part in as_tuple(after)[1:])], dim=1))
        return torch.cat(parts)

    assert_same_with_gradients(both, run, reference)


def test_only_the_forget_gate_of_an_lstm_starts_with_a_bias_of_1() -> None:
    biases = Recurrent(UNITS["LSTM"], FEATURES, SIZE).weights()
    torch.testing.assert_close((biases.input_bias + biases.hidden_bias)[SIZE : 2 * SIZE], torch.ones(SIZE))
    assert (biases.input_bias[:SIZE].abs() < 1).all()


def test_costs_follow_the_equations_of_the_units() -> None:
    # Per unit. LSTM: 4 (2 + 3) products of the matrices, 3 of the states. GRU: 3 (2 + 3) and r * u, z * (h - g).
    assert UNITS["LSTM"].operations(FEATURES, SIZE) == (3 * (20 + 3), 3 * (20 + 1), 3 * 5)
    assert UNITS["GRU"].operations(FEATURES, SIZE) == (3 * (15 + 2), 3 * (15 + 3), 3 * 3)


@pytest.mark.parametrize("build", [LSTMUnit, GRUUnit])
def test_time_constants_start_spread_evenly_on_a_logarithmic_scale(build: type[LSTMUnit | GRUUnit]) -> None:
    layer = Recurrent(build(longest=200.0), FEATURES, 5).double()
    # Without what is heard and what was put out before, a unit forgets its state by its gate alone.
    weights = layer.weights()._replace(
        input=torch.zeros_like(layer.weights().input), hidden=torch.zeros_like(layer.weights().hidden)
    )
    before = layer.unit.initial_state(1, 5, None, torch.float64)
    ones = tuple(torch.ones_like(part) for part in as_tuple(before))
    silence = torch.zeros(1, 1, FEATURES, dtype=torch.float64)
    kept = []
    for state in (ones, as_tuple(before)):
        _, after = layer.unit.run(silence, weights, as_state(layer.unit, state))
        kept.append(as_tuple(after)[-1])
    expected = 1 - 1 / torch.logspace(math.log10(2), math.log10(200), 5, dtype=torch.float64)
    torch.testing.assert_close((kept[0] - kept[1])[0], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("memory", [2, 1.0, -3, math.nan, math.inf])
def test_a_time_constant_out_of_range_is_refused(memory: float) -> None:
    with pytest.raises(ConfigError, match="longest time constant of more than 2 samples"):
        GRUUnit(memory)
