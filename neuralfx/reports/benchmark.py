"""Speed, memory and cost of every pair on this machine: each measured by itself, then as tables and pictures.

Needs no torch: what is measured runs in processes of :mod:`neuralfx.reports.timing`.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from neuralfx import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

SAMPLE_RATE = 48_000
KNOBS = 2
WARM_UP_BLOCKS = 50
PEERS = ("NAM WaveNet", "NAM LSTM")
# One pair per kind of network; of these, those that are measured are also measured as they grow.
GROWING = ("LSTMFiLMGLU", "S4DFiLMGLU", "GRUFiLM", "GRUDynamicHyper", "TCNFiLM", "GCNFiLM")
HIDDEN_SIZES = (8, 16, 32, 64)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
SPEED_HEAD = (
    "pair", "training", "file, still", "file, moving", "block, still", "block, moving",
    "median us", "worst us", "worst/median", "median us, moving", "worst us, moving",
)  # fmt: skip
COST_HEAD = (
    "pair", "parameters", "multiply-adds", "FLOPs", "training batch", "naive loop", "file / naive", "arithmetic bound",
    "file / bound", "copy bound", "block / bound", "memory, file", "memory, training",
)  # fmt: skip
LEGEND = """\
Speeds are seconds of audio per second of wall time, mono at {sample_rate} Hz: the median of the repetitions and half \
of their range in %.
training: forward and backward of a mean square error, knobs different in every row; no optimiser, no data loading.
file: {seconds:g} s through `process`, without the half second of silence before it; block: {block} samples through \
`stream`, speed by the median block; worst: of all blocks after {warm_up} to warm up. Knobs stand still, or all \
{knobs} move all the time.
multiply-adds and FLOPs: per sample, knobs still, every scalar function one FLOP.
naive loop: the network in torch, called for every single sample.
arithmetic bound: all FLOPs at the best rate of a large float32 matrix product on the same threads, {flops}.
copy bound: weights read, state read and written once per block, at the best rate of a copy in main memory, {copy}; \
what stays in a cache is faster.
memory: growth of the peak of the process by one file and by one training step; '-' where the system does not tell."""


class Settings(NamedTuple):
    """How everything is measured.

    Attributes:
        threads: CPU threads.
        batch: Rows of a training step; 0 for the paper's.
        segment: Samples of a training step; 0 for the paper's.
        block: Samples per block of a stream.
        seconds: Length of the file, in s.
        repetitions: How often everything is measured, at least 2.
        blocks: Blocks per repetition.
        naive_samples: Samples of the loop over single samples.
        limit_s: Time after which a measurement is not repeated once it was done twice, in s.
    """

    threads: int = 1
    batch: int = 0
    segment: int = 0
    block: int = 64
    seconds: float = 10.0
    repetitions: int = 5
    blocks: int = 1000
    naive_samples: int = 300
    limit_s: float = 15.0


QUICK = Settings(seconds=1.0, repetitions=3, blocks=200, naive_samples=50, limit_s=1.5)


def conditions(settings: Settings) -> dict[str, Any]:
    """What the numbers depend on, as plain data.

    Args:
        settings: How everything is measured.
    """
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            "neuralfx": __version__,
            **{name: _version(name) for name in ("torch", "numpy", "numba", "neural-amp-modeler")},
        },
        "sample_rate": SAMPLE_RATE,
        "engine": os.environ.get("NEURALFX_ENGINE", "wait"),
        **settings._asdict(),
    }


def measure(
    names: Sequence[str], settings: Settings, growth: bool = True, peers: bool = True
) -> Iterator[dict[str, Any]]:
    """Measure pairs one after the other, each in a process of its own.

    Args:
        names: Class names of the pairs.
        settings: How.
        growth: Whether cost is also measured against length, hidden size and knobs, for some of the pairs.
        peers: Whether other packages are measured where they are installed.

    Yields:
        The report after each step, always the same dictionary: plain data with ``conditions``, ``machine``, ``pairs``,
        ``peers``, ``growth`` (each by name), ``failed`` (reasons by name) and ``complete``.
    """
    report: dict[str, Any] = {"format": 1, "complete": False, "conditions": conditions(settings)}
    report.update({key: {} for key in ("machine", "pairs", "peers", "growth", "failed")})
    tasks = [("pairs", name) for name in names]
    if peers and importlib.util.find_spec("nam") is None:
        log.info("NAM is not installed, so it is not beside: pip install neural-amp-modeler")
    elif peers:
        tasks += [("peers", name) for name in PEERS]
    recurrent = [name for name in ("GRUFiLM", *names) if name in names and name.startswith(("GRU", "LSTM"))][:1]
    if growth:
        growing = dict.fromkeys([*(name for name in GROWING if name in names), *recurrent])
        tasks += [("growth", name) for name in growing or names[:1]]
    began = time.perf_counter()
    for number, (part, name) in enumerate(tasks):
        task = {"what": part, "name": name, "sizes": HIDDEN_SIZES if name in recurrent else ()}
        label = f"{part} {name}"
        try:
            measured = _run_apart(task, settings)
        except subprocess.CalledProcessError as error:
            report["failed"][label] = (error.stderr.strip() or str(error)).splitlines()[-1]
            log.info("%s failed: %s", label, report["failed"][label])
        else:
            report[part][name] = measured
            if part == "pairs":  # other loads slow the machine down now and then: its best moment counts for all pairs
                machine = report["machine"]
                machine.update({key: max(rate, machine.get(key, 0.0)) for key, rate in measured.pop("machine").items()})
                for pair in report["pairs"].values():
                    pair.update(bounds(pair, machine, settings.block))
        elapsed = time.perf_counter() - began
        left = elapsed / (number + 1) * (len(tasks) - number - 1)
        log.info("%d/%d %s: %.0f s so far, about %.0f s left", number + 1, len(tasks), label, elapsed, left)
        report["complete"] = number + 1 == len(tasks)
        yield report


def bounds(pair: Mapping[str, Any], machine: Mapping[str, float], block: int) -> dict[str, float | None]:
    """Speeds that the machine allows, and how the measured ones compare; None where FLOPs are not counted.

    Args:
        pair: What was measured of a pair.
        machine: What was measured of the machine.
        block: Samples per block.
    """
    arithmetic = machine["flops_per_s"] / (pair["flops"] * SAMPLE_RATE) if pair["flops"] else None
    copy = machine["copy_bytes_per_s"] / (pair["weight_bytes"] + 2 * pair["state_bytes"]) * block / SAMPLE_RATE
    whole, in_blocks = pair["file_still"]["median"], pair["block_still"]["speed"]["median"]
    return {
        "arithmetic_bound": arithmetic,
        "copy_bound": copy,
        "file_to_naive": whole / pair["naive"]["median"],
        "file_to_arithmetic_bound": None if arithmetic is None else whole / arithmetic,
        "block_to_copy_bound": in_blocks / copy,
    }


def speed_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells of the table of speeds, head first: pairs, then peers."""
    rows: list[tuple[str, ...]] = [SPEED_HEAD]
    for name, entry in {**report["pairs"], **report["peers"]}.items():
        still, moving = entry["block_still"], entry.get("block_moving")
        rows.append(
            (
                name,
                *(_spread(entry.get(key)) for key in ("training", "file_still", "file_moving")),
                _spread(still["speed"]),
                _spread(moving and moving["speed"]),
                _number(still["median_us"]["median"]),
                _number(still["worst_us"]),
                _number(still["worst_to_median"]),
                _number(moving and moving["median_us"]["median"]),
                _number(moving and moving["worst_us"]),
            )
        )
    return rows


def cost_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cells of the table of sizes, costs, ratios and memory, head first."""
    rows: list[tuple[str, ...]] = [COST_HEAD]
    for name, pair in report["pairs"].items():
        rows.append(
            (
                name,
                *("-" if pair[key] is None else str(pair[key]) for key in ("parameters", "multiply_adds", "flops")),
                f"{pair['batch']} x {pair['segment']}",
                _spread(pair["naive"]),
                _number(pair["file_to_naive"]),
                _number(pair["arithmetic_bound"]),
                _percent(pair["file_to_arithmetic_bound"]),
                _number(pair["copy_bound"]),
                _percent(pair["block_to_copy_bound"]),
                _megabytes(pair["file_memory_bytes"]),
                _megabytes(pair["training_memory_bytes"]),
            )
        )
    return rows


def describe_conditions(report: Mapping[str, Any]) -> str:
    """The conditions in one line of text."""
    state = report["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in state["versions"].items())
    batch = f"{state['batch']} rows" if state["batch"] else "the paper's batch"
    segment = f"{state['segment']} samples" if state["segment"] else "the paper's segment"
    return (
        f"{state['date']}; {state['cpu']}, {state['cores']} cores, {state['threads']} thread(s) used; "
        f"{state['system']}; {versions}; engine: {state['engine']}; training with {batch} and {segment}; "
        f"blocks of {state['block']} samples; files of {state['seconds']:g} s at {state['sample_rate']} Hz; "
        f"at most {state['repetitions']} repetitions."
    )


def describe_columns(report: Mapping[str, Any]) -> str:
    """What the columns are, a line each."""
    machine = report["machine"]
    return LEGEND.format(
        sample_rate=report["conditions"]["sample_rate"],
        seconds=report["conditions"]["seconds"],
        block=report["conditions"]["block"],
        warm_up=WARM_UP_BLOCKS,
        knobs=KNOBS,
        flops=f"{machine['flops_per_s'] / 1e9:.3g} GFLOP/s" if machine else "not measured",
        copy=f"{machine['copy_bytes_per_s'] / 1e9:.3g} GB/s" if machine else "not measured",
    )


def render_markdown(report: Mapping[str, Any]) -> str:
    """The tables with their conditions, as markdown."""
    parts = ["# Benchmark", describe_conditions(report)]
    if not report["complete"]:
        parts.append("Interrupted: what was measured until then.")
    for rows in (speed_rows(report), cost_rows(report)):
        lines = [f"| {' | '.join(row)} |" for row in rows]
        parts.append("\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]))
    parts.append("\n".join(f"- {line}" for line in describe_columns(report).splitlines()))
    parts += [f"{name} failed: {reason}" for name, reason in report["failed"].items()]
    return "\n\n".join(parts) + "\n"


def write(report: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write benchmark.json, benchmark.md and the pictures for which there is something to show.

    Args:
        report: What :func:`measure` yields.
        folder: Where; made if it is not there.

    Returns:
        The files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"benchmark.json": json.dumps(report, indent=1) + "\n", "benchmark.md": render_markdown(report)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    figures = {}
    if report["pairs"] or report["peers"]:
        figures["speed.png"] = plot_speeds(report)
    if report["growth"]:
        figures["growth.png"] = plot_growth(report)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=120)
    return [folder / name for name in (*texts, *figures)]


def plot_speeds(report: Mapping[str, Any]) -> Figure:
    """Bars of the speeds in training, over a file and in blocks, with the naive loop and the arithmetic bound."""
    from matplotlib.figure import Figure

    entries = {**report["pairs"], **report["peers"]}
    figure = Figure(figsize=(9, 1.5 + 0.5 * len(entries)), layout="constrained")
    axes = figure.subplots()
    bars: dict[str, list[float]] = {
        "training": [
            entry["training"]["median"] if "training" in entry else float("nan") for entry in entries.values()
        ],
        "file": [entry["file_still"]["median"] for entry in entries.values()],
        f"blocks of {report['conditions']['block']}": [
            entry["block_still"]["speed"]["median"] for entry in entries.values()
        ],
    }
    colours = ("#9aa5b1", "#d1495b", "#edae49")
    for number, (label, values) in enumerate(bars.items()):
        places = [row + 0.26 * (number - 1) for row in range(len(entries))]
        axes.barh(places, values, height=0.24, label=label, color=colours[number])
    for row, entry in enumerate(entries.values()):
        for key, value, style in (
            ("naive loop", entry.get("naive", {}).get("median"), "k<"),
            ("arithmetic bound", entry.get("arithmetic_bound"), "k>"),
        ):
            if value is not None:
                axes.plot([value], [row], style, markersize=4, label=key if row == 0 else None)
    axes.axvline(1.0, color="#222222", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(entries)), list(entries))
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="seconds of audio per second (dotted: real time)")
    axes.grid(True, axis="x", alpha=0.2)
    figure.legend(loc="outside upper center", ncols=5, fontsize="small")
    return figure


def plot_growth(report: Mapping[str, Any]) -> Figure:
    """Curves of time against length, and of speed against knobs and hidden size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    length, knobs, hidden = figure.subplots(1, 3)
    for number, (name, grown) in enumerate(report["growth"].items()):
        colour = f"C{number}"
        length.loglog(grown["length"]["seconds"], grown["length"]["time_s"], "o-", color=colour, label=name)
        knobs.plot(grown["knobs"]["count"], grown["knobs"]["still"], "o-", color=colour)
        knobs.plot(grown["knobs"]["count"], grown["knobs"]["moving"], "o--", color=colour, markerfacecolor="none")
        if "hidden_size" in grown:
            hidden.plot(grown["hidden_size"]["size"], grown["hidden_size"]["still"], "o-", color=colour)
            hidden.plot(grown["hidden_size"]["size"], grown["hidden_size"]["training"], "s:", color=colour)
            hidden.set_title(f"{name}: file (line), training (dotted)", fontsize="medium")
            hidden.set(xscale="log", yscale="log", xlabel="hidden size", ylabel="speed")
            hidden.set_xticks(grown["hidden_size"]["size"], map(str, grown["hidden_size"]["size"]))
            hidden.xaxis.minorticks_off()
    length.set(xlabel="length of the file (s)", ylabel="time to process it (s)")
    knobs.set(xlabel="knobs", ylabel="speed", ylim=(0, None))
    knobs.set_title("still (line), moving (dashed)", fontsize="medium")
    for axes in (length, knobs, hidden):
        axes.grid(True, which="both", alpha=0.2)
    figure.legend(loc="outside upper center", ncols=6, fontsize="small")
    return figure


def _run_apart(task: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Do a task in a process of its own."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(settings.threads))}
    environment.setdefault("NEURALFX_ENGINE", "wait")  # everything is compiled before it is timed
    done = subprocess.run(
        [sys.executable, "-m", "neuralfx.reports.timing"],
        input=json.dumps({**task, "settings": settings._asdict()}),
        capture_output=True, text=True, encoding="utf-8", env=environment, check=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def cpu_name() -> str:
    """What the system calls its processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    if sys.platform == "darwin":
        done = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        return done.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{_number(100 * share)}%"


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"


def _spread(spread: Mapping[str, float] | None) -> str:
    """The median, and half of the range in percent of it."""
    if spread is None:
        return "-"
    return f"{_number(spread['median'])} ±{50 * (spread['highest'] - spread['lowest']) / spread['median']:.0f}%"
