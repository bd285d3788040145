"""Streams: block sizes, sample rates, knobs, kinds and errors."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.engine.player import Player
from neuralfx.errors import AudioError, ConfigError, KnobError, ShapeError
from neuralfx.nn.network import Network, State
from neuralfx.streaming import Stream, process_offline

EFFECT = Effect(
    "toy", 44_100, Knobs([Knob("drive", 0, 10, default=5), Knob("mode", positions=("soft", "hard", "off"))])
)
PLAIN = Effect("plain", 44_100)
LENGTH = 9_000


class Identity(Network):
    """Gives back what comes in, late by ``latency_samples``."""

    num_knobs = 0

    def __init__(self, latency_samples: int = 0) -> None:
        super().__init__()
        self.latency_samples = latency_samples

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        return torch.zeros(batch_size, 1, self.latency_samples, device=device, dtype=dtype)

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        late = torch.cat([state, audio], dim=-1)
        return late[..., : audio.shape[-1]], late[..., audio.shape[-1] :]


class KnobLog(Identity):
    """Gives back the input times the first knob plus the second, a sample at a time."""

    num_knobs = 2

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        rows = knobs if knobs.dim() == 3 else knobs.unsqueeze(1)
        return audio * rows[:, None, :, 0] + 0.1 * rows[:, None, :, 1], state


class OnePole(Network):
    """A low-pass with a gain: y = 0.9 y' + 0.1 (drive + mode) x, one sample after the other."""

    num_knobs = 2

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        return torch.zeros(batch_size, 1, device=device, dtype=dtype)

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        rows = knobs if knobs.dim() == 3 else knobs.unsqueeze(1)
        drive = 0.1 * audio * rows.sum(-1)[:, None, :]
        wet = np.empty(drive.shape, dtype=drive.numpy().dtype)
        last = state.numpy()
        for index, sample in enumerate(drive.unbind(-1)):
            last = 0.9 * last + sample.numpy()
            wet[..., index] = last
        return torch.from_numpy(wet), torch.from_numpy(np.array(last, dtype=wet.dtype))


class TinyLSTM(Network):
    """LSTM on audio and knobs, with dropout that only training should hear."""

    num_knobs = 2

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.lstm = nn.LSTM(3, 4, batch_first=True)
            self.linear = nn.Linear(4, 1)
        self.dropout = nn.Dropout(0.5)

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        return tuple(torch.zeros(batch_size, 4, device=device, dtype=dtype) for _ in range(2))

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        rows = knobs if knobs.dim() == 3 else knobs.unsqueeze(1).expand(-1, audio.shape[-1], -1)
        hidden = tuple(part.unsqueeze(0) for part in state)
        features, hidden = self.lstm(torch.cat([audio.transpose(1, 2), rows], dim=-1), hidden)
        return self.linear(self.dropout(features)).transpose(1, 2), tuple(part.squeeze(0) for part in hidden)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.8, 0.8, shape).astype(np.float32)


def cut(length: int, sizes: list[int]) -> list[slice]:
    """Spans of the given sizes, again and again, until the length is reached."""
    spans, start = [], 0
    for size in itertools.cycle(sizes):
        if start >= length:
            return spans
        spans.append(slice(start, min(start + size, length)))
        start += size
    return spans


def run(stream: Stream, audio: np.ndarray, sizes: list[int], knobs: dict[str, Any]) -> np.ndarray:
    parts = []
    for span in cut(audio.shape[-1], sizes):
        now = {name: value[span] if np.ndim(value) else value for name, value in knobs.items()}
        parts.append(stream.process(audio[..., span], now))
    return np.concatenate(parts, axis=-1)


MOVING = {
    "drive": 5 + 5 * np.sin(np.arange(LENGTH) / 300),
    "mode": np.where(np.arange(LENGTH) % 3_000 < 1_500, "soft", "hard"),
}


@pytest.mark.parametrize("sizes", [[7], [64], [441], [4096], [1, 300, 0, 2]], ids=str)
@pytest.mark.parametrize("knobs", [{"drive": 3.0, "mode": "hard"}, MOVING], ids=["still", "moving"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("network", [KnobLog(), TinyLSTM()], ids=["log", "lstm"])
def test_every_block_size_gives_the_same_sound(
    network: Network, sample_rate: int, channels: int, knobs: dict[str, Any], sizes: list[int]
) -> None:
    audio = noise(channels, LENGTH)
    stream = Stream(network, EFFECT, sample_rate)
    whole = stream.process(audio, knobs)
    stream.reset()
    np.testing.assert_allclose(run(stream, audio, sizes, knobs), whole, atol=1e-6, rtol=0)
    offline = process_offline(network, EFFECT, audio, knobs, sample_rate)
    latency = stream.latency_samples
    assert offline.shape == audio.shape
    np.testing.assert_allclose(offline[:, : LENGTH - latency], whole[:, latency:], atol=1e-6, rtol=0)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
@pytest.mark.parametrize("knobs", [{"drive": 3.0}, MOVING], ids=["still", "moving"])
def test_single_samples_give_the_same_sound(sample_rate: int, knobs: dict[str, Any]) -> None:
    audio = noise(LENGTH)[:1_500]
    knobs = {name: value[:1_500] if np.ndim(value) else value for name, value in knobs.items()}
    stream = Stream(OnePole(), EFFECT, sample_rate)
    whole = stream.process(audio, knobs)
    stream.reset()
    np.testing.assert_allclose(run(stream, audio, [1], knobs), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("sizes", [[1], [64], [441, 3], [1_000]], ids=str)
def test_a_knob_set_between_blocks_lands_on_the_same_sample(sample_rate: int, sizes: list[int]) -> None:
    def play(sizes: list[int]) -> np.ndarray:
        stream = Stream(KnobLog(), EFFECT, sample_rate)
        stream.set_knobs(drive=2, mode="soft")
        before = run(stream, audio[:1_000], sizes, {})
        stream.set_knobs(drive=9)
        stream.set_knobs(mode="off")
        return np.concatenate([before, run(stream, audio[1_000:], sizes, {})])

    audio = noise(2_000)
    np.testing.assert_allclose(play(sizes), play([5_000]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sample_rate", [48_000, 96_000, 22_050])
def test_a_knob_step_lines_up_with_the_audio(sample_rate: int) -> None:
    step = np.repeat([0.0, 10.0], 4_000)
    wet = process_offline(KnobLog(), EFFECT, np.full(8_000, 0.5), {"drive": step}, sample_rate)
    np.testing.assert_allclose(wet[500:3_900], 0, atol=1e-3)
    np.testing.assert_allclose(wet[4_100:7_500], 0.5, atol=1e-3)
    assert wet[3_998] < wet[3_999] < 0.249
    assert wet[4_000] > 0.25 - 1e-6  # halfway, as far as single precision goes


@pytest.mark.parametrize("latency", [0, 1, 37])
@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000, 8_000, 44_101])
def test_the_latency_is_exact(sample_rate: int, latency: int) -> None:
    sine = np.sin(2 * np.pi * 1_000 * np.arange(12_000) / sample_rate)
    stream = Stream(Identity(latency), PLAIN, sample_rate)
    delay = stream.latency_samples
    assert sample_rate != 44_100 or delay == latency
    wet = run(stream, sine, [333], {})
    error = (wet[delay:] - sine[: len(sine) - delay])[1_500:-1_500]
    assert 20 * np.log10(np.abs(error).max() + 1e-12) < -90
    assert not wet[: max(0, delay - 1_300)].any()


@pytest.mark.parametrize("sample_rate", [48_000, 96_000, 8_000])
def test_no_smaller_delay_would_do(sample_rate: int) -> None:
    stream = Stream(Identity(), PLAIN, sample_rate)
    fewest = stream.latency_samples
    for _ in range(4_000):
        stream.process(np.zeros(1, np.float32))
        fewest = min(fewest, stream._converter._ready.shape[-1])  # type: ignore[union-attr]
    assert fewest == 0


@pytest.mark.parametrize("latency", [0, 5])
@pytest.mark.parametrize("sample_rate", [None, 44_100, 48_000, 96_000])
def test_offline_wet_lines_up_with_dry(sample_rate: int | None, latency: int) -> None:
    sine = np.sin(2 * np.pi * 1_000 * np.arange(80_000) / (sample_rate or 44_100))
    wet = process_offline(Identity(latency), PLAIN, sine, sample_rate=sample_rate)
    assert wet.shape == sine.shape
    assert 20 * np.log10(np.abs(wet - sine)[1_000:-1_000].max() + 1e-12) < -90


@pytest.mark.parametrize("sample_rate", [44_100, 88_200])
@pytest.mark.parametrize("knobs", [{"drive": 9.0, "mode": "off"}, MOVING], ids=["still", "moving"])
def test_a_stream_starts_at_rest_with_its_first_knobs(sample_rate: int, knobs: dict[str, Any]) -> None:
    network, audio = TinyLSTM(), noise(2, LENGTH)
    silence = np.zeros((2, 22_064 * sample_rate // 44_100), np.float32)  # half a second, in cells of 16 samples
    first = {name: np.asarray(values).flat[0] for name, values in knobs.items()}
    with_lead = Stream(network, EFFECT, sample_rate, settling_s=0.0)
    lead = with_lead.process(silence, first)
    expected = with_lead.process(audio, knobs)
    stream = Stream(network, EFFECT, sample_rate)
    for _ in range(2):
        wet = stream.process(audio, knobs)
        late = stream.latency_samples  # until then a stream that resamples gives zeros, and a lead of its own sound
        np.testing.assert_allclose(wet[:, 8 * late :], expected[:, 8 * late :], atol=1e-6, rtol=0)
        stream.reset()
    cold = Stream(network, EFFECT, sample_rate, settling_s=0.0).process(audio, knobs)
    assert np.abs(cold - expected).max() > 1e-3 and np.abs(lead).max() > 1e-3  # its rest is not a state of zeros


def test_torch_hears_silence_once_for_all_rows() -> None:
    class Counting(TinyLSTM):
        heard = 0

        def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
            self.heard += audio.numel()
            return super().forward(audio, knobs, state)

    network, audio = Counting(), noise(3, 2, 100)
    together = process_offline(network, EFFECT, audio)
    assert network.heard == 22_064 + audio.size  # half a second, in cells of 16 samples
    alone = process_offline(TinyLSTM(), EFFECT, audio[2, 1])
    np.testing.assert_allclose(together[2, 1], alone, atol=1e-6, rtol=0)


def test_a_stream_that_was_interrupted_while_it_settled_settles_again() -> None:
    class Interrupted(TinyLSTM):
        calls = 0

        def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().forward(audio, knobs, state)

    stream, audio = Stream(Interrupted(), EFFECT), noise(100)
    with pytest.raises(KeyboardInterrupt):
        stream.process(audio)
    np.testing.assert_allclose(stream.process(audio), Stream(TinyLSTM(), EFFECT).process(audio), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seconds", [-0.5, float("nan"), float("inf")])
def test_a_time_to_settle_is_checked(seconds: float) -> None:
    with pytest.raises(ConfigError, match="settling_s: expected 0 to 60 seconds"):
        Stream(Identity(), PLAIN, settling_s=seconds)


def test_a_network_matches_its_own_equation() -> None:
    wet = process_offline(OnePole(), EFFECT, np.array([1.0, 0, 0]), {"drive": 10, "mode": "off"})
    np.testing.assert_allclose(wet, [0.2, 0.18, 0.162], rtol=1e-6)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000])
@pytest.mark.parametrize("shape", [(700,), (2, 700), (3, 2, 700)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_kind_shape_and_dtype_are_kept(shape: tuple[int, ...], dtype: torch.dtype, sample_rate: int) -> None:
    tensor = torch.from_numpy(noise(*shape)).to(dtype)
    network = TinyLSTM()
    wet = process_offline(network, EFFECT, tensor, sample_rate=sample_rate)
    assert isinstance(wet, Tensor) and wet.shape == shape and wet.dtype == dtype and not wet.is_inference()
    array = process_offline(network, EFFECT, tensor.numpy(), sample_rate=sample_rate)
    assert isinstance(array, np.ndarray) and array.dtype == tensor.numpy().dtype
    np.testing.assert_array_equal(array, wet.numpy())
    stream = Stream(network, EFFECT, sample_rate)
    assert stream.process(tensor[..., :0]).shape == (*shape[:-1], 0)
    assert stream.process(tensor).shape == shape


def test_channels_are_processed_independently() -> None:
    audio = noise(2, 3, 500)
    together = process_offline(TinyLSTM(), EFFECT, audio, sample_rate=48_000)
    for row, column in itertools.product(range(2), range(3)):
        alone = process_offline(TinyLSTM(), EFFECT, audio[row, column], sample_rate=48_000)
        np.testing.assert_allclose(together[row, column], alone, atol=1e-6)


def test_a_stereo_effect_sees_both_channels() -> None:
    class Swap(Identity):
        def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
            return audio.flip(1), state

    stereo = Effect("swap", 44_100, channels=2)
    audio = noise(2, 100)
    np.testing.assert_array_equal(process_offline(Swap(), stereo, audio), audio[::-1])
    np.testing.assert_array_equal(process_offline(Swap(), stereo, audio[None]), audio[None, ::-1])
    assert process_offline(Swap(), stereo, audio, sample_rate=48_000).shape == (2, 100)
    for wrong in (audio[0], audio[:1]):
        with pytest.raises(ShapeError, match="swap expects 2 channels"):
            process_offline(Swap(), stereo, wrong)


def test_knobs_stay_where_they_are() -> None:
    stream = Stream(KnobLog(), EFFECT)
    ones = np.ones(3)
    np.testing.assert_allclose(stream.process(ones), 0.5)
    np.testing.assert_allclose(stream.process(ones, {"drive": 10}), 1.0)
    np.testing.assert_allclose(
        stream.process(ones, {"drive": [0, 2, 4], "mode": ["off", "soft", "hard"]}), [0.1, 0.2, 0.45]
    )
    np.testing.assert_allclose(stream.process(ones), 0.45, rtol=1e-6)
    stream.process(ones[:0], {"drive": torch.zeros(0)})
    stream.set_knobs(mode="soft")
    np.testing.assert_allclose(stream.process(ones), 0.4)
    stream.reset()
    np.testing.assert_allclose(stream.process(ones, {"drive": torch.tensor([0.0, 5.0, 10.0])}), [0, 0.5, 1])


def test_an_error_leaves_the_stream_as_it_was() -> None:
    stream, audio = Stream(TinyLSTM(), EFFECT, 48_000), noise(1_000)
    whole = stream.process(audio, {"drive": 1})
    stream.reset()
    first = stream.process(audio[:500])
    for block, knobs, error in [
        (audio[:5], {"drive": 11}, KnobError),
        (audio[:5], {"mode": "loud"}, KnobError),
        (audio[:5], {"gain": 1}, KnobError),
        (audio[:5], {"drive": np.zeros(4)}, ShapeError),
        (audio[None, :5], None, ShapeError),
        (np.full(5, np.nan), None, AudioError),
    ]:
        with pytest.raises(error):
            stream.process(block, knobs)
    with pytest.raises(KnobError):
        stream.set_knobs(drive=2, gain=3)
    with pytest.raises(ShapeError):
        stream.set_knobs(drive=np.zeros(5))
    np.testing.assert_allclose(np.concatenate([first, stream.process(audio[500:])]), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("audio", "error", "words"),
    [
        (np.zeros(0), AudioError, "at least one sample"),
        (np.zeros((2, 0)), AudioError, "at least one sample"),
        (np.array([0.0, np.inf]), AudioError, "finite"),
        (np.zeros(9, np.int16), AudioError, "got int16; divide integers by their full scale"),
        (torch.zeros(9, dtype=torch.int32), AudioError, "divide integers"),
        ([0.0, 1.0], AudioError, "NumPy array or torch tensor, got list"),
        (np.zeros((1, 1, 1, 1)), ShapeError, r"\(batch, channels, time\), got \(1, 1, 1, 1\)"),
        (np.float32(1), AudioError, "NumPy array or torch tensor"),
    ],
)
def test_unusable_audio_says_what_is_expected(audio: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        process_offline(Identity(), PLAIN, audio)


@pytest.mark.parametrize("rate", [0, -44_100, 48_000.5, "48000"])
def test_unusable_sample_rates_say_what_is_expected(rate: Any) -> None:
    with pytest.raises(AudioError, match="positive integer"):
        process_offline(Identity(), PLAIN, np.zeros(9), sample_rate=rate)


def test_wrong_knobs_of_a_long_file_fail_at_once() -> None:
    with pytest.raises(ShapeError, match="200000 values"):
        process_offline(OnePole(), EFFECT, np.zeros(200_000), {"drive": np.zeros(65_536)})


def test_training_mode_returns_and_is_not_heard() -> None:
    network = TinyLSTM().train()
    network.linear.eval()
    audio = noise(100)
    np.testing.assert_array_equal(process_offline(network, EFFECT, audio), process_offline(network, EFFECT, audio))
    assert network.training and network.dropout.training and not network.linear.training


def test_the_network_runs_in_its_own_dtype() -> None:
    network = TinyLSTM().double()
    wet = process_offline(network, EFFECT, torch.zeros(50, requires_grad=True), sample_rate=48_000)
    assert wet.dtype == torch.float32 and not wet.requires_grad


def test_unusual_arrays_are_read_and_left_alone() -> None:
    audio = noise(2, 300)
    expected = process_offline(TinyLSTM(), EFFECT, audio)
    for same in (audio[:, ::-1].copy()[:, ::-1], audio.astype(">f4"), np.asfortranarray(audio)):
        same.flags.writeable = False
        np.testing.assert_array_equal(process_offline(TinyLSTM(), EFFECT, same), expected)


def test_a_block_may_be_reused_by_its_owner() -> None:
    stream, block = Stream(Identity(3), PLAIN), torch.ones(4)
    first = stream.process(block)
    block.zero_()
    assert first.tolist() == [0, 0, 0, 1]
    assert stream.process(block).tolist() == [1, 1, 1, 0]


def test_audio_with_its_time_first_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"got \(9000, 2\), which is more channels than samples; pass its transpose"):
        process_offline(Identity(), PLAIN, np.zeros((9000, 2), np.float32))
    assert process_offline(Identity(), PLAIN, np.zeros((64, 2), np.float32)).shape == (64, 2)


@pytest.mark.parametrize("knobs", [0.5, [0.5, 0.5]])
def test_knobs_without_names_are_refused(knobs: Any) -> None:
    with pytest.raises(KnobError, match="expected knob values by name"):
        process_offline(KnobLog(), EFFECT, np.zeros(9, np.float32), knobs)


class Busy(Player):
    """Doubles the audio; in the middle of a block, something else happens."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile
        self.heard: list[Any] = []

    def load_state(self, state: Any) -> None:
        pass

    def process(self, audio: Any, knobs: Any) -> Any:
        self.meanwhile()
        self.heard.append(knobs.copy())
        return 2 * audio


@pytest.mark.parametrize("knobs", [None, {"mode": "off"}, {"mode": ["soft"] * 32 + ["off"] * 32}])
def test_a_knob_that_is_set_while_a_block_is_processed_moves_with_the_next_one(knobs: dict[str, Any] | None) -> None:
    stream = Stream(KnobLog(), EFFECT)
    block = np.zeros(64, dtype=np.float32)
    stream.process(block)
    stream._player = player = Busy(lambda: stream.set_knobs(drive=10))
    for kind in (block, torch.from_numpy(block)):
        stream.set_knobs(drive=0)
        stream.process(kind, knobs)
        stream.process(kind)
        assert (player.heard[-2][..., 0] == 0).all()
        np.testing.assert_allclose(player.heard[-1], [1, 0 if knobs is None else 1])


def test_a_knob_may_have_any_name() -> None:
    stream = Stream(Identity(), Effect("toy", 44_100, Knobs([Knob("self", 0, 10)])))
    stream.set_knobs(self=10)
    assert stream._knobs.tolist() == [1]


def test_threads_that_share_a_network_in_training_mode_leave_it_alone() -> None:
    meeting = threading.Barrier(2, timeout=20)

    class Normalised(Identity):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
            meeting.wait()
            if audio.shape[-1] == 9:  # the other has left by then
                done.wait(20)
            return self.norm(audio), state

    network, done = Normalised(), threading.Event()
    other = threading.Thread(target=lambda: (Stream(network, PLAIN).process(torch.ones(8)), done.set()))
    other.start()
    heard = Stream(network, PLAIN).process(torch.ones(9))
    other.join()
    assert network.training
    assert network.norm.training
    assert network.norm.num_batches_tracked == 0
    torch.testing.assert_close(heard, torch.full((9,), 1 / (1 + network.norm.eps) ** 0.5))
