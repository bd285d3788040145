"""Audio files and sample rates: read, write and resample; the one place where audio files and torchaudio are touched.

Reading and writing need soundfile and NumPy alone; torch is imported by the functions that resample.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import logging
import math
import os
import sys
import types
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import soundfile

from neuralfx.errors import AudioError, AudioFileError, NeuralfxError

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
Audio = TypeVar("Audio")

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".aif": "AIFF", ".aiff": "AIFF", ".ogg": "OGG", ".mp3": "MP3"}
_SUBTYPES = {"WAV": "FLOAT", "FLAC": "PCM_24", "AIFF": "FLOAT", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
_BLOCK_SAMPLES = 65_536

# The settings of librosa's former "kaiser_best", which torchaudio's documentation gives for high quality.
_ZERO_CROSSINGS = 64
_ROLLOFF = 0.9475937167399596
_BETA = 14.769656459379492
_LARGEST_TABLE = 2**24  # values of the resampling kernel, 128 MiB

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes:
        sample_rate: Sample rate in Hz.
        channels: Number of channels, 1 or more.
        samples: Length in samples per channel, 1 or more.
        format: Container as libsndfile calls it, such as ``WAV`` or ``FLAC``.
        subtype: Coding of the samples as libsndfile calls it, such as ``PCM_24``, ``FLOAT`` or ``VORBIS``.
    """

    sample_rate: int
    channels: int
    samples: int
    format: str
    subtype: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read the header of an audio file.

    Raises:
        AudioFileError: If the file is missing, empty, or no audio that can be read.
    """
    with _open(Path(path)) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)


def read(path: str | os.PathLike[str]) -> tuple[Array, int]:
    """Read an audio file as a whole.

    Returns:
        The audio, shape (channels, time), full scale 1, and its sample rate in Hz. It is float64 where the file holds
        more than float32 can (32-bit integers and doubles), else float32.

    Raises:
        AudioFileError: If the file is missing, empty, or no audio that can be read.
    """
    rate = info(path).sample_rate
    return np.concatenate(list(blocks(path)), axis=-1), rate


def read_span(path: str | os.PathLike[str], start: int, stop: int) -> npt.NDArray[np.float32]:
    """Read the samples from ``start`` up to ``stop`` without reading what lies before them.

    Args:
        path: Audio file.
        start: First sample, 0 or more.
        stop: Sample after the last one, at most the length of the file.

    Returns:
        The audio, shape (channels, stop - start), full scale 1.

    Raises:
        AudioFileError: If the file is missing, empty, or no audio that can be read.
        AudioError: If the span lies outside the file.
    """
    with _open(Path(path)) as file, _told_as_unreadable(Path(path)):
        if not 0 <= start <= stop <= file.frames:
            raise AudioError(f"{path}: expected a span within its {file.frames} samples, got {start} to {stop}.")
        file.seek(start)
        samples: npt.NDArray[np.float32] = file.read(stop - start, dtype="float32", always_2d=True)
    if len(samples) < stop - start:
        raise AudioFileError(f"{path}: ends at sample {start + len(samples)}, before {stop}; the file is damaged.")
    return np.ascontiguousarray(samples.T)


def blocks(path: str | os.PathLike[str], block_samples: int = _BLOCK_SAMPLES) -> Iterator[Array]:
    """Read an audio file piece by piece, so that its length does not matter.

    Args:
        path: Audio file.
        block_samples: Samples per block, at least 1; the last block may be shorter.

    Yields:
        The audio of each block, shape (channels, time), float32 or float64 as from :func:`read`.

    Raises:
        AudioFileError: If the file is missing, empty, or no audio that can be read.
    """
    with _open(Path(path)) as file, _told_as_unreadable(Path(path)):
        dtype = "float64" if file.subtype in ("PCM_32", "DOUBLE") else "float32"
        while len(samples := file.read(block_samples, dtype=dtype, always_2d=True)):
            yield np.ascontiguousarray(samples.T)


def write(path: str | os.PathLike[str], audio: Array, sample_rate: int, subtype: str | None = None) -> None:
    """Write an audio file; its ending chooses the format.

    The file appears, or replaces an older one, once it is complete. Integer subtypes clip at full scale.

    Args:
        path: File ending in .wav, .flac, .aif, .aiff, .ogg or .mp3, in a folder that exists.
        audio: Samples, shape (channels, time) or (time,), full scale 1.
        sample_rate: Sample rate in Hz.
        subtype: Coding of the samples such as ``PCM_16``; None keeps all of float32 where the format can, else the
            best the format has.

    Raises:
        AudioError: If the audio is empty, not finite, of integers or not one- or two-dimensional.
        AudioFileError: If the file cannot be written.
    """
    audio = np.asarray(audio)
    if audio.ndim not in (1, 2) or not audio.size:
        raise AudioError(f"expected audio of shape (channels, time) or (time,), got shape {audio.shape}.")
    if audio.dtype.kind != "f":
        raise AudioError(f"expected floating-point audio, got {audio.dtype}; divide integers by their full scale.")
    if not np.isfinite(audio).all():
        raise AudioError("expected finite audio, got NaN or infinity; remove them before writing.")
    rows = np.atleast_2d(audio)
    with writer(path, sample_rate, len(rows), subtype) as add:
        add(rows)


@contextlib.contextmanager
def writer(path: str | os.PathLike[str], sample_rate: int, channels: int, subtype: str | None = None) -> Iterator[Any]:
    """Write an audio file piece by piece; it appears under its name when the ``with`` block ends without an error.

    Args:
        path: File ending in .wav, .flac, .aif, .aiff, .ogg or .mp3, in a folder that exists.
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        subtype: As for :func:`write`.

    Yields:
        A function that appends audio of shape (channels, time).

    Raises:
        AudioFileError: If the file cannot be written. Nothing is left behind and an older file is untouched.
    """
    path = Path(path)
    file_format = format_of(path)
    if not path.parent.is_dir():
        raise AudioFileError(f"cannot write {path}: there is no folder {path.parent}; create it first.")
    if path.is_dir():
        raise AudioFileError(f"cannot write {path}: it is a folder; give the name of a file in it.")
    subtype = subtype or _SUBTYPES[file_format]
    if not soundfile.check_format(file_format, subtype):
        known = ", ".join(soundfile.available_subtypes(file_format))
        raise AudioFileError(f"cannot write {path}: {file_format} files hold {known}, not {subtype}.")
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with soundfile.SoundFile(part, "w", sample_rate, channels, subtype, format=file_format) as file:

            def add(audio: Array) -> None:
                # In pieces, because libsndfile's Vorbis encoder overflows its stack on long ones.
                for start in range(0, audio.shape[-1], _BLOCK_SAMPLES):
                    piece = audio[:, start : start + _BLOCK_SAMPLES].T
                    file.write(np.ascontiguousarray(piece, dtype="float64" if piece.dtype.itemsize > 4 else "float32"))

            yield add
        os.replace(part, path)
    except NeuralfxError:
        raise
    except (OSError, soundfile.LibsndfileError) as error:
        rates = " MP3 goes up to 48000 Hz and 2 channels." if file_format == "MP3" else ""
        raise AudioFileError(f"cannot write {path} ({channels} channels, {sample_rate} Hz): {error}{rates}") from error
    finally:
        part.unlink(missing_ok=True)


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's ending stands for, as libsndfile calls it.

    Raises:
        AudioFileError: If the ending is none of ``FORMATS``.
    """
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise AudioFileError(f"{path}: expected a file ending in {', '.join(FORMATS)}, got {ending or 'no ending'!r}.")
    return FORMATS[ending]


def fitting_subtype(path: str | os.PathLike[str], subtype: str) -> str:
    """The given subtype if files with this ending can hold it, else the best one that they can."""
    file_format = format_of(path)
    # What libsndfile says of MPEG in WAV depends on whether it reads or writes.
    fits = soundfile.check_format(file_format, subtype) and (file_format == "MP3" or not subtype.startswith("MPEG"))
    return subtype if fits else _SUBTYPES[file_format]


def resample(audio: Audio, from_hz: int, to_hz: int) -> Audio:
    """Change the sample rate of a whole signal, with a Kaiser-windowed sinc of 64 zero crossings.

    Computed in float64, by torchaudio where it can be imported and else by :class:`Resampler`, to the same result.

    Args:
        audio: NumPy array or torch tensor of floats, shape (..., time).
        from_hz: Sample rate of the audio, in Hz.
        to_hz: Sample rate of the result, in Hz.

    Returns:
        Same kind, dtype and device, shape (..., ceil(time * to_hz / from_hz)). Sample 0 stays where it is.

    Raises:
        AudioError: If the audio is not floating-point or a rate is not a positive integer.
    """
    import torch

    _check_rate(from_hz)
    _check_rate(to_hz)
    if not isinstance(audio, torch.Tensor):
        array = np.asarray(audio)
        _check_floating(array.dtype.kind == "f", array.dtype)
        exact_array = resample(torch.from_numpy(array.astype(np.float64)), from_hz, to_hz).numpy()
        return exact_array.astype(array.dtype)  # type: ignore[return-value]
    _check_floating(audio.is_floating_point(), audio.dtype)
    if from_hz == to_hz or not audio.numel():
        return audio
    device = torch.device("cpu") if audio.device.type == "mps" else audio.device  # mps has no float64
    exact = audio.to(device).to(torch.float64)
    divisor = math.gcd(from_hz, to_hz)
    backend = torchaudio_functional()
    if backend is not None and from_hz * to_hz // divisor**2 <= 2**22:  # torchaudio's table grows with this product
        result: torch.Tensor = backend.resample(
            exact,
            from_hz,
            to_hz,
            lowpass_filter_width=_ZERO_CROSSINGS,
            rolloff=_ROLLOFF,
            resampling_method="sinc_interp_kaiser",
            beta=_BETA,
        )
    else:
        resampler = Resampler(from_hz, to_hz)
        rows = exact.reshape(-1, exact.shape[-1])
        result = torch.cat([resampler.process(rows), resampler.flush()], dim=-1).reshape(*exact.shape[:-1], -1)
    return result.to(audio.dtype).to(audio.device)  # type: ignore[return-value]


class Resampler:
    r"""The resampling of :func:`resample` on a stream: blocks of any sizes give the same samples.

    .. math:: y_m = \sum_i x_i\, h(i - m a / b), \quad
              h(t) = c\, \mathrm{sinc}(c t)\, w(c t / 64), \quad c = \rho \min(1, b / a)

    for the ratio a/b of the rates in lowest terms, the rolloff :math:`\rho` and the Kaiser window w. An output sample
    is computed as soon as the last input sample under its window has arrived.

    Args:
        from_hz: Sample rate of the input, in Hz.
        to_hz: Sample rate of the output, in Hz.

    Attributes:
        step: Numerator a: input samples in the shortest time that is whole in both rates.
        phases: Denominator b: output samples in that time.
        width: Input samples that an output sample needs on each side of its place.
        received: Input samples so far.
        produced: Output samples so far.

    Raises:
        AudioError: If a rate is not a positive integer, or the ratio of the rates needs a table beyond 128 MiB.

    Reference:
        Smith, "Digital Audio Resampling Home Page", https://ccrma.stanford.edu/~jos/resample/.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        _check_rate(from_hz)
        _check_rate(to_hz)
        divisor = math.gcd(from_hz, to_hz)
        self.step, self.phases = from_hz // divisor, to_hz // divisor
        cutoff = _ROLLOFF * min(1.0, self.phases / self.step)
        self.width = math.ceil(_ZERO_CROSSINGS / cutoff)
        if 2 * self.width * self.phases > _LARGEST_TABLE:
            raise AudioError(
                f"cannot resample from {from_hz} to {to_hz} Hz: the ratio {self.phases}/{self.step} needs too large "
                "a table; use a standard rate such as 44100, 48000 or 96000 Hz."
            )
        # Row r belongs to the outputs at floor(m a / b) + r / b; its columns are the inputs around that place.
        places = np.arange(self.phases)[:, np.newaxis] / self.phases
        times = cutoff * (np.arange(1 - self.width, self.width + 1) - places)
        window = np.i0(_BETA * np.sqrt(np.clip(1 - (times / _ZERO_CROSSINGS) ** 2, 0, 1))) / np.i0(_BETA)
        self._table: Array = np.where(np.abs(times) < _ZERO_CROSSINGS, cutoff * np.sinc(times) * window, 0.0)
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next block is a new beginning, after silence."""
        self.received = 0
        self.produced = 0
        self._history: Tensor | None = None
        self._kernel: Tensor | None = None
        self._period: Tensor | None = None

    def available(self, received: int) -> int:
        """Output samples that exist once ``received`` input samples have arrived."""
        return max(0, -((self.width - received) * self.phases // self.step))

    def process(self, block: Tensor) -> Tensor:
        """Take in a block and give out the samples that it completes.

        Args:
            block: Next input samples, shape (rows, time); rows, dtype and device stay the same within a stream.

        Returns:
            Next output samples, shape (rows, some time, possibly 0).
        """
        import torch

        if self._history is None or self._kernel is None:
            self._history = block.new_zeros(len(block), self.width - 1)
            self._kernel = torch.from_numpy(self._table).to(block.dtype).to(block.device)
            period = self._period_table()
            self._period = None if period is None else torch.from_numpy(period).to(self._kernel)
        buffer = torch.cat([self._history, block], dim=-1)
        begin = self.received - self._history.shape[-1]  # place of the buffer's first sample in the stream
        self.received += block.shape[-1]
        stop = self.available(self.received)
        # Whole periods of the ratio are one convolution; before and after them every sample is a product of its own.
        periods = stop // self.phases - -(-self.produced // self.phases) if self._period is not None else 0
        first = -(-self.produced // self.phases) * self.phases if periods > 0 else stop
        last = first + max(periods, 0) * self.phases
        parts = [self._gather(buffer, begin, self.produced, first)]
        if periods > 0 and self._period is not None:
            start = first // self.phases * self.step + 1 - self.width - begin
            heard = buffer[:, start : start + (periods - 1) * self.step + self._period.shape[-1]]
            together = torch.nn.functional.conv1d(heard.unsqueeze(1), self._period, stride=self.step)
            parts.append(together.transpose(1, 2).flatten(1))
        parts.append(self._gather(buffer, begin, last, stop))
        self.produced = stop
        next_input = stop * self.step // self.phases + 1 - self.width
        self._history = buffer[:, next_input - begin :].clone()
        return torch.cat(parts, dim=-1)

    def _gather(self, buffer: Tensor, begin: int, first: int, stop: int) -> Tensor:
        """Output samples from ``first`` to ``stop``, each the product of its row of the table with what it sees."""
        import torch

        assert self._kernel is not None
        length = 2 * self.width
        count = max(1, 2**20 // (length * max(1, len(buffer))))  # bounds the memory of the gathered windows
        parts = [buffer[:, :0]]
        for sample in range(first, stop, count):
            place = torch.arange(sample, min(sample + count, stop), device=buffer.device) * self.step
            first_input = place.div(self.phases, rounding_mode="floor") + (1 - self.width - begin)
            windows = buffer.unfold(-1, length, 1)[:, first_input]
            parts.append((windows * self._kernel[place % self.phases]).sum(-1))
        return torch.cat(parts, dim=-1)

    def _period_table(self) -> Array | None:
        """All rows of the table at their places in a period, shape (phases, 1, inputs); None if that is too much."""
        inputs = 2 * self.width + (self.phases - 1) * self.step // self.phases
        if inputs * self.phases > _LARGEST_TABLE // 16:
            return None
        table = np.zeros((self.phases, 1, inputs))
        for sample in range(self.phases):
            offset, row = divmod(sample * self.step, self.phases)
            table[sample, 0, offset : offset + 2 * self.width] = self._table[row]
        return table

    def flush(self) -> Tensor:
        """Follow the input with silence until all of it has come out: ceil(received * b / a) samples in total."""
        if self._history is None:
            raise AudioError("expected audio before flush, got none; call process first.")
        return self.process(self._history.new_zeros(len(self._history), self.width))


@functools.cache
def torchaudio_functional() -> Any | None:
    """``torchaudio.functional``, or None where torchaudio is missing or beyond help.

    Its compiled part does not load beside a torch built for another platform, yet what we use of it is Python: a
    second attempt replaces the compiled part by a stand-in.
    """
    try:
        return importlib.import_module("torchaudio.functional")
    except ModuleNotFoundError:
        _log.info("torchaudio is not installed; resampling with neuralfx's own code.")
        return None
    except (ImportError, OSError, RuntimeError):
        pass
    before = _take_torchaudio_modules()
    stand_in = types.ModuleType("torchaudio._extension")
    stand_in._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    stand_in.fail_if_no_align = lambda function: function  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in
    try:
        functional = importlib.import_module("torchaudio.functional")
        _log.info("torchaudio's compiled part does not load; using its Python part.")
        return functional
    except (ImportError, OSError, RuntimeError) as error:
        _log.info("torchaudio does not load (%s); resampling with neuralfx's own code.", error)
        return None
    finally:
        _take_torchaudio_modules()
        sys.modules.update(before)


def _take_torchaudio_modules() -> dict[str, types.ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]
    return {name: sys.modules.pop(name) for name in names}


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    """An audio file open for reading, which holds at least one sample."""
    if not path.exists():
        raise AudioFileError(f"there is no file {path}; check the path.")
    if path.is_dir():
        raise AudioFileError(f"{path} is a folder; give an audio file in it.")
    format_of(path)
    if not path.stat().st_size:
        raise AudioFileError(f"{path} is an empty file of 0 bytes; record or copy it again.")
    with _told_as_unreadable(path):
        file = soundfile.SoundFile(path)
    with file:
        if not file.frames:
            raise AudioFileError(f"{path} holds no samples; record or copy it again.")
        yield file


@contextlib.contextmanager
def _told_as_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioFileError(
            f"{path} is no audio that can be read ({reason}); expected WAV, FLAC, AIFF, OGG or MP3."
        ) from error


def _check_rate(rate: object) -> None:
    if not isinstance(rate, (int, np.integer)) or isinstance(rate, bool) or not 0 < rate <= 1_000_000:
        raise AudioError(f"expected a sample rate as a positive integer of at most 1000000 Hz, got {rate!r}.")


def _check_floating(is_floating: bool, dtype: object) -> None:
    if not is_floating:
        raise AudioError(f"expected floating-point audio, got {dtype}; divide integers by their full scale.")
