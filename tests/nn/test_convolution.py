"""The FIR bank against the windows that it replaces."""

from __future__ import annotations

import torch

from neuralfx.nn.convolution import FIRBank


def test_the_bank_is_a_linear_layer_on_windows() -> None:
    bank = FIRBank(1, 3, taps=5).double()
    audio = torch.randn(2, 1, 20, dtype=torch.float64)
    features, state = bank(audio, bank.initial_state(2, None, torch.float64))
    windows = torch.nn.functional.pad(audio[:, 0], (4, 0)).unfold(-1, 5, 1)
    torch.testing.assert_close(features, windows @ bank.weight[:, 0].T + bank.bias)
    torch.testing.assert_close(state, audio[..., -4:])


def test_blocks_shorter_than_the_window_carry_its_history() -> None:
    bank = FIRBank(1, 3, taps=8).double()
    audio = torch.randn(1, 1, 30, dtype=torch.float64)
    whole, _ = bank(audio, bank.initial_state(1, None, torch.float64))
    state, parts = bank.initial_state(1, None, torch.float64), []
    for block in audio.split(3, dim=-1):
        part, state = bank(block, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def test_one_tap_needs_no_history() -> None:
    bank = FIRBank(1, 2, taps=1)
    features, state = bank(torch.ones(1, 1, 4), bank.initial_state(1, None, torch.float32))
    assert features.shape == (1, 4, 2)
    assert state.shape == (1, 1, 0)
