"""Figures of measurements with test signals: results by name in, matplotlib Figure out.

Each takes one result or several, such as a device and its model, or one model at several settings of its knobs. Of one
result the levels are told apart by colour; of several, the results are, and three of the levels by the kind of line.
The result named "target" has a colour of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from neuralfx.metrics.device import (
    Aliasing,
    AttackRelease,
    DeviceMeasurements,
    FrequencyResponse,
    GainCurve,
    HarmonicDistortion,
    TransferCurve,
)
from neuralfx.metrics.device.signals import Array
from neuralfx.reports.evaluation_figures import DRY, GRID, INK, choose_colours

LINES = ("-", "--", ":")
THD_FLOOR_PERCENT = 1e-3
HARMONICS_FLOOR_DB = -120.0
CHARACTER_INCHES = 0.055  # of a legend
REFERENCE = {"color": DRY, "linewidth": 0.8, "linestyle": ":"}


def plot_device(measured: Mapping[str, DeviceMeasurements], title: str = "") -> dict[str, Figure]:
    """All figures by name: ``response``, ``distortion``, ``gain``, ``transfer`` and ``aliasing``.

    Args:
        measured: Measurements by the name that the legend shows, at least one.
        title: Start of the headings.
    """
    heading = f"{title}: " if title else ""

    def part(name: str) -> dict[str, Any]:
        return {label: getattr(result, name) for label, result in measured.items()}

    return {
        "response": plot_frequency_response(part("response"), f"{heading}frequency response"),
        "distortion": plot_harmonic_distortion(part("distortion"), f"{heading}harmonic distortion"),
        "gain": plot_compression(part("gain"), part("steps"), f"{heading}gain over level and time"),
        "transfer": plot_transfer_curve(part("transfer"), f"{heading}transfer curve"),
        "aliasing": plot_aliasing(part("aliasing"), f"{heading}aliasing"),
    }


def plot_frequency_response(results: Mapping[str, FrequencyResponse], title: str = "") -> Figure:
    """Magnitude and group delay over frequency, at every level.

    Args:
        results: By the name that the legend shows.
        title: Heading.
    """
    figure, (magnitude, delay) = _figure(title, "", "")
    for name, result in results.items():
        labels = [_level(level_db) for level_db in result.levels_db]
        for row, style in _styles(results, name, labels):
            heard = np.where(result.magnitude_db[row] > -190.0, result.magnitude_db[row], np.nan)
            magnitude.plot(result.frequencies_hz, heard, **style)
            delay.plot(result.frequencies_hz, result.group_delay_ms[row], **style)
    for axes in (magnitude, delay):
        _frequency_axis(axes, results)
    magnitude.set(ylabel="magnitude (dB)")
    delay.set(ylabel="group delay (ms)")
    _widen(magnitude, 6.0)
    _widen(delay, 1.0)
    _legend(figure, magnitude)
    return figure


def plot_harmonic_distortion(results: Mapping[str, HarmonicDistortion], title: str = "") -> Figure:
    """Total harmonic distortion over level and over frequency; of a single result the harmonics over level as well.

    Args:
        results: By the name that the legend shows.
        title: Heading.
    """
    alone = len(results) == 1
    panel_titles = ("over level", "over frequency", "harmonics")
    figure, panels = _figure(title, *panel_titles[: 3 if alone else 2])
    over_level, over_frequency = panels[:2]
    for name, result in results.items():
        percent = np.maximum(100.0 * result.thd, THD_FLOOR_PERCENT)
        for column, style in _styles(results, name, [_hertz(frequency) for frequency in result.frequencies_hz]):
            over_level.plot(result.levels_db, percent[:, column], marker=".", **style)
        for row, style in _styles(results, name, [_level(level_db) for level_db in result.levels_db]):
            over_frequency.plot(result.frequencies_hz, percent[row], marker=".", **style)
    for axes in (over_level, over_frequency):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(0.7 * THD_FLOOR_PERCENT, max(axes.get_ylim()[1], 2.0))
        _legend(axes, axes)
    over_level.set(xlabel="input level (dBFS)", ylabel="THD (%)")
    _frequency_axis(over_frequency, results)
    if alone:
        _plot_harmonics(panels[2], next(iter(results.values())))
    return figure


def plot_compression(curves: Mapping[str, GainCurve], steps: Mapping[str, AttackRelease], title: str = "") -> Figure:
    """Output over input level, and the gain after a step up and a step down.

    Dots on the traces are where 63 % of the change is reached; the cross on a curve is the middle of its knee.

    Args:
        curves: By the name that the legend shows.
        steps: Results of the same names.
        title: Heading.
    """
    figure, (static, attack, release) = _figure(title, "static curve", "attack", "release")
    for name, curve in curves.items():
        for row, style in _styles(curves, name, [_hertz(frequency) for frequency in curve.frequencies_hz]):
            static.plot(curve.levels_db, curve.output_db[row], marker=".", **style)
            knee = curve.knees[row]
            if knee is not None:
                middle = np.interp(knee.threshold_db, curve.levels_db, curve.output_db[row])
                static.plot(knee.threshold_db, middle, "x", color=INK, markersize=7, zorder=3)
    ends = static.get_xlim()
    static.plot(ends, ends, **REFERENCE)
    static.set(xlabel="input level (dBFS)", ylabel="output level (dBFS)", xlim=ends)
    first = next(iter(steps.values()))
    attack.set(xlabel=f"time after the step to {first.high_db:g} dBFS (ms)", ylabel="gain (dB)")
    release.set(xlabel=f"time after the step to {first.low_db:g} dBFS (ms)")
    _plot_traces(attack, {n: (s.attack_time_ms, s.attack_gain_db, s.attack_ms) for n, s in steps.items()})
    _plot_traces(release, {n: (s.release_time_ms, s.release_gain_db, s.release_ms) for n, s in steps.items()})
    low, high = (function([axes.get_ylim() for axes in (attack, release)]) for function in (np.min, np.max))
    for axes in (attack, release):
        axes.set_ylim(low, high)
        _widen(axes, 3.0)
    for axes in (static, attack, release):
        _legend(axes, axes)
    return figure


def plot_transfer_curve(results: Mapping[str, TransferCurve], title: str = "") -> Figure:
    """Output over input amplitude, rising and falling; and once the phase of the fundamental is taken out.

    Args:
        results: By the name that the legend shows.
        title: Heading.
    """
    figure, (loop, aligned) = _figure(
        title, "rising (solid) and falling (dashed)", "phase of the fundamental taken out"
    )
    for name, result in results.items():
        _, style = next(_styles(results, name, [""]))
        label = f"{name}: loop of {100.0 * result.hysteresis:.1f} %"
        loop.plot(result.input, result.up, **(style | {"label": label}))
        loop.plot(result.input, result.down, **(style | {"label": None, "linestyle": "--"}))
        aligned.plot(result.input, result.aligned, **(style | {"label": f"{name}: {result.phase_deg:.1f}°"}))
    loop.set(ylabel="output amplitude")
    for axes in (loop, aligned):
        axes.set(xlabel="input amplitude")
        seen = {"xlim": axes.get_xlim(), "ylim": axes.get_ylim()}
        axes.plot(seen["xlim"], seen["xlim"], **REFERENCE)
        axes.set(**seen)
        _legend(axes, axes)
    return figure


def plot_aliasing(results: Mapping[str, Aliasing], title: str = "") -> Figure:
    """Energy off the harmonics over the frequency of the sine, at every level, and the floor of the measurement.

    Args:
        results: By the name that the legend shows.
        title: Heading.
    """
    figure, (axes,) = _figure(title, "")
    for name, result in results.items():
        for row, style in _styles(results, name, [_level(level_db) for level_db in result.levels_db]):
            axes.plot(result.frequencies_hz, result.ratio_db[row], marker=".", **style)
    first = next(iter(results.values()))
    axes.plot(first.frequencies_hz, first.floor_db.max(axis=0), label="floor", **REFERENCE)
    _frequency_axis(axes, results)
    axes.set(xlabel="frequency of the sine (Hz)", ylabel="energy off the harmonics (dB)")
    _legend(figure, axes)
    return figure


def _plot_harmonics(axes: Any, result: HarmonicDistortion) -> None:
    """Harmonics relative to the fundamental over level, at the frequency nearest to 1 kHz."""
    column = int(np.argmin(np.abs(np.log(result.frequencies_hz / 1000.0))))
    relative_db = result.harmonics_db[:, column] - result.harmonics_db[:, column, :1]
    shown = range(1, min(7, relative_db.shape[1]))
    for index in shown:
        level_db = np.where(relative_db[:, index] > HARMONICS_FLOOR_DB, relative_db[:, index], np.nan)
        colour = _scale(index - 1, len(shown))
        axes.plot(result.levels_db, level_db, marker=".", color=colour, linewidth=1.2, label=f"{index + 1}.")
    axes.set(
        xlabel="input level (dBFS)",
        ylabel=f"relative to the fundamental of {_hertz(result.frequencies_hz[column])} (dB)",
        ylim=(HARMONICS_FLOOR_DB, 5.0),
    )
    _legend(axes, axes)


def _plot_traces(axes: Any, traces: Mapping[str, tuple[Array, Array, float]]) -> None:
    """Gains over time by name, with the time to 63 %; shows six times the slowest, all of it if there is none."""
    for name, (time_ms, gain_db, at_ms) in traces.items():
        _, style = next(_styles(traces, name, [""]))
        known = np.isfinite(at_ms)
        said = "no change" if not known else "below 1 ms" if at_ms < 1.0 else f"{at_ms:.3g} ms"
        axes.plot(time_ms, gain_db, **(style | {"label": f"{name}: {said}"}))
        if known:
            axes.plot(at_ms, np.interp(at_ms, time_ms, gain_db), "o", color=style["color"], markersize=5)
    slow = [6.0 * at_ms for _, _, at_ms in traces.values() if np.isfinite(at_ms)]
    longest = max(float(time_ms[-1]) for time_ms, _, _ in traces.values())
    axes.set_xlim(0.0, min(max([10.0, *slow]), longest) if slow else longest)


def _figure(title: str, *titles: str) -> tuple[Figure, Any]:
    """A figure with one panel per title."""
    figure = Figure(figsize=(10, 4.2) if len(titles) > 1 else (6.5, 4.2), layout="constrained")
    figure.suptitle(title, color=INK, fontsize=11)
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    for axes, text in zip(panels, titles):
        axes.set_title(text, color=INK, fontsize=9)
        style_axes(axes, 9)
    return figure, panels


def style_axes(axes: Any, label_size: float) -> None:
    """Give axes the colours of a page and a grid.

    Args:
        axes: Of matplotlib.
        label_size: Size of their labels, in points.
    """
    axes.tick_params(colors=INK, which="both", labelsize=8)
    axes.spines[:].set_color(GRID)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=label_size)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _styles(results: Mapping[str, Any], name: str, labels: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows that are shown of one result, each with colour, line and label: all rows of a single one, else three."""
    rows = list(range(len(labels)))
    if len(results) == 1 and len(labels) > 1:
        for row in rows:
            yield row, {"color": _scale(row, len(labels)), "linewidth": 1.2, "label": labels[row]}
        return
    colour = choose_colours(other for other in results if other != "target")[name]
    shown = rows if len(rows) <= len(LINES) else [rows[0], rows[len(rows) // 2], rows[-1]]
    for line, row in zip(LINES, reversed(shown)):
        label = f"{name}, {labels[row]}" if len(labels) > 1 else name
        yield row, {"color": colour, "linestyle": line, "linewidth": 1.2, "label": label}


def _scale(row: int, rows: int) -> Any:
    """A colour that says how high a row is among others, dark to light, seen on white and on black."""
    return matplotlib.colormaps["viridis"](0.2 + 0.65 * row / max(rows - 1, 1))


def _level(level_db: float) -> str:
    return f"{level_db:g} dBFS"


def _hertz(frequency: float) -> str:
    return f"{frequency / 1000.0:.2g} kHz" if frequency >= 995.0 else f"{frequency:.0f} Hz"


def _frequency_axis(axes: Any, results: Mapping[str, Any]) -> None:
    known = np.concatenate([result.frequencies_hz for result in results.values()])
    axes.set(xscale="log", xlabel="frequency (Hz)", xlim=(known.min() / 1.15, known.max() * 1.15))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda hertz, _: f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())


def _widen(axes: Any, least: float) -> None:
    """Show at least this range, so that a flat curve looks flat."""
    low, high = axes.get_ylim()
    if high - low < least:
        axes.set_ylim((low + high - least) / 2.0, (low + high + least) / 2.0)


def _legend(place: Any, axes: Any) -> None:
    """A legend below the axes, or below all of a figure, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    room = axes.figure.get_figwidth()
    below: dict[str, Any] = {"loc": "outside lower center"}
    if place is axes:
        room *= 0.85 / axes.get_gridspec().ncols
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
    longest = max(len(label) for label in labels) + 10  # of lines and gaps
    below["ncols"] = max(1, int(room / CHARACTER_INCHES / longest))
    place.legend(handles, labels, frameon=False, labelcolor=INK, fontsize="x-small", **below)
