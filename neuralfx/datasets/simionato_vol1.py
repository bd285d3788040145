"""Audio effects datasets vol. 1: two overdrives, a filter, a saturator and an equaliser, recorded by Simionato.

Every device plays 10 to 100 settings of its knobs, at 48 kHz, mono. Needs no torch.
"""

from __future__ import annotations

from pathlib import Path

from neuralfx.datasets import simionato
from neuralfx.datasets.base import Dataset, Manual
from neuralfx.datasets.manifest import read_recording
from neuralfx.datasets.simionato import Column, Device
from neuralfx.effect import Knob

_PAGE = "https://www.kaggle.com/datasets/riccardosimionato/audio-effects-datasets-vol-1"

# Numbers of values: section 3.3 of the paper. Steps, where the text has none: the settings of its audio examples.
DEVICES = (
    Device(
        slug="od300",
        name="Behringer OD300 overdrive pedal (overdrive mode)",
        sample_rate=48_000,
        stems=("od", "od300"),
        columns=(Column(Knob("level"), 5, step=0.25), Column(Knob("tone"), 5, step=0.25)),
    ),
    Device(
        slug="neutron-od",
        name="Behringer Neutron overdrive module",
        sample_rate=48_000,
        stems=("odneutron", "neutronod"),
        columns=(Column(Knob("level"), 10, step=0.1), Column(Knob("tone"), 10, step=0.1)),
    ),
    Device(
        slug="neutron-filter",
        name="Behringer Neutron filter module, low-pass mode",
        sample_rate=48_000,
        stems=("filterneutron", "neutronfilter"),
        columns=(Column(Knob("cutoff"), 10), Column(Knob("resonance"), 5)),
        notes=("the paper's text has 10 x 5 settings of cutoff and resonance, its table 100.",),
    ),
    Device(
        slug="helper-saturator",
        name="Helper Saturator plug-in, tape mode",
        sample_rate=48_000,
        stems=("saturator", "helpersaturator"),
        columns=(Column(Knob("saturation"), 10, step=0.1),),
    ),
    Device(
        slug="pultec",
        name="UA Pultec Passive EQ plug-in (60 Hz, bandwidth 0)",
        sample_rate=48_000,
        stems=("pultec",),
        columns=(Column(Knob("boost"), 5, step=0.125), Column(Knob("attenuation"), 5, step=0.125)),
        notes=(
            "the paper has 5 equally spaced values up to half of the range of boost and attenuation, its audio "
            "examples 0.125, 0.375, 0.625 and 0.875; what 1 stands for is not published.",
        ),
    ),
)


def convert(root: Path) -> None:
    """Convert the pickles in a folder to audio and a manifest; see :func:`neuralfx.datasets.simionato.convert`."""
    simionato.convert(root, DEVICES)


DATASET = Dataset(
    name="simionato-vol1",
    title="Audio effects datasets vol. 1 (OD300, Neutron overdrive and filter, Helper Saturator, Pultec)",
    homepage=_PAGE,
    licence="not verified: the page asks for an account; read its terms before sharing audio or models",
    citation=(
        "R. Simionato and S. Fasciani, 'Comparative Study of State-based Neural Networks for Virtual Analog Audio "
        "Effects Modeling', EURASIP Journal on Audio, Speech, and Music Processing, 2025; data: "
        "doi:10.34740/kaggle/dsv/8968326."
    ),
    devices=tuple(device.slug for device in DEVICES),
    files=(
        Manual(
            page=_PAGE,
            name="audio-effects-datasets-vol-1.zip",
            todo=(
                "Sign in to Kaggle, choose Download and 'Download dataset as zip', and save the archive under this "
                "name (the browser calls it archive.zip); or put its pickles (OD_train.pickle, OD_test.pickle, and the "
                "same of ODNeutron, FilterNeutron, Saturator and Pultec) into the folder as they are, also of some "
                "devices only."
            ),
        ),
    ),
    read=read_recording,
    convert=convert,
    notes=(
        "Files are pickles, which can run code: they are read as data only, and converted once to audio.",
        "Offsets between input and output differ from take to take: alignment is estimated when a take is loaded.",
        "The order of the two knobs in the files is not published: see the notes in recordings.json.",
        "Recordings are longer than the 45 s of the paper, and differ from device to device.",
    ),
)
