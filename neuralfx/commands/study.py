"""``neuralfx study``: models on effects from several seeds, trained, measured and tabulated. Needs no torch itself."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from neuralfx.commands import ArgumentParser
from neuralfx.errors import ConfigError
from neuralfx.reports.tables import render_text
from neuralfx.study.plan import Cell, Study, read_study
from neuralfx.text import align

_EPILOG = """\
Every cell of the grid is a run of 'neuralfx fit' in FOLDER/cells. Cells that are done are skipped, those that were
begun go on: the same command continues a study that was stopped, and writes nothing but tables when all is done.

On a cluster, the same file runs without a change, by anything that starts commands; cells lock each other out:

  neuralfx study --config study.yaml --list | parallel -j 4
  sbatch --array=1-12 --wrap 'eval "$(neuralfx study --config study.yaml --list | sed -n ${SLURM_ARRAY_TASK_ID}p)"'
  neuralfx study --config study.yaml --sweep > sweep.yaml; wandb sweep sweep.yaml    (and 'wandb agent' on each machine)

OMP_NUM_THREADS, if it is set, is the number of threads of each cell.

example: neuralfx study --config configs/studies/example.yaml --jobs 2
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run, show or export a study; return the exit status: 0 if all chosen cells are done.

    Args:
        argv: Arguments after ``neuralfx study``; None takes those of the process.

    Raises:
        ConfigError: If the study is damaged, or nothing is named as ``--only`` says.
    """
    parser = ArgumentParser(
        prog="neuralfx study",
        description="Train, measure and tabulate a grid of models, effects and seeds from one YAML file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="the study")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="its folder; default: studies/NAME")
    parser.add_argument("--jobs", type=_count, help="cells that run side by side; default: what the study says")
    parser.add_argument("--only", metavar="GLOB", default="*", help="only such cells, as 'lstm-*-seed0'")
    parser.add_argument(
        "--benchmark", type=Path, metavar="FILE", help="a benchmark.json of 'neuralfx benchmark': adds speeds to tables"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="only say what is done and what would run")
    instead.add_argument("--list", action="store_true", help="print a command for each cell, one a line")
    instead.add_argument("--sweep", action="store_true", help="print the study as a sweep of Weights & Biases")
    arguments = parser.parse_args(argv)
    study = read_study(arguments.config)
    folder: Path = arguments.output or Path("studies", study.name)
    cells = study.cells(folder)
    chosen = [cell for cell in cells if fnmatchcase(cell.name, arguments.only)]
    if not chosen:
        raise ConfigError(f"--only {arguments.only}: no cell is named like this; --dry-run shows all of them.")
    command = ["neuralfx", "study", "--config", arguments.config, "--output", str(folder)]
    if arguments.benchmark is not None:
        command += ["--benchmark", str(arguments.benchmark)]
    if arguments.list:
        print("\n".join(shlex.join([*command, f"--only={cell.name}"]) for cell in chosen))
        return 0
    if arguments.sweep:
        print(yaml.safe_dump(sweep(study, chosen, command), sort_keys=False), end="")
        return 0
    if arguments.dry_run:
        return _show(study, chosen)
    return _run(study, cells, chosen, folder, arguments.jobs, arguments.benchmark)


def sweep(study: Study, cells: Sequence[Cell], command: Sequence[str]) -> dict[str, object]:
    """A sweep of Weights & Biases over the cells of a study, for ``wandb sweep``.

    Its agents call ``command`` with the name of a cell behind ``--only=``.

    Args:
        study: The study.
        cells: Its cells.
        command: Program and arguments that run the study.
    """
    return {
        "name": study.name,
        "program": command[0],
        "command": ["${program}", *command[1:], "${args}"],
        "method": "grid",
        "parameters": {"only": {"values": [cell.name for cell in cells]}},
    }


def _show(study: Study, cells: Sequence[Cell]) -> int:
    from neuralfx.study.runner import state_of

    states = {cell.name: state_of(cell, study) for cell in cells}
    print(align([("cell", "state"), *states.items()]))
    done = list(states.values()).count("done")
    print(f"\n{len(cells)} cells, {done} done; measures: {', '.join(study.metrics)}")
    return 0


def _run(
    study: Study,
    cells: Sequence[Cell],
    chosen: Sequence[Cell],
    folder: Path,
    jobs: int | None,
    benchmark: Path | None,
) -> int:
    """Run cells, and tabulate all that there are."""
    from neuralfx.study import tables
    from neuralfx.study.results import NO_SPEEDS, read_results, read_speeds
    from neuralfx.study.runner import run

    speeds = read_speeds(benchmark) if benchmark is not None else NO_SPEEDS
    outcome = run(study, chosen, folder, jobs)
    results = read_results(study, cells, speeds)
    if benchmark is not None and not results.speeds:
        print(
            f"{benchmark}: has none of these models with as many parameters, so there are no speeds.", file=sys.stderr
        )
    if results.rows:
        files = tables.write(results, folder)
        for table in tables.tabulate(results):
            print(f"{table.title}\n\n{align(render_text(table))}\n")
        print("\n".join(tables.explain(results)), *files, sep="\n")
    if outcome.failed or outcome.busy:
        told = {"failed": outcome.failed, "left to another process": outcome.busy}
        print(*(f"{what}: {name}" for what, names in told.items() for name in names), sep="\n", file=sys.stderr)
        return 1
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)
