"""What the gallery shows and plays of a model: a picture of test signals, and the example riff through it."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image  # which matplotlib brings

from neuralfx import audio
from neuralfx.datasets.manifest import KnobValue
from neuralfx.metrics.device import measure_frequency_response, measure_gain_curve, measure_transfer_curve
from neuralfx.models.base import EffectModule
from neuralfx.reports.device_figures import style_axes
from neuralfx.reports.evaluation_figures import DRY, INK, MODELS
from neuralfx.reports.loudness import SILENCE_LUFS, loudness_lufs
from neuralfx.text import describe_knobs

LOUDNESS_LUFS = -23.0
HEADROOM = 0.89  # full scale less 1 dB
MOST_GAIN_DB = 40.0  # beyond it only noise would get louder
SWEEP_DB = -20.0
SINE_HZ = 1000.0
SHAPE_HZ = 100.0
SHAPE_DB = -12.0
COLOURS = 64
RANGE_DB = 60.0
FREQUENCIES = {100: "100", 1000: "1k", 10_000: "10k"}


def write_dry(path: Path) -> None:
    """Write the example riff as it is, at the loudness of all sounds of the gallery.

    Args:
        path: File ending in ``.mp3``.

    Raises:
        AudioFileError: If it cannot be written.
    """
    write_sound(path, lambda dry, sample_rate: dry)


def write_sound(path: Path, process: Callable[..., audio.Array]) -> None:
    """Write the example riff behind an effect, at the loudness of all sounds of the gallery.

    Args:
        path: File ending in ``.mp3``, which every browser plays and of which the same sound gives the same bytes.
        process: Takes the riff, shape (1, time), and ``sample_rate`` in Hz; returns as many samples.

    Raises:
        AudioFileError: If it cannot be written.
        AudioError: If the output is not finite.
    """
    with resources.as_file(resources.files("neuralfx") / "examples" / "riff.flac") as riff:
        dry, rate = audio.read(riff)
    wet = process(dry, sample_rate=rate)
    audio.write(path, _at_loudness(wet[0], rate)[np.newaxis], rate)


def write_picture(path: Path, model: EffectModule, settings: Sequence[Mapping[str, KnobValue]]) -> None:
    """Write the picture of a model.

    Args:
        path: File ending in ``.png``.
        model: A model of mono audio.
        settings: Values of all knobs, by setting.
    """
    drawn = io.BytesIO()
    plot_model(model, settings).savefig(drawn, format="png", dpi=100)
    # A few colours are all there is, and take a quarter of the bytes.
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def plot_model(model: EffectModule, settings: Sequence[Mapping[str, KnobValue]]) -> Figure:
    """Frequency response, level curve and transfer curve of a model at several settings.

    Args:
        model: A model of mono audio.
        settings: Values of all knobs, by setting; eight at most differ in colour.
    """
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    response, level, transfer = panels = figure.subplots(1, 3)
    for knobs, colour in zip(settings, MODELS):
        play, rate = functools.partial(model.process, knobs=knobs), model.sample_rate
        style: dict[str, Any] = {"color": colour, "linewidth": 1.4}
        swept = measure_frequency_response(play, rate, levels_db=[SWEEP_DB])
        response.plot(swept.frequencies_hz, swept.magnitude_db[0], label=describe_knobs(dict(knobs)), **style)
        curve = measure_gain_curve(play, rate, frequencies_hz=[SINE_HZ])
        level.plot(curve.levels_db, curve.output_db[0], **style)
        shape = measure_transfer_curve(play, rate, SHAPE_DB, SHAPE_HZ)
        transfer.plot(shape.input, shape.aligned / (np.abs(shape.aligned).max() or 1.0), **style)
    top = max(line.get_ydata().max() for line in response.lines)
    response.set_ylim(max(response.get_ylim()[0], top - RANGE_DB))
    _show_at_least(response, 6.0)
    response.set(xscale="log", xlabel="frequency (Hz)", ylabel="gain (dB)")
    response.set_xticks(*zip(*FREQUENCIES.items()))
    response.minorticks_off()
    level.set(xlabel="input level (dBFS)", ylabel="output level (dBFS)")
    transfer.set(xlabel="input amplitude", ylabel="output, scaled to 1")
    _draw_untouched(level, curve.levels_db, curve.levels_db)
    _draw_untouched(transfer, shape.input, shape.input / shape.input.max())
    for axes in panels:
        style_axes(axes, 8)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor=INK, fontsize=8)
    return figure


def _at_loudness(signal: audio.Array, sample_rate: int) -> audio.Array:
    """A signal brought to the loudness of the gallery as far as its peaks allow."""
    loudness = loudness_lufs(signal, sample_rate)
    if loudness == SILENCE_LUFS:
        return signal
    gain = 10 ** (min(LOUDNESS_LUFS - loudness, MOST_GAIN_DB) / 20)
    return np.asarray(signal * min(gain, HEADROOM / np.abs(signal).max()), dtype=signal.dtype)


def _draw_untouched(axes: Any, across: audio.Array, up: audio.Array) -> None:
    """A dotted line of what comes out as it went in, as far as the axes reach already."""
    seen = {"xlim": axes.get_xlim(), "ylim": axes.get_ylim()}
    axes.plot(across, up, color=DRY, linewidth=0.8, linestyle=":")
    axes.set(**seen)


def _show_at_least(axes: Any, range_db: float) -> None:
    """Widen an axis, so that a flat curve looks flat."""
    low, high = axes.get_ylim()
    if high - low < range_db:
        axes.set_ylim((low + high - range_db) / 2, (low + high + range_db) / 2)
