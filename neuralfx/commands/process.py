"""``neuralfx process``: audio files through a model, piece by piece, so that their length does not matter."""

from __future__ import annotations

import argparse
import glob
import math
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuralfx import audio
from neuralfx.commands import ArgumentParser
from neuralfx.effect import Effect
from neuralfx.errors import AudioError, AudioFileError, ConfigError, KnobError, ShapeError

if TYPE_CHECKING:
    from tqdm import tqdm

    from neuralfx.models.base import EffectModule

_BLOCK_SAMPLES = 65_536

_EPILOG = """\
Without -o, the result of in.wav lies next to it as in-<model>.wav. A file named by -o is replaced once the new one is
complete; other files that exist are replaced only with -y. Inputs are never replaced. The coding (16 bit, 24 bit,
float) follows the input where the output's format has it.

example: neuralfx process in.wav -m la2a-s4d -k peak_reduction=60 -k mode=limit -o out.wav
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Process the files and print the names of the results; return the exit status.

    Args:
        argv: Arguments after ``neuralfx process``; None takes those of the process.

    Raises:
        AudioFileError: If an input cannot be read or an output cannot be written.
        AudioError: If an input holds NaN or infinity, or the gain is not finite.
        KnobError: If a knob is not given as name=value, is unknown or out of range.
        ModelNotFoundError: If there is no such model.
    """
    parser = ArgumentParser(
        prog="neuralfx process",
        description="Run audio files through a model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="audio file, folder of audio files, or pattern")
    parser.add_argument("-m", "--model", required=True, help="name (see 'neuralfx list'), model folder or owner/name")
    parser.add_argument(
        "-k", "--knob", action="append", default=[], metavar="NAME=VALUE", help="a knob, in its own unit; repeatable"
    )
    parser.add_argument("-o", "--output", help="output file, or folder for several inputs")
    parser.add_argument("-y", "--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--gain", type=float, default=0.0, metavar="DB", help="gain of the output in dB; default: 0")
    parser.add_argument("--device", default="cpu", help="where the model runs, such as cuda; default: cpu")
    arguments = parser.parse_args(argv)
    results = process(
        arguments.inputs,
        arguments.model,
        arguments.knob,
        output=arguments.output,
        overwrite=arguments.overwrite,
        gain_db=arguments.gain,
        device=arguments.device,
    )
    for path in results:
        print(path)
    return 0


def process(
    inputs: Sequence[str],
    model: str,
    knobs: Sequence[str] = (),
    *,
    output: str | None = None,
    overwrite: bool = False,
    gain_db: float = 0.0,
    device: str = "cpu",
) -> list[Path]:
    """Process audio files, several at once if there are cores; each result appears when it is complete.

    Args:
        inputs: Audio files, folders of audio files, or patterns such as ``takes/*.wav``.
        model: What :func:`neuralfx.load` takes.
        knobs: Knob values as ``name=value``.
        output: Output file for one input file, else output folder; None writes next to each input.
        overwrite: Whether files that exist are replaced although ``output`` does not name them.
        gain_db: Gain of the output, in dB.
        device: Where the model runs, such as ``cpu`` or ``cuda``.

    Returns:
        The files written.

    Raises:
        AudioFileError: If an input cannot be read or an output cannot be written.
        AudioError: If an input holds NaN or infinity, or the gain is not finite.
        KnobError: If a knob is not given as name=value, is unknown or out of range.
        ModelNotFoundError: If there is no such model.
    """
    if not math.isfinite(gain_db):
        raise AudioError(f"expected a finite gain in dB, got {gain_db}.")
    label = _label(model)
    sources = _find_inputs(inputs, label)
    total = sum(audio.info(source).samples for source in sources)
    targets = _plan_outputs(sources, inputs, output, label, overwrite)

    import torch
    from tqdm import tqdm

    from neuralfx.hub.load import load

    effect_module = load(model, device=device)
    values = parse_knobs(knobs, effect_module.effect)
    for target in targets:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioFileError(f"cannot write {target}: {error}") from error
    workers = min(len(sources), torch.get_num_threads()) if device == "cpu" else 1
    stopped = threading.Event()
    with (
        tqdm(total=total, unit=" samples", unit_scale=True, disable=None, leave=False, file=sys.stderr) as progress,
        ThreadPoolExecutor(workers) as pool,
    ):
        work = [
            pool.submit(_process_file, effect_module, values, source, target, gain_db, progress, stopped)
            for source, target in zip(sources, targets)
        ]
        try:
            for result in work:
                warning = result.result()
                if warning:
                    progress.write(warning, file=sys.stderr)
        except BaseException:  # Ctrl-C too: the others stop at their next block and leave nothing behind
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return targets


def parse_knobs(knobs: Sequence[str], effect: Effect) -> dict[str, Any]:
    """Knob values from their ``name=value`` texts: numbers, or positions where the knob is a switch.

    Raises:
        KnobError: If a text has another form, the effect has no such knob, or the value is out of range.
    """
    values: dict[str, Any] = {}
    for text in knobs:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise KnobError(f"expected a knob as name=value such as peak_reduction=60, got {text!r}.")
        if name not in effect.knobs.names():
            raise KnobError.unknown(effect, name)
        values[name] = value
        if not effect.knobs[name].positions:
            try:
                values[name] = float(value)
            except ValueError:
                raise KnobError.out_of_range(effect.knobs[name], value) from None
    effect.normalise(values)
    return values


def _process_file(
    model: EffectModule,
    knobs: Mapping[str, Any],
    source: Path,
    target: Path,
    gain_db: float,
    progress: tqdm[Any],
    stopped: threading.Event,
) -> str | None:
    """Write one result, unless all are to stop; returns a warning if it is clipped."""
    progress.set_description(source.name)
    header = audio.info(source)
    subtype = audio.fitting_subtype(target, header.subtype)
    gain = 10 ** (gain_db / 20)
    stream = model.stream(header.sample_rate)
    stream.set_knobs(**knobs)
    early = stream.latency_samples
    silence = np.zeros((header.channels, early), dtype=np.float32)
    peak = 0.0
    with audio.writer(target, header.sample_rate, header.channels, subtype) as add:

        def push(dry: Any) -> None:
            nonlocal early, peak
            wet = gain * stream.process(dry)
            skipped = min(early, wet.shape[-1])
            early -= skipped
            wet = wet[:, skipped:]
            peak = max(peak, float(np.abs(wet).max(initial=0.0)))
            add(wet)

        try:
            for dry in audio.blocks(source, _BLOCK_SAMPLES):
                if stopped.is_set():
                    raise CancelledError
                push(dry)
                progress.update(dry.shape[-1])
        except (AudioError, ShapeError) as error:
            raise type(error)(f"{source}: {error}") from None
        push(silence)
    if peak > 1 and subtype not in ("FLOAT", "DOUBLE"):
        peak_db = 20 * math.log10(peak)
        return (
            f"warning: {target} is clipped: its peak is {peak_db:+.2f} dBFS, and {subtype} ends at 0. "
            f"Pass --gain {math.floor(10 * (gain_db - peak_db)) / 10:g}, or give a float file as input."
        )
    return None


def _label(model: str) -> str:
    """The tail of an output's name: the model's name without owner, folder and revision."""
    name = os.path.basename(os.path.abspath(model)) if os.path.exists(model) else model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "-", name.partition("@")[0].removesuffix(".safetensors"))


def _find_inputs(inputs: Sequence[str], label: str) -> list[Path]:
    """The audio files that the arguments stand for, each once, in order."""
    found: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            # A second run takes the same inputs as the first, so results of this model are left out.
            files = [file for file in sorted(path.iterdir()) if not file.stem.endswith(f"-{label}") and _is_audio(file)]
        elif not path.exists() and glob.has_magic(text):
            files = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if _is_audio(Path(name))]
        else:
            files = [path]
        if not files:
            raise AudioFileError(
                f"{text}: expected audio files ({', '.join(audio.FORMATS)}), found none; check the path."
            )
        found += files
    return list(dict.fromkeys(found))


def _is_audio(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() in audio.FORMATS


def _plan_outputs(
    sources: Sequence[Path], inputs: Sequence[str], output: str | None, label: str, overwrite: bool
) -> list[Path]:
    """Where each result goes, checked before any work is done."""
    is_one_file = len(inputs) == 1 and list(sources) == [Path(inputs[0])]
    named = False
    if output is None:
        targets = [source.with_name(f"{source.stem}-{label}.wav") for source in sources]
    elif is_one_file and not Path(output).is_dir() and not output.endswith(("/", os.sep)):
        targets = [Path(output)]
        named = True
    elif Path(output).is_file() or Path(output).suffix.lower() in audio.FORMATS:
        raise ConfigError(f"several inputs need an output folder, got the file name {output}; pass -o FOLDER.")
    else:
        targets = [Path(output) / source.name for source in sources]
    read = {_real_path(source) for source in sources}
    written: dict[str, Path] = {}
    for source, target in zip(sources, targets):
        audio.format_of(target)
        if _real_path(target) in read:
            raise ConfigError(f"{target} is an input and is not replaced; pass another -o.")
        if _real_path(target) in written:
            other = written[_real_path(target)]
            raise ConfigError(f"{other} and {source} would both be written to {target}; process them separately.")
        written[_real_path(target)] = source
        if target.exists() and not (named or overwrite):
            raise ConfigError(f"{target} exists; pass -y to replace it.")
    return targets


def _real_path(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))
