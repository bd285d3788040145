"""The five networks of paper 1: sizes and costs of their defaults."""

from __future__ import annotations

import pytest

from neuralfx.models import architecture
from neuralfx.nn.network import Network
from tests.checks import tiny_model, two_knobs

# By 0, 1, 2 and 4 knobs: trainable parameters, counted from the equations by hand, and FLOPs per sample with moving
# knobs; with still ones, FLOPs are those without knobs and two per feature for FiLM.
SIZES = {
    "LSTMFiLMGLU": ((789, 805, 813, 829), (1504, 1528, 1544, 1576), 1512),  # 32 for torch's second bias included
    "EDFiLMGLU": ((1157, 1173, 1181, 1197), (2304, 2328, 2344, 2376), 2312),
    "LRUFiLMGLU": ((853, 877, 889, 913), (1680, 1716, 1740, 1788), 1692),
    "S4DFiLMGLU": ((679, 703, 715, 739), (1542, 1578, 1602, 1650), 1554),
    "S6FiLMGLU": ((721, 745, 757, 781), (1569, 1605, 1629, 1677), 1581),
}
STACKED = ("LRUFiLMGLU", "S4DFiLMGLU", "S6FiLMGLU")


def flops(network: Network, moving: bool) -> int:
    operations = network.operations(moving)
    assert operations is not None
    return operations.flops


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_costs_are_those_of_the_equations(name: str) -> None:
    parameters, moving, still = SIZES[name]
    networks = [architecture(name)(effect=two_knobs(count=knobs).to_dict()).network for knobs in (0, 1, 2, 4)]
    assert tuple(sum(parameter.numel() for parameter in network.parameters()) for network in networks) == parameters
    assert tuple(flops(network, moving=True) for network in networks) == moving
    assert [flops(network, moving=False) for network in networks] == [moving[0], still, still, still]
    assert networks[0].receptive_field == 64


@pytest.mark.parametrize("name", STACKED)
def test_blocks_in_series_add_up(name: str) -> None:
    one, two, three = (tiny_model(name, num_blocks=number).network for number in (1, 2, 3))
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (one, two, three)]
    costs = [flops(network, moving=True) for network in (one, two, three)]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0
    assert costs[2] - costs[1] == costs[1] - costs[0] > 0
    assert len(two.initial_state(1)[1]) == 2
