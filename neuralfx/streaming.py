"""Run a network on a stream of audio: any block sizes, any sample rate, knobs that stand still or move."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from neuralfx import engine
from neuralfx.audio import Resampler
from neuralfx.effect import Effect
from neuralfx.engine.compiler import is_compiling, is_ready
from neuralfx.engine.player import INAUDIBLE, Player
from neuralfx.errors import AudioError, ConfigError, KnobError, ShapeError
from neuralfx.nn.network import Network, State
from neuralfx.nn.state import SETTLING_S, hear_silence, map_state, settling_samples

Audio = TypeVar("Audio")  # a NumPy array or a torch tensor: what comes in is what comes out
Knobs = npt.NDArray[np.float32]

_OFFLINE_BLOCK = 65_536  # samples; bounds the memory that a long file takes

LONGEST_SETTLING_S = 60
MOST_CHANNELS = 64  # more than that in few samples is audio with time first, as soundfile reads it

_lock = threading.Lock()
# How many threads evaluate a network, and the parts of it that were training before.
_in_evaluation: dict[Network, tuple[int, list[nn.Module]]] = {}


class Stream:
    """A network with its memory: blocks of any sizes go in, as many samples come out.

    Signal path: audio > resampled to the effect's rate > network > resampled back. Equal rates need no resampling.
    Block sizes leave the sound unchanged. Before the first sample the network settles on silence, with the knobs where
    they then are: so the first block takes milliseconds longer than others, and up to seconds where torch loops over
    samples; let one of silence pass before others have to be in time. On a CPU in single precision compiled loops
    play, if the network has them and they are ready (see :mod:`neuralfx.engine`): they copy the network's weights at
    the first block after :meth:`reset`.

    Args:
        network: The network; its parameters say on which device and in which dtype it runs. After moving it to
            another device, call :meth:`reset`.
        effect: The effect that it models, with its sample rate, channels and knobs.
        sample_rate: Sample rate of the audio, in Hz; None for that of the effect.
        settling_s: Seconds of silence that the network hears before the first sample, at most 60; 0 starts from a state
            of zeros, and so with a click.

    Raises:
        AudioError: If the sample rate is not a positive integer.
        ConfigError: If the time to settle is out of range.

    Example:
        >>> stream = Stream(network, effect, sample_rate=48_000)  # doctest: +SKIP
        >>> stream.set_knobs(peak_reduction=40)  # doctest: +SKIP
        >>> wet = stream.process(block)  # doctest: +SKIP
    """

    def __init__(
        self, network: Network, effect: Effect, sample_rate: int | None = None, settling_s: float = SETTLING_S
    ) -> None:
        if not 0 <= settling_s <= LONGEST_SETTLING_S:
            raise ConfigError(f"settling_s: expected 0 to {LONGEST_SETTLING_S} seconds, got {settling_s!r}.")
        self.network = network
        self.effect = effect
        self.settling_s = settling_s
        self.sample_rate = effect.sample_rate if sample_rate is None else sample_rate
        self._converter: _Converter | None = None
        if self.sample_rate != effect.sample_rate:
            self._converter = _Converter(self.sample_rate, effect, network.latency_samples)
        self._knobs: Knobs = effect.normalise()
        self._state: State | None = None
        self._shape: tuple[int, ...] | None = None
        self._player: Player | None = None

    @property
    def latency_samples(self) -> int:
        """Samples, at the rate of the audio, by which the output lags behind the input."""
        return self.network.latency_samples if self._converter is None else self._converter.latency_samples

    def set_knobs(self, /, **values: Any) -> None:
        """Set knobs from the next block on; the others stay as they are.

        Any thread may do so, while another processes a block.

        Args:
            values: Values by name, in the knob's own unit, or a switch's position.

        Raises:
            KnobError: If a name is unknown or a value is out of range.
            ShapeError: If a value is an array; those go to :meth:`process` with their block.
        """
        self._place(self.effect.change(self._knobs, values), values)

    def process(self, block: Audio, knobs: Mapping[str, Any] | None = None) -> Audio:
        """Process the next block of the stream.

        Args:
            block: NumPy array or torch tensor of float16, float32 or float64, shape (time,), (channels, time) or
                (batch, channels, time), time 0 or more. A mono effect processes every channel by itself. All but the
                time stays the same until :meth:`reset`.
            knobs: Values by name, in the knobs' own units: a value applies from this block on, an array of ``time``
                values moves its knob through this block and then leaves it at the last one. Others stay as they are.

        Returns:
            The wet audio, delayed by ``latency_samples``: same kind, shape, dtype and device as the block.

        Raises:
            AudioError: If the audio is not floating-point or not finite.
            ShapeError: If shapes do not fit the effect, the blocks before, or each other.
            KnobError: If a name is unknown or a value is out of range.

        After such an error the stream is as it was.
        """
        if self._player is not None and self._converter is None:
            wet: Audio | None = self._process_at_once(block, knobs)
            if wet is not None:
                return wet
        audio = _as_tensor(block)
        if self._shape is not None and self._shape != audio.shape[:-1]:
            expected = f"({', '.join(map(str, [*self._shape, 'time']))})"
            raise ShapeError(
                f"expected blocks of shape {expected} as before, got {tuple(audio.shape)}; call reset() to start anew."
            )
        rows = _split_channels(audio, self.effect)
        values = _as_arrays(knobs)
        moved = self.effect.change(self._knobs, values, rows.shape[-1])  # a copy: other threads may set knobs meanwhile
        if rows.shape[-1]:
            like = _floating_example(self.network)
            rows = rows.to(device=like.device, dtype=like.dtype, copy=True)
            if not torch.isfinite(rows).all():
                raise AudioError(f"expected finite audio within the range of {like.dtype}, got NaN, infinity or more.")
            audio = self._advance(rows, moved).reshape(audio.shape).to(device=audio.device, dtype=audio.dtype)
            self._place(_last(moved), values)
        else:
            still = {name: value for name, value in values.items() if not np.ndim(value)}
            self._place(self.effect.change(self._knobs, still), still)
        self._shape = tuple(audio.shape[:-1])
        return _as_kind_of(block, audio)

    def reset(self) -> None:
        """Start anew, at rest; the knobs stay where they are."""
        self._state = None
        self._shape = None
        self._player = None
        if self._converter is not None:
            self._converter.reset()

    def _process_at_once(self, block: Any, knobs: Mapping[str, Any] | None) -> Any:
        """The usual block of a stream in microseconds: None where anything about it is unusual."""
        player = self._player
        if player is None or type(block) is not np.ndarray or block.dtype != np.float32 or not block.size:
            return None
        if not block.ndim or block.shape[:-1] != self._shape or not block.flags.writeable:
            return None  # loops would have to be compiled anew for memory that is read-only
        audio = np.ascontiguousarray(block).reshape(-1, self.effect.channels, block.shape[-1])
        if not np.isfinite(audio).all():
            return None
        if not knobs:
            return player.process(audio, self._knobs.copy()).reshape(block.shape)  # others may set knobs meanwhile
        moved = self.effect.change(self._knobs, _as_arrays(knobs), block.shape[-1])
        wet = player.process(audio, moved).reshape(block.shape)
        self._place(_last(moved), knobs)
        return wet

    def _place(self, knobs: Knobs, names: Iterable[str]) -> None:
        """Move the knobs of these names, and no others: another thread may be setting those."""
        places = self.effect.places(names)
        self._knobs[places] = knobs[places]

    def _advance(self, audio: Tensor, knobs: Knobs) -> Tensor:
        if self._converter is None:
            return self._run(audio, knobs)
        inside, knobs = self._converter.enter(audio, knobs)
        wet = self._run(inside, knobs) if inside.shape[-1] else inside
        return self._converter.leave(wet, audio.shape[-1])

    def _run(self, audio: Tensor, knobs: Knobs) -> Tensor:
        """The network's next block: audio (rows, channels, time), knobs (knobs,) or (time, knobs)."""
        if self._player is None and self._state is None:
            self._settle(audio, knobs[0] if knobs.ndim == 2 else knobs)
        if self._player is None:
            self._player = self._find_player(audio, self._state)
        if self._player is not None:
            return torch.from_numpy(self._player.process(audio.contiguous().numpy(), np.ascontiguousarray(knobs)))
        values = torch.from_numpy(knobs).to(device=audio.device, dtype=audio.dtype)
        wet: Tensor
        with torch.no_grad(), evaluating(self.network), _sharing_cores():
            wet, state = self.network(audio, values.repeat(len(audio), *[1] * values.dim()), self._state)
        self._state = map_state(_without_denormals, state)
        return wet

    def _settle(self, audio: Tensor, knobs: Knobs) -> None:
        """Start at rest, as many rows as the audio has; torch hears silence once for all of them."""
        samples = settling_samples(self.settling_s, self.effect.sample_rate)
        rows, kind = len(audio), (audio.device, audio.dtype)
        state = self.network.initial_state(rows, *kind)
        player = self._find_player(audio, state)
        if player is not None and samples:
            player.process(np.zeros((rows, audio.shape[1], samples), np.float32), np.ascontiguousarray(knobs))
        elif samples:
            values = torch.from_numpy(knobs).to(device=audio.device, dtype=audio.dtype).unsqueeze(0)
            with torch.no_grad(), evaluating(self.network), _sharing_cores():
                one = hear_silence(self.network, values, self.network.initial_state(1, *kind), audio, samples)
            state = map_state(lambda part: _without_denormals(part).repeat(rows, *[1] * (part.dim() - 1)), one)
        self._state, self._player = state, player

    def _find_player(self, audio: Tensor, state: State) -> Player | None:
        """Compiled loops that go on from a state of the network, if it has any and they are ready."""
        family = self.network.loops
        if family is None or not engine.takes(audio) or not is_ready(family):
            return None
        player = self.network.player()
        if player is not None:
            player.load_state(state)
        return player


def process_offline(
    network: Network,
    effect: Effect,
    audio: Audio,
    knobs: Mapping[str, Any] | None = None,
    sample_rate: int | None = None,
    settling_s: float = SETTLING_S,
) -> Audio:
    """Process a whole signal: a :class:`Stream` used once, its latency taken out.

    Args:
        network: The network.
        effect: The effect that it models.
        audio: NumPy array or torch tensor of float16, float32 or float64, shape (time,), (channels, time) or
            (batch, channels, time). A mono effect processes every channel by itself.
        knobs: Values by name, in the knobs' own units; an array of ``time`` values moves its knob. Left out: defaults.
        sample_rate: Sample rate of the audio, in Hz; None for that of the effect.
        settling_s: As of :class:`Stream`.

    Returns:
        The wet audio, lined up with the dry: same kind, shape, dtype and device.

    Raises:
        AudioError: If the audio is empty, not floating-point or not finite, or the sample rate no positive integer.
        ShapeError: If a shape does not fit the effect, or an array of knob values does not fit the audio.
        KnobError: If a name is unknown or a value is out of range.
    """
    dry = _as_tensor(audio)
    if not dry.numel():
        raise AudioError(f"expected audio of at least one sample, got shape {tuple(dry.shape)}.")
    values = _as_arrays(knobs)
    effect.normalise(values, length=dry.shape[-1])
    stream = Stream(network, effect, sample_rate, settling_s)
    latency = stream.latency_samples
    parts = []
    for start in range(0, dry.shape[-1], _OFFLINE_BLOCK):
        span = slice(start, start + _OFFLINE_BLOCK)
        moving = {name: value[span] if np.ndim(value) else value for name, value in values.items()}
        parts.append(stream.process(dry[..., span], moving))
    parts.append(stream.process(dry.new_zeros(*dry.shape[:-1], latency)))
    return _as_kind_of(audio, torch.cat(parts, dim=-1)[..., latency:])


class _Converter:
    """The way into the effect's sample rate and back, for audio and knobs.

    Sample n at rate a and sample n * b / a at rate b are the same moment, and there is nothing before sample 0. The
    network's latency is taken out on the way back, so that the total is a whole number of samples at either rate.
    """

    def __init__(self, sample_rate: int, effect: Effect, network_latency: int) -> None:
        self._inward = Resampler(sample_rate, effect.sample_rate)
        self._outward = Resampler(effect.sample_rate, sample_rate)
        self._network_latency = network_latency
        self._is_switch = np.asarray([bool(knob.positions) for knob in effect.knobs])
        # Output samples that exist after n input samples, less n, repeat with the ratio's period; the least of them
        # is what a constant delay has to cover.
        step, phases = self._inward.step, self._inward.phases
        received = np.arange(step, dtype=np.int64)
        inside = -((self._inward.width - received) * phases // step) - network_latency
        produced = -((self._outward.width - inside) * step // phases)
        self.latency_samples = int((received - produced).max())
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        self._inward.reset()
        self._outward.reset()
        self._to_skip = self._network_latency
        self._knobs: Knobs = np.zeros((0, len(self._is_switch)), dtype=np.float32)
        self._knobs_start = 0  # place of the first of them in the stream
        self._ready: Tensor | None = None

    def enter(self, audio: Tensor, knobs: Knobs) -> tuple[Tensor, Knobs]:
        """Audio (rows, channels, time) and knobs (knobs,) or (time, knobs), from outside to the effect's rate."""
        window = np.broadcast_to(knobs, (audio.shape[-1], knobs.shape[-1]))
        self._knobs = np.concatenate([self._knobs, window])
        first = self._inward.produced
        inside = _resample_rows(self._inward, audio)
        place = np.arange(first, self._inward.produced, dtype=np.int64) * self._inward.step
        index = place // self._inward.phases - self._knobs_start
        fraction = (place % self._inward.phases / self._inward.phases).astype(np.float32)
        before, after = self._knobs[index], self._knobs[index + 1]
        values = np.where(self._is_switch, before, before + fraction[:, np.newaxis] * (after - before))
        spent = self._inward.produced * self._inward.step // self._inward.phases - self._knobs_start
        self._knobs = self._knobs[spent:]
        self._knobs_start += spent
        stands_still = len(values) > 0 and bool((values == values[0]).all())
        return inside, values[0] if stands_still else values

    def leave(self, wet: Tensor, length: int) -> Tensor:
        """The next ``length`` samples outside, after the effect's next samples (rows, channels, time) inside."""
        skipped = min(self._to_skip, wet.shape[-1])
        self._to_skip -= skipped
        outside = _resample_rows(self._outward, wet[..., skipped:])
        if self._ready is None:
            self._ready = outside.new_zeros(*outside.shape[:-1], self.latency_samples)
        ready = torch.cat([self._ready, outside], dim=-1)
        self._ready = ready[..., length:].clone()
        return ready[..., :length]


def _resample_rows(resampler: Resampler, audio: Tensor) -> Tensor:
    batch_size, channels, _ = audio.shape
    return resampler.process(audio.flatten(0, 1)).reshape(batch_size, channels, -1)


def _as_tensor(audio: object) -> Tensor:
    """Checked audio as a tensor: floats, one to three dimensions."""
    if isinstance(audio, np.ndarray):
        if audio.dtype.kind != "f" or audio.dtype.itemsize > 8:
            raise AudioError(_expected_floats(audio.dtype))
        audio = torch.from_numpy(audio.astype(audio.dtype.newbyteorder("=")))
    if not isinstance(audio, Tensor):
        raise AudioError(f"expected audio as a NumPy array or torch tensor, got {type(audio).__name__}.")
    if not audio.is_floating_point():
        raise AudioError(_expected_floats(audio.dtype))
    if audio.dim() not in (1, 2, 3):
        raise ShapeError(
            f"expected audio of shape (time,), (channels, time) or (batch, channels, time), got {tuple(audio.shape)}."
        )
    return audio.detach()


def _expected_floats(dtype: object) -> str:
    return f"expected audio as float16, float32 or float64, got {dtype}; divide integers by their full scale."


def _split_channels(audio: Tensor, effect: Effect) -> Tensor:
    """Audio as the network takes it, shape (rows, effect.channels, time)."""
    if audio.shape[:-1].numel() == 0:
        raise ShapeError(f"expected at least one channel of audio, got shape {tuple(audio.shape)}.")
    if audio.dim() == 2 and audio.shape[0] > max(MOST_CHANNELS, audio.shape[1]):
        raise ShapeError(
            f"expected audio of shape (channels, time), got {tuple(audio.shape)}, which is more channels than samples; "
            "pass its transpose."
        )
    if effect.channels > 1 and (audio.dim() == 1 or audio.shape[-2] != effect.channels):
        raise ShapeError(f"{effect.slug} expects {effect.channels} channels, got audio of shape {tuple(audio.shape)}.")
    return audio.reshape(audio.shape[:-1].numel() // effect.channels, effect.channels, audio.shape[-1])


def _as_kind_of(example: Audio, audio: Tensor) -> Audio:
    if isinstance(example, np.ndarray):
        return audio.numpy().astype(example.dtype, copy=False)  # type: ignore[return-value]
    return audio  # type: ignore[return-value]


def _as_arrays(knobs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Knob values that are tensors or lists as arrays, the others as they are."""

    def convert(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().cpu().numpy()
        return np.asarray(value) if isinstance(value, (list, tuple)) else value

    if not isinstance(knobs, Mapping | None):
        raise KnobError(f"expected knob values by name, such as {{'drive': 0.5}}, got {type(knobs).__name__}.")
    return {name: convert(value) for name, value in (knobs or {}).items()}


def _last(knobs: Knobs) -> Knobs:
    """Where the knobs stand after a block, shape (knobs,)."""
    return knobs[-1] if knobs.ndim == 2 else knobs


def _without_denormals(state: Tensor) -> Tensor:
    """A part of a state whose decayed values have arrived at 0."""
    if not (state.is_floating_point() or state.is_complex()):
        return state
    return torch.where(state.abs() < INAUDIBLE, torch.zeros_like(state), state)


def _floating_example(network: Network) -> Tensor:
    """A tensor with the device and dtype in which the network runs."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))


@contextlib.contextmanager
def _sharing_cores() -> Iterator[None]:
    """One thread for torch while the compiler works: two that wait for each other at every sample would crawl."""
    threads = torch.get_num_threads()
    alone = threads == 1 or not is_compiling()
    if not alone:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if not alone:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """The network in evaluation mode; when no thread needs that any more, every part of it is as before."""
    with _lock:
        users, training = _in_evaluation.get(network, (0, []))
        if not users:
            training = [module for module in network.modules() if module.training]
            network.eval()
        _in_evaluation[network] = users + 1, training
    try:
        yield
    finally:
        with _lock:
            users, training = _in_evaluation.pop(network)
            if users > 1:
                _in_evaluation[network] = users - 1, training
            else:
                for module in training:
                    module.training = True
