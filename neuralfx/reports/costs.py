"""Sizes and costs of every pair: counted from its network, beside what its paper published.

``python -m neuralfx.reports.costs`` counts anew and writes ``costs.json``, from which ``neuralfx list --architectures``
reads without importing torch, and the table in the README.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.models import architecture
from neuralfx.models.catalogue import ARCHITECTURES

COSTS = Path(__file__).with_name("costs.json")
README = Path(__file__).parent.parent.parent / "README.md"
START, END = "<!-- costs: start -->", "<!-- costs: end -->"

KNOB_COUNTS = (0, 1, 2, 4)
COUNTED_WITH = 2  # knobs, for multiply-adds and FLOPs

# What makes the network of the published counts, where it is not the default.
LA2A = {"num_blocks": 9, "kernel_size": 5, "dilation_growth": 3}  # paper 2's convolutional networks with 1 knob
REDUNDANT = {"published_layout": True}
ED_WEIGHTS = {"encoder_taps": 63, "decoder_taps": 1, "hidden_size": 4, "combine": "add"}


class Published(NamedTuple):
    """What a paper says of a pair.

    Attributes:
        parameters: Count by number of knobs.
        flops: Per sample, as the paper counts them; None if it does not.
        arguments: What makes the network with these counts, by number of knobs, where it is not the default.
        surplus: Parameters that we have and the paper has not.
        reproduced: Whether we reproduce the counts.
    """

    parameters: Mapping[int, int]
    flops: float | None = None
    arguments: Mapping[int, Mapping[str, Any]] = {}
    surplus: int = 0
    reproduced: bool = True


# Paper 1: counts of the published weights (its text only says about 800), FLOPs of its table 1, 120 for conditioning
# included. Paper 2: counts of its tables 1 (2 knobs) and 2 (1 knob), FLOPs of its table 3 by 48000 samples.
PUBLISHED = {
    "LSTMFiLMGLU": Published({1: 773, 2: 781, 4: 797}, 1160, surplus=32),
    "EDFiLMGLU": Published(
        {1: 745, 2: 753, 4: 769},
        1048,
        {1: ED_WEIGHTS, 2: ED_WEIGHTS, 4: ED_WEIGHTS},
    ),
    "LRUFiLMGLU": Published({1: 877, 2: 889, 4: 913}, 812),
    "S4DFiLMGLU": Published({1: 759, 2: 771, 4: 795}, 912, reproduced=False),
    "S6FiLMGLU": Published({1: 745, 2: 757, 4: 781}, 984),
    "LSTMConcat": Published({1: 4641, 2: 4769}),
    "LSTMFiLM": Published({1: 22529, 2: 22561}),
    "LSTMStaticHyper": Published({1: 40441, 2: 40449}),
    "LSTMDynamicHyper": Published({1: 21697, 2: 21857}, reproduced=False),
    "GRUConcat": Published({1: 3489, 2: 3585}, 0.325e9 / 48_000),
    "GRUFiLM": Published({1: 17185, 2: 17217}, 0.307e9 / 48_000),
    "GRUStaticHyper": Published({1: 30361, 2: 30369}, 0.003e9 / 48_000),
    "GRUDynamicHyper": Published({1: 20169, 2: 20289}, 1.907e9 / 48_000, {1: REDUNDANT, 2: REDUNDANT}),
    "TCNConcat": Published({1: 28609, 2: 21769}, None, {1: LA2A}),
    "TCNFiLM": Published({1: 35953, 2: 29849}, None, {1: LA2A}),
    "GCNConcat": Published({1: 25904, 2: 19824}, 59.388e9 / 48_000, {1: {**LA2A, **REDUNDANT}, 2: REDUNDANT}),
    "GCNFiLM": Published({1: 37408, 2: 32368}, 58.701e9 / 48_000, {1: {**LA2A, **REDUNDANT}, 2: REDUNDANT}),
}


def count_parameters(name: str, knobs: int, **arguments: Any) -> int:
    """Trainable parameters of a pair with so many knobs and otherwise its defaults.

    Args:
        name: Class name of the pair.
        knobs: Number of plain knobs.
        arguments: Arguments of the pair that are not its defaults.
    """
    return sum(parameter.numel() for parameter in _network(name, knobs, **arguments).parameters())


def count_costs(name: str) -> dict[str, Any]:
    """Sizes and costs of a pair with its defaults, as plain data: a row of ``costs.json``."""
    network = _network(name, COUNTED_WITH)
    operations = {"still": network.operations(moving=False), "moving": network.operations(moving=True)}
    return {
        "parameters": {str(knobs): count_parameters(name, knobs) for knobs in KNOB_COUNTS},
        "multiply_adds": {knobs: None if cost is None else cost.multiplications for knobs, cost in operations.items()},
        "flops": {knobs: None if cost is None else cost.flops for knobs, cost in operations.items()},
        "receptive_field": network.receptive_field,
        "latency_samples": network.latency_samples,
    }


def render_markdown(costs: Mapping[str, Any]) -> str:
    """The table of the README.

    Args:
        costs: :func:`count_costs` by name of the pair.
    """
    lines = [
        "| pair | parameters, 0 / 1 / 2 / 4 knobs | published, 1 / 2 / 4 knobs | multiply-adds, still / moving |"
        " FLOPs, still / moving | published FLOPs | window | latency |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, cost in costs.items():
        published = PUBLISHED.get(name)
        cells = [
            f"`{name}`",
            " / ".join(str(cost["parameters"][str(knobs)]) for knobs in KNOB_COUNTS),
            " / ".join(str(published.parameters.get(knobs, "-")) for knobs in KNOB_COUNTS[1:]) if published else "",
            f"{cost['multiply_adds']['still']} / {cost['multiply_adds']['moving']}",
            f"{cost['flops']['still']} / {cost['flops']['moving']}",
            "" if published is None or published.flops is None else f"{published.flops:.0f}",
            str(cost["receptive_field"]),
            str(cost["latency_samples"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Count anew, and write the data file and, in a checkout, the README's table."""
    costs = {name: count_costs(name) for name in ARCHITECTURES}
    COSTS.write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    README.write_text(f"{before}{START}\n{render_markdown(costs)}\n{END}{after}", encoding="utf-8")


def _network(name: str, knobs: int, **arguments: Any) -> Any:
    effect = Effect("any", 48_000, Knobs(Knob(f"knob{number}") for number in range(knobs)))
    return architecture(name)(effect=effect.to_dict(), **arguments).network


if __name__ == "__main__":
    main()
