"""An evaluation as one HTML page that needs no network: tables, sounds to switch between, and figures."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from neuralfx.evaluation.excerpts import Excerpt, take_powers
from neuralfx.evaluation.rows import Evaluation, Moment, mean_interval
from neuralfx.metrics.device import DeviceMeasurements
from neuralfx.reports import evaluation_figures as figures
from neuralfx.reports.device_figures import plot_device
from neuralfx.reports.evaluation_tables import means_table, settings_table, sounds_table, takes_table
from neuralfx.reports.frame import escape, fill_page
from neuralfx.reports.tables import Cell, Table, format_value
from neuralfx.reports.voices import Voice, heard_estimates, voices_of
from neuralfx.text import describe_knobs

LARGEST_BYTES = 14_000_000
MOST_SPECTROGRAMS = 5
MOST_MAPS = 3
WAVE_WIDTH, WAVE_HEIGHT = 1200, 100
DEVICE_SENTENCES = {
    "response": "Frequency response at several levels: lines that differ in shape are compression or distortion.",
    "distortion": "Harmonics relative to the fundamental, over level and frequency.",
    "gain": "Output level over input level, and how the gain follows a step up and down.",
    "transfer": "Output over input of a slow sine, on its way up and down: a loop is memory.",
    "aliasing": "Energy between the harmonics of a sine: what folds back from above half the sample rate, and noise.",
}


class _Part(NamedTuple):
    """An excerpt as the page has it."""

    excerpt: Excerpt
    article: str
    sound: str


def render_page(
    evaluation: Evaluation, excerpts: Sequence[Excerpt], measured: Mapping[str, DeviceMeasurements] | None = None
) -> str:
    """The report as HTML, at most about 14 MB: if the sounds are more, the last excerpts are left out.

    Args:
        evaluation: What was measured.
        excerpts: What is to be heard and seen, the most important first.
        measured: What test signals say about the first model, by setting of the knobs.
    """
    parts = [_part(evaluation, index, excerpt) for index, excerpt in enumerate(excerpts)]
    device = _device(measured or {})
    while True:
        page = _render(evaluation, parts, device)
        if len(page.encode()) <= LARGEST_BYTES or not parts:
            return page
        parts.pop()


def _part(evaluation: Evaluation, index: int, excerpt: Excerpt) -> _Part:
    voices = voices_of(excerpt)
    sound = {
        "duration": excerpt.duration_s,
        "estimates": list(heard_estimates(excerpt)),
        "voices": [voice.to_dict() for voice in voices],
    }
    return _Part(excerpt, _article(evaluation, index, excerpt, voices), _json_for_page(sound))


def _render(evaluation: Evaluation, parts: Sequence[_Part], device: str) -> str:
    sections = [(title, content) for title, content in _sections(evaluation, parts, device) if content]
    effect = evaluation.effect
    models = [candidate["name"] for candidate in evaluation.candidates if candidate["kind"] == "model"]
    takes = len({row.take for row in evaluation.rows})
    seconds = sum(row.seconds for row in evaluation.rows if row.model == evaluation.names[0])
    facts = (
        f"{effect.device or effect.slug}, {takes} take{'s' * (takes != 1)}, {seconds:.1f} s ({evaluation.part}), "
        f"{effect.sample_rate} Hz."
    )
    return fill_page(
        title=f"Evaluation of {', '.join(models) or 'baselines'}",
        subtitle=facts,
        sections=sections,
        styles=["page.css"],
        script="page.js",
        sounds=f"[{','.join(part.sound for part in parts)}]",
    )


def _sections(evaluation: Evaluation, parts: Sequence[_Part], device: str) -> Iterator[tuple[str, str]]:
    """Headings and what stands below them; empty where there is nothing."""
    yield "Results", _results(evaluation)
    yield "Worst moments", _worst_moments(evaluation, [part.excerpt for part in parts])
    yield "Listen and look", "\n".join(part.article for part in parts)
    yield "Errors over the knobs", _knobs(evaluation)
    sounds = sounds_table(evaluation)
    yield "Kinds of sound", _table(sounds) if sounds else ""
    yield "Takes", _takes(evaluation)
    yield f"{evaluation.first_model} and test signals", device
    yield "What the numbers mean", _metrics(evaluation)


def _results(evaluation: Evaluation) -> str:
    sentences = []
    if "esr" in evaluation.metrics:
        for candidate in evaluation.candidates:
            mean = evaluation.mean(candidate["name"], "esr").value
            if math.isfinite(mean):
                name = f"<strong>{escape(candidate['name'])}</strong>"
                level = 10 * math.log10(max(mean, 1e-12))
                sentences.append(
                    f"<li>{name}: the error has {format_value(100 * mean)} % of the energy of the device's output "
                    f"({level:+.1f} dB){escape(': ' + candidate['explanation']) if 'explanation' in candidate else ''}."
                    "</li>"
                )
    notes = "".join(f"<p>{escape(note)}</p>" for note in evaluation.notes)
    legend = (
        '<p class="quiet">Best values are bold, second best underlined. In brackets: 95 % confidence by bootstrap over '
        "takes; with few takes it is a rough guide.</p>"
    )
    return f"<ul>{''.join(sentences)}</ul>{_turned(means_table(evaluation))}{legend}{notes}"


def _worst_moments(evaluation: Evaluation, excerpts: Sequence[Excerpt]) -> str:
    powers = take_powers([moment for moment in evaluation.moments if moment.model == evaluation.first_model])
    found: dict[Moment, int] = {}
    for index, excerpt in enumerate(excerpts):
        for moment in excerpt.moments:
            found.setdefault(moment, index)
    if not found:
        return ""

    def badness(moment: Moment) -> float:
        return moment.error / (powers[moment.take] or 1.0)

    items = []
    for moment in sorted(found, key=badness, reverse=True):
        excerpt = excerpts[found[moment]]
        level = f"{10 * math.log10(max(badness(moment), 1e-12)):+.1f} dB"
        items.append(
            f'<li><button type="button" data-excerpt="{found[moment]}" '
            f'data-at="{max(moment.start_s - excerpt.start_s - 0.1, 0):.3f}">Play {moment.start_s:.2f} to '
            f"{moment.stop_s:.2f} s</button> error {level}, {escape(describe_knobs(excerpt.knobs))}, "
            f"{escape(excerpt.take)}</li>"
        )
    return (
        f"<p>Where {escape(evaluation.first_model)} errs most: the level of the error relative to the level of the "
        f'whole take. A button jumps there and plays.</p><ol class="moments">{"".join(items)}</ol>'
    )


def _article(evaluation: Evaluation, index: int, excerpt: Excerpt, voices: Sequence[Voice]) -> str:
    """An excerpt: its player, its waveform and its figures."""
    title = f"{excerpt.title.capitalize()}: {excerpt.take}"
    facts = f"{describe_knobs(excerpt.knobs)}; {excerpt.start_s:.2f} to {excerpt.start_s + excerpt.duration_s:.2f} s"
    return (
        f'<article id="excerpt{index}" aria-labelledby="title{index}"><h3 id="title{index}">{escape(title)}</h3>'
        f'<p class="quiet">{escape(facts)}</p>{_player(evaluation, index, excerpt, voices)}'
        f"<details{' open' if not index else ''}><summary>Figures</summary>"
        f"{''.join(_figures(evaluation, index, excerpt))}</details></article>"
    )


def _player(evaluation: Evaluation, index: int, excerpt: Excerpt, voices: Sequence[Voice]) -> str:
    order = list(heard_estimates(excerpt))
    models = {candidate["name"] for candidate in evaluation.candidates if candidate["kind"] == "model"}
    choices: list[tuple[str, str, str, float | None]] = [
        (f"voice:{voice.name}", voice.name, _tint(voice.name, evaluation), voice.match_db) for voice in voices
    ]
    choices += [
        (f"error:{name}", f"error of {name}", _tint(name, evaluation), None) for name in order if name in models
    ]
    radios = []
    for number, (value, label, tint, gain) in enumerate(choices):
        shown = "" if gain is None else f"<small>{gain:+.1f} dB</small>"
        radios.append(
            f'<label class="voice" style="--tint: var(--{tint})"><input type="radio" name="voice{index}" '
            f'value="{escape(value)}"{" checked" if value == "voice:target" else ""}><i></i>'
            f"<span>{number + 1} {escape(label)}</span>{shown}</label>"
        )
    length = f"{excerpt.duration_s:.3f}"
    return (
        f'<div class="controls"><button type="button" class="play" aria-describedby="title{index}">Play</button>'
        f'<input type="range" min="0" max="{length}" step="0.01" value="0" aria-label="Position in seconds">'
        f'<output aria-live="off">0 of {length} s</output></div>'
        f"<fieldset><legend>Hear</legend>{''.join(radios)}</fieldset>"
        '<div class="controls"><label><input type="checkbox" class="matched" checked> at the loudness of the target '
        '(gains as shown)</label><label><input type="checkbox" class="repeat" checked> repeat</label>'
        '<span class="quiet">Keys 1 to 9 switch while the focus is in this box.</span></div>'
        f"{_wave(evaluation, excerpt)}"
    )


def _wave(evaluation: Evaluation, excerpt: Excerpt) -> str:
    """Target and chosen voice over time, and below them the error, both on one scale; a click jumps there."""
    estimates = heard_estimates(excerpt)
    first = next(iter(estimates), "")
    signals = {"dry": excerpt.dry, "target": excerpt.target, **estimates}
    errors = {name: excerpt.target - signal for name, signal in estimates.items()}
    shown = (excerpt.target, *estimates.values(), *errors.values())
    peak = max(float(abs(signal).max(initial=0.0)) for signal in shown) or 1.0

    def path(signal: Any, tint: str, attributes: str) -> str:
        drawn = figures.draw_wave(signal, peak, WAVE_WIDTH, WAVE_HEIGHT)
        return f'<path d="{drawn}" style="fill: var(--{tint})" {attributes}/>'

    voices = "".join(
        path(
            signal,
            _tint(name, evaluation),
            f'data-voice="{escape(name)}" data-shown="{"yes" * (name == "target") or "no"}"',
        )
        for name, signal in signals.items()
    )
    lower = "".join(
        path(
            error,
            _tint(name, evaluation),
            f'data-error="{escape(name)}" data-shown="{"yes" if name == first else "no"}"',
        )
        for name, error in errors.items()
    )
    marks = "".join(
        f'<rect class="mark" x="{WAVE_WIDTH * (moment.start_s - excerpt.start_s) / excerpt.duration_s:.0f}" y="0" '
        f'width="{max(WAVE_WIDTH * (moment.stop_s - moment.start_s) / excerpt.duration_s, 2):.0f}" '
        f'height="{2 * WAVE_HEIGHT}"/>'
        for moment in excerpt.moments
    )
    label = "Waveform of the target and, below it on the same scale, of the error; shaded are the worst moments."
    return (
        f'<figure><div class="wave"><svg viewBox="0 0 {WAVE_WIDTH} {2 * WAVE_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">{marks}'
        f'<g class="behind">{path(excerpt.target, "target", "")}</g>{voices}'
        f'<line class="lane" x1="0" x2="{WAVE_WIDTH}" y1="{WAVE_HEIGHT}" y2="{WAVE_HEIGHT}"/>'
        f'<g transform="translate(0 {WAVE_HEIGHT})">{lower}</g></svg>'
        '<span class="name" style="top: .3rem">output</span>'
        f'<span class="name error-name" style="top: 52%">{escape(f"error of {first}" if first else "")}</span>'
        '<div class="head"></div></div><figcaption>The chosen voice over the target, and the error (target less '
        "estimate) on the same scale; a click jumps there, shaded are the worst moments.</figcaption></figure>"
    )


def _figures(evaluation: Evaluation, index: int, excerpt: Excerpt) -> Iterator[str]:
    """The figures of an excerpt with a sentence each."""
    estimates, rate = heard_estimates(excerpt), excerpt.sample_rate
    if not estimates:
        return
    colours = figures.choose_colours(evaluation.names)
    few = dict(itertools.islice(estimates.items(), MOST_SPECTROGRAMS))
    drawn: list[tuple[str, Figure, str]] = [
        (
            "",
            figures.plot_envelope(excerpt.target, estimates, rate, colours),
            "RMS envelope in windows of 4096 samples: does the model get as loud as the device, and as quickly?",
        ),
        (
            "",
            figures.plot_spectrograms(excerpt.target, few, rate),
            "Spectrograms in windows of 2048 samples: partials that a model adds or lacks show as lines that differ.",
        ),
        (
            "",
            figures.plot_spectral_difference(excerpt.target, estimates, rate, colours),
            "Mean difference of the spectra: at which frequencies a model errs; lower is better.",
        ),
        (
            "narrow",
            figures.plot_transfer(excerpt.dry, excerpt.target, estimates, colours),
            "Output against input: median and, shaded, the middle 90 % of the output samples at each input level; "
            "a bend is distortion, width is memory.",
        ),
    ]
    for number, (kind, figure, sentence) in enumerate(drawn):
        svg = figures.figure_to_svg(figure, sentence, f"f{index}x{number}-")
        yield f'<figure class="{kind}">{svg}<figcaption>{escape(sentence)}</figcaption></figure>'


def _knobs(evaluation: Evaluation) -> str:
    """Maps of the error over one knob or pairs of knobs, and the table by setting."""
    metric = main_metric(evaluation)
    values: dict[str, list[Any]] = {}
    for knob in evaluation.effect.knobs:
        found = {row.knobs[knob.name] for row in evaluation.rows}
        if len(found) > 1:
            values[knob.name] = sorted(found, key=lambda value, knob=knob: float(knob.normalise(value)))  # type: ignore[misc]
    if not values:
        return ""
    names = list(values)
    pairs = list(itertools.combinations(names, 2))[:MOST_MAPS] or [(names[0], "")]
    models = [candidate["name"] for candidate in evaluation.candidates if candidate["kind"] == "model"]
    maps = [
        _map(evaluation, model, metric, down, across, values)
        for model in (models or [evaluation.names[0]])[:MOST_MAPS]
        for across, down in pairs
    ]
    sentence = (
        f"<p>Mean {escape(metric)} at the recorded settings, the stronger the colour the worse: shows where on its "
        "knobs a model is weak.</p>"
    )
    return (
        f'{sentence}<div class="side">{"".join(maps)}</div><details><summary>All metrics by setting</summary>'
        f"{_table(settings_table(evaluation))}</details>"
    )


def _map(
    evaluation: Evaluation, model: str, metric: str, down: str, across: str, values: Mapping[str, Sequence[Any]]
) -> str:
    """A table of the error of a model over two knobs, or over one if ``down`` is empty."""
    cells: dict[tuple[Any, Any], list[float]] = {}
    for row in evaluation.rows:
        if row.model == model:
            place = (row.knobs[down] if down else "", row.knobs[across])
            cells.setdefault(place, []).append(row.values[metric])
    means = {place: mean_interval(found).value for place, found in cells.items()}
    known = [math.log(max(value, 1e-12)) for value in means.values() if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)

    def cell(place: tuple[Any, Any]) -> str:
        value = means.get(place, math.nan)
        if not math.isfinite(value):
            return '<td class="none"><span aria-label="not recorded">·</span></td>'
        share = (math.log(max(value, 1e-12)) - low) / (high - low) if high > low else 0.0
        return f'<td style="--error: {share:.3f}">{format_value(value)}</td>'

    def written(value: Any) -> str:
        return escape(value if isinstance(value, str) else format(value, "g"))

    head = "".join(f'<th scope="col">{written(value)}</th>' for value in values[across])
    lines = "".join(
        f'<tr><th scope="row">{written(value)}</th>{"".join(cell((value, other)) for other in values[across])}</tr>'
        for value in (values[down] if down else [""])
    )
    corner = escape(f"{down} \\ {across}" if down else across)
    return (
        f'<div class="scroll"><table class="map"><caption>{escape(model)}: {escape(metric)}</caption>'
        f'<thead><tr><th class="label" scope="col">{corner}</th>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _takes(evaluation: Evaluation) -> str:
    metric = main_metric(evaluation)
    takes = list(dict.fromkeys(row.take for row in evaluation.rows))
    measured = {(row.model, row.take): row.values[metric] for row in evaluation.rows}
    values = {name: [measured.get((name, take), math.nan) for take in takes] for name in evaluation.names}
    first = evaluation.first_model
    values = {first: values[first], **values}
    colours = figures.choose_colours(evaluation.names)
    figure = ""
    if len(takes) > 1:
        sentence = f"{metric} of every take: how much the models differ, and which takes are hard for all of them."
        svg = figures.figure_to_svg(figures.plot_takes(takes, values, metric, colours), sentence, "takes-")
        figure = f"<figure>{svg}<figcaption>{escape(sentence)}</figcaption></figure>"
    return (
        f"{figure}<details><summary>All metrics by take</summary>{_table(takes_table(evaluation))}"
        '<p class="quiet">In brackets: 95 % confidence by bootstrap over the moments of the take.</p></details>'
    )


def _device(measured: Mapping[str, DeviceMeasurements]) -> str:
    """Figures of what test signals say about the first model."""
    if not measured:
        return ""
    drawn = []
    for name, figure in plot_device(measured).items():
        svg = figures.figure_to_svg(figure, DEVICE_SENTENCES[name], f"device-{name}-")
        drawn.append(f"<figure>{svg}<figcaption>{escape(DEVICE_SENTENCES[name])}</figcaption></figure>")
    noise = "".join(
        f"<li>{escape(name)}: noise {result.noise.noise_db:.0f} dB, DC {result.noise.dc:.2g}.</li>"
        for name, result in measured.items()
    )
    return (
        "<p>Sines, sweeps and silence through the model alone, at the settings above. The recordings hold no such "
        "signals: what is louder or steadier than they are is the model's guess.</p>"
        f"{''.join(drawn)}<p>With silence at its input:</p><ul>{noise}</ul>"
    )


def _metrics(evaluation: Evaluation) -> str:
    entries = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(what['explanation'])} "
        f"{'Higher' if what['higher_is_better'] else 'Lower'} is better.</dd>"
        for name, what in evaluation.metrics.items()
    )
    return f"<dl>{entries}</dl>"


def main_metric(evaluation: Evaluation) -> str:
    """The metric of maps and figures: the error-to-signal ratio, or the first one that was measured."""
    return "esr" if "esr" in evaluation.metrics else next(iter(evaluation.metrics))


def _turned(table: Table) -> str:
    """A table of few lines and many columns in HTML, with a line for each column."""
    ranks = table.ranks()
    head = "".join(f'<th scope="col">{escape(line.labels[0])}</th>' for line in table.lines)
    rows = "".join(
        f'<tr><th scope="row">{escape(column.title)}</th>'
        f"{''.join(_cell(line.cells[index], ranks[number][index]) for number, line in enumerate(table.lines))}</tr>"
        for index, column in enumerate(table.columns)
    )
    return _scrolling(table.title, f'<th scope="col" class="label">metric</th>{head}', rows)


def _table(table: Table) -> str:
    """A table in HTML, for eyes and screen readers."""
    head = "".join(f'<th scope="col" class="label">{escape(label)}</th>' for label in table.labels)
    head += "".join(f'<th scope="col">{escape(column.title)}</th>' for column in table.columns)
    lines = []
    for index, (line, ranks) in enumerate(zip(table.lines, table.ranks())):
        first, *others = line.labels
        labels = ""
        if not table.grouped:
            labels = f'<th scope="row">{escape(first)}</th>'
        elif table.starts_group(index):
            rows = sum(other.labels[0] == first for other in table.lines)
            labels = f'<th scope="rowgroup" rowspan="{rows}">{escape(first)}</th>'
        labels += "".join(f'<th scope="row">{escape(label)}</th>' for label in others)
        cells = "".join(map(_cell, line.cells, ranks))
        lines.append(f"<tr>{labels}{cells}</tr>")
    return _scrolling(table.title, head, "".join(lines))


def _cell(cell: Cell, rank: int | None) -> str:
    mark = {1: ' class="best"', 2: ' class="second"'}.get(rank or 0, "")
    spread = f"<small>{escape(cell.spread)}</small>" if cell.spread else ""
    return f"<td><span{mark}>{format_value(cell.value)}</span>{spread}</td>"


def _scrolling(title: str, head: str, rows: str) -> str:
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}"><table>'
        f"<caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _tint(name: str, evaluation: Evaluation) -> str:
    """The page's variable with the colour of a voice."""
    return figures.VARIABLES[figures.choose_colours(evaluation.names)[name]]


def _json_for_page(content: Any) -> str:
    """JSON inside of a script element, which ends at the first ``</``."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")
