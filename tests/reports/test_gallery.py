"""The gallery says what the models say about themselves, and its pages lead to files that are there."""

from __future__ import annotations

import dataclasses
import html.parser
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from neuralfx import audio
from neuralfx.commands import list as list_command
from neuralfx.errors import AudioFileError, ConfigError
from neuralfx.hub.package import ModelConfig, read_config
from neuralfx.hub.registry import bundled_folder
from neuralfx.reports.gallery import Entry, choose_settings, read_entries, render_page, render_readme, write_gallery
from neuralfx.reports.gallery_media import LOUDNESS_LUFS, write_dry, write_sound
from neuralfx.reports.loudness import loudness_lufs

MODEL = "la2a-s4d"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return read_config(bundled_folder(MODEL))


@pytest.fixture(scope="module")
def entries(config: ModelConfig) -> list[Entry]:
    """A model of hardware, and a smaller, less faithful one of a virtual device."""
    effect = dataclasses.replace(config.effect, slug="darc", device="Darc <LV2>, a virtual compressor")
    metrics = {"esr": 0.125, "identity_esr": 2.0, "linear_esr": 0.5}
    virtual = dataclasses.replace(config, name="darc-s4d", effect=effect, metrics=metrics, parameters=12)
    return [Entry(each, choose_settings(each)) for each in (config, virtual)]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "new" / "cards"
    write_gallery(folder, [MODEL])
    return folder


def test_virtual_devices_come_last_and_are_named_as_such(entries: list[Entry]) -> None:
    text = render_readme(entries)
    assert text.index("## Recordings of hardware") < text.index("[la2a-s4d]")
    assert text.index("[la2a-s4d]") < text.index("## Plug-ins and other virtual devices") < text.index("[darc-s4d]")
    assert "no hardware was recorded." in text and "Virtual device. Knobs: peak_reduction" in text
    assert "2 models of 2 devices, 1 of them virtual." in text


def test_numbers_are_those_of_the_models(entries: list[Entry], config: ModelConfig) -> None:
    metrics, trained_s = config.metrics, config.training["data"]["train_s"]
    (row,) = re.findall(r"\| \[la2a-s4d\].*", render_readme(entries))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:3] == [config.architecture, config.licence]
    shown = [config.parameters, metrics["esr"], metrics["identity_esr"], metrics["linear_esr"], trained_s]
    assert [float(cell) for cell in cells[3:]] == pytest.approx(shown, rel=5e-3)


def test_what_a_model_does_not_state_is_a_dash(config: ModelConfig) -> None:
    unknown = dataclasses.replace(config, metrics={}, training={})
    entry = Entry(unknown, choose_settings(unknown))
    assert entry.values == (config.parameters, None, None, None, None)
    assert "| - | - | - | - |" in render_readme([entry])
    assert 'data-value=""' in render_page([entry])


def test_settings_reach_from_low_to_high_knobs(config: ModelConfig) -> None:
    takes = [
        {"knobs": {"peak_reduction": value, "mode": "limit"}} for value in (100.0, 0.0, 20.0, 20.0, 60.0, 80.0, 90.0)
    ]
    chosen = choose_settings(dataclasses.replace(config, metrics={"takes": takes}))
    assert [knobs["peak_reduction"] for knobs in chosen] == [0.0, 60.0, 100.0]
    two = choose_settings(dataclasses.replace(config, metrics={"takes": takes[:2]}))
    assert [knobs["peak_reduction"] for knobs in two] == [0.0, 100.0]


def test_a_model_that_was_not_measured_is_shown_at_its_defaults(config: ModelConfig) -> None:
    defaults = {knob.name: knob.default for knob in config.effect.knobs}
    assert choose_settings(dataclasses.replace(config, metrics={})) == (defaults,)


def test_models_of_a_device_follow_each_other_by_size() -> None:
    assert [entry.name for entry in read_entries(["od300-lstm", MODEL])] == [MODEL, "od300-lstm"]


class Reader(html.parser.HTMLParser):
    """Collects links, and checks that elements are closed in order."""

    EMPTY = frozenset(("meta", "link", "img"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [link for link in (found.get("href"), found.get("src")) if link]
        self.anchors |= {found["id"] or ""} if "id" in found else set()
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_shows_every_model(entries: list[Entry]) -> None:
    written = render_page(entries)
    assert not re.search(r"\{\{\w+\}\}|https?://", written)
    reader = Reader()
    reader.feed(written)
    assert not reader.open
    assert {link[1:] for link in reader.links if link.startswith("#")} <= reader.anchors
    assert {entry.name for entry in entries} <= reader.anchors
    assert "Darc &lt;LV2&gt;" in written and "Darc <LV2>" not in written


def test_all_links_lead_to_files_of_the_gallery(gallery: Path) -> None:
    reader = Reader()
    reader.feed((gallery / "gallery.html").read_text(encoding="utf-8"))
    linked = {link for link in reader.links if link[0] != "#" and not link.startswith("data:")}
    inside = set(re.findall(r"\]\(([^)]+)\)", (gallery / "README.md").read_text(encoding="utf-8")))
    files = {path.relative_to(gallery).as_posix() for path in gallery.rglob("*") if path.is_file()}
    assert linked == inside == files - {"README.md", "gallery.html"}
    assert len(files) == 2 + 1 + 1 + 1 + 3  # pages, card, dry, picture, sounds


def test_cards_are_those_of_the_models(gallery: Path) -> None:
    card = (gallery / f"{MODEL}.md").read_text(encoding="utf-8")
    original = (bundled_folder(MODEL) / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"!\[.*\]\((.+)\)", card)
    assert links and all((gallery / link).is_file() for link in links)
    assert re.sub(r"\([^()]*pictures/", "(pictures/", card) == original


def test_sounds_have_the_same_loudness_and_are_small(gallery: Path) -> None:
    sounds = sorted(gallery.glob("gallery/*.mp3"))
    for path in sounds:
        signal, rate = audio.read(path)
        assert signal.shape == (1, 4 * 48_000)
        assert loudness_lufs(signal[0], rate) == pytest.approx(LOUDNESS_LUFS, abs=0.3)
        assert path.stat().st_size < 60_000
    contents = [path.read_bytes() for path in sounds]
    assert len({*contents}) == len(contents)


def test_pictures_are_small(gallery: Path) -> None:
    (picture,) = gallery.glob("gallery/*.png")
    assert 5_000 < picture.stat().st_size < 40_000


def test_the_same_model_gives_the_same_files(gallery: Path) -> None:
    again = gallery.parent / "again"
    write_gallery(again, [MODEL])
    for path in gallery.rglob("*.*"):
        assert (again / path.relative_to(gallery)).read_bytes() == path.read_bytes(), path.name


def test_silence_stays_silent_and_peaks_stay_below_full_scale(tmp_path: Path) -> None:
    write_sound(tmp_path / "silent.mp3", lambda dry, sample_rate: 0 * dry)
    assert not audio.read(tmp_path / "silent.mp3")[0].any()
    click = np.zeros((1, 48_000), dtype=np.float32)
    click[0, 24_000] = 0.01
    write_sound(tmp_path / "click.mp3", lambda dry, sample_rate: click)
    assert 0.3 < np.abs(audio.read(tmp_path / "click.mp3")[0]).max() < 1.0


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioFileError, match=r"cannot write .*file"):
        write_gallery(tmp_path / "file", [MODEL])
    with pytest.raises(AudioFileError, match="there is no folder"):
        write_dry(tmp_path / "none" / "dry.mp3")


def test_the_command_writes_the_gallery_of_a_pattern(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_command.main(["la2a_S4D", "--gallery", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in ("README.md", "gallery.html")]
    assert (tmp_path / "README.md").read_text() == (gallery / "README.md").read_text()


def test_the_command_tells_bad_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_command.main(["nothing*", "--gallery", str(tmp_path / "new")]) == 0
    assert "No model is named like 'nothing*'" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    for other in ("--hub", "--architectures"):
        with pytest.raises(ConfigError, match="not allowed with"):
            list_command.main(["--gallery", str(tmp_path), other])


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_click_on_a_heading_sorts(entries: list[Entry], tmp_path: Path) -> None:
    script = """<script>
      const head = [...document.querySelectorAll("thead button")].find((each) => each.textContent === "ESR");
      const order = () => [...document.querySelectorAll("tbody th")].map((each) => each.textContent).join(" ");
      head.click();
      const up = order();
      head.click();
      document.title = `${up}, ${order()}, ${head.parentElement.getAttribute("aria-sort")}`;
    </script></body>"""
    (tmp_path / "gallery.html").write_text(render_page(entries[::-1]).replace("</body>", script), encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{tmp_path / 'gallery.html'}"], capture_output=True, text=True, timeout=60
    )
    assert "<title>la2a-s4d darc-s4d, darc-s4d la2a-s4d, descending</title>" in done.stdout
