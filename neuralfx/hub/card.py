"""The card of a model: front matter for the Hugging Face Hub, then what a musician wants to know. Needs no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from neuralfx.effect import Effect, Knob
from neuralfx.errors import join_words
from neuralfx.text import describe_knobs

# Licences that the Hub knows by these names; any other is published as "other" with its name beside it.
HUB_LICENCES = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense",
    "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0",
)  # fmt: skip
COMMON_TAGS = ("neuralfx", "virtual-analog")  # of every model; then come its effect and its architecture
SHORT_TRAINING_S = 60.0  # below this the card warns that a model has heard little

_BASELINES = {"identity_esr": "for the untouched dry signal", "linear_esr": "for the best linear filter"}

_PICTURES = {
    "spectrum": "Spectrum of the device and of the model",
    "transfer": "Transfer curves of the device and of the model: level out over level in",
}
_SIGNALS = ("dry", "target", "model")  # how names of audio examples end
_TRAINING_WORDS = {
    "seconds": "Time of training, in s",
    "energy_kwh": "Energy of training, in kWh",
    "co2_g": "Carbon dioxide of training, in g",
    "hardware": "Trained on",
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


def render_card(config: Mapping[str, Any], files: Iterable[str] = ()) -> str:
    """Write the card of a model.

    Args:
        config: The content of ``config.json``; see :class:`neuralfx.hub.package.ModelConfig`. In ``training``, ``data``
            may be what a data module's ``summary`` returns, with ``train_s`` (seconds of training audio), ``knobs``
            (the recorded values, a list by knob) and ``takes``, and besides ``name``, ``url``, ``licence`` and
            ``citation``; other plain values are listed by their key. ``seconds``, ``energy_kwh``, ``co2_g`` and
            ``hardware`` say what training took, ``silence`` what comes out when nothing goes in.
        files: Paths of audio examples (``audio/<take>-dry.wav``, ``-target`` for the device, ``-model``) and pictures
            (``pictures/spectrum.png``, ``pictures/transfer.png``, others by their name) in the model folder.

    Returns:
        Markdown with YAML front matter.

    Raises:
        FormatError: If the effect contradicts itself.
    """
    effect = Effect.from_dict(config["effect"])
    device = effect.device or effect.slug
    data = _mapping(config["training"].get("data"))
    paths = sorted(files)
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
        *_listen([path for path in paths if path.startswith("audio/")]),
        *_look([path for path in paths if path.startswith("pictures/")]),
        "## Limits",
        _limits(effect, data, _mapping(config["training"].get("silence"))),
        "## Where it comes from",
        _origin(config, data),
        "## Licence and names",
        f"The weights are under: **{config['licence']}**. {_data_licence(data)}{device} and other product names may be "
        "trademarks of their makers. They are named here only to say what was measured; the makers have no part in "
        "this model and do not endorse it.",
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
    fields["tags"] = [*COMMON_TAGS, effect.slug, config["architecture"]]
    if data.get("name"):
        fields["datasets"] = [_slug(str(data["name"]))]
    carbon = config["training"].get("co2_g")
    if isinstance(carbon, (int, float)):
        emissions = {"emissions": carbon, "training_type": "from scratch"}
        hardware = config["training"].get("hardware")
        fields["co2_eq_emissions"] = {**emissions, "hardware_used": str(hardware)} if hardware else emissions
    metrics = _measures(config["metrics"])
    if metrics:
        dataset = str(data.get("name", effect.slug))
        result = {
            "task": {"type": "audio-to-audio", "name": "Audio effect modelling"},
            "dataset": {"type": _slug(dataset), "name": dataset},
            "metrics": metrics,
        }
        fields["model-index"] = [{"name": config["name"], "results": [result]}]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _measures(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The means over the test takes, those of the baselines left out, as ``model-index`` lists them."""
    names = {"esr": "Error-to-signal ratio, test takes"}
    return [
        {"type": key, "name": names.get(key, f"{key}, test takes"), "value": value}
        for key, value in metrics.items()
        if key not in _BASELINES and isinstance(value, (int, float))
    ]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "recordings"


def _usage(name: str, effect: Effect) -> str:
    values = {knob.name: knob.default for knob in effect.knobs}
    python = f", {json.dumps(values, ensure_ascii=False)}" if values else ""
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
    compared = [f"{metrics[key]:.4g} {what}" for key, what in _BASELINES.items() if key in metrics]
    if compared:
        parts.append(f"For comparison, the same measure is {join_words(compared)}.")
    known = ("esr", "takes", *_BASELINES)
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


def _listen(paths: Sequence[str]) -> list[str]:
    """A section with the audio examples, one line for each take."""
    if not paths:
        return []
    takes: dict[str, list[tuple[str, str]]] = {}
    for path in paths:
        take, _, signal = path.rpartition("/")[2].rpartition(".")[0].rpartition("-")
        if not take or signal not in _SIGNALS:
            take, signal = path.rpartition("/")[2].rpartition(".")[0], "listen"
        takes.setdefault(take, []).append((signal, path))
    order = {signal: index for index, signal in enumerate(_SIGNALS)}
    lines = []
    for take, found in takes.items():
        links = [f"[{signal}]({path})" for signal, path in sorted(found, key=lambda each: order.get(each[0], 0))]
        lines.append(f"- {take}: {', '.join(links)}")
    what = '"dry" goes in, "target" is what the device made of it, "model" what this model makes of it.'
    return ["## Listen", what, "\n".join(lines)]


def _look(paths: Sequence[str]) -> list[str]:
    """A section with the pictures."""
    if not paths:
        return []
    names = [path.rpartition("/")[2].rpartition(".")[0] for path in paths]
    shown = [_PICTURES.get(name, name.replace("-", " ").capitalize()) for name in names]
    return ["## Look", *(f"![{caption}]({path})\n\n*{caption}.*" for caption, path in zip(shown, paths))]


def _data_licence(data: Mapping[str, Any]) -> str:
    licence = data.get("licence")
    return f"The recordings they were trained on are under: **{_plain(licence)}**. " if licence else ""


def _limits(effect: Effect, data: Mapping[str, Any], silence: Mapping[str, Any]) -> str:
    points = []
    seconds = data.get("train_s")
    if isinstance(seconds, (int, float)):
        little = (
            " That is little: sounds unlike those may come out less faithful." if seconds < SHORT_TRAINING_S else ""
        )
        points.append(f"It was trained on {seconds:.4g} seconds of audio.{little}")
    for knob in effect.knobs:
        points.append(_knob_limit(knob, data))
    takes = [take for take in data.get("takes", []) if isinstance(take, dict) and take.get("values")]
    settings = [take["values"] for take in takes]
    if len(effect.knobs) > 1 and settings:
        different = len({str(values) for values in settings})
        points.append(
            f"Of all combinations of its knobs, {different} were recorded: those in the table of takes. "
            "Other combinations have never been compared with the device."
        )
        tied = effect.tied_knobs(take["values"] for take in takes if take.get("splits", {}).get("train", True))
        if tied:
            points.append(f"{join_words(tied)} were moved only together: what each of them does by itself is a guess.")
    if silence:
        points.append(_silence_limit(silence))
    model = "program" if effect.is_virtual else "one unit"
    points.append(
        f"It models the {model} that was recorded, at the levels at which it was recorded; others may differ."
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


def _silence_limit(silence: Mapping[str, Any]) -> str:
    """What :func:`neuralfx.evaluation.silence.measure_silence` found, in words."""
    offset = f"Its output then stands up to {silence['offset']:.2g} of full scale away from zero."
    if not silence["humming"]:
        tried = _count(silence["settings"], "setting")
        return f"When nothing goes in, also after a loud note, it does not hum: {tried} of its knobs tried. {offset}"
    return (
        f"When nothing goes in, it hums at {silence['humming']} of the {silence['settings']} settings that were tried, "
        f"loudest at {describe_knobs(silence['knobs'])}: {silence['largest']:.2g} of full scale from peak to peak. "
        + offset
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
