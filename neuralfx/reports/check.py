"""What the measurements of a recording mean for training: a table, plain advice, and figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralfx.datasets.check import Coverage, DeviceCheck, TakeCheck
from neuralfx.datasets.levels import Levels
from neuralfx.datasets.manifest import KnobValue
from neuralfx.datasets.offsets import MAX_OFFSET
from neuralfx.errors import join_words
from neuralfx.text import align

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTE, WARNING, ERROR = "note", "warning", "error"
SEVERITIES = (ERROR, WARNING, NOTE)

OWN_SAMPLES = 8  # an onset this near 0 is the response of the device and its converters
FULL_SCALE = 0.999
CLIPPED_SHARE = 1e-4  # of the samples; beyond, clipping is part of what a model learns
DC_NOTE, DC_WARNING = 0.05, 0.2  # relative to the root mean square
NOISY_ESR = 0.01
QUIET_PEAK = 0.01  # -40 dBFS leaves 16 bit with 9
SILENT_SHARE = 0.5
DRIFT_SIGMAS = 4.0
DRIFT_SAMPLES = 1.0  # over the whole take
COPY_ESR = 1e-6
REPEAT_ESR = 0.1
LISTED = 4  # settings that a sentence names

_HEAD = (
    "take",
    "offset",
    "decided by",
    "agree",
    "polarity",
    "drift ppm",
    "jumps",
    "peak dBFS",
    "RMS dBFS",
    "clipped",
    "noise dBFS",
    "best ESR",
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a person should know before training.

    Attributes:
        severity: ``note`` (good to know), ``warning`` (look at it) or ``error`` (would harm training).
        subject: File name of the take, or slug of the device.
        message: What was found and what to do, in sentences.
    """

    severity: str
    subject: str
    message: str


def render_table(check: DeviceCheck) -> str:
    """The measurements of a device as a table, a take per line."""
    rows = [_HEAD, *(_row(take) for take in check.takes)]
    return align(rows)


def render_advice(findings: Sequence[Finding]) -> str:
    """Findings as lines, the gravest first; takes with one message share a line."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for finding in sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)):
        grouped.setdefault((finding.severity, finding.message), []).append(finding.subject)
    lines = []
    for (severity, message), subjects in grouped.items():
        more = f" and {len(subjects) - LISTED} more" if len(subjects) > LISTED + 1 else ""
        named = subjects[:LISTED] if more else subjects
        lines.append(f"{severity}: {', '.join(named)}{more}: {message}")
    return "\n".join(lines)


def judge(check: DeviceCheck) -> list[Finding]:
    """All findings about a device and its takes."""
    slug = check.effect.slug
    findings = [
        Finding(severity, take.take.wet.name, message)
        for take in check.takes
        for severity, message in _judge_take(take, check.effect.sample_rate)
    ]
    findings += [Finding(severity, name, message) for severity, name, message in _judge_inputs(check)]
    findings += [Finding(severity, name, message) for severity, name, message in _judge_polarity(check)]
    findings += [Finding(severity, slug, message) for severity, message in _judge_device(check)]
    return findings


def summarise(check: DeviceCheck, findings: Sequence[Finding]) -> dict[str, Any]:
    """Everything as plain strings, numbers, lists and dicts, for a JSON file."""
    takes = []
    for take in check.takes:
        measured = {
            name: _plain(dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value)  # type: ignore[arg-type]
            for name in ("dry", "wet", "problem", "offset", "track", "noise_rms", "best_esr", "copy_esr")
            for value in [getattr(take, name)]
        }
        if take.offset:
            opinions = {name: opinion._asdict() for name, opinion in take.offset.opinions.items()}
            measured["offset"] |= {"opinions": opinions, "decision": explain_offset(take)}
        if take.track:
            measured["track"]["jumps"] = [jump._asdict() for jump in take.track.jumps]
        takes.append(
            {"input": take.take.dry.name, "file": take.take.wet.name, "knobs": dict(take.take.values), **measured}
        )
    return {
        "device": check.effect.slug,
        "sample_rate": check.effect.sample_rate,
        "takes": takes,
        "coverage": _plain(dataclasses.asdict(check.coverage)),
        "repeats": [dataclasses.asdict(repeat) for repeat in check.repeats],
        "duplicates": [[check.takes[index].take.wet.name for index in group] for group in check.duplicates],
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def explain_offset(take: TakeCheck) -> str:
    """How the offset of a take was decided, in a sentence."""
    offset = take.offset
    if offset is None:
        return "not measured"
    said = ", ".join(
        f"{name} {opinion.lag}{'' if opinion.agrees else ' (unclear)' if opinion.agrees is None else ' (differs)'}"
        for name, opinion in offset.opinions.items()
    )
    agreeing, asked = offset.agreement
    if offset.samples is None:
        return f"not decided: the onset is unclear (confidence {offset.confidence:.2f}), other methods differ: {said}"
    return (
        f"{offset.samples} by {offset.method}, confidence {offset.confidence:.2f}, "
        f"{agreeing} of {asked} methods agree: {said}"
    )


def drift_matters(take: TakeCheck) -> bool:
    """Whether the offset of a take drifts, beyond doubt and by a sample or more."""
    track, dry = take.track, take.dry
    if track is None or dry is None or track.drift_ppm is None or track.uncertainty_ppm is None:
        return False
    moved = abs(track.drift_ppm) * 1e-6 * dry.samples
    spread = track.spread or 0.0
    return (
        abs(track.drift_ppm) > DRIFT_SIGMAS * track.uncertainty_ppm
        and moved > max(DRIFT_SAMPLES, 2.0 * spread)
        and 2 * len(track.moved) >= track.windows
    )


def odd_polarity(check: DeviceCheck) -> tuple[int, list[int]]:
    """Polarity of most takes (0 if there are as many of each), and the takes that are clearly the other way round."""
    clear = {index: take.offset.polarity for index, take in enumerate(check.takes) if take.offset}
    total = sum(sign for sign in clear.values() if sign)
    usual = (total > 0) - (total < 0)
    return usual, [index for index, sign in clear.items() if sign == -usual and usual]


def _judge_take(take: TakeCheck, sample_rate: int) -> Iterator[tuple[str, str]]:
    if take.problem:
        yield ERROR, take.problem
        return
    dry, wet = take.dry, take.wet
    if dry is None or wet is None:
        return
    if {dry.sample_rate, wet.sample_rate} != {sample_rate}:
        yield (
            ERROR,
            f"input has {dry.sample_rate} Hz and output {wet.sample_rate} Hz where {sample_rate} Hz are expected; "
            "record or convert all files to one rate.",
        )
        return
    if wet.not_finite:
        yield ERROR, f"output holds {wet.not_finite} samples that are NaN or infinite; export it again."
    if not wet.rms:
        yield ERROR, "output is silent from end to end; record it again or leave it out."
        return
    yield from _judge_clipping(wet)
    yield from _judge_level(take, wet)
    yield from _judge_offset(take)
    yield from _judge_track(take)
    if wet.digest == dry.digest:
        yield WARNING, "output is the input, sample by sample; was the device bypassed?"
    elif take.copy_esr is not None and take.copy_esr < COPY_ESR:
        yield WARNING, "output is the input at another level; was the device bypassed?"


def _judge_clipping(wet: Levels) -> Iterator[tuple[str, str]]:
    if not wet.clipped_samples:
        return
    share = wet.clipped_samples / (wet.samples * wet.channels)
    where = f"{wet.clipped_runs} flat tops at {_db(wet.clip_level):.1f} dBFS ({100 * share:.2g} % of the samples)"
    if wet.clip_level < FULL_SCALE:
        yield WARNING, f"output has {where}: the device's own limit, or an overload before a fader; have a look."
    elif share > CLIPPED_SHARE:
        yield ERROR, f"output clips: {where}; record it again at a lower level, or the model learns the converter."
    else:
        yield WARNING, f"output clips now and then: {where}; recording it again at a lower level is better."


def _judge_level(take: TakeCheck, wet: Levels) -> Iterator[tuple[str, str]]:
    offset = abs(wet.dc) / wet.rms
    if offset > DC_NOTE:
        severity = WARNING if offset > DC_WARNING else NOTE
        yield severity, f"output has a DC offset of {100 * offset:.1f} % of its RMS level; the model will learn it."
    if wet.peak < QUIET_PEAK and wet.subtype in ("PCM_16", "PCM_S8", "PCM_U8"):
        yield WARNING, f"output peaks at {_db(wet.peak):.0f} dBFS in {wet.subtype}, which leaves few bits; turn it up."
    if wet.zeros > SILENT_SHARE:
        yield NOTE, f"{100 * wet.zeros:.0f} % of the output is digital silence, which teaches nothing."
    if take.best_esr is not None and take.best_esr > NOISY_ESR and take.noise_rms:
        yield (
            WARNING,
            f"noise of {_db(take.noise_rms):.0f} dBFS in the output allows an ESR of {take.best_esr:.2g} at best.",
        )
    if take.dry and abs(take.dry.samples - wet.samples) > take.dry.sample_rate // 10:
        difference = (wet.samples - take.dry.samples) / take.dry.sample_rate
        word = "longer" if difference > 0 else "shorter"
        yield NOTE, f"output is {abs(difference):.2f} s {word} than the input; what both cover is used."


def _judge_offset(take: TakeCheck) -> Iterator[tuple[str, str]]:
    offset, known = take.offset, take.take.offset_samples
    if offset is None:
        yield ERROR, "the offset cannot be measured: the input is silent, or fewer than 1024 samples overlap."
        return
    if offset.samples is None:
        yield ERROR, f"offset {explain_offset(take)}. Is this the output of this input? Look at both in an editor."
        return
    size = abs(offset.samples)
    agreeing, asked = offset.agreement
    if known is not None:
        if abs(known - offset.samples) > 2 * OWN_SAMPLES:
            yield WARNING, f"the data set states an offset of {known} samples, {offset.samples} were measured."
    elif size > MAX_OFFSET:
        yield (
            ERROR,
            f"output is {size} samples {'late' if offset.samples > 0 else 'early'}, more than the {MAX_OFFSET} that "
            "neuralfx fit corrects; run neuralfx data align.",
        )
    elif size > OWN_SAMPLES:
        yield (
            NOTE,
            f"output is {size} samples {'late' if offset.samples > 0 else 'early'}; "
            "neuralfx fit corrects this by itself (align: true).",
        )
    if offset.method != "onset":
        severity = WARNING if 2 * agreeing <= asked else NOTE
        yield severity, f"a linear filter does not explain this take; its offset is {explain_offset(take)}."
    elif 2 * agreeing <= asked:
        yield WARNING, f"methods differ about the offset: {explain_offset(take)}."


def _judge_track(take: TakeCheck) -> Iterator[tuple[str, str]]:
    track = take.track
    if track is None:
        return
    for jump in track.jumps:
        word = "later" if jump.samples > 0 else "earlier"
        yield (
            ERROR,
            f"output is {abs(jump.samples)} samples {word} from {jump.time_s:.2f} s on: a block was lost or doubled; "
            "record it again, or cut the take there.",
        )
    if not track.jumps and drift_matters(take) and take.dry and track.drift_ppm is not None:
        per_minute = track.drift_ppm * 1e-6 * take.dry.sample_rate * 60
        yield (
            ERROR,
            f"output drifts by {track.drift_ppm:+.1f} ppm ({per_minute:+.1f} samples per minute): the clocks of input "
            "and output differ; record both on one clock.",
        )
    if track.windows > 2 and 2 * len(track.moved) < track.windows:
        yield (
            NOTE,
            f"the offset could be followed in {len(track.moved)} of {track.windows} windows; "
            "drift and jumps may go unseen.",
        )


def _judge_inputs(check: DeviceCheck) -> Iterator[tuple[str, str, str]]:
    """Findings about input files, each file once."""
    inputs = {take.take.dry.name: take.dry for take in check.takes if take.dry}
    for name, dry in inputs.items():
        if dry.not_finite:
            yield ERROR, name, f"input holds {dry.not_finite} samples that are NaN or infinite; export it again."
        if not dry.rms:
            yield ERROR, name, "input is silent from end to end."
            continue
        if dry.clipped_samples:
            severity = WARNING if dry.clip_level >= FULL_SCALE else NOTE
            level = f"{_db(dry.clip_level):.1f} dBFS"
            yield severity, name, f"input has {dry.clipped_runs} flat tops at {level}; fine if they were played so."
        if abs(dry.dc) > DC_WARNING * dry.rms:
            yield WARNING, name, f"input has a DC offset of {100 * abs(dry.dc) / dry.rms:.1f} % of its RMS level."
    silent = [take for take in check.takes if take.dry and not take.dry.silent]
    if silent and len(silent) == len(check.takes):
        yield NOTE, check.effect.slug, "no input has half a second of silence, so the noise floor cannot be measured."


def _judge_polarity(check: DeviceCheck) -> Iterator[tuple[str, str, str]]:
    usual, odd = odd_polarity(check)
    clear = [take.offset.polarity for take in check.takes if take.offset and take.offset.polarity]
    for index in odd:
        yield (
            ERROR,
            check.takes[index].take.wet.name,
            "polarity is inverted against the other takes; neuralfx data align --polarity turns it around.",
        )
    if clear and usual == 0:
        yield WARNING, check.effect.slug, "half of the takes are inverted against the others; look at the wiring."
    elif usual < 0 and not odd:
        yield (
            NOTE,
            check.effect.slug,
            f"the device inverts polarity in all {len(clear)} takes where it is clear; that is part of its sound.",
        )


def _judge_device(check: DeviceCheck) -> Iterator[tuple[str, str]]:
    offsets = [take.offset.samples for take in check.takes if take.offset and take.offset.samples is not None]
    if offsets and max(offsets) - min(offsets) > OWN_SAMPLES:
        yield (
            NOTE,
            f"takes start at different points: their offsets go from {min(offsets)} to {max(offsets)} samples; "
            "each take has to be aligned by itself, as neuralfx fit does.",
        )
    for group in check.duplicates:
        names = join_words([check.takes[index].take.wet.name for index in group])
        yield ERROR, f"{names} hold the same audio although their settings or inputs differ; one is mislabelled."
    for repeat in check.repeats:
        names = join_words([check.takes[index].take.wet.name for index in repeat.takes])
        if repeat.esr is None:
            yield NOTE, f"{names} have one setting but could not be compared."
        elif repeat.esr > REPEAT_ESR:
            yield WARNING, f"{names} have one setting but differ by an ESR of {repeat.esr:.2g}; was a knob moved?"
        else:
            yield NOTE, f"{names} repeat one setting to an ESR of {repeat.esr:.2g}; no model can be trusted below."
    yield from _judge_coverage(check.coverage, check)


def _judge_coverage(coverage: Coverage, check: DeviceCheck) -> Iterator[tuple[str, str]]:
    if not coverage.values:
        return
    for name, values in coverage.values.items():
        knob = check.effect.knobs[name]
        if len(values) == 1:
            yield NOTE, f"knob {name} stands at {_value(values[0])} in all takes, so a model cannot learn it."
        elif knob.positions:
            unheard = [position for position in knob.positions if position not in values]
            if unheard:
                yield WARNING, f"knob {name} was never recorded at {join_words(unheard)}."
        elif (values[0], values[-1]) != (knob.minimum, knob.maximum):
            yield (
                NOTE,
                f"knob {name} was recorded from {_value(values[0])} to {_value(values[-1])} of its range "
                f"{knob.describe_range()}; beyond, a model guesses.",
            )
    if coverage.tied:
        yield (
            WARNING,
            f"knobs {join_words(coverage.tied)} were moved only together, so that a model cannot tell what each does; "
            "record settings where one of them moves alone.",
        )
    if coverage.missing:
        yield (
            NOTE,
            f"{coverage.settings} of {coverage.cells} settings of the grid were recorded; missing: "
            f"{_settings(coverage.missing)}.",
        )
    elif coverage.settings < coverage.cells:
        yield NOTE, f"{coverage.settings} settings were recorded; a full grid of these values has {coverage.cells}."
    if coverage.missing_corners:
        yield (
            NOTE,
            f"settings with all knobs at an end of what was recorded are missing: "
            f"{_settings(coverage.missing_corners)}; there a model guesses.",
        )


def _settings(settings: Sequence[Mapping[str, KnobValue]]) -> str:
    listed = [", ".join(f"{name} {_value(value)}" for name, value in row.items()) for row in settings[:LISTED]]
    more = f" and {len(settings) - LISTED} more" if len(settings) > LISTED else ""
    return "; ".join(listed) + more


def _row(take: TakeCheck) -> tuple[str, ...]:
    wet, offset, track = take.wet, take.offset, take.track
    cells = ["-"] * (len(_HEAD) - 1)
    if offset is not None:
        agreeing, asked = offset.agreement
        cells[0] = "?" if offset.samples is None else str(offset.samples)
        cells[1], cells[2] = offset.method, f"{agreeing}/{asked}"
        cells[3] = {1: "+", -1: "inverted", None: "?"}[offset.polarity]
    if track is not None:
        if track.drift_ppm is not None and track.uncertainty_ppm is not None and 2 * len(track.moved) >= track.windows:
            cells[4] = f"{track.drift_ppm:+.1f} ± {track.uncertainty_ppm:.1f}"
        cells[5] = str(len(track.jumps))
    if wet is not None:
        cells[6], cells[7] = f"{_db(wet.peak):.1f}", f"{_db(wet.rms):.1f}"
        cells[8] = str(wet.clipped_samples)
    if take.noise_rms is not None and take.best_esr is not None:
        cells[9] = f"{_db(take.noise_rms):.0f}" if take.noise_rms else "silent"
        cells[10] = f"{take.best_esr:.1e}" if take.best_esr else "0"
    return (take.take.wet.name, *cells)


def _db(amplitude: float) -> float:
    return 20.0 * math.log10(amplitude) if amplitude > 0.0 else -math.inf


def _value(value: KnobValue) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _plain(value: Any) -> Any:
    """Tuples as lists, and numbers that JSON does not know as None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plot(check: DeviceCheck) -> dict[str, Figure]:
    """Figures by name: ``offset`` along the takes, ``levels``, ``noise`` where it was measured, ``knobs`` if any."""
    figures = {"offset": _plot_offsets(check), "levels": _plot_levels(check)}
    if any(take.noise_rms for take in check.takes):
        figures["noise"] = _plot_noise(check)
    if check.coverage.values:
        figures["knobs"] = _plot_knobs(check)
    return figures


def save_figures(check: DeviceCheck, folder: Path) -> list[Path]:
    """Write the figures as ``<device>-<name>.png`` into a folder that exists; returns their paths."""
    paths = []
    for name, figure in plot(check).items():
        paths.append(folder / f"{check.effect.slug}-{name}.png")
        figure.savefig(paths[-1], dpi=100)
    return paths


def _plot_offsets(check: DeviceCheck) -> Figure:
    figure = _figure(check, "offset along each take, relative to its own")
    axes = figure.subplots()
    for take in check.takes:
        if take.track and take.track.times_s:
            label = take.take.wet.stem if len(check.takes) <= 12 else None
            axes.plot(take.track.times_s, take.track.moved, ".-", linewidth=0.8, label=label)
            for jump in take.track.jumps:
                axes.axvline(jump.time_s, color="#d1495b", linewidth=0.8)
    axes.set(xlabel="time (s)", ylabel="moved by (samples)")
    if any(take.track and take.track.jumps for take in check.takes):
        axes.set_yscale("symlog", linthresh=4)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="x-small")
    axes.grid(True, alpha=0.2)
    return figure


def _plot_levels(check: DeviceCheck) -> Figure:
    figure = _figure(check, "levels")
    axes = figure.subplots()
    for name, colour, side in (("dry", "#9aa5b1", "dry"), ("wet", "#d1495b", "wet")):
        measured = [(index, getattr(take, side)) for index, take in enumerate(check.takes)]
        known = [(index, levels) for index, levels in measured if levels and levels.rms]
        places = [index for index, _ in known]
        axes.plot(places, [_db(levels.peak) for _, levels in known], "v", color=colour, label=f"{name} peak")
        axes.plot(places, [_db(levels.rms) for _, levels in known], "o", color=colour, label=f"{name} RMS")
    axes.axhline(0.0, color="#222222", linewidth=0.8)
    _name_takes(axes, check)
    axes.set(ylabel="level (dBFS)")
    axes.legend(fontsize="x-small")
    return figure


def _plot_noise(check: DeviceCheck) -> Figure:
    figure = _figure(check, "noise of the output where the input is silent")
    axes = figure.subplots()
    known = [(index, take.noise_rms) for index, take in enumerate(check.takes) if take.noise_rms]
    axes.plot([index for index, _ in known], [_db(noise) for _, noise in known], "o", color="#d1495b")
    _name_takes(axes, check)
    axes.set(ylabel="noise (dBFS)")
    return figure


def _plot_knobs(check: DeviceCheck) -> Figure:
    figure = _figure(check, "recorded settings")
    names = list(check.coverage.values)
    pairs = [(a, b) for index, a in enumerate(names) for b in names[index + 1 :]] or [(names[0], names[0])]
    columns = math.ceil(math.sqrt(len(pairs)))
    grid = figure.subplots(math.ceil(len(pairs) / columns), columns, squeeze=False)
    for axes, (x, y) in zip(grid.flat, pairs):
        values = [[float(check.effect.knobs[name].normalise(take.take.values[name])) for take in check.takes]
                  for name in (x, y)]  # fmt: skip
        axes.plot(*values, "o", color="#d1495b", alpha=0.6)
        axes.set(xlabel=f"{x} (0 to 1)", ylabel=f"{y} (0 to 1)", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        axes.grid(True, alpha=0.2)
    for axes in list(grid.flat)[len(pairs) :]:
        axes.set_visible(False)
    return figure


def _figure(check: DeviceCheck, title: str) -> Figure:
    from matplotlib.figure import Figure  # slow to import, and only wanted here

    figure = Figure(figsize=(10, 4.8), layout="constrained")
    figure.suptitle(f"{check.effect.device or check.effect.slug}: {title}")
    return figure


def _name_takes(axes: Any, check: DeviceCheck) -> None:
    if len(check.takes) <= 24:
        names = [take.take.wet.stem for take in check.takes]
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize="x-small")
    else:
        axes.set(xlabel="take")
    axes.grid(True, alpha=0.2)
