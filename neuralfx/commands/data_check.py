"""``neuralfx data check`` and ``neuralfx data align``: a folder of recordings before training. Needs no torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from neuralfx.commands import ArgumentParser
from neuralfx.datasets.aligned_copy import Correction, write_aligned
from neuralfx.datasets.check import DeviceCheck, TakeCheck, check_recording, count_files
from neuralfx.datasets.manifest import Recording, devices
from neuralfx.datasets.recognise import read_folder
from neuralfx.errors import AudioFileError, FormatError
from neuralfx.reports import check as report

_CHECK_EPILOG = """\
exit status: 0 if nothing found would harm training, 1 if there is an error in the sense of the report (unreadable or
silent files, NaN, different sample rates, clipping beyond 0.01 % of the samples, an offset that cannot be found or is
beyond 8192 samples, drift, jumps, a single inverted take, identical audio under different settings), 2 for bad use.

example: neuralfx data check my-recordings -o my-recordings-check
"""

_ALIGN_EPILOG = """\
Only constant offsets are corrected. Offsets of up to 8 samples are the response of the device and stay as they are.
The log with every decision is alignment.csv and alignment.json in the new folder. Originals are never touched.

example: neuralfx data align my-recordings -o my-recordings-aligned
"""


def check(argv: Sequence[str] | None = None) -> int:
    """Print what a recording engineer would want to know about a folder of recordings; return the exit status.

    Args:
        argv: Arguments after ``neuralfx data check``; None takes those of the process.

    Raises:
        DatasetNotFoundError: If the folder, or files of it, are missing.
        FormatError: If the folder is damaged or the device is not clear.
        AudioFileError: If the report cannot be written.
    """
    parser = _parser("check", "Look at a folder of recordings before training.", _CHECK_EPILOG)
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write check.json and plots here")
    arguments = parser.parse_args(argv)
    summaries = []
    worst = 0
    for recording in _read(arguments.folder, arguments.device):
        checked = _measure(recording)
        findings = report.judge(checked)
        effect = recording.effect
        print(f"{effect.slug}: {effect.device or effect.slug}, {len(recording.takes)} takes, {effect.sample_rate} Hz\n")
        print(report.render_table(checked))
        advice = report.render_advice(findings)
        print(f"\n{advice}\n" if advice else "\nnothing to remark\n")
        worst = max(worst, int(any(finding.severity == report.ERROR for finding in findings)))
        summaries.append(report.summarise(checked, findings))
        if arguments.output:
            _write_report(Path(arguments.output), checked, summaries)
    return worst


def align(argv: Sequence[str] | None = None) -> int:
    """Write a corrected copy of a folder of recordings; return the exit status.

    Args:
        argv: Arguments after ``neuralfx data align``; None takes those of the process.

    Raises:
        ConfigError: If the new folder lies in the old one or holds files.
        DatasetNotFoundError: If the folder, or files of it, are missing.
        FormatError: If offsets drift, jump or cannot be found, unless forced; or the folder is damaged.
        AudioFileError: If a file cannot be read or written.
    """
    parser = _parser("align", "Write a copy whose outputs lie sample by sample at their inputs.", _ALIGN_EPILOG)
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, help="new folder")
    parser.add_argument("--polarity", action="store_true", help="turn takes around that are inverted unlike the others")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also copy takes with drift or jumps (by their constant offset) or with an unknown offset (as they are)",
    )
    arguments = parser.parse_args(argv)
    work = []
    for recording in _read(arguments.folder, arguments.device):
        checked = _measure(recording)
        if not arguments.force:
            _refuse_unclear(checked)
        work.append((recording, _corrections(checked, arguments.polarity)))
    log = write_aligned(work, [Path(arguments.folder)], Path(arguments.output))
    for row in log:
        done = "as recorded" if not row["offset_samples"] else f"moved by {-row['offset_samples']} samples"
        print(f"{row['device']}/{row['file']}: {done}{', turned around' if row['inverted'] else ''}")
    print(f"wrote {arguments.output}")
    return 0


def _parser(action: str, description: str, epilog: str) -> ArgumentParser:
    parser = ArgumentParser(
        prog=f"neuralfx data {action}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="recordings with a manifest, or in a layout that is known")
    parser.add_argument("--device", help="one device of the folder; default: all that its manifest names")
    return parser


def _read(folder: str, device: str | None) -> list[Recording]:
    names: Sequence[str | None] = [device] if device else devices(folder) or [None]
    return [read_folder(folder, name) for name in names]


def _measure(recording: Recording) -> DeviceCheck:
    with tqdm(
        total=count_files(recording), unit=" files", desc=recording.effect.slug, disable=None, leave=False,
        file=sys.stderr,
    ) as progress:  # fmt: skip
        return check_recording(recording, progress.update)


def _write_report(folder: Path, checked: DeviceCheck, summaries: list[dict[str, object]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"devices": summaries}, indent=2, ensure_ascii=False)
        (folder / "check.json").write_text(text + "\n", encoding="utf-8")
        report.save_figures(checked, folder)
    except OSError as error:
        raise AudioFileError(f"cannot write {folder}: {error}") from error


def _refuse_unclear(checked: DeviceCheck) -> None:
    """Raise unless a constant offset describes every take."""
    reasons = []
    for take in checked.takes:
        name = take.take.wet.name
        if take.offset is None or take.offset.samples is None:
            reasons.append(f"{name} has no clear offset")
        elif take.track and take.track.jumps:
            reasons.append(f"{name} jumps at {take.track.jumps[0].time_s:.2f} s")
        elif report.drift_matters(take) and take.track and take.track.drift_ppm is not None:
            reasons.append(f"{name} drifts by {take.track.drift_ppm:+.1f} ppm")
    if reasons:
        raise FormatError(
            f"{checked.effect.slug}: {'; '.join(reasons)}. Only constant offsets are corrected; see 'neuralfx data "
            "check', leave these takes out, or pass --force."
        )


def _corrections(checked: DeviceCheck, turn: bool) -> list[Correction]:
    odd = report.odd_polarity(checked)[1] if turn else []
    return [_correction(take, index in odd) for index, take in enumerate(checked.takes)]


def _correction(take: TakeCheck, invert: bool) -> Correction:
    if take.problem:
        raise FormatError(f"{take.problem} It cannot be copied.")
    offset, track, known = take.offset, take.track, take.take.offset_samples
    measured = offset.samples if offset else None
    own = measured is None or abs(measured) <= report.OWN_SAMPLES
    used = known if known is not None else 0 if own else measured or 0
    log = {
        "measured_samples": measured,
        "stated_samples": known,
        "confidence": round(offset.confidence, 3) if offset else None,
        "polarity": offset.polarity if offset else None,
        "drift_ppm": round(track.drift_ppm, 2) if track and track.drift_ppm is not None else None,
        "jumps": len(track.jumps) if track else None,
        "decision": report.explain_offset(take),
    }
    return Correction(used, invert, log)
