"""Runs cells side by side, each in processes of its own, and goes on where an earlier call was stopped."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from neuralfx.files import lock, sha256
from neuralfx.reports.benchmark import THREAD_VARIABLES
from neuralfx.study.plan import SETTINGS, Cell, Study
from neuralfx.study.results import MEASURES, read_measures

log = logging.getLogger(__name__)

OUTPUT = "output.txt"
TAIL_LINES = 8  # of the output of a cell that failed
PATIENCE_S = 15.0  # between asking a process to end and ending it
POLL_S = 0.1
PROGRESS_S = 5.0
TRAINING = 0.9  # share of a cell's time, for the estimate


class Outcome(NamedTuple):
    """What became of the cells that were to run, by name.

    Attributes:
        done: Those with results.
        failed: Those that ended without.
        busy: Those that another process is running.
    """

    done: list[str]
    failed: list[str]
    busy: list[str]


def state_of(cell: Cell, study: Study) -> str:
    """``done``, ``changed`` (begun with other settings), ``begun`` or ``new``."""
    if cell.has_other_settings:
        return "changed"
    if read_measures(cell, study.metrics) is not None:
        return "done"
    return "begun" if (cell.folder / SETTINGS).is_file() else "new"


def run(study: Study, cells: Sequence[Cell], folder: Path, jobs: int | None = None) -> Outcome:
    """Run the cells that are not done.

    A run that was begun goes on from its last checkpoint. One with other settings than the study has now is moved
    aside. What a cell's processes print goes into ``output.txt`` in its folder. When this is interrupted, so are they.

    Args:
        study: The study.
        cells: Which of its cells.
        folder: Folder of the study.
        jobs: How many run side by side; None takes the study's number. Each has its share of the processor's cores,
            unless ``OMP_NUM_THREADS`` says how many threads it has.
    """
    outcome = Outcome([], [], [])
    waiting = deque(cell for cell in cells if state_of(cell, study) != "done")
    outcome.done.extend(cell.name for cell in cells if cell not in waiting)
    if not waiting:
        return outcome
    _require_known(study, waiting)
    jobs = min(jobs or study.jobs, len(waiting))
    threads = max(1, _cores() // jobs)
    log.info("%d of %d cells to run, %d at a time, threads each: %d", len(waiting), len(cells), jobs, threads)
    running: list[_Run] = []
    with _as_interrupt(), _Progress(len(waiting), running) as progress:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    cell = waiting.popleft()
                    held = lock(folder / "locks" / cell.name)
                    if held is None:
                        outcome.busy.append(cell.name)
                        progress.finished += 1
                        log.warning("%s: another process runs it; left to that one", cell.name)
                    elif state_of(cell, study) == "done":  # by another process, meanwhile
                        outcome.done.append(cell.name)
                        progress.finished += 1
                        held.close()
                    else:
                        running.append(_Run(cell, study, folder, threads, held))
                for one in [one for one in running if one.has_ended()]:
                    running.remove(one)
                    progress.finished += 1
                    (outcome.failed if one.failure else outcome.done).append(one.cell.name)
                    log.log(logging.ERROR if one.failure else logging.INFO, one.describe())
                    log.info("%s", progress.describe())
                progress.show()
                time.sleep(POLL_S)
        finally:
            for one in running:
                one.ask_to_end()
            for one in running:
                one.end()
    return outcome


def _require_known(study: Study, waiting: Iterable[Cell]) -> None:
    """Find misspelt metrics and what cannot be read now instead of after hours; imports torch."""
    from neuralfx.evaluation import load_nam
    from neuralfx.study.measure import require_known

    require_known(study.metrics, study.baselines)
    for cell in waiting:
        if cell.capture is not None:
            load_nam(cell.capture.file)


def commands(cell: Cell, study: Study) -> list[list[str]]:
    """What makes the results of a cell: the arguments of Python, one call after the other."""
    fit = ["-m", "neuralfx", "fit", "--config", str(cell.folder / SETTINGS), "--run", str(cell.folder)]
    what: dict[str, Any] = {"metrics": study.metrics, "baselines": cell.baselines}
    if cell.capture is not None:
        what["capture"] = {"file": str(cell.capture.file), "knobs": cell.capture.knobs}
    measure = ["-m", "neuralfx.study.measure", str(cell.folder), json.dumps(what)]
    return [measure] if _is_trained(cell) else [fit, measure]


class _Run:
    """A cell that runs: one process after the other."""

    def __init__(self, cell: Cell, study: Study, folder: Path, threads: int, held: IO[bytes]) -> None:
        self.cell = cell
        self.failure = ""
        self._study = study
        self._held = held
        self._begun = time.monotonic()
        self._environment = {
            **dict.fromkeys(THREAD_VARIABLES, os.environ.get("OMP_NUM_THREADS", str(threads))),
            "NEURALFX_ENGINE": "wait",  # the same loops from the first step on, in every run
            "WANDB_NAME": cell.name,
            "WANDB_RUN_GROUP": study.name,
            **os.environ,
        }
        _begin(cell, folder)
        self._waiting = deque(commands(cell, study))
        self._output = (cell.folder / OUTPUT).open("ab")
        self._process = self._start()

    def has_ended(self) -> bool:
        """Whether the last process has, or one with an error; starts the next one where there is one."""
        code = self._process.poll()
        if code is None:
            return False
        if code == 0 and self._waiting:
            self._process = self._start()
            return False
        if code:
            self.failure = f"exit status {code}"
        elif read_measures(self.cell, self._study.metrics) is None:
            self.failure = f"no {MEASURES}"
        self._close()
        return True

    def ask_to_end(self) -> None:
        """Ask the process to end soon; what it has saved remains."""
        self._process.terminate()

    def end(self) -> None:
        """Wait for the process that was asked to end, and end it if it takes too long."""
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def progress(self) -> float:
        """Share of the work that is over, 0 to 1, as far as the log of training says."""
        epochs = self.cell.settings["trainer"].get("max_epochs", 100)
        logs = sorted((self.cell.folder / "log").glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
        if not logs or not isinstance(epochs, int) or epochs < 1:  # there may be no limit
            return 0.0
        over = 0
        with contextlib.suppress(OSError, ValueError, csv.Error), logs[-1].open(newline="", encoding="utf-8") as file:
            over = max((int(row["epoch"]) + 1 for row in csv.DictReader(file) if row["epoch"]), default=0)
        return min(TRAINING, TRAINING * over / epochs)

    def describe(self) -> str:
        """What came out; of a failure, also the end of the output."""
        took = _readable(time.monotonic() - self._begun)
        if not self.failure:
            metric = self._study.metrics[0]
            measured = read_measures(self.cell, self._study.metrics) or {"rows": []}
            values = [row["values"][metric] for row in measured["rows"] if row["candidate"] == "model"]
            return f"{self.cell.name}: {metric} {sum(values) / max(len(values), 1):.4g} after {took}"
        path = self.cell.folder / OUTPUT
        tail = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-TAIL_LINES:]
        lines = "".join(f"\n    {line}" for line in tail)
        return f"{self.cell.name} failed ({self.failure}) after {took}; the end of {path}:{lines}"

    def _start(self) -> subprocess.Popen[bytes]:
        given: dict[str, Any] = {} if sys.platform == "win32" else {"pass_fds": [self._held.fileno()]}
        return subprocess.Popen(
            [sys.executable, *self._waiting.popleft()],
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT, env=self._environment, **given,
        )  # fmt: skip

    def _close(self) -> None:
        self._output.close()
        self._held.close()


def _is_trained(cell: Cell) -> bool:
    """Whether ``fit`` came to its end: it measured its best checkpoint."""
    try:
        measured = json.loads((cell.folder / "metrics.json").read_text(encoding="utf-8"))
        return bool(measured["checkpoint_sha256"] == sha256(cell.folder / "checkpoints" / "best.ckpt"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _begin(cell: Cell, folder: Path) -> None:
    """Write the settings of a cell into its folder; a run of other settings is moved aside."""
    if cell.has_other_settings:
        place = folder / "replaced"
        place.mkdir(exist_ok=True)
        number = 1
        while (aside := place / f"{cell.name}-{number}").exists():
            number += 1
        cell.folder.rename(aside)
        log.info("%s: begun with other settings; that run is now %s", cell.name, aside)
    cell.folder.mkdir(parents=True, exist_ok=True)
    (cell.folder / SETTINGS).write_text(cell.dump(), encoding="utf-8")


class _Progress:
    """A bar with an estimate on terminals; the estimate alone elsewhere."""

    def __init__(self, cells: int, running: Sequence[_Run]) -> None:
        self.finished = 0
        self._cells = cells
        self._running = running
        self._begun = time.monotonic()
        self._shown = self._begun
        self._bar = tqdm(
            total=cells, unit="", disable=None, leave=False, file=sys.stderr, bar_format="{desc} |{bar}| {unit}"
        )
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Progress:
        self._stack.callback(self._bar.close)
        if not self._bar.disable:
            from tqdm.contrib.logging import logging_redirect_tqdm  # warns in notebooks, which have no such bar

            self._stack.enter_context(logging_redirect_tqdm([logging.getLogger("neuralfx")]))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def describe(self) -> str:
        """Cells that are over, and an estimate of the time that is left."""
        over = self.finished + sum(one.progress() for one in self._running)
        told = f"{self.finished} of {self._cells} cells are over"
        if not over or self.finished == self._cells:
            return told
        left = (time.monotonic() - self._begun) * (self._cells - over) / over
        return f"{told}, about {_readable(left)} left"

    def show(self) -> None:
        """Draw the bar anew, every few seconds."""
        now = time.monotonic()
        if self._bar.disable or now - self._shown < PROGRESS_S:
            return
        self._shown = now
        self._bar.n = self.finished + sum(one.progress() for one in self._running)
        self._bar.unit = ", ".join(one.cell.name for one in self._running)
        self._bar.set_description_str(self.describe())


@contextlib.contextmanager
def _as_interrupt() -> Iterator[None]:
    """While inside, requests to end interrupt as Ctrl-C does, so that children end too."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():  # others cannot receive signals
        names = []
    before = {getattr(signal, name): signal.signal(getattr(signal, name), interrupt) for name in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _readable(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
