"""Optical dynamic range compressors: the LA-2A and the CL 1B, recorded by Simionato.

The LA-2A plays at 44.1 kHz, the CL 1B at 48 kHz, 108 settings of four knobs; mono. Needs no torch.
"""

from __future__ import annotations

from pathlib import Path

from neuralfx.datasets import simionato
from neuralfx.datasets.base import Dataset, Manual
from neuralfx.datasets.manifest import read_recording
from neuralfx.datasets.simionato import Column, Device
from neuralfx.effect import Knob

_PAGE = "https://www.kaggle.com/datasets/riccardosimionato/optical-dynamic-range-compressors-la-2a-cl-1b"

DEVICES = (
    Device(
        slug="la2a",
        name="Teletronix LA-2A optical compressor",
        sample_rate=44_100,
        stems=("la2a",),
        columns=(
            Column(Knob("peak_reduction", 0.0, 100.0, "%", default=40.0), 10, step=10.0, full_scale=(10.0, 1.0, 100.0)),
            Column(Knob("mode", positions=("compress", "limit")), 2),
        ),
        needs_order=True,
        notes=("the switch is taken as 0 compress, 1 limit, as in the SignalTrain recordings of the device.",),
    ),
    Device(
        slug="cl1b",
        name="TubeTech CL 1B optical compressor",
        sample_rate=48_000,
        stems=("cl1b",),
        columns=(
            Column(Knob("threshold"), 4),
            Column(Knob("ratio"), 3, step=0.5),
            Column(Knob("attack"), 3, step=0.5),
            Column(Knob("release"), 3, step=0.5),
        ),
        needs_order=True,
        notes=(
            "knobs are recorded from 0 to 1; the paper has a threshold of -40 to 0 dB, a ratio of 1:1 to 10:1, an "
            "attack of 5 to 300 ms and a release of 0.005 to 10 s, but not how values follow. In the published audio "
            "examples a threshold of 0 leaves levels as they are and 0.5 compresses: 0 seems to stand for 0 dB, 1 for "
            "-40 dB.",
        ),
    ),
)


def convert(root: Path) -> None:
    """Convert the pickles in a folder to audio and a manifest; see :func:`neuralfx.datasets.simionato.convert`."""
    simionato.convert(root, DEVICES)


DATASET = Dataset(
    name="simionato-optical",
    title="Optical dynamic range compressors: Teletronix LA-2A and TubeTech CL 1B",
    homepage=_PAGE,
    licence="not verified: the page asks for an account; read its terms before sharing audio or models",
    citation=(
        "R. Simionato and S. Fasciani, 'Comparative Study of State-based Neural Networks for Virtual Analog Audio "
        "Effects Modeling', EURASIP Journal on Audio, Speech, and Music Processing, 2025; data: "
        "doi:10.34740/kaggle/dsv/8968089."
    ),
    devices=tuple(device.slug for device in DEVICES),
    files=(
        Manual(
            page=_PAGE,
            name="optical-dynamic-range-compressors-la-2a-cl-1b.zip",
            todo=(
                "Sign in to Kaggle, choose Download and 'Download dataset as zip' (about 28.6 GB), and save the "
                "archive under this name (the browser calls it archive.zip); or put its pickles (CL1B_train.pickle, "
                "CL1B_test.pickle, LA2A_train.pickle, LA2A_test.pickle, perhaps with _analog) into the folder as they "
                "are, also of one device only."
            ),
        ),
    ),
    read=read_recording,
    convert=convert,
    notes=(
        "Files are pickles, which can run code: they are read as data only, and converted once to audio.",
        "Offsets between input and output differ from take to take (1024 samples in some): alignment is estimated when "
        "a take is loaded.",
        "The column of the CL 1B with four values is its threshold: pickles in which that does not tell are refused.",
        "The LA-2A is at 44.1 kHz although the paper has 48 kHz: it may stem from the SignalTrain recordings.",
    ),
)
