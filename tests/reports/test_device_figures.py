"""Figures show every result they get, alone and beside others."""

from __future__ import annotations

import numpy as np
import pytest

from neuralfx.metrics.device import DeviceMeasurements, measure_aliasing, measure_device
from neuralfx.reports.device_figures import plot_aliasing, plot_device
from neuralfx.reports.evaluation_figures import TARGET
from tests.metrics.device.processors import RATE, compressor


@pytest.fixture(scope="module")
def measured() -> dict[str, DeviceMeasurements]:
    return {
        "target": measure_device(lambda x: np.tanh(4.0 * x + 0.2), RATE),
        "model": measure_device(compressor(), RATE),
        "silent": measure_device(np.zeros_like, RATE),
    }


@pytest.mark.parametrize("names", [("target",), ("model",), ("silent",), ("target", "model"), ("model", "silent")])
def test_every_figure_is_drawn(measured: dict[str, DeviceMeasurements], names: tuple[str, ...]) -> None:
    figures = plot_device({name: measured[name] for name in names}, "amp")
    assert set(figures) == {"response", "distortion", "gain", "transfer", "aliasing"}
    for figure in figures.values():
        figure.draw_without_rendering()
        assert figure.get_suptitle().startswith("amp: ")


def test_levels_of_one_result_differ_in_colour_and_results_too(measured: dict[str, DeviceMeasurements]) -> None:
    one = plot_aliasing({"model": measured["model"].aliasing}).axes[0].lines
    assert len({str(line.get_color()) for line in one}) == 3  # two levels and the floor
    two = plot_aliasing({name: measured[name].aliasing for name in ("target", "model")}).axes[0].lines
    assert [line.get_color() == TARGET for line in two] == [True, True, False, False, False]
    assert [line.get_linestyle() for line in two[:2]] == ["-", "--"]


def test_attack_and_release_are_named_in_the_legend(measured: dict[str, DeviceMeasurements]) -> None:
    figure = plot_device({"comp": measured["model"], "off": measured["silent"]})["gain"]
    said = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert said[1] == ["comp: 10.2 ms", "off: no change"]
    assert said[2][0].startswith("comp: 15")


def test_levels_beyond_three_are_thinned_out_beside_others() -> None:
    result = measure_aliasing(np.tanh, RATE, [1000.0, 5000.0], levels_db=[-40.0, -30.0, -20.0, -10.0, 0.0])
    labels = [line.get_label() for line in plot_aliasing({"a": result, "b": result}).axes[0].lines]
    assert labels[:3] == ["a, 0 dBFS", "a, -20 dBFS", "a, -40 dBFS"]
