from __future__ import annotations

import base64
import dataclasses
import html.parser
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from neuralfx.evaluation import Evaluation, Excerpt, Identity, LinearFilter, Material, Model, cut_excerpts
from neuralfx.evaluation.run import choose_metrics
from neuralfx.metrics.loudness import loudness_difference
from neuralfx.reports import page
from neuralfx.reports.evaluation_figures import figure_to_svg, plot_transfer, spectrogram_db
from neuralfx.reports.evaluation_tables import csv_rows, write_latex, write_markdown
from neuralfx.reports.loudness import loudness_lufs
from neuralfx.reports.page import render_page
from neuralfx.reports.voices import voices_of
from tests.evaluation.conftest import evaluation, material, model

__all__ = ["evaluation", "material", "model"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def excerpts(evaluation: Evaluation, material: Material, model: Model) -> list[Excerpt]:
    return cut_excerpts(evaluation, material, [model, Identity(), LinearFilter()], seconds=0.3)


@pytest.fixture(scope="module")
def written(evaluation: Evaluation, excerpts: list[Excerpt]) -> str:
    return render_page(evaluation, excerpts)


class Reader(html.parser.HTMLParser):
    """Collects elements and checks that they are closed in order."""

    EMPTY = frozenset(("meta", "link", "input", "path", "line", "rect", "use", "image"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def test_the_page_needs_nothing_from_elsewhere(written: str) -> None:
    for tag, attributes in read(written).found:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            address = attributes.get(name) or ""
            assert not address or address.startswith(("#", "data:")), (tag, address)
    assert not re.search(r"@import|url\((?!#)", written)


def test_elements_are_closed_and_ids_unique(written: str) -> None:
    reader = read(written)
    assert not reader.open
    ids = [attributes["id"] for _, attributes in reader.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_control_and_picture_has_a_name(written: str) -> None:
    reader = read(written)
    pictures = [attributes for tag, attributes in reader.found if tag == "svg"]
    assert pictures and all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in pictures)
    sliders = [attributes for _, attributes in reader.found if attributes.get("type") == "range"]
    assert sliders and all(attributes.get("aria-label") for attributes in sliders)
    labelled = {attributes.get("aria-labelledby") for tag, attributes in reader.found if tag in ("section", "article")}
    assert labelled <= {attributes.get("id") for _, attributes in reader.found}
    assert sum(tag == "caption" for tag, _ in reader.found) == sum(tag == "table" for tag, _ in reader.found)
    assert [tag for tag, _ in reader.found if tag in ("h1", "main", "title")] == ["title", "h1", "main"]


def test_names_from_files_cannot_become_markup(evaluation: Evaluation, excerpts: list[Excerpt]) -> None:
    evil = "</script><script>alert('x')</script>"
    renamed = dataclasses.replace(
        evaluation,
        effect=dataclasses.replace(evaluation.effect, device=evil),
        takes=(evil, *evaluation.takes[1:]),
        rows=tuple(
            dataclasses.replace(row, take=evil) if row.take == evaluation.takes[0] else row for row in evaluation.rows
        ),
    )
    text = render_page(renamed, [dataclasses.replace(excerpts[0], take=evil)])
    assert evil not in text
    assert sum(tag == "script" for tag, _ in read(text).found) == 2


def test_sounds_are_those_of_the_excerpt_at_matched_loudness(excerpts: list[Excerpt], written: str) -> None:
    match = re.search(r'id="sounds">(.*?)</script>', written, re.DOTALL)
    assert match is not None
    first = json.loads(match[1])[0]
    assert [voice["name"] for voice in first["voices"]] == ["dry", "target", "tiny", "linear"]  # the identity is dry
    excerpt = excerpts[0]
    heard = {}
    for voice in first["voices"]:
        decoded, rate = soundfile.read(io.BytesIO(base64.b64decode(voice["audio"])))
        assert rate == excerpt.sample_rate and len(decoded) == len(excerpt.dry)
        assert np.abs(decoded).max() * max(voice["matched"], voice["recorded"]) < 1.0
        heard[voice["name"]] = decoded * voice["matched"]
    levels = [loudness_lufs(signal, excerpt.sample_rate) for signal in heard.values()]
    assert np.ptp(levels) < 0.1
    ratio = heard["target"] / np.where(excerpt.target == 0, np.inf, excerpt.target)
    assert np.median(ratio) == pytest.approx(ratio[np.abs(excerpt.target).argmax()], rel=1e-2)


def test_a_silent_voice_is_left_at_its_level(excerpts: list[Excerpt]) -> None:
    silent = dataclasses.replace(excerpts[0], estimates={"mute": np.zeros_like(excerpts[0].dry)})
    assert voices_of(silent)[-1].match_db == 0.0


def test_loudness_is_that_of_the_standard() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000 * 2)
    import torch

    difference = loudness_difference(*map(torch.from_numpy, (noise, np.convolve(noise, [0.3, 0.2])[:-1])), 48_000)
    own = loudness_lufs(noise, 48_000) - loudness_lufs(np.convolve(noise, [0.3, 0.2])[:-1], 48_000)
    assert own == pytest.approx(float(difference), abs=0.05)


def test_every_worst_moment_has_a_button_into_its_excerpt(excerpts: list[Excerpt], written: str) -> None:
    buttons = [
        attributes for tag, attributes in read(written).found if tag == "button" and "data-excerpt" in attributes
    ]
    assert len(buttons) == len({moment for excerpt in excerpts for moment in excerpt.moments})
    for button in buttons:
        excerpt = excerpts[int(button["data-excerpt"] or "")]
        assert 0 <= float(button["data-at"] or "") < excerpt.duration_s


def test_a_page_that_would_be_too_large_loses_its_last_sounds(
    evaluation: Evaluation, excerpts: list[Excerpt], written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LARGEST_BYTES", len(written) - 1000)
    smaller = render_page(evaluation, excerpts)
    assert len(smaller) < len(written) - 1000
    assert 'id="excerpt0"' in smaller and f'id="excerpt{len(excerpts) - 1}"' not in smaller


def test_errors_are_mapped_over_two_knobs(written: str) -> None:
    start = written.index('<table class="map">')
    table = written[start : written.index("</table>", start)]
    assert "tone \\ drive" in table
    assert table.count('<td style="--error') == 2 and table.count("not recorded") == 2


def test_a_page_without_models_and_sounds_is_still_a_page(evaluation: Evaluation) -> None:
    bare = dataclasses.replace(evaluation, candidates=evaluation.candidates[1:])
    bare = dataclasses.replace(bare, rows=tuple(row for row in bare.rows if row.model != "tiny"))
    assert "Evaluation of baselines" in render_page(bare, [])


def test_colours_of_figures_are_those_of_the_page(excerpts: list[Excerpt]) -> None:
    excerpt = excerpts[0]
    colours = {"target": "#23272e", "tiny": "#c8324b"}
    figure = plot_transfer(excerpt.dry, excerpt.target, {"tiny": excerpt.estimates["tiny"]}, colours)
    svg = figure_to_svg(figure, 'a "label" & more', "p-")
    assert "var(--model0)" in svg and "var(--target)" in svg and "var(--ink)" in svg
    assert "#c8324b" not in svg and 'aria-label="a &quot;label&quot; &amp; more"' in svg
    assert not re.search(r'id="(?!p-)', svg)


def test_a_sine_stands_at_its_level_in_a_spectrogram() -> None:
    sine = 0.5 * np.sin(2 * np.pi * 64 / 2048 * np.arange(10_000))
    assert spectrogram_db(sine)[:, 64] == pytest.approx(-6.02, abs=0.1)


def test_tables_have_the_columns_of_the_papers(evaluation: Evaluation) -> None:
    markdown = write_markdown(evaluation)
    assert "| model | esr | parameters |" in markdown and "| model | mae | parameters |" in markdown
    assert "| drive 0.25, tone 0.75 | tiny |" in markdown
    assert write_latex(evaluation).count(r"\begin{table}") == 6
    rows = csv_rows(evaluation)
    assert len(rows) == len(evaluation.rows) and rows[0]["knob drive"] == 0.25


def test_wanted_metrics_only_are_in_the_page(written: str) -> None:
    assert "<dt>esr</dt>" in written and "<dt>mae</dt>" in written
    assert not any(f"<dt>{name}</dt>" in written for name in choose_metrics() if name not in ("esr", "mae"))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with")
def test_a_browser_runs_the_page_without_errors(written: str, tmp_path: Path) -> None:
    watched = written.replace(
        "<head>", "<head><script>window.onerror = (text) => { document.title = 'failed: ' + text; };</script>", 1
    )
    (tmp_path / "index.html").write_text(watched, encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{tmp_path / 'index.html'}"], capture_output=True, text=True, timeout=60
    )
    assert "<title>Evaluation of tiny</title>" in done.stdout
    assert re.search(r"<output[^>]*>0\.00 of 0\.30 s</output>", done.stdout)  # written by the script
