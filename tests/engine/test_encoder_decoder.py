"""The compiled cell of the encoder-decoder, against torch."""

from __future__ import annotations

import pytest
import torch

from neuralfx.nn.encoder_decoder import EncoderDecoder
from tests.checks import noise
from tests.engine.gradients import compare


def layer_of(hidden_size: int, combine: str = "gate") -> EncoderDecoder:
    torch.manual_seed(0)
    return EncoderDecoder(1, 3, hidden_size, encoder_taps=5, decoder_taps=2, combine=combine)


@pytest.mark.parametrize("time", [1, 2, 50])
@pytest.mark.parametrize("hidden_size", [4, 8, 19])
@pytest.mark.parametrize("combine", ["gate", "add"])
def test_gradients_are_those_of_torch(
    combine: str, hidden_size: int, time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tuple(torch.rand(*shape) for shape in ((3, 1, 6), (3, hidden_size), (3, hidden_size)))
    compare(layer_of(hidden_size, combine), noise(3, 1, time), state, monkeypatch)


def test_what_is_only_needed_for_gradients_changes_nothing() -> None:
    layer, audio = layer_of(8), noise(2, 1, 50)
    state = layer.initial_state(2, None, torch.float32)
    with torch.no_grad():
        output, (_, _, cell) = layer(audio, state)
    expected, (_, _, expected_cell) = layer(audio, state)
    torch.testing.assert_close(output, expected.detach(), atol=0, rtol=0)
    torch.testing.assert_close(cell, expected_cell.detach(), atol=0, rtol=0)


def test_segments_join_without_a_seam() -> None:
    layer, audio = layer_of(8), noise(2, 1, 100)
    state = layer.initial_state(2, None, torch.float32)
    whole, _ = layer(audio, state)
    parts = []
    for part in audio.split(33, dim=-1):
        output, state = layer(part, state)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-7, rtol=0)
