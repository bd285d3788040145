from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from neuralfx.datasets.check import DeviceCheck, TakeCheck, check_recording
from neuralfx.datasets.drift import Jump, Track
from neuralfx.datasets.manifest import read_recording
from neuralfx.datasets.offsets import Offset
from neuralfx.reports.check import (
    Finding,
    judge,
    odd_polarity,
    render_advice,
    render_table,
    save_figures,
    summarise,
)
from tests.data.generate import write_recordings


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> DeviceCheck:
    return check_recording(read_recording(write_recordings(tmp_path_factory.mktemp("check"), (0, 300, -200))))


def changed(check: DeviceCheck, index: int, **fields: object) -> DeviceCheck:
    takes = list(check.takes)
    takes[index] = dataclasses.replace(takes[index], **fields)  # type: ignore[arg-type]
    return dataclasses.replace(check, takes=tuple(takes))


def wet_changed(check: DeviceCheck, index: int, **fields: object) -> DeviceCheck:
    wet = check.takes[index].wet
    assert wet is not None
    return changed(check, index, wet=dataclasses.replace(wet, **fields))  # type: ignore[arg-type]


def with_polarity(check: DeviceCheck, *signs: int | None) -> DeviceCheck:
    for index, sign in enumerate(signs):
        offset = check.takes[index].offset
        assert offset is not None
        check = changed(check, index, offset=dataclasses.replace(offset, polarity=sign))
    return check


def said(check: DeviceCheck, severity: str) -> str:
    return "\n".join(f"{f.subject}: {f.message}" for f in judge(check) if f.severity == severity)


def test_good_takes_with_constant_offsets_raise_no_error(measured: DeviceCheck) -> None:
    assert said(measured, "error") == ""
    notes = said(measured, "note")
    assert "take1.wav: output is 300 samples late; neuralfx fit corrects this by itself (align: true)" in notes
    assert "samples early" in notes
    assert "takes start at different points" in notes


def test_clipping_beyond_a_limit_is_an_error(measured: DeviceCheck) -> None:
    clipped = {"clip_level": 1.0, "clipped_runs": 20}
    assert "output clips: 20 flat tops" in said(wet_changed(measured, 0, clipped_samples=100, **clipped), "error")
    assert "now and then" in said(wet_changed(measured, 0, clipped_samples=2, **clipped), "warning")
    lower = wet_changed(measured, 0, clipped_samples=100, clipped_runs=20, clip_level=0.7)
    assert "overload before a fader" in said(lower, "warning")
    assert said(lower, "error") == ""


def test_drift_and_jumps_are_errors(measured: DeviceCheck) -> None:
    times = tuple(float(index) for index in range(12))
    drifting = Track(times, times, 12, drift_ppm=900.0, uncertainty_ppm=2.0, spread=0.1)
    assert "drifts by +900.0 ppm (+432.0 samples per minute)" in said(changed(measured, 0, track=drifting), "error")
    steady = dataclasses.replace(drifting, drift_ppm=1.0)
    assert said(changed(measured, 0, track=steady), "error") == ""
    jump = dataclasses.replace(steady, jumps=(Jump(1.25, -64),))
    assert "64 samples earlier from 1.25 s on" in said(changed(measured, 0, track=jump), "error")


def test_a_device_that_inverts_is_told_from_a_single_inverted_take(measured: DeviceCheck) -> None:
    assert "inverts polarity in all 3 takes" in said(with_polarity(measured, -1, -1, -1), "note")
    one = with_polarity(measured, 1, -1, 1)
    assert said(one, "error").startswith("take1.wav: polarity is inverted against the other takes")
    assert odd_polarity(one) == (1, [1])
    assert said(with_polarity(measured, -1, 1, None), "warning") != ""
    assert odd_polarity(with_polarity(measured, None, 1, None)) == (1, [])


def test_what_cannot_be_decided_read_or_used_is_an_error(measured: DeviceCheck) -> None:
    unknown = changed(measured, 0, offset=Offset(None, "none", 0.1, None, {}), track=None)
    assert "offset not decided" in said(unknown, "error")
    broken = changed(measured, 0, problem="take0.wav is no audio.", wet=None)
    assert "is no audio" in said(broken, "error")
    assert "NaN" in said(wet_changed(measured, 0, not_finite=3), "error")
    assert "8001 Hz" in said(wet_changed(measured, 0, sample_rate=8_001), "error")
    assert "silent" in said(wet_changed(measured, 0, rms=0.0), "error")
    far = changed(measured, 0, offset=Offset(9_000, "onset", 0.9, 1, {}))
    assert "run neuralfx data align" in said(far, "error")


def test_noise_dc_and_copies_are_warnings(measured: DeviceCheck) -> None:
    assert "allows an ESR of 0.05" in said(changed(measured, 0, noise_rms=0.1, best_esr=0.05), "warning")
    assert "DC offset" in said(wet_changed(measured, 0, dc=0.2), "warning")
    assert "bypassed" in said(changed(measured, 0, copy_esr=0.0), "warning")


def test_duplicates_are_errors(measured: DeviceCheck) -> None:
    assert "mislabelled" in said(dataclasses.replace(measured, duplicates=((0, 2),)), "error")


def test_the_gravest_comes_first_and_equal_messages_share_a_line() -> None:
    findings = [Finding("note", "a.wav", "so."), Finding("error", "b.wav", "bad."), Finding("note", "c.wav", "so.")]
    assert render_advice(findings) == "error: b.wav: bad.\nnote: a.wav, c.wav: so."


def test_the_table_has_a_line_per_take(measured: DeviceCheck) -> None:
    head, *lines = render_table(measured).splitlines()
    assert head.split()[:2] == ["take", "offset"]
    assert [line.split()[:3] for line in lines][1] == ["take1.wav", "300", "onset"]
    unread = TakeCheck(measured.takes[0].take, problem="gone")
    assert "-" in render_table(dataclasses.replace(measured, takes=(unread,)))


def test_everything_fits_into_json(measured: DeviceCheck) -> None:
    data = json.loads(json.dumps(summarise(measured, judge(measured)), allow_nan=False))
    assert [take["file"] for take in data["takes"]] == ["take0.wav", "take1.wav", "take2.wav"]
    assert data["takes"][1]["offset"]["decision"].startswith("300 by onset")
    assert data["findings"]


def test_figures_are_written(measured: DeviceCheck, tmp_path: Path) -> None:
    names = [path.name for path in save_figures(changed(measured, 0, noise_rms=0.001), tmp_path)]
    assert names == [f"toy-amp-{name}.png" for name in ("offset", "levels", "noise", "knobs")]
    assert all((tmp_path / name).stat().st_size > 1_000 for name in names)
