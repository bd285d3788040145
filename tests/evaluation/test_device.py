from __future__ import annotations

import pytest

from neuralfx.evaluation import Model, measure_settings
from neuralfx.reports.device_figures import plot_device
from tests.checks import tiny_model


def test_a_model_is_measured_at_a_few_different_settings() -> None:
    model = Model("tiny", tiny_model("S4DFiLMGLU"))
    settings = [{"drive": drive, "tone": 0.5} for drive in (0.1, 0.1, 0.5, 0.9, 0.3)]
    measured = measure_settings(model, settings)
    assert len(measured) == 3
    levels = [result.gain.output_db[0] for result in measured.values()]
    assert any(abs(levels[0] - level).max() > 1e-6 for level in levels[1:])
    assert set(plot_device(measured)) == {"response", "distortion", "gain", "transfer", "aliasing"}


def test_settings_with_an_output_that_is_not_finite_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model("S4DFiLMGLU")
    model.network.output.weight.data.fill_(float("inf"))
    assert measure_settings(Model("loud", model), [{"drive": 0.5, "tone": 0.5}]) == {}
    assert "loud at" in caplog.text
