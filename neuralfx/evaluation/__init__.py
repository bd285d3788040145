"""Measures models and baselines on recordings: streamed from disk, take by take, second by second."""

from neuralfx.evaluation.baselines import BASELINES, Identity, LinearFilter
from neuralfx.evaluation.candidates import Candidate, Model, load_models
from neuralfx.evaluation.device import measure_settings
from neuralfx.evaluation.excerpts import Excerpt, cut_excerpts
from neuralfx.evaluation.material import Material, Sound, read_material
from neuralfx.evaluation.nam import NAM, load_nam
from neuralfx.evaluation.rows import Evaluation, Interval, Moment, Row, mean_interval
from neuralfx.evaluation.run import choose_metrics, evaluate

__all__ = [
    "BASELINES",
    "NAM",
    "Candidate",
    "Evaluation",
    "Excerpt",
    "Identity",
    "Interval",
    "LinearFilter",
    "Material",
    "Model",
    "Moment",
    "Row",
    "Sound",
    "choose_metrics",
    "cut_excerpts",
    "evaluate",
    "load_models",
    "load_nam",
    "mean_interval",
    "measure_settings",
    "read_material",
]
