"""``neuralfx benchmark``: sizes, speed and memory of the pairs on this machine. Needs no torch itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from neuralfx.commands import ArgumentParser
from neuralfx.errors import ConfigError
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.reports import benchmark
from neuralfx.text import align

_EPILOG = """\
Every pair is measured in a process of its own, with its default sizes, two knobs and random weights. What is measured
with other loads on the machine is of little use. Ctrl-C leaves what is finished.

example: neuralfx benchmark 's4d*' lstm GRUFiLM --threads 2 -o benchmark/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables and write the files; return the exit status.

    Args:
        argv: Arguments after ``neuralfx benchmark``; None takes those of the process.

    Raises:
        ConfigError: If a pattern fits no pair, or a number is out of range.
    """
    parser = ArgumentParser(
        prog="neuralfx benchmark",
        description="Measure sizes, speed and memory of the pairs on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="class names or tails, such as 'gru*'; all")
    parser.add_argument("--threads", type=_count, help="CPU threads; default: 1")
    parser.add_argument("--batch", type=_count, help="rows of a training step; default: the paper's")
    parser.add_argument("--segment", type=_count, help="samples of a training step; default: the paper's")
    parser.add_argument("--block", type=_count, help="samples per block of a stream; default: 64")
    parser.add_argument("--seconds", type=_duration, help="length of the file; default: 10, quick 1")
    parser.add_argument("--repetitions", type=_count, help="at most so many of everything; default: 5, quick 3")
    parser.add_argument("--quick", action="store_true", help="a rough picture in a few minutes")
    parser.add_argument("--no-growth", action="store_true", help="nothing against length, knobs and hidden size")
    parser.add_argument("--no-peers", action="store_true", help="no other packages, even if they are installed")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="also write benchmark.json, benchmark.md and pictures")
    arguments = parser.parse_args(argv)
    names = find_pairs(arguments.patterns)
    settings = benchmark.QUICK if arguments.quick else benchmark.Settings()
    given = {name: value for name in settings._fields if (value := getattr(arguments, name, None)) is not None}
    settings = settings._replace(**given)

    report: dict[str, Any] = {}
    interrupted = False
    try:
        for so_far in benchmark.measure(names, settings, not arguments.no_growth, not arguments.no_peers):
            report = so_far
    except KeyboardInterrupt:
        if not report:
            raise
        interrupted = True
    print(benchmark.describe_conditions(report), align(benchmark.speed_rows(report)), sep="\n\n", end="\n\n")
    print(align(benchmark.cost_rows(report)), benchmark.describe_columns(report), sep="\n\n")
    for name, reason in report["failed"].items():
        print(f"{name} failed: {reason}")
    if arguments.output:
        print("\n" + "\n".join(map(str, benchmark.write(report, arguments.output))))
    if interrupted:
        raise KeyboardInterrupt
    return 1 if report["failed"] else 0


def find_pairs(patterns: Sequence[str]) -> list[str]:
    """Class names of the pairs whose class name or tail fits a pattern, in the order of the catalogue.

    Args:
        patterns: Shell patterns, in upper or lower case; none stand for all pairs.

    Raises:
        ConfigError: If a pattern fits no pair.

    Example:
        >>> find_pairs(["s4d*", "gcnfilm"])
        ['S4DFiLMGLU', 'GCNFiLM']
    """
    found = set()
    for pattern in patterns or ["*"]:
        fitting = {
            name
            for name, pair in ARCHITECTURES.items()
            if fnmatchcase(name.lower(), pattern.lower()) or fnmatchcase(pair.tail, pattern.lower())
        }
        if not fitting:
            raise ConfigError(f"no pair is named like {pattern!r}; 'neuralfx list --architectures' shows all.")
        found |= fitting
    return [name for name in ARCHITECTURES if name in found]


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def _duration(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, at most 600, got {text!r}")
    return value
