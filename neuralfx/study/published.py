"""Values that papers published, from the tables in ``published/``, to stand beside those of a study.

The files are tables of the papers with their headings and rows. A value with a question mark has a power of ten that is
not legible in our copy; it is inferred from the other rows and from table 3 of the same paper, whose errors are in a
fixed ratio to those of table 4 for every device but in the LRU's rows.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "published"
FIELDS = ("device", "pair", "row")


class Paper(NamedTuple):
    """A paper with tables of results.

    Attributes:
        name: Start of the names of its files.
        citation: What it is called.
        measures: Metrics of ours that compute what a heading of its tables stands for; other headings have none.
        remark: What differs from our numbers, in sentences.
    """

    name: str
    citation: str
    measures: Mapping[str, tuple[str, ...]]
    remark: str


class Published(NamedTuple):
    """A value of a table.

    Attributes:
        paper: The paper.
        table: Number of the table.
        row: What the row is called there.
        heading: Heading of the column.
        device: Slug of the device, such as ``la2a``.
        pair: Class name of the pair of architecture and conditioning.
        value: The value, in the paper's unit.
        is_certain: Whether it is legible; else its power of ten is inferred.
    """

    paper: Paper
    table: int
    row: str
    heading: str
    device: str
    pair: str
    value: float
    is_certain: bool

    @property
    def source(self) -> str:
        """Where it stands: ``simionato, table 4, OD300 Overdrive: LSTM``."""
        doubt = "" if self.is_certain else " (power of ten inferred)"
        return f"{self.paper.name}, table {self.table}, {self.row}{doubt}"


PAPERS = (
    Paper(
        "simionato",
        'Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects '
        'Modeling", arXiv:2405.04124',
        {
            "MSE": ("mse",),
            "ESR": ("esr", "esr_published"),
            "M_RMSE": ("rms_envelope_published",),
            "M_STFT": ("mrstft_published",),
            "M_MFCC": ("mfcc_published",),
        },
        "Its published code has no real recurrence: S4D and S6 carry no state from sample to sample, LSTM and ED take "
        "the one of 2400 samples before; and the metrics of its table 4 are not the paper's equations, so they stand "
        "beside ours that end in _published (but ESR, of which the paper gives no equation; none of ours is its M_SF). "
        "The LRU's errors in its tables 3 and 4 contradict each other on OD300, Saturator and, most of all, CL 1B.",
    ),
    Paper(
        "yeh",
        'Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling", DAFx '
        "2024, arXiv:2408.04829",
        {
            "L1": ("mae",),
            "STFT": ("mrstft_auraloss",),
            "LUFS": ("lufs",),
            "CF": ("crest_factor_published",),
            "RMS": ("rms_published",),
            "Transient": ("transient",),
        },
        "Its published code starts every segment of training from silence and takes natural logarithms for CF and RMS, "
        "so these stand beside ours that end in _published; its L1 does not follow its other columns.",
    ),
)


@functools.cache
def read_published() -> tuple[Published, ...]:
    """All values of all tables."""
    values: list[Published] = []
    for paper in PAPERS:
        for path in sorted(FOLDER.glob(f"{paper.name}-table-*.csv")):
            with path.open(newline="", encoding="utf-8") as file:
                for line in csv.DictReader(file):
                    values += _read_line(paper, int(path.stem.rpartition("-")[2]), line)
    return tuple(values)


def published_devices() -> tuple[str, ...]:
    """Slugs of the devices of which there are values."""
    return tuple(sorted({value.device for value in read_published()}))


def find_published(device: str, pair: str, metric: str) -> Published | None:
    """The value of a pair on a device by a metric of ours; None if no paper has one.

    Args:
        device: Slug of the device, such as ``la2a``.
        pair: Class name, such as ``GRUFiLM``.
        metric: Name of the metric, such as ``esr``.
    """
    for value in read_published():
        if (value.device, value.pair) == (device, pair) and metric in value.paper.measures.get(value.heading, ()):
            return value
    return None


def explain_published(values: Iterable[Published]) -> list[str]:
    """Where values come from and what differs from ours, in sentences.

    Args:
        values: Those that are shown.
    """
    shown = list(values)
    sentences = []
    for paper in PAPERS:
        tables = sorted({value.table for value in shown if value.paper is paper})
        if tables:
            numbers = " and ".join(map(str, tables))
            sentences.append(
                f"In paper: {paper.citation}, table{'s' * (len(tables) > 1)} {numbers}; other recordings, splits and "
                f"training, so context and no target. {paper.remark}"
            )
    if any(not value.is_certain for value in shown):
        sentences.append("?: a published value whose power of ten is not legible in our copy and inferred.")
    return sentences


def _read_line(paper: Paper, table: int, line: Mapping[str, str]) -> list[Published]:
    return [
        Published(
            paper, table, line["row"], heading, line["device"], line["pair"], float(text.rstrip("?")), text[-1] != "?"
        )
        for heading, text in line.items()
        if heading not in FIELDS
    ]
