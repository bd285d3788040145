from __future__ import annotations

import pytest
import torch

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.models import architecture
from neuralfx.models.catalogue import ARCHITECTURES

EFFECT = Effect("any", 48_000, Knobs([Knob("gain")]))


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if not name.startswith(("TCN", "GCN"))])
def test_a_new_network_with_recurrence_starts_quiet(name: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        network = architecture(name)(effect=EFFECT.to_dict()).network
        noise = 0.1 * torch.randn(1, 1, 200)
        with torch.no_grad():
            wet, _ = network(noise, torch.full((1, 1), 0.5), network.initial_state(1))
        assert 0 < wet.square().mean().sqrt() < 0.1
