"""Figures: data in, matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

Signal = npt.NDArray[np.floating]
# Drawn during training: a layout that is found, and all lines of a logarithmic grid, would take most of the time.
MARGINS = {"left": 0.085, "right": 0.985, "bottom": 0.14, "top": 0.84, "wspace": 0.2}
FREQUENCIES = {50: "50", 100: "100", 200: "200", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10_000: "10k"}
COLOURS = {"dry": "#9aa5b1", "wet": "#d1495b", "target": "#222222", "model": "#d1495b"}


def plot_signals(signals: Mapping[str, Signal], sample_rate: int, title: str = "", window_ms: float = 20.0) -> Figure:
    """Waveform around the loudest moment, and long-term spectrum, of several versions of one sound.

    Args:
        signals: Sounds of one length by name, each of shape (time,); the last is drawn on top.
        sample_rate: In Hz.
        title: Heading.
        window_ms: Length of the part of the waveform that is shown, in ms.

    Returns:
        The figure, not bound to any display.
    """
    figure = Figure(figsize=(10, 3.6))
    wave, spectrum = figure.subplots(1, 2, gridspec_kw=MARGINS)
    reference = next(iter(signals.values()))
    length = min(len(reference), max(2, round(window_ms * sample_rate / 1000)))
    start = int(np.clip(np.argmax(np.abs(reference)) - length // 2, 0, len(reference) - length))
    for name, signal in signals.items():
        style = {"label": name, "color": COLOURS.get(name), "linewidth": 1.2}
        wave.plot(np.arange(length) * 1000 / sample_rate, signal[start : start + length], **style)
        frequency, level_db = long_term_spectrum(signal, sample_rate)
        spectrum.semilogx(frequency, level_db, **style)
    wave.set(xlabel="time (ms)", ylabel="amplitude", title="waveform")
    spectrum.set_xticks(*zip(*FREQUENCIES.items()))
    spectrum.minorticks_off()
    spectrum.set(xlabel="frequency (Hz)", ylabel="level (dB)", title="spectrum", xlim=(20, sample_rate / 2))
    spectrum.grid(True, alpha=0.2)
    wave.grid(True, alpha=0.2)
    wave.legend(loc="upper right")
    figure.suptitle(title)
    return figure


def long_term_spectrum(signal: Signal, sample_rate: int, size: int = 4096) -> tuple[Signal, Signal]:
    """Mean power spectrum in Hann windows, in dB relative to a full-scale sine, floored at -120 dB.

    Args:
        signal: Shape (time,); shorter ones than ``size`` are padded.
        sample_rate: In Hz.
        size: Window in samples; windows overlap by half.

    Returns:
        Frequencies above 0 in Hz and levels in dB, both of shape (size / 2,).
    """
    padded = np.pad(signal.astype(np.float64), (0, max(0, size - len(signal))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2] * np.hanning(size)
    power = (np.abs(np.fft.rfft(windows, axis=-1)) / (size / 4)) ** 2
    level_db = 10 * np.log10(np.maximum(power.mean(axis=0), 1e-12))
    return np.fft.rfftfreq(size, 1 / sample_rate)[1:], level_db[1:]
