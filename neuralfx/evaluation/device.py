"""A model measured with test signals, at settings that matter for its recordings."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping

from neuralfx.datasets.manifest import KnobValue
from neuralfx.errors import AudioError
from neuralfx.evaluation.candidates import Model
from neuralfx.metrics.device import DeviceMeasurements, measure_device
from neuralfx.text import describe_knobs

MOST_SETTINGS = 3  # figures tell so many apart

_log = logging.getLogger(__name__)


def measure_settings(model: Model, settings: Iterable[Mapping[str, KnobValue]]) -> dict[str, DeviceMeasurements]:
    """Measure a model at settings of its knobs.

    Args:
        model: The model.
        settings: Values of all knobs; of those that come again the first counts, and three at most.

    Returns:
        Measurements by the description of the setting; none for effects of several channels, and not those at which
        the output is not finite.
    """
    module = model.module
    if module.effect.channels != 1:
        _log.info("%s: effects of several channels are not measured with test signals", model.name)
        return {}
    measured: dict[str, DeviceMeasurements] = {}
    for knobs in settings:
        name = describe_knobs(dict(knobs))
        if name in measured or len(measured) == MOST_SETTINGS:
            continue
        try:
            measured[name] = measure_device(functools.partial(module.process, knobs=knobs), module.sample_rate)
        except AudioError as error:
            _log.warning("%s at %s: %s", model.name, name, error)
    return measured
