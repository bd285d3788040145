"""Measure one thing in a process of its own: a pair, how its cost grows, or a peer.

``python -m neuralfx.reports.timing`` reads a task as JSON from its input and prints the result as JSON on the last
line of its output. :mod:`neuralfx.reports.benchmark` starts these processes, so that threads, caches and the peak of
memory belong to what is measured alone. Speed is seconds of audio per second of wall time.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from neuralfx import engine
from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.engine.memory import keep_freed_memory
from neuralfx.models import architecture
from neuralfx.nn.network import Network, State
from neuralfx.reports.benchmark import KNOBS, SAMPLE_RATE, WARM_UP_BLOCKS, Settings
from neuralfx.streaming import process_offline

_Signal = npt.NDArray[np.float32]
_MOVES_HZ = 0.5  # a knob's way to and fro
_LAYERS = {"kernel_size": 3, "dilations": [2**layer for layer in range(10)], "activation": "Tanh", "condition_size": 1}
NAM_STANDARD = [  # the two layer arrays of the "standard" WaveNet of Neural Amp Modeler's trainer up to version 0.12
    {"input_size": 1, "channels": 16, "head": {"out_channels": 8, "kernel_size": 1, "bias": False}, **_LAYERS},
    {"input_size": 16, "channels": 8, "head": {"out_channels": 1, "kernel_size": 1, "bias": True}, **_LAYERS},
]


def measure_pair(name: str, settings: Settings) -> dict[str, Any]:
    """Sizes, speeds and memory of a pair with its defaults, two knobs and random weights, as plain data.

    Args:
        name: Class name of the pair.
        settings: How.

    Returns:
        ``parameters``; ``multiply_adds`` and ``flops`` per sample, None if not counted; ``weight_bytes`` and
        ``state_bytes``; ``batch`` and ``segment`` of a training step; ``training``, ``file_still``, ``file_moving``
        and ``naive``, each a spread of speeds; ``block_still`` and ``block_moving``, see :func:`_time_blocks`;
        ``file_memory_bytes`` and ``training_memory_bytes``, None if not known; ``machine``, what the machine could do
        at that time, see :func:`measure_machine`.
    """
    model = _model(name)
    network: Network = model.network
    block = settings.block
    samples = max(block, round(settings.seconds * SAMPLE_RATE))
    dry, moves = _noise(samples), _moves(samples)
    spans = [slice(start, start + block) for start in range(0, samples - block + 1, block)]
    blocks = [dry[span] for span in spans]
    moved = [{knob: values[span] for knob, values in moves.items()} for span in spans]
    paper_1 = name.endswith("FiLMGLU")
    batch = settings.batch or (8 if paper_1 else 32)
    segment = settings.segment or (2400 if paper_1 else 2048)
    step = _training_step(network, batch, segment)
    _training_step(network, 2, 64)()  # what is loaded or compiled at first use counts neither as time nor as memory
    model.process(blocks[0])
    model.process(blocks[0], moved[0])
    file_memory = _memory_growth(partial(_play_file, model, dry))
    training_memory = _memory_growth(step)
    operations = network.operations(moving=False)
    measured: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": None if operations is None else operations.multiplications,
        "flops": None if operations is None else operations.flops,
        "weight_bytes": _size(list(network.parameters())),
        "state_bytes": _size(list(_tensors(network.initial_state(1)))),
        "batch": batch,
        "segment": segment,
        "training": _speed(batch * segment, _time(step, settings)),
        "file_memory_bytes": file_memory,
        "training_memory_bytes": training_memory,
    }
    network.zero_grad()
    measured["file_still"] = _speed(len(dry), _time(partial(_play_file, model, dry), settings))
    measured["file_moving"] = _speed(len(dry), _time(partial(_play_file, model, dry, moves), settings))
    still, moving = model.stream(), model.stream()
    measured["block_still"] = _time_blocks(lambda n: still.process(blocks[n % len(blocks)]), settings)
    measured["block_moving"] = _time_blocks(
        lambda n: moving.process(blocks[n % len(blocks)], moved[n % len(blocks)]), settings
    )
    measured["naive"] = _speed(settings.naive_samples, _time(_naive_loop(network, settings.naive_samples), settings))
    measured["machine"] = measure_machine()
    return measured


def measure_growth(name: str, settings: Settings, sizes: Sequence[int] = ()) -> dict[str, Any]:
    """How the cost of a pair grows with the length of the file, the knobs and the hidden size.

    Args:
        name: Class name of the pair.
        settings: How; lengths go from a tenth of ``seconds`` to six times as much, as far as time allows.
        sizes: Values of ``hidden_size``, none for pairs without it.

    Returns:
        ``length``: ``seconds`` and ``time_s``; ``knobs``: ``count``, ``still`` and ``moving``, speeds over a file;
        ``hidden_size``, if there are sizes: ``size``, ``still`` and ``training``, speeds.
    """
    length: dict[str, list[float]] = {"seconds": [], "time_s": []}
    model = _model(name)
    model.process(_noise(settings.block))
    for factor in (0.1, 0.3, 1.0, 3.0, 6.0):
        seconds = factor * settings.seconds
        if length["time_s"] and length["time_s"][-1] / length["seconds"][-1] * seconds > settings.limit_s:
            break
        dry = _noise(max(1, round(seconds * SAMPLE_RATE)))
        length["seconds"].append(len(dry) / SAMPLE_RATE)
        length["time_s"].append(_median(_time(partial(_play_file, model, dry), settings)))
    grown: dict[str, Any] = {"length": length}

    samples = max(1, round(0.3 * settings.seconds * SAMPLE_RATE))
    dry = _noise(samples)
    knobs: dict[str, list[float]] = {"count": [], "still": [], "moving": []}
    for count in (0, 1, 2, 4, 8):
        model, moves = _model(name, count), _moves(samples, count)
        knobs["count"].append(count)
        for key, values in (("still", {}), ("moving", moves)):
            times = _time(partial(_play_file, model, dry, values), settings)
            knobs[key].append(samples / SAMPLE_RATE / _median(times))
    grown["knobs"] = knobs

    if sizes:
        hidden: dict[str, list[float]] = {"size": list(sizes), "still": [], "training": []}
        batch, segment = settings.batch or 32, settings.segment or 2048
        for size in sizes:
            model = _model(name, hidden_size=size)
            times = _time(partial(_play_file, model, dry), settings)
            hidden["still"].append(samples / SAMPLE_RATE / _median(times))
            times = _time(_training_step(model.network, batch, segment), settings)
            hidden["training"].append(batch * segment / SAMPLE_RATE / _median(times))
        grown["hidden_size"] = hidden
    return grown


def measure_machine() -> dict[str, float]:
    """What the machine can do at best on as many threads as torch has.

    Returns:
        ``flops_per_s``: multiplications and additions of a large float32 matrix product; ``copy_bytes_per_s``: bytes
        that a copy of a large array reads and writes. Both are the best of ten repetitions.
    """
    size = 1024
    left, right = torch.rand(size, size), torch.rand(size, size)
    product = min(_time(partial(torch.mm, left, right), Settings(repetitions=10)))
    source = np.ones(16_000_000, dtype=np.float32)
    target = np.empty_like(source)
    copy = min(_time(partial(np.copyto, target, source), Settings(repetitions=10)))
    return {"flops_per_s": 2 * size**3 / product, "copy_bytes_per_s": 2 * source.nbytes / copy}


def measure_peer(name: str, settings: Settings) -> dict[str, Any]:
    """Speeds of a network of Neural Amp Modeler with random weights, whole and in blocks.

    Its Python code keeps no state between calls: in blocks, the WaveNet sees as much of the past as it needs in front
    of every block, and the LSTM's state is carried from block to block here.

    Args:
        name: ``NAM WaveNet`` or ``NAM LSTM``.
        settings: How.

    Returns:
        ``parameters``, ``file_still`` and ``block_still`` as of :func:`measure_pair`.
    """
    models = importlib.import_module("nam.models")

    torch.manual_seed(0)
    dry = torch.from_numpy(_noise(max(settings.block, round(settings.seconds * SAMPLE_RATE))))
    block = dry[: settings.block]
    play: Callable[[int], object]
    if name == "NAM WaveNet":
        network = models.WaveNet.init_from_config({"layers_configs": [dict(layer) for layer in NAM_STANDARD]}).eval()
        seen = torch.cat([torch.zeros(network.receptive_field - 1), block])

        def play(_: int) -> object:
            return network(seen, pad_start=False)
    else:
        network = models.LSTM(hidden_size=18, num_layers=3).eval()
        state = None

        def play(_: int) -> object:
            nonlocal state
            features, state = network._core(block[None, :, None], state)
            return network._apply_head(features)

    with torch.no_grad():
        return {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "file_still": _speed(len(dry), _time(partial(network, dry), settings)),
            "block_still": _time_blocks(play, settings),
        }


def _model(name: str, knobs: int = KNOBS, **arguments: Any) -> Any:
    torch.manual_seed(0)
    effect = Effect("any", SAMPLE_RATE, Knobs(Knob(f"knob{number}") for number in range(knobs)))
    return architecture(name)(effect=effect.to_dict(), **arguments).eval()


def _play_file(model: Any, dry: _Signal, knobs: dict[str, _Signal] | None = None) -> _Signal:
    """Without the half second of silence that comes first, which counts for more the shorter a file is."""
    return process_offline(model.network, model.effect, dry, knobs, settling_s=0.0)


def _noise(samples: int) -> _Signal:
    return np.random.default_rng(0).normal(0.0, 0.2, samples).astype(np.float32)


def _moves(samples: int, knobs: int = KNOBS) -> dict[str, _Signal]:
    """Values of all knobs, moving all the time, each at a pace of its own."""
    phase = 2 * np.pi * _MOVES_HZ / SAMPLE_RATE * np.arange(samples)
    return {f"knob{n}": (0.5 + 0.5 * np.sin((1 + n / 7) * phase)).astype(np.float32) for n in range(knobs)}


def _training_step(network: Network, batch: int, segment: int) -> Callable[[], object]:
    """Forward and backward of a mean square error; every row has knobs of its own."""
    keep_freed_memory()  # as training does
    generator = torch.Generator().manual_seed(0)
    dry = 0.2 * torch.randn(batch, 1, segment, generator=generator)
    knobs = torch.rand(batch, network.num_knobs, generator=generator)

    def step() -> None:
        network.train()
        network.zero_grad()
        wet, _ = network(dry, knobs, network.initial_state(batch))
        ((wet - dry) ** 2).mean().backward()
        network.eval()

    return step


def _naive_loop(network: Network, samples: int) -> Callable[[], object]:
    """The network as torch computes it, called for every sample."""
    dry = torch.from_numpy(_noise(samples)).view(1, 1, -1)
    knobs = torch.full((1, network.num_knobs), 0.5)

    def loop() -> None:
        state = network.initial_state(1)
        with engine.torch_alone(), torch.no_grad():
            for n in range(samples):
                _, state = network(dry[..., n : n + 1], knobs, state)

    return loop


def _time(function: Callable[[], object], settings: Settings) -> list[float]:
    """Wall times of a function in s, after a call to warm up."""
    function()
    times: list[float] = []
    while len(times) < 2 or (len(times) < settings.repetitions and sum(times) < settings.limit_s):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def _time_blocks(play: Callable[[int], object], settings: Settings) -> dict[str, Any]:
    """Times of single blocks, after some to warm up.

    Args:
        play: Plays the block with this number.
        settings: How.

    Returns:
        ``median_us``: spread of the repetitions' medians; ``worst_us``: the longest of all blocks, and ``p99_us``: what
        99 % of them do not exceed; ``speed``: spread, by the medians; ``worst_to_median``.
    """
    for number in range(WARM_UP_BLOCKS):
        play(number)
    times: list[list[float]] = []
    while len(times) < 2 or (len(times) < settings.repetitions and sum(map(sum, times)) < settings.limit_s):
        times.append([])
        for number in range(settings.blocks):
            start = time.perf_counter()
            play(number)
            times[-1].append(time.perf_counter() - start)
    medians = [_median(repetition) for repetition in times]
    worst = max(map(max, times))
    return {
        "median_us": _spread([1e6 * median for median in medians]),
        "p99_us": 1e6 * float(np.quantile(np.concatenate(times), 0.99)),
        "worst_us": 1e6 * worst,
        "worst_to_median": worst / _median(medians),
        "speed": _speed(settings.block, medians),
    }


def _speed(samples: int, times: Sequence[float]) -> dict[str, float]:
    return _spread([samples / SAMPLE_RATE / seconds for seconds in times])


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": _median(values), "lowest": min(values), "highest": max(values), "repetitions": len(values)}


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _memory_growth(function: Callable[[], object]) -> int | None:
    """Bytes by which a call raises the peak of resident memory; None where the system does not tell.

    Where the system cannot forget an earlier peak (all but Linux), what stays below that one is not seen.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as control:
        control.write("5")  # forget the peak
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function()
    return unit * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def _tensors(state: State) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    else:
        for part in state:
            yield from _tensors(part)


def _size(tensors: Sequence[Tensor | nn.Parameter]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def run(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do a task: ``what`` is ``pairs``, ``peers`` or ``growth``, ``settings`` the fields of its class.

    Args:
        task: Also ``name``, and ``sizes`` for growth.
    """
    settings = Settings(**task["settings"])
    torch.set_num_threads(settings.threads)
    if task["what"] == "peers":
        return measure_peer(task["name"], settings)
    if task["what"] == "pairs":
        return measure_pair(task["name"], settings)
    return measure_growth(task["name"], settings, task["sizes"])


if __name__ == "__main__":
    print("\n" + json.dumps(run(json.load(sys.stdin))))
