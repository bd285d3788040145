"""Figures of an evaluation: excerpts in, matplotlib Figures out; and a Figure as SVG that follows a page's colours."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from neuralfx.metrics.rms_envelope import rms_envelope

Signal = npt.NDArray[np.floating]

# Drawn in these colours; a page replaces them by its variables of the same name, so that they suit light and dark.
INK, GRID = "#1c2024", "#d9dde2"
DRY, TARGET = "#8a93a0", "#23272e"
MODELS = ("#c8324b", "#1668c4", "#0f8a5f", "#9a5bd0", "#c07a12", "#0b8fa3", "#b0489a", "#6b7a1e")
VARIABLES = {INK: "ink", GRID: "grid", DRY: "dry", TARGET: "target"} | {
    colour: f"model{index}" for index, colour in enumerate(MODELS)
}

ENVELOPE_WINDOW, ENVELOPE_HOP = 4096, 1024  # paper 1, figure 4: 4096 samples, 75 % overlap
SPECTROGRAM_WINDOW, SPECTROGRAM_HOP = 2048, 1536  # paper 1, figure 5: 2048 samples, 25 % overlap
FLOOR_DB = -140.0
RANGE_DB = 80.0  # of spectrograms


def choose_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each model, the same wherever it appears; the identity has that of the dry sound.

    Args:
        names: Of models and baselines; colours begin anew after eight.
    """
    models = [name for name in names if name != "identity"]
    chosen = {name: MODELS[index % len(MODELS)] for index, name in enumerate(models)}
    return {"dry": DRY, "identity": DRY, "target": TARGET, **chosen}


def spectrogram_db(signal: Signal, window: int = SPECTROGRAM_WINDOW, hop: int = SPECTROGRAM_HOP) -> Signal:
    """Magnitudes in Hann windows in dB relative to a full-scale sine, at least -140, shape (windows, frequencies)."""
    spectra = np.fft.rfft(_frames(signal, window, hop) * np.hanning(window), axis=-1)
    return np.asarray(20 * np.log10(np.maximum(np.abs(spectra) / (window / 4), 10 ** (FLOOR_DB / 20))))


def plot_envelope(
    target: Signal, estimates: Mapping[str, Signal], sample_rate: int, colours: Mapping[str, str]
) -> Figure:
    """RMS envelope of target and estimates over time, as in paper 1's figure 4.

    Args:
        target: Recorded output, shape (time,).
        estimates: Outputs of models by name, same shape.
        sample_rate: In Hz.
        colours: By name, from :func:`choose_colours`.
    """
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    axes = _axes(figure, "time (s)", "RMS, linear")
    for name, signal in {"target": target, **estimates}.items():
        envelope = rms_envelope(torch.from_numpy(signal)).numpy()
        time = (ENVELOPE_HOP * np.arange(len(envelope)) + ENVELOPE_WINDOW / 2) / sample_rate
        axes.plot(time, envelope, label=name, **_line(name, colours), marker="." if len(envelope) < 40 else "")
    axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def plot_spectrograms(target: Signal, estimates: Mapping[str, Signal], sample_rate: int) -> Figure:
    """Spectrograms of target and estimates on one scale, as in paper 1's figure 5.

    Args:
        target: Recorded output, shape (time,).
        estimates: Outputs of models by name, same shape.
        sample_rate: In Hz.
    """
    signals = {"target": target, **estimates}
    levels = {name: spectrogram_db(signal) for name, signal in signals.items()}
    top = max(float(level.max()) for level in levels.values())
    columns = min(len(signals), 2)
    rows = math.ceil(len(signals) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.1 * rows + 0.2), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, level) in zip(grid.flat, levels.items()):
        _style(axes)
        extent = (0.0, len(target) / sample_rate, 0.0, sample_rate / 2000)
        axes.imshow(
            level.T, origin="lower", aspect="auto", extent=extent, vmin=top - RANGE_DB, vmax=top, cmap="magma",
            interpolation="nearest",
        )  # fmt: skip
        axes.set_title(name, color=INK, fontsize=9)
    for axes in grid.flat[len(signals) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("frequency (kHz)", color=INK)
    for axes in grid[-1]:
        axes.set_xlabel("time (s)", color=INK)
    bar = figure.colorbar(grid[0, 0].images[0], ax=grid, label="dB")
    _style(bar.ax)
    bar.outline.set_edgecolor(GRID)
    return figure


def plot_spectral_difference(
    target: Signal, estimates: Mapping[str, Signal], sample_rate: int, colours: Mapping[str, str]
) -> Figure:
    """Mean absolute difference of the spectra in dB over frequency, as paper 2's figure 5 compares models.

    Args:
        target: Recorded output, shape (time,).
        estimates: Outputs of models by name, same shape.
        sample_rate: In Hz.
        colours: By name, from :func:`choose_colours`.
    """
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    axes = _axes(figure, "frequency (Hz)", "mean difference (dB)")
    hop = SPECTROGRAM_WINDOW // 4
    reference = spectrogram_db(target, hop=hop)
    frequency = np.fft.rfftfreq(SPECTROGRAM_WINDOW, 1 / sample_rate)
    edges = np.unique(np.round(np.geomspace(1, len(frequency), 130)).astype(int))
    centres = np.sqrt(frequency[edges[:-1]] * frequency[edges[1:] - 1])
    for name, signal in estimates.items():
        difference = np.abs(spectrogram_db(signal, hop=hop) - reference).mean(axis=0)
        bands = np.add.reduceat(difference[: edges[-1]], edges[:-1]) / np.diff(edges)
        axes.plot(centres, bands, label=name, **_line(name, colours))
    axes.set_xscale("log")
    axes.set_xlim(20, sample_rate / 2)
    axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def plot_transfer(
    dry: Signal, target: Signal, estimates: Mapping[str, Signal], colours: Mapping[str, str], bins: int = 64
) -> Figure:
    """Output against input: the median and the range of 5 to 95 % of the output samples at each input level.

    Args:
        dry: Input, shape (time,).
        target: Recorded output, same shape.
        estimates: Outputs of models by name, same shape.
        colours: By name, from :func:`choose_colours`.
        bins: Input levels.
    """
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axes = _axes(figure, "input amplitude", "output amplitude")
    reach = float(np.quantile(np.abs(dry), 0.999)) or 1.0
    edges = np.linspace(-reach, reach, bins + 1)
    places = np.digitize(dry, edges) - 1
    for name, signal in {"target": target, **estimates}.items():
        found = [
            (0.5 * (edges[place] + edges[place + 1]), *np.percentile(signal[places == place], [5, 50, 95]))
            for place in range(bins)
            if (places == place).sum() >= 20
        ]
        if not found:
            continue
        level, low, middle, high = np.asarray(found).T
        line = _line(name, colours)
        axes.plot(level, middle, label=name, **line)
        axes.fill_between(level, low, high, color=line["color"], alpha=0.16, linewidth=0)
    _legend(axes, columns=1)
    return figure


def plot_takes(
    names: Sequence[str], values: Mapping[str, Sequence[float]], unit: str, colours: Mapping[str, str]
) -> Figure:
    """A measure of every take for several models, on a logarithmic scale; takes sorted by the first model.

    Args:
        names: Names of the takes.
        values: By name of the model, a value per take.
        unit: What is measured.
        colours: By name, from :func:`choose_colours`.
    """
    first = np.nan_to_num(np.asarray(next(iter(values.values())), dtype=np.float64), nan=np.inf)
    order = np.argsort(-first, kind="stable")
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    axes = _axes(figure, f"take, worst of {next(iter(values))} first", unit)
    for index, (name, column) in enumerate(values.items()):
        style = {**_line(name, colours), "linestyle": "none", "marker": "os^Dv<>P"[index % 8], "markersize": 4.5}
        axes.plot(np.arange(1, len(names) + 1), np.asarray(column, dtype=np.float64)[order], label=name, **style)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    axes.yaxis.set_minor_formatter(FuncFormatter(_plain))
    if len(names) <= 12:
        axes.set_xticks(np.arange(1, len(names) + 1))
    _legend(axes)
    return figure


def draw_wave(signal: Signal, peak: float, width: int = 1200, height: int = 100) -> str:
    """A waveform as the data of an SVG path: for each column, from its lowest to its highest sample.

    Args:
        signal: Shape (time,).
        peak: Amplitude that reaches the edges.
        width: Columns.
        height: Of the box; 0 amplitude lies in its middle.

    Returns:
        The ``d`` of a closed path.
    """
    edges = np.linspace(0, len(signal), min(width, len(signal)) + 1).astype(int)
    low = np.minimum.reduceat(signal, edges[:-1])
    high = np.maximum.reduceat(signal, edges[:-1])
    across = np.linspace(0, width, len(low))
    scale = height / 2 / (peak or 1.0)
    upper = [f"{x:.0f} {height / 2 - scale * y:.1f}" for x, y in zip(across, np.clip(high, -peak, peak))]
    lower = [f"{x:.0f} {height / 2 - scale * y + 0.4:.1f}" for x, y in zip(across, np.clip(low, -peak, peak))]
    return f"M{'L'.join(upper)}L{'L'.join(reversed(lower))}Z"


def figure_to_svg(figure: Figure, label: str, prefix: str) -> str:
    """A figure as an SVG element that can stand in a page: its colours are the page's variables.

    Args:
        figure: A figure of this module.
        label: What it shows, for people who do not see it.
        prefix: Put before all its ids, so that several figures can stand in one page.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"([^>]*?)height="[^"]*"', r"<svg \1\2", svg, count=1)
    escaped = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escaped}" ', 1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, name in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", svg)


def _frames(signal: Signal, window: int, hop: int) -> Signal:
    padded = np.pad(np.asarray(signal, dtype=np.float64), (0, max(0, window - len(signal))))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]


def _line(name: str, colours: Mapping[str, str]) -> dict[str, Any]:
    return {"color": colours[name], "linewidth": 2.0 if name == "target" else 1.3}


def _plain(value: float, _: object) -> str:
    return f"{value:g}"


def _axes(figure: Figure, across: str, up: str) -> matplotlib.axes.Axes:
    axes = figure.subplots()
    _style(axes)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def _style(axes: matplotlib.axes.Axes) -> None:
    axes.tick_params(colors=INK, which="both", labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _legend(axes: matplotlib.axes.Axes, columns: int = 4) -> None:
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, ncols=columns)
