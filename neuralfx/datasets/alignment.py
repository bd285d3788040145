r"""Finds by how many samples, and with which polarity, a recording lags behind what was played into the device.

A causal model can delay but not look ahead, so the wanted offset is the onset of the device's impulse response and not
the peak of a cross-correlation, which the group delay of a filter moves. Three steps:

1. A causal FIR filter is fitted at every offset at once. With the autocorrelation :math:`R = LL^T` of the dry signal
   and the cross-correlation :math:`c_o` from lag :math:`o` on, the energy it explains is :math:`\|L^{-1} c_o\|^2`; the
   offset that explains most locates the response coarsely.
2. A longer filter around it, with taps before and after, estimates the impulse response itself. Both fits are least
   squares, which takes the spectrum of the dry signal out, so that distortion and level control leave a clear peak.
3. The offset is where that response sets out; its sign there is the polarity.

Where no linear filter explains the recording, as with a filter near self-oscillation, the phase transform decides,
which weights all frequencies alike, if its peak stands out, or the onsets of the spectral envelope agree with it.

Reference:
    Knapp and Carter, "The Generalized Correlation Method for Estimation of Time Delay", IEEE Trans. ASSP 24(4), 1976.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neuralfx.errors import ShapeError

Signal = npt.NDArray[np.floating[Any]]
Array = npt.NDArray[np.float64]

# Chosen on 21 recordings of compressors, overdrives, filters, a saturator and an equaliser, offsets -1472 to 3178.
COARSE_TAPS = 256  # taps of the causal filter that is tried at every offset
REACH = 640  # samples before and after the coarse offset that the impulse response spans
RIDGE = 1e-4  # relative to the energy of the dry signal; ten times more bends steep low-passes, far less fits noise
ONSET = 0.5  # part of the response's peak at which it has certainly begun
FLOOR = 0.2  # part of the response's peak below which it has not begun
RISE_SAMPLES = 32  # within these a response rises to ONSET, or its beginning is uncertain
CLEAR = 0.5  # confidence from which the onset needs no other opinion
WINDOW, HOP = 256, 64  # of the spectral envelope, in samples
AGREEMENT_SAMPLES = 96  # the envelope knows no better; its hop and half of its window's rise
LEAD = 1.5  # by this factor the peak of the phase transform exceeds all others; unrelated music reaches 1.43
CLEAR_LEAD = 2.0  # and by this it needs no other opinion
NEAR_SAMPLES = 64  # around a peak that belong to it


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How a recorded take lies relative to its input.

    Attributes:
        offset_samples: ``wet[n + offset_samples]`` belongs to ``dry[n]``; positive where the wet file is late.
        polarity: 1, or -1 where the device turns the signal upside down; 1 where only the phase transform decided,
            which knows nothing of it.
        confidence: 0 to 1; how much of the wet signal a linear filter explains and how suddenly its response begins,
            or by how much the peak of the phase transform leads.
        method: ``onset``, or ``phase transform`` where the onset is not clear.
    """

    offset_samples: int = 0
    polarity: int = 1
    confidence: float = 0.0
    method: str = "onset"


class Peak(NamedTuple):
    """What a correlation of the two signals says.

    Attributes:
        lag: Where it is largest, in samples; positive where the wet signal is late.
        sign: 1 or -1, the sign there.
        lead: How many times larger it is than anywhere else; near 1 where it says nothing.
    """

    lag: int
    sign: int
    lead: float


def estimate_alignment(dry: Signal, wet: Signal, sample_rate: int, max_offset: int = 8192) -> Alignment:
    """Estimate the constant offset and the polarity of a recording relative to its input.

    Errs by a few samples towards a late wet signal rather than one that precedes its cause.

    Args:
        dry: What went into the device, shape (time,).
        wet: What came out, shape (time,); the length may differ.
        sample_rate: Rate of both, in Hz; the first 20 s are looked at.
        max_offset: Largest offset that is considered, in samples, in both directions.

    Returns:
        The alignment; offset 0 with confidence 0 if one of the signals is silent.

    Raises:
        ShapeError: If a signal has more than one dimension or fewer than 1024 samples.
    """
    for name, signal in (("dry", dry), ("wet", wet)):
        if signal.ndim != 1 or signal.shape[0] < 1024:
            raise ShapeError(
                f"alignment: expected {name} of shape (time,) and at least 1024 samples, got {signal.shape}."
            )
    longest = 20 * sample_rate
    dry, wet = dry[:longest].astype(np.float64), wet[:longest].astype(np.float64)
    if not np.ptp(dry) or not np.ptp(wet):
        return Alignment()
    limit = min(max_offset, (min(len(dry), len(wet)) - 1) // 2)
    found = find_onset(dry, wet, limit)
    if found.confidence >= CLEAR:
        return found
    phase = phase_transform(dry, wet, limit)
    if phase.lead < LEAD or abs(found.offset_samples - phase.lag) <= AGREEMENT_SAMPLES:
        return found
    if phase.lead < CLEAR_LEAD and abs(phase.lag - envelope_onsets(dry, wet, limit).lag) > AGREEMENT_SAMPLES:
        return found
    return Alignment(phase.lag, 1, 1.0 - 1.0 / phase.lead, "phase transform")


def find_onset(dry: Signal, wet: Signal, limit: int) -> Alignment:
    """Where the device's linear impulse response sets out: the three steps at the top of this file.

    Args:
        dry: What went into the device, shape (time,), not constant.
        wet: What came out, shape (time,), not constant.
        limit: Largest offset that is considered, in samples, less than half of the shorter signal.
    """
    x, y = _differences(dry, wet)
    energy = float(y @ y)
    auto, cross = _correlate(x, y, limit + REACH + COARSE_TAPS)

    lags = np.arange(-limit, limit + COARSE_TAPS)
    factor = np.linalg.cholesky(_toeplitz(auto[:COARSE_TAPS]))
    windows = np.lib.stride_tricks.sliding_window_view(cross[lags], COARSE_TAPS)
    explained = np.square(np.linalg.solve(factor, windows.T)).sum(axis=0) / energy
    coarse = int(explained.argmax()) - limit

    lags, response = _response(auto, cross, coarse)
    response /= np.abs(response).max()
    begun = int(np.argmax(np.abs(response) >= ONSET))
    sign = 1 if response[begun] > 0 else -1
    before = np.flatnonzero(sign * response[:begun] < FLOOR)
    risen = int(before[-1]) + 1 if before.size else 0
    onset = int(lags[risen]) - round((begun - risen) * FLOOR / (ONSET - FLOOR))  # a straight line down to zero

    freedom = max(1.0 - COARSE_TAPS / len(y), 0.1)  # so many taps explain some of anything
    fit = 1.0 - min((1.0 - float(explained.max())) / freedom, 1.0)
    early = abs(float(response[max(begun - RISE_SAMPLES, 0)]))
    rise = 1.0 - min(early / abs(float(response[begun])), 1.0)
    confidence = min(max(float(np.sqrt(fit)) * rise, 0.0), 1.0)
    return Alignment(int(np.clip(onset, -limit, limit)), sign, confidence)


def cross_correlation(dry: Signal, wet: Signal, limit: int) -> Peak:
    """Largest magnitude of the plain cross-correlation; filters move it by their group delay.

    Args:
        dry: What went into the device, shape (time,).
        wet: What came out, shape (time,).
        limit: Largest offset that is considered, in samples.
    """
    return _peak(_correlate(_tapered(dry), _tapered(wet), limit)[1], limit)


def phase_transform(dry: Signal, wet: Signal, limit: int) -> Peak:
    """Largest magnitude of the cross-correlation whose spectrum is made flat (GCC-PHAT).

    Arguments as for :func:`cross_correlation`.
    """
    x, y = _tapered(dry), _tapered(wet)
    size = _fft_size(x, y, limit)
    spectrum = np.fft.rfft(x, size).conj() * np.fft.rfft(y, size)
    magnitude = np.abs(spectrum)
    return _peak(np.fft.irfft(spectrum / np.maximum(magnitude, 1e-12 * magnitude.max() + 1e-300), size), limit)


def envelope_onsets(dry: Signal, wet: Signal, limit: int) -> Peak:
    """Where the rises of the spectral envelope coincide best; blind to phase, polarity and level, to about 64 samples.

    Arguments as for :func:`cross_correlation`.
    """
    x, y = _rises(dry), _rises(wet)
    reach = limit // HOP
    size = _fft_size(x[0], y[0], reach)
    total = np.zeros(size)
    for a, b in zip(x, y):  # band by band, which bounds the memory
        energy = float((a @ a) * (b @ b))
        if energy > 0.0:
            total += np.fft.irfft(np.fft.rfft(a, size).conj() * np.fft.rfft(b, size), size) / np.sqrt(energy)
    peak = _peak(np.maximum(total, 0.0), reach, NEAR_SAMPLES // HOP + 2)
    return Peak(peak.lag * HOP, 1, peak.lead)


def linear_response(dry: Signal, wet: Signal, offset: int) -> tuple[npt.NDArray[np.signedinteger[Any]], Array]:
    """The device's linear impulse response around an offset, by least squares on the differences of both signals.

    Args:
        dry: What went into the device, shape (time,).
        wet: What came out, shape (time,).
        offset: By how many samples the wet signal is late.

    Returns:
        Lags in samples and the response there, in wet per dry amplitude; both of shape (about 1150,). All zero for a
        silent signal.
    """
    x, y = _differences(dry, wet)
    auto, cross = _correlate(x, y, abs(offset) + 2 * REACH)
    if not auto[0]:
        auto[0] = 1.0
    return _response(auto, cross, offset)


def _rises(signal: Signal) -> Array:
    """Rise of the log spectrum from window to window, less its mean, shape (bands, windows)."""
    windows = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::HOP] * np.hanning(WINDOW)
    magnitude = np.abs(np.fft.rfft(windows))
    level = np.log(magnitude + 1e-3 * np.median(magnitude.max(axis=1)) + 1e-12)
    rise = np.maximum(np.diff(level, axis=0), 0.0).T
    return np.ascontiguousarray(rise - rise.mean(axis=1, keepdims=True))


def first_swing(dry: Signal, wet: Signal, offset: int) -> int:
    """Sign of the first large swing of the response from a known offset on, 1 or -1; low frequencies count fully.

    A second opinion on polarity: filters that turn the phase by much make it differ from the sign of the onset.

    Args:
        dry: What went into the device, shape (time,).
        wet: What came out, shape (time,), longer than the offset.
        offset: By how many samples the wet signal is late.
    """
    x, y = dry.astype(np.float64), wet.astype(np.float64)
    lags, response = _response(*_correlate(x - x.mean(), y - y.mean(), abs(offset) + 2 * REACH), offset)
    response = response[(lags >= offset) & (lags < offset + REACH // 2)]
    return 1 if response[np.argmax(np.abs(response) >= ONSET * np.abs(response).max())] > 0 else -1


def _response(auto: Array, cross: Array, centre: int) -> tuple[npt.NDArray[np.signedinteger[Any]], Array]:
    """Lags around a centre, and the impulse response there as a least-squares fit."""
    lags = np.arange(centre - REACH, centre + REACH)
    matrix = _toeplitz(auto[: len(lags)])
    response: Array = np.asarray(np.linalg.solve(matrix, cross[lags]), dtype=np.float64)
    inner = slice(REACH // 10, -REACH // 10)  # the ends of the fit ring
    return lags[inner], response[inner]


def _peak(correlation: Array, limit: int, near: int = NEAR_SAMPLES) -> Peak:
    """The largest magnitude among lags -limit to limit; index -k holds lag -k."""
    values = correlation[np.arange(-limit, limit + 1)]
    size = np.abs(values)
    best = int(size.argmax())
    size[max(best - near, 0) : best + near + 1] = 0.0
    top, rest = abs(float(values[best])), float(size.max())
    lead = top / rest if rest > 0.0 else 1.0
    return Peak(best - limit, 1 if values[best] >= 0 else -1, lead)


def _tapered(signal: Signal) -> Array:
    """Without its mean, and faded in and out, because two cut edges would correlate."""
    fade = np.ones(len(signal))
    length = min(1024, len(signal) // 8)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
    fade[:length], fade[-length:] = ramp, ramp[::-1]
    faded: Array = (signal - signal.mean()) * fade
    return faded


def _fft_size(x: Array, y: Array, reach: int) -> int:
    return 1 << (max(len(x), len(y)) + reach - 1).bit_length()


def _differences(dry: Signal, wet: Signal) -> tuple[Array, Array]:
    """Both signals from sample to sample, because low frequencies say little about time."""
    return np.diff(dry.astype(np.float64)), np.diff(wet.astype(np.float64))


def _correlate(x: Array, y: Array, reach: int) -> tuple[Array, Array]:
    """Autocorrelation of ``x`` and cross-correlation of ``x`` with ``y``; index -k holds lag -k."""
    size = _fft_size(x, y, reach)
    dry, wet = np.fft.rfft(x, size), np.fft.rfft(y, size)
    return np.fft.irfft(np.abs(dry) ** 2, size), np.fft.irfft(dry.conj() * wet, size)


def _toeplitz(column: Array) -> Array:
    """Symmetric matrix with ``column`` as its first column, and the ridge on its diagonal."""
    distance = np.abs(np.subtract.outer(np.arange(len(column)), np.arange(len(column))))
    matrix: Array = column[distance] + RIDGE * column[0] * np.eye(len(column))
    return matrix
