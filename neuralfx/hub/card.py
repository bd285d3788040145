"""The card of a model: front matter for the Hugging Face Hub, then what a musician wants to know. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from neuralfx.effect import Effect, Knob
from neuralfx.errors import join_words

# Licences that the Hub knows by these names; any other is published as "other" with its name beside it.
HUB_LICENCES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense",
    "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0",
)  # fmt: skip
SHORT_TRAINING_S = 60.0  # below this the card warns that a model has heard little

_TRAINING_WORDS = {
    "seconds": "Time of training, in s",
    "seed": "Seed",
    "epochs": "Epochs",
}
_DATA_WORDS = {
    "name": "Recordings",
    "citation": "Please cite",
    "licence": "Licence of the recordings",
    "source": "Source of the recordings",
    "url": "Address",
    "device": "Device",
    "sample_rate": "Sample rate of the recordings, in Hz",
    "train_s": "Training audio, in s",
}


def render_card(config: Mapping[str, Any]) -> str:
    """Write the card of a model.

    Args:
        config: The content of ``config.json``; see :class:`neuralfx.hub.package.ModelConfig`. In ``training``, ``data``
            may be what a data module's ``summary`` returns, with ``train_s`` (seconds of training audio), ``knobs``
            (the recorded values, a list by knob) and ``takes``, and besides ``name``, ``url``, ``licence`` and
            ``citation``; other plain values are listed by their key.

    Returns:
        Markdown with YAML front matter.

    Raises:
        FormatError: If the effect contradicts itself.
    """
    effect = Effect.from_dict(config["effect"])
    device = effect.device or effect.slug
    data = _mapping(config["training"].get("data"))
    sections = [
        _front_matter(config, effect, data),
        f"# {device}, modelled with {config['architecture']}",
        f"A neural model of the **{device}** for [neuralfx](https://pypi.org/project/neuralfx/). It takes dry audio "
        "and knob settings and returns what the device would make of it, at "
        f"{effect.sample_rate} Hz (other rates are converted) and {_count(effect.channels, 'channel')} at a time. "
        f"It has {_count(config['parameters'], 'parameter')}.",
        "## Use it",
        _usage(config["name"], effect),
        "## Knobs",
        _knob_table(effect, data),
        "## How good it is",
        _quality(config["metrics"]),
        "## Limits",
        _limits(effect, data),
        "## Where it comes from",
        _origin(config, data),
        "## Licence and names",
        f"The weights are under: **{config['licence']}**. {device} and other product names may be trademarks of their "
        "makers. They are named here only to say what was measured; the makers have no part in this model and do not "
        "endorse it.",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(config: Mapping[str, Any], effect: Effect, data: Mapping[str, Any]) -> str:
    licence = config["licence"].lower()
    known = licence in HUB_LICENCES
    fields: dict[str, Any] = {"license": licence if known else "other"}
    if not known:
        fields["license_name"] = re.sub(r"[^a-z0-9.-]+", "-", licence).strip("-") or "unspecified"
    fields["library_name"] = "neuralfx"
    fields["pipeline_tag"] = "audio-to-audio"
    fields["tags"] = ["neuralfx", "virtual-analog", effect.slug, config["architecture"]]
    if "esr" in config["metrics"]:
        dataset = str(data.get("name", effect.slug))
        esr = {"type": "esr", "name": "Error-to-signal ratio, test takes", "value": config["metrics"]["esr"]}
        result = {
            "task": {"type": "audio-to-audio", "name": "Audio effect modelling"},
            "dataset": {"type": re.sub(r"[^a-z0-9-]+", "-", dataset.lower()), "name": dataset},
            "metrics": [esr],
        }
        fields["model-index"] = [{"name": config["name"], "results": [result]}]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _usage(name: str, effect: Effect) -> str:
    values = {knob.name: knob.default for knob in effect.knobs}
    python = f", {values}" if values else ""
    shell = "".join(
        f" -k {key}={value:g}" if isinstance(value, float) else f" -k {key}={value}" for key, value in values.items()
    )
    return f"""```python
import neuralfx, soundfile as sf

dry, sample_rate = sf.read("in.wav", dtype="float32", always_2d=True)
model = neuralfx.load("./{name}")  # this folder; without ./ if it comes with neuralfx; owner/{name} on the Hub
wet = model.process(dry.T{python}, sample_rate=sample_rate)
sf.write("out.wav", wet.T, sample_rate)
```

```
neuralfx process in.wav -m ./{name}{shell} -o out.wav
```"""


def _knob_table(effect: Effect, data: Mapping[str, Any]) -> str:
    if not effect.knobs:
        return "None: the device was recorded at one setting."
    recorded = _mapping(data.get("knobs"))
    return _table(
        ["knob", "range or positions", "default", "recorded at"],
        [
            [knob.name, knob.describe_range(), knob.describe_default(), _recorded(recorded.get(knob.name))]
            for knob in effect.knobs
        ],
    )


def _recorded(values: object) -> str:
    if not isinstance(values, (list, tuple)) or not values:
        return "not stated"
    shown = [_plain(value) for value in values]
    return ", ".join(shown) if len(shown) <= 12 else f"{len(shown)} values from {shown[0]} to {shown[-1]}"


def _quality(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return "Not measured."
    parts = []
    if "esr" in metrics:
        parts.append(
            "On audio that was kept out of training, the mean error-to-signal ratio (ESR) is "
            f"**{metrics['esr']:.4g}**: the energy of the error is {100 * metrics['esr']:.3g} % of that of the "
            "device's output. 0 is perfect."
        )
    baselines = {"identity_esr": "for the untouched dry signal", "linear_esr": "for the best linear filter"}
    compared = [f"{metrics[key]:.4g} {what}" for key, what in baselines.items() if key in metrics]
    if compared:
        parts.append(f"For comparison, the same measure is {join_words(compared)}.")
    known = ("esr", "takes", *baselines)
    others = [f"{name} {value:.4g}" for name, value in metrics.items() if name not in known]
    if others:
        parts.append(f"Other means: {', '.join(others)}.")
    takes = metrics.get("takes", [])
    if takes:
        parts.append(
            'Take by take, beside two simple answers that a model has to beat: "dry" is the untouched input, "linear" '
            "the best linear filter (FIR) for this very take."
        )
        head = ["take", "knobs", "ESR", "ESR of dry", "ESR of linear"]
        parts.append(_table(head, [_take_row(take) for take in takes]))
    return "\n\n".join(parts)


def _take_row(take: Mapping[str, Any]) -> list[str]:
    knobs = ", ".join(f"{name} {_plain(value)}" for name, value in take.get("knobs", {}).items())
    errors = [f"{take[key]:.4g}" if key in take else "" for key in ("esr", "identity_esr", "linear_esr")]
    return [take["name"], knobs, *errors]


def _limits(effect: Effect, data: Mapping[str, Any]) -> str:
    points = []
    seconds = data.get("train_s")
    if isinstance(seconds, (int, float)):
        little = (
            " That is little: sounds unlike those may come out less faithful." if seconds < SHORT_TRAINING_S else ""
        )
        points.append(f"It was trained on {seconds:.4g} seconds of audio.{little}")
    for knob in effect.knobs:
        points.append(_knob_limit(knob, data))
    settings = {str(take.get("values")) for take in data.get("takes", []) if isinstance(take, dict)}
    if len(effect.knobs) > 1 and settings:
        points.append(
            f"Of all combinations of its knobs, {len(settings)} were recorded: those in the table of takes. "
            "Other combinations have never been compared with the device."
        )
    points.append(
        "It models the one unit that was recorded, at the levels at which it was recorded; others may differ."
    )
    points.append(
        "Its noise and hum are not modelled, and it adds aliasing where the device would distort very high notes."
    )
    return "\n".join(f"- {point}" for point in points)


def _knob_limit(knob: Knob, data: Mapping[str, Any]) -> str:
    values = _mapping(data.get("knobs")).get(knob.name)
    values = values if isinstance(values, (list, tuple)) else []
    if len(values) == 1:
        other = "its other positions are" if knob.positions else "turning it is"
        return f"{knob.name} was recorded at one value only ({_plain(values[0])}); {other} a guess."
    if knob.positions:
        return f"{knob.name} is a switch; there is nothing between its positions {knob.describe_range()}."
    if not values:
        return f"{knob.name}: how the device sounds between the recorded values is interpolated."
    return (
        f"{knob.name} was recorded at the {len(values)} values in the table above; anything between is interpolated, "
        "beyond is a guess."
    )


def _origin(config: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    shown = {word: data[key] for key, word in _DATA_WORDS.items() if key in data}
    shown |= {
        key: value for key, value in data.items() if key not in _DATA_WORDS and not isinstance(value, (list, dict))
    }
    if isinstance(data.get("takes"), list):
        shown["Takes"] = len(data["takes"])
    training = config["training"]
    shown |= {
        _TRAINING_WORDS.get(key, key): value for key, value in training.items() if not isinstance(value, (list, dict))
    }
    arguments = {**config["arguments"], **_mapping(training.get("arguments"))}
    shown["Architecture"] = config["architecture"]
    if arguments:
        shown["Arguments"] = ", ".join(f"{name}={_plain(value)}" for name, value in arguments.items())
    shown["Packaged with neuralfx"] = config["neuralfx_version"]
    lines = [f"- {word}: {_plain(value)}" for word, value in shown.items() if value not in (None, "")]
    return "\n".join([*lines, "- The full configuration is in `recipe.yaml`; `check.safetensors` proves the weights."])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
