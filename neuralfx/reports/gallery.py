"""A gallery of the models that come with neuralfx: numbers, pictures and sounds, in Markdown and as an HTML page.

Everything it says is read from the models' own ``config.json``. The pages link to files beside them, so that the folder
can be read on GitHub, opened from disk or put on any server.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from neuralfx.datasets.manifest import KnobValue
from neuralfx.errors import AudioFileError
from neuralfx.hub.package import ModelConfig, load_folder, read_card, read_config
from neuralfx.hub.registry import bundled_folder
from neuralfx.reports.frame import escape, fill_page
from neuralfx.reports.gallery_media import SHAPE_DB, SHAPE_HZ, SINE_HZ, SWEEP_DB, write_dry, write_picture, write_sound
from neuralfx.reports.tables import Cell, Column, Line, Table, format_value, render_markdown
from neuralfx.text import describe_knobs

MOST_SETTINGS = 3
MEDIA = "gallery"  # folder of pictures and sounds, beside the pages
DRY = f"{MEDIA}/dry.mp3"
COLUMNS = ("parameters", "ESR", "ESR of dry", "ESR of linear", "training audio (s)")

ORIGINS = {False: "Recordings of hardware", True: "Plug-ins and other virtual devices"}
EXPLANATIONS = {
    False: "Trained on recordings of the hardware itself. How few seconds these are, and which positions of the knobs, "
    "is on the card of each model.",
    True: "Trained on what plug-ins and simulations made of dry audio; no hardware was recorded.",
}
MEASURE = (
    "The error-to-signal ratio (ESR) is the energy of the error relative to the energy of the device's output, as the "
    "mean over audio that no training saw; 0 is perfect. Beside it stands what a model has to beat: the same measure "
    "for the untouched dry sound, and for the best linear filter (FIR), fitted to the audio that it is measured on."
)
LISTEN = (
    "A dry guitar riff through every model, at settings that it was measured at, all at the same loudness. The "
    f"pictures show, at the same settings, the response to a sweep at {SWEEP_DB:g} dBFS, the level of a sine of "
    f"{SINE_HZ:g} Hz over its input level, and the output over the input of a sine of {SHAPE_HZ:g} Hz at {SHAPE_DB:g} "
    "dBFS, scaled to the same height. What is louder, lower or steadier than the recordings is a model's guess."
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model as the gallery shows it.

    Attributes:
        config: What its ``config.json`` says.
        settings: Knob settings to look at and listen to, at least one.
    """

    config: ModelConfig
    settings: tuple[dict[str, KnobValue], ...]

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.config.name

    @property
    def device(self) -> str:
        """The device for people, or its slug."""
        return self.config.effect.device or self.config.effect.slug

    @property
    def is_virtual(self) -> bool:
        """Whether the device is a program."""
        return self.config.effect.is_virtual

    @property
    def data(self) -> Mapping[str, Any]:
        """What the model states about the recordings that it was trained on."""
        data = self.config.training.get("data")
        return data if isinstance(data, Mapping) else {}

    @property
    def values(self) -> tuple[float | None, ...]:
        """The values of ``COLUMNS``; None where the model does not state one."""
        errors = [self.config.metrics.get(key) for key in ("esr", "identity_esr", "linear_esr")]
        return (self.config.parameters, *errors, self.data.get("train_s"))

    @property
    def facts(self) -> str:
        """Architecture, size and error in a line."""
        return f"{self.config.architecture}, {self.config.parameters} parameters, ESR {format_value(self.values[1])}"

    @property
    def picture(self) -> str:
        """Path of its picture below the folder of the gallery."""
        return f"{MEDIA}/{self.name}.png"

    @property
    def caption(self) -> str:
        """What its picture shows, for people who do not see it."""
        return f"Frequency response, level curve and transfer curve of {self.name} at {len(self.settings)} settings"

    @property
    def sounds(self) -> list[tuple[str, str]]:
        """Description of each setting and path of its sound below the folder of the gallery."""
        return [
            (describe_knobs(knobs), f"{MEDIA}/{self.name}-{number}.mp3")
            for number, knobs in enumerate(self.settings, start=1)
        ]


def read_entries(names: Iterable[str]) -> list[Entry]:
    """Models that come with neuralfx, in the order of the gallery: hardware first, then by device and by size.

    Args:
        names: Names of the models.

    Raises:
        ModelNotFoundError: If no such model comes with neuralfx.
        FormatError: If a model is damaged.
    """
    configs = [read_config(bundled_folder(name)) for name in names]
    entries = [Entry(config, choose_settings(config)) for config in configs]
    return sorted(
        entries, key=lambda entry: (entry.is_virtual, entry.config.effect.slug, entry.config.parameters, entry.name)
    )


def choose_settings(config: ModelConfig) -> tuple[dict[str, KnobValue], ...]:
    """Up to three of the settings that a model was measured at, from knobs that are low to knobs that are high.

    Args:
        config: What the model's ``config.json`` says.

    Returns:
        Values of the knobs; the defaults alone where nothing was measured.
    """
    measured = {describe_knobs(take["knobs"]): take["knobs"] for take in config.metrics.get("takes", [])}
    if not measured:
        return ({knob.name: np.asarray(knob.default).item() for knob in config.effect.knobs},)

    def height(setting: str) -> tuple[float, str]:
        knobs = config.effect.normalise(measured[setting])
        return float(knobs.mean()) if knobs.size else 0.0, setting

    ordered = [measured[setting] for setting in sorted(measured, key=height)]
    places = np.linspace(0, len(ordered) - 1, min(MOST_SETTINGS, len(ordered)))
    return tuple(dict(ordered[round(place)]) for place in places)


def render_readme(entries: Sequence[Entry]) -> str:
    """The gallery in Markdown.

    Args:
        entries: The models, in the order of :func:`read_entries`.
    """
    sections = [
        "# Models that come with neuralfx",
        f"{_summary(entries)} `neuralfx list` shows them, `neuralfx.load` and `neuralfx process -m` take their names, "
        "all without a network.",
        MEASURE,
    ]
    for is_virtual, group in groupby(entries, key=lambda entry: entry.is_virtual):
        sections += [f"## {ORIGINS[is_virtual]}", EXPLANATIONS[is_virtual], render_markdown(_table(list(group)))]
    sections += [
        "## Look and listen",
        f"{LISTEN} GitHub offers the sounds for download; `gallery.html` in this folder plays them. "
        f"The riff itself: [dry]({DRY}).",
    ]
    for models in _by_device(entries):
        sections += [f"### {models[0].device}", _describe_device(models[0])]
        for entry in models:
            links = ", ".join(f"[{setting}]({path})" for setting, path in entry.sounds)
            sections += [
                f"**[{entry.name}]({entry.name}.md)**: {entry.facts}. Hear it at {links}.",
                f"![{entry.caption}]({entry.picture})",
            ]
    sections.append("Written by `neuralfx list --gallery FOLDER` from what the models state about themselves.")
    return "\n\n".join(sections) + "\n"


def render_page(entries: Sequence[Entry]) -> str:
    """The gallery as an HTML page with players and a table to sort, which needs no network.

    Args:
        entries: The models, in the order of :func:`read_entries`.
    """
    sections = [("All models", f"<p>{escape(MEASURE)}</p>{_sortable(entries)}<p>{escape(LISTEN)}</p>")]
    for models in _by_device(entries):
        about = f'<p class="quiet">{escape(_describe_device(models[0]))}</p>'
        sections.append((models[0].device, about + "".join(map(_article, models))))
    return fill_page(
        title="Models that come with neuralfx",
        subtitle=_summary(entries),
        sections=sections,
        styles=["page.css", "gallery.css"],
        script="gallery.js",
        sounds="[]",
    )


def copy_card(place: Path, folder: Path) -> str:
    """The card of a model folder for a file in another folder: its links lead back to the pictures and sounds."""
    way = Path(os.path.relpath(place.resolve(), folder.resolve())).as_posix()
    return re.sub(r"\]\((?=(?:pictures|audio)/)", f"]({way}/", read_card(place))


def write_gallery(
    folder: Path, names: Sequence[str], progress: Callable[[int], object] | None = None
) -> tuple[Path, Path]:
    """Write the pages, a picture and sounds of each model, and copies of the cards. Other files are left alone.

    Args:
        folder: Where; made if need be.
        names: Models that come with neuralfx.
        progress: Called with the number of models that were drawn and heard since the last call.

    Returns:
        ``README.md`` and ``gallery.html``.

    Raises:
        ModelNotFoundError: If no such model comes with neuralfx.
        FormatError: If a model is damaged.
        AudioFileError: If a file cannot be written.
    """
    entries = read_entries(names)
    readme, page = folder / "README.md", folder / "gallery.html"
    try:
        (folder / MEDIA).mkdir(parents=True, exist_ok=True)
        write_dry(folder / DRY)
        for entry in entries:
            place = bundled_folder(entry.name)
            (folder / f"{entry.name}.md").write_text(copy_card(place, folder), encoding="utf-8", newline="\n")
            model = load_folder(place)
            write_picture(folder / entry.picture, model, entry.settings)
            for knobs, (_, path) in zip(entry.settings, entry.sounds):
                write_sound(folder / path, functools.partial(model.process, knobs=knobs))
            if progress is not None:
                progress(1)
        readme.write_text(render_readme(entries), encoding="utf-8", newline="\n")
        page.write_text(render_page(entries), encoding="utf-8", newline="\n")
    except OSError as error:
        raise AudioFileError(f"cannot write {folder}: {error}") from error
    return readme, page


def _summary(entries: Sequence[Entry]) -> str:
    devices = {entry.config.effect.slug: entry.is_virtual for entry in entries}
    virtual = sum(devices.values())
    return f"{_count(len(entries), 'model')} of {_count(len(devices), 'device')}, {virtual or 'none'} of them virtual."


def _by_device(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    for _, models in groupby(entries, key=lambda entry: entry.config.effect.slug):
        yield list(models)


def _table(entries: Sequence[Entry]) -> Table:
    lines = [
        Line(
            (entry.device, f"[{entry.name}]({entry.name}.md)", entry.config.architecture, entry.config.licence),
            tuple(map(Cell, entry.values)),
        )
        for entry in entries
    ]
    columns = tuple(Column(title, "lowest" if title == "ESR" else None) for title in COLUMNS)
    return Table("", ("device", "model", "pair", "licence"), columns, tuple(lines), grouped=True)


def _describe_device(entry: Entry) -> str:
    """Origin, knobs and source of a device."""
    knobs = ", ".join(f"{knob.name} ({knob.describe_range()})" for knob in entry.config.effect.knobs)
    origin = "Virtual device" if entry.is_virtual else "Recorded hardware"
    source = f" {entry.data['source']}." if entry.data.get("source") else ""
    return f"{origin}. Knobs: {knobs or 'none'}.{source}"


def _article(entry: Entry) -> str:
    players = "".join(
        f'<li><audio controls preload="none" src="{escape(path)}" aria-label="{escape(f"{entry.name}: {setting}")}">'
        f"</audio><span>{escape(setting)}</span></li>"
        for setting, path in [("dry", DRY), *entry.sounds]
    )
    name = escape(entry.name)
    return (
        f'<article id="{name}" aria-labelledby="{name}-title"><h3 id="{name}-title">{name}</h3>'
        f'<p class="quiet">{escape(entry.facts)}; <a href="{name}.md">card</a></p><ul class="sounds">{players}</ul>'
        f'<figure><img src="{escape(entry.picture)}" alt="{escape(entry.caption)}" loading="lazy"></figure></article>'
    )


def _sortable(entries: Sequence[Entry]) -> str:
    """One table of all models; a click on a heading sorts by it."""
    titles = ("model", "device", "origin", "pair", "licence", *COLUMNS)
    head = "".join(
        f'<th scope="col"{"" if title in COLUMNS else " class=label"}><button type="button">{title}</button></th>'
        for title in titles
    )
    rows = "".join(f"<tr>{''.join(_cells(entry))}</tr>" for entry in entries)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="All models"><table class="sortable">'
        f"<caption>A click on a heading sorts.</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
        "</table></div>"
    )


def _cells(entry: Entry) -> Iterator[str]:
    yield f'<th scope="row"><a href="#{escape(entry.name)}">{escape(entry.name)}</a></th>'
    origin = "virtual" if entry.is_virtual else "hardware"
    for text in (entry.device, origin, entry.config.architecture, entry.config.licence):
        yield f'<td class="label">{escape(text)}</td>'
    for value in entry.values:
        yield f'<td data-value="{"" if value is None else value}">{format_value(value)}</td>'


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
