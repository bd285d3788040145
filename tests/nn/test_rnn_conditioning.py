"""Concat, FiLM, StaticHyper and DynamicHyper around both units, against their equations sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from neuralfx.nn.control import GRID_SAMPLES
from neuralfx.nn.network import Network
from neuralfx.nn.recurrent import GRUUnit, LSTMUnit
from neuralfx.nn.rnn_concat import ConcatRNN
from neuralfx.nn.rnn_dynamichyper import DynamicHyperRNN
from neuralfx.nn.rnn_film import FiLMRNN
from neuralfx.nn.rnn_statichyper import StaticHyperRNN
from tests.nn.reference import STEPS, assert_same_with_gradients, gates_of

UNITS = {"LSTM": LSTMUnit(), "GRU": GRUUnit()}
SIZE, HYPER, MLP_SIZE = 4, 3, 5
Parameters = dict[str, Tensor]


@pytest.fixture(params=UNITS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def zeros(kind: str, size: int) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(size, dtype=torch.float64) for _ in range(2 if kind == "LSTM" else 1))


def perceptron(parameters: Parameters, name: str, features: Tensor) -> Tensor:
    """The MLP of three linear layers."""
    for layer in (0, 2, 4):
        features = parameters[f"{name}.{layer}.weight"] @ features + parameters[f"{name}.{layer}.bias"]
        if layer < 4:
            features = torch.where(features > 0, features, 0.1 * features)
    return features


def concat(kind: str, parameters: Parameters, sample: Tensor, knobs: Tensor, state: Any) -> Any:
    seen = torch.cat([sample, 2 * knobs - 1])
    x = parameters["recurrent.cell.weight_ih_l0"] @ seen + parameters["recurrent.cell.bias_ih_l0"]
    u = parameters["recurrent.cell.weight_hh_l0"] @ state[0] + parameters["recurrent.cell.bias_hh_l0"]
    return STEPS[kind](gates_of(x, SIZE), gates_of(u, SIZE), state)


def film(kind: str, parameters: Parameters, sample: Tensor, knobs: Tensor, state: Any) -> Any:
    x = parameters["recurrent.cell.weight_ih_l0"] @ sample + parameters["recurrent.cell.bias_ih_l0"]
    u = parameters["recurrent.cell.weight_hh_l0"] @ state[0] + parameters["recurrent.cell.bias_hh_l0"]
    alpha_x, beta_x, alpha_h, beta_h = perceptron(parameters, "generator", 2 * knobs - 1).chunk(4)
    return STEPS[kind](gates_of(alpha_x * x + beta_x, SIZE), gates_of(alpha_h * u + beta_h, SIZE), state)


def statichyper(kind: str, parameters: Parameters, sample: Tensor, knobs: Tensor, state: Any) -> Any:
    rows = (4 if kind == "LSTM" else 3) * SIZE
    flat = perceptron(parameters, "generator", 2 * knobs - 1)
    w_x, w_h, b_x, b_h = flat.split([rows, rows * SIZE, rows, rows])
    x, u = w_x.view(rows, 1) @ sample + b_x, w_h.view(rows, SIZE) @ state[0] + b_h
    return STEPS[kind](gates_of(x, SIZE), gates_of(u, SIZE), state)


def dynamichyper(kind: str, parameters: Parameters, sample: Tensor, knobs: Tensor, state: Any) -> Any:
    main, hyper = state if state[0] is not None and isinstance(state[0], tuple) else (state, zeros(kind, HYPER))
    gates = 4 if kind == "LSTM" else 3
    seen = torch.cat([main[0], 2 * knobs - 1])
    x = parameters["hyper.cell.weight_ih_l0"] @ seen + parameters["hyper.cell.bias_ih_l0"]
    u = parameters["hyper.cell.weight_hh_l0"] @ hyper[0] + parameters["hyper.cell.bias_hh_l0"]
    hyper = STEPS[kind](gates_of(x, HYPER), gates_of(u, HYPER), hyper)

    def grouped(name: str, group: int, features: Tensor, biased: bool = True) -> Tensor:
        hidden = features @ parameters[f"{name}.hidden_weight"][group] + parameters[f"{name}.hidden_bias"][group, 0]
        out = torch.where(hidden > 0, hidden, 0.1 * hidden) @ parameters[f"{name}.weight"][group]
        return out + parameters[f"{name}.bias"][group - 2 * gates if name == "to_d" else group, 0] if biased else out

    z_h, z_x, z_b = (gates_of(grouped("to_z", part, hyper[0]), HYPER) for part in range(3))
    w_h, w_x = gates_of(parameters["hidden_weight"], SIZE), gates_of(parameters["input_weight"], SIZE)
    from_state = [grouped("to_d", gate, z_h[gate], False) * (w_h[gate] @ main[0]) for gate in range(gates)]
    from_input = [
        grouped("to_d", gates + gate, z_x[gate], False) * (w_x[gate] @ sample)
        + grouped("to_d", 2 * gates + gate, z_b[gate])
        for gate in range(gates)
    ]
    return STEPS[kind](from_input, from_state, main), hyper


CASES: dict[str, tuple[Callable[..., Network], Callable[..., Any]]] = {
    "concat": (lambda unit, knobs: ConcatRNN(unit, 1, knobs, SIZE), concat),
    "film": (lambda unit, knobs: FiLMRNN(unit, 1, knobs, SIZE, MLP_SIZE), film),
    "statichyper": (lambda unit, knobs: StaticHyperRNN(unit, 1, knobs, SIZE, MLP_SIZE), statichyper),
    "dynamichyper": (lambda unit, knobs: DynamicHyperRNN(unit, 1, knobs, SIZE, HYPER, MLP_SIZE), dynamichyper),
}
pytestmark = pytest.mark.parametrize("conditioning", CASES)


def build(kind: str, conditioning: str, knobs: int = 2) -> Network:
    network = CASES[conditioning][0](UNITS[kind], knobs).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def reference(network: Network, kind: str, conditioning: str, audio: Tensor, knobs: Tensor) -> Tensor:
    """Every row sample by sample; audio (batch, 1, time), knobs (batch, time, knobs)."""
    parameters, step = dict(network.named_parameters()), CASES[conditioning][1]
    on_grid = conditioning in ("film", "statichyper")
    rows = []
    for row in range(len(audio)):
        state: Any = zeros(kind, SIZE)
        outputs = []
        for sample in range(audio.shape[-1]):
            read = sample // GRID_SAMPLES * GRID_SAMPLES if on_grid else sample
            state = step(kind, parameters, audio[row, :, sample], knobs[row, read], state)
            output = state[0][0] if isinstance(state[0], tuple) else state[0]
            outputs.append(parameters["output.weight"] @ output + parameters["output.bias"])
        rows.append(torch.stack(outputs, dim=-1))
    return torch.stack(rows)


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_networks_compute_their_equations(kind: str, conditioning: str, moving: bool) -> None:
    network, audio = build(kind, conditioning), torch.randn(2, 1, 70, dtype=torch.float64)
    knobs = torch.rand(2, 70 if moving else 1, 2, dtype=torch.float64)
    seen = knobs if moving else knobs.squeeze(1)
    state = network.initial_state(2, dtype=torch.float64)
    assert_same_with_gradients(
        network,
        lambda: network(audio, seen, state)[0],
        lambda: reference(network, kind, conditioning, audio, knobs.expand(2, 70, 2)),
    )


def test_rows_with_equal_knobs_give_what_rows_with_different_ones_give(kind: str, conditioning: str) -> None:
    network, audio = build(kind, conditioning), torch.randn(3, 1, 50, dtype=torch.float64)
    knobs = torch.tensor([[0.1, 0.9], [0.1, 0.9], [0.7, 0.2]], dtype=torch.float64)
    mixed, _ = network(audio, knobs, network.initial_state(3, dtype=torch.float64))
    equal, _ = network(audio[:2], knobs[:2], network.initial_state(2, dtype=torch.float64))
    torch.testing.assert_close(mixed[:2], equal, atol=1e-12, rtol=0)


def test_without_knobs_the_unit_stays(kind: str, conditioning: str) -> None:
    network, audio = build(kind, conditioning, knobs=0), torch.randn(2, 1, 50, dtype=torch.float64)
    output, _ = network(audio, torch.zeros(2, 0, dtype=torch.float64), network.initial_state(2, dtype=torch.float64))
    assert output.std() > 0
    assert network.operations(moving=True) == network.operations(moving=False)


def test_moving_knobs_cost_more_and_still_ones_as_much_as_the_plain_unit(kind: str, conditioning: str) -> None:
    network, plain = build(kind, conditioning), build(kind, "concat", knobs=0)
    still, moving, bare = network.operations(False), network.operations(True), plain.operations(False)
    assert moving.flops > still.flops  # type: ignore[union-attr]
    if conditioning != "dynamichyper":
        assert still == bare
