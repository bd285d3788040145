"""The encoder-decoder against its definition, sample by sample in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuralfx.errors import ConfigError
from neuralfx.nn.encoder_decoder import EncoderDecoder
from neuralfx.nn.network import State
from neuralfx.nn.operations import Operations


def recur(layer: EncoderDecoder, audio: Tensor, state: State) -> tuple[Tensor, State]:
    """The recurrence of the docstring as it stands there, with the windows cut out one by one."""
    history, output, cell = state
    heard = torch.cat([history, audio], dim=-1)
    window = layer.encoder_taps + layer.decoder_taps
    outputs = []
    for start in range(audio.shape[-1]):
        older = heard[..., start : start + layer.encoder_taps]
        newer = heard[..., start + layer.encoder_taps : start + window]
        encoded = torch.einsum("bct,fct->bf", older, layer.encoder.weight) + layer.encoder.bias
        decoded = torch.einsum("bct,fct->bf", newer, layer.decoder.weight) + layer.decoder.bias
        encoded_output, encoded_cell = encoded[:, : layer.hidden_size], encoded[:, layer.hidden_size :]
        if layer.combine == "gate":
            output, cell = output.sigmoid() * encoded_output, cell.sigmoid() * encoded_cell
        else:
            output, cell = output + encoded_output, cell + encoded_cell
        gates = layer.cell_input(decoded) + output @ layer.cell_recurrent.weight.T
        i, f, o, g = gates.chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        output = o.sigmoid() * cell.tanh()
        outputs.append(output)
    return torch.stack(outputs, dim=1), (heard[..., audio.shape[-1] :], output, cell)


def some_state(layer: EncoderDecoder, batch_size: int) -> State:
    return tuple(torch.randn_like(part) for part in layer.initial_state(batch_size, None, torch.float64))


@pytest.fixture(params=["gate", "add"])
def layer(request: pytest.FixtureRequest) -> EncoderDecoder:
    return EncoderDecoder(2, 3, 5, encoder_taps=6, decoder_taps=4, combine=request.param).double()


@pytest.mark.parametrize("time", [1, 5, 40])
def test_the_fused_loop_equals_the_recurrence_from_any_state(layer: EncoderDecoder, time: int) -> None:
    audio, state = torch.randn(3, 2, time, dtype=torch.float64), some_state(layer, 3)
    torch.testing.assert_close(layer(audio, state), recur(layer, audio, state), atol=1e-12, rtol=0)


def test_gradients_equal_those_of_the_recurrence(layer: EncoderDecoder) -> None:
    audio = torch.randn(2, 2, 30, dtype=torch.float64, requires_grad=True)
    state = tuple(part.requires_grad_() for part in some_state(layer, 2))
    gradients = []
    for run in (layer, lambda *values: recur(layer, *values)):
        output, (_, _, cell) = run(audio, state)
        loss = output.square().sum() + cell.square().sum()
        gradients.append(torch.autograd.grad(loss, [*layer.parameters(), audio, *state]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize(("encoder_taps", "decoder_taps"), [(6, 4), (63, 1), (1, 1)])
def test_blocks_of_any_sizes_equal_the_whole(encoder_taps: int, decoder_taps: int) -> None:
    layer = EncoderDecoder(1, 4, 4, encoder_taps, decoder_taps, combine="add")
    audio, start = torch.randn(1, 1, 300), layer.initial_state(1, None, torch.float32)
    with torch.no_grad():
        whole, after = layer(audio, start)
        outputs, state = [], start
        for block in audio.split([1, 1, 7, 91, 200], dim=-1):
            output, state = layer(block, state)
            outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(state, after, atol=1e-6, rtol=0)


def test_added_states_behind_an_encoder_of_zeros_are_torchs_lstm() -> None:
    layer = EncoderDecoder(1, 3, 5, encoder_taps=6, decoder_taps=4, combine="add").double()
    lstm = torch.nn.LSTM(3, 5, batch_first=True).double()
    with torch.no_grad():
        layer.encoder.weight.zero_()
        for ours, theirs in zip((0, 1, 3, 2), range(4)):  # torch's order is i, f, g, o
            source, target = slice(5 * ours, 5 * ours + 5), slice(5 * theirs, 5 * theirs + 5)
            lstm.weight_ih_l0[target] = layer.cell_input.weight[source]
            lstm.weight_hh_l0[target] = layer.cell_recurrent.weight[source]
            lstm.bias_ih_l0[target] = layer.cell_input.bias[source]
        lstm.bias_hh_l0.zero_()
        audio = torch.randn(2, 1, 50, dtype=torch.float64)
        output, _ = layer(audio, layer.initial_state(2, None, torch.float64))
        windows = functional.conv1d(functional.pad(audio, (3, 0)), layer.decoder.weight, layer.decoder.bias)
        torch.testing.assert_close(output, lstm(windows.transpose(1, 2))[0], atol=1e-12, rtol=0)


def test_the_encoder_hears_nothing_of_the_decoders_samples() -> None:
    layer = EncoderDecoder(1, 2, 2, encoder_taps=5, decoder_taps=3)
    with torch.no_grad():
        layer.decoder.weight.zero_()
        click = torch.zeros(2, 1, 20)
        click[0, 0, 4] = 1.0
        output, _ = layer(click, layer.initial_state(2, None, torch.float32))
    assert int((output[0] != output[1]).any(dim=-1).nonzero()[0]) == 4 + 3


def test_the_cell_stays_below_the_bounds_of_the_docstring() -> None:
    for combine in ("gate", "add"):
        layer = EncoderDecoder(1, 2, 3, encoder_taps=4, decoder_taps=2, combine=combine).double()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.normal_(0, 0.3)
            audio = 2 * torch.rand(1, 1, 3000, dtype=torch.float64) - 1
            _, (_, _, cell) = layer(audio, layer.initial_state(1, None, torch.float64))
            largest = (layer.encoder.weight.abs().sum((1, 2)) + layer.encoder.bias.abs()).max()
            if combine == "gate":
                assert cell.abs().max() < largest + 1
                continue
            decoded = layer.decoder.weight.abs().sum((1, 2)) + layer.decoder.bias.abs()
            driven = layer.cell_input.weight.abs() @ decoded + layer.cell_input.bias.abs()
            forget = torch.sigmoid(driven + layer.cell_recurrent.weight.abs().sum(1) * (1 + largest)).max()
            assert cell.abs().max() < (forget * largest + 1) / (1 - forget)


def test_silence_lets_the_state_settle(layer: EncoderDecoder) -> None:
    with torch.no_grad():
        _, state = layer(torch.randn(1, 2, 100, dtype=torch.float64), layer.initial_state(1, None, torch.float64))
        output, after = layer(torch.zeros(1, 2, 500, dtype=torch.float64), state)
    torch.testing.assert_close(output[:, -1], output[:, -100], atol=1e-6, rtol=0)
    assert not after[0].any()


def test_an_unknown_rule_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"combine: expected one of gate, add, got 'mix'\."):
        EncoderDecoder(1, 4, 4, 32, 32, combine="mix")


def test_the_forget_gate_starts_open() -> None:
    bias = EncoderDecoder(1, 4, 2, 32, 32).cell_input.bias
    assert bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_operations_are_those_of_the_recurrence() -> None:
    # 2 units, 3 features: encoder 4 x 5 and decoder 3 x 4 with biases; 4 sigmoids and products; 8 x 3 with bias;
    # 8 x 2 and their sum; cell 4 + 2 with 6 sigmoids and 2 tanh; output 2 with 2 tanh.
    gated = EncoderDecoder(1, 3, 2, encoder_taps=5, decoder_taps=4).operations()
    assert gated == Operations(20 + 12 + 4 + 24 + 16 + 4 + 2, 20 + 12 + 24 + 16 + 2, 4 + 8 + 2)
    added = EncoderDecoder(1, 3, 2, encoder_taps=5, decoder_taps=4, combine="add").operations()
    assert added == Operations(gated.multiplications - 4, gated.additions + 4, gated.functions - 4)
