"""Everything at once, in less than 20 s of audio."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neuralfx.metrics.device import measure_device
from tests.metrics.device.processors import RATE


def test_all_measurements_take_the_audio_they_say_and_fit_into_json() -> None:
    played: list[int] = []

    def processor(x: np.ndarray) -> np.ndarray:
        played.append(len(x))
        return np.tanh(3.0 * x)

    result = measure_device(processor, RATE)
    parts = ("aliasing", "distortion", "response", "gain", "steps", "noise", "transfer")
    assert sum(getattr(result, part).audio_s for part in parts) == pytest.approx(sum(played) / RATE)
    assert sum(played) < 20 * RATE
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["sample_rate"] == RATE
    assert len(plain["response"]["magnitude_db"]) == 3
    assert plain["steps"]["attack_ms"] is None or plain["steps"]["attack_ms"] >= 0.0


@pytest.mark.parametrize("sample_rate", [8000, 192_000])
def test_other_sample_rates_are_measured(sample_rate: int) -> None:
    result = measure_device(lambda x: 0.5 * x, sample_rate)
    np.testing.assert_allclose(result.response.magnitude_db, -6.02, atol=0.02)
    assert np.nanmax(result.distortion.thd) < 1e-5
