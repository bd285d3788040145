"""Folders made to do harm are refused in a moment: little memory, nothing written, nothing run."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from neuralfx.errors import FormatError
from neuralfx.hub.package import load_folder, save_folder
from neuralfx.models import LSTMFiLMGLU, TCNConcat
from neuralfx.models.base import load_checkpoint
from tests.hub.conftest import EFFECT

ROOT = Path(__file__).parents[2]
WORDS: dict[str, Any] = {"card": "# x", "metrics": {}, "training": {}, "recipe": "", "licence": "mit"}
TINY: dict[str, Any] = {"hidden_size": 3, "features": 2, "window": 4}
LOOT = "loot"  # a file of this name shows that something ran

Spoil = Callable[[Path], object]


class Burglar:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


# Ways to spoil a folder -----------------------------------------------------------------------------------------------


def text(content: str | bytes) -> Spoil:
    """Another config.json."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / "config.json").write_bytes(data)


def edit(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """A config.json with a change."""

    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def replaced(old: str, new: str) -> Spoil:
    """A config.json with other words."""

    def spoil(folder: Path) -> None:
        content = (folder / "config.json").read_text()
        assert old in content
        (folder / "config.json").write_text(content.replace(old, new, 1))

    return spoil


def arguments(architecture: str, **values: Any) -> Spoil:
    """A network of other sizes."""
    return edit(lambda config: config.update(architecture=architecture, arguments=values))


def weights(make: Callable[[Path], bytes]) -> Spoil:
    """Other weights, with the checksum that belongs to them."""

    def spoil(folder: Path) -> None:
        data = make(folder)
        (folder / "model.safetensors").write_bytes(data)
        edit(lambda config: config["weights"].update(sha256=hashlib.sha256(data).hexdigest()))(folder)

    return spoil


def header(change: Callable[[dict[str, Any]], object], name: str = "model.safetensors") -> Spoil:
    """A file of tensors whose header was changed."""

    def make(folder: Path) -> bytes:
        data = (folder / name).read_bytes()
        length = int.from_bytes(data[:8], "little")
        entries = json.loads(data[8 : 8 + length])
        change(entries)
        new = json.dumps(entries).encode()
        return struct.pack("<Q", len(new)) + new + data[8 + length :]

    return weights(make) if name == "model.safetensors" else lambda folder: (folder / name).write_bytes(make(folder))


def first(entries: dict[str, Any]) -> dict[str, Any]:
    """Entry of a tensor in a header."""
    entry: dict[str, Any] = next(entry for name, entry in entries.items() if name != "__metadata__")
    return entry


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    """Weights with other tensors."""

    def make(folder: Path) -> bytes:
        loaded = load_file(folder / "model.safetensors")
        change(loaded)
        return save(loaded)

    return weights(make)


def poison(value: float) -> Spoil:
    """Weights with one other number."""
    return tensors(lambda loaded: next(iter(loaded.values())).view(-1)[:1].fill_(value))


def link(name: str, target: str) -> Spoil:
    """A file replaced by a link."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return spoil


def pipe(name: str) -> Spoil:
    """A file replaced by a pipe, on which a reader waits for ever."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def door(folder: Path) -> None:
    """The weights replaced by a socket."""
    (folder / "model.safetensors").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        place = os.getcwd()
        os.chdir(folder)  # because the names of sockets are short
        server.bind("model.safetensors")
        os.chdir(place)


def directory(name: str) -> Spoil:
    """A file replaced by a folder."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def stretched(name: str, size: int) -> Spoil:
    """A file made very long, without filling the disk."""

    def spoil(folder: Path) -> None:
        with open(folder / name, "r+b") as file:
            file.truncate(size)

    return spoil


def pickled(folder: Path) -> bytes:
    return pickle.dumps(Burglar(folder / LOOT))


def torch_archive(folder: Path) -> bytes:
    torch.save({"weights": Burglar(folder / LOOT)}, folder / "x")
    return (folder / "x").read_bytes()


def endless_history(folder: Path) -> None:
    """A few weights, all as they should be, whose network remembers 268 million samples."""
    sizes = {"channels": 1, "num_blocks": 8, "kernel_size": 2, "dilation_growth": 16}
    network = TCNConcat(effect=EFFECT.to_dict(), **sizes).network
    weights(lambda _: save(network.state_dict()))(folder)
    arguments("TCNConcat", **sizes)(folder)
    edit(lambda config: config.update(parameters=sum(weight.numel() for weight in network.parameters())))(folder)


HOSTILE: dict[str, Spoil] = {
    # config.json
    "JSON of half a million lists in lists": text("[" * 500_000 + "]" * 500_000),
    "JSON of brackets without end": text("[" * 1_000_000),
    "JSON of dictionaries in dictionaries": text('{"a":' * 160_000),
    "JSON of many small lists": text("[" + "[]," * 333_000 + "[]]"),
    "JSON of many keys": text("{" + ",".join(f'"{n}":0' for n in range(90_000)) + "}"),
    "JSON of one key again and again": text("{" + ",".join(['"a":0'] * 160_000) + "}"),
    "a number of a million digits": text('{"format":' + "9" * 990_000 + "}"),
    "a fraction of a million digits": text('{"format":0.' + "9" * 990_000 + "}"),
    "a negative number of many digits": replaced('"parameters": ', '"parameters": -' + "9" * 5000),
    "a text of a million escapes": text('{"format":"' + "\\\\" * 490_000 + '"}'),
    "a text with brackets that never ends": text('{"format":"' + "[" * 900_000),
    "JSON with comments": text("// x\n{}"),
    "a byte order mark": text(b"\xef\xbb\xbf{}"),
    "another encoding": text('{"format": 1}'.encode("utf-16")),
    "an architecture named twice": replaced('"architecture"', '"architecture": "S6FiLMGLU", "architecture"'),
    "NaN as a metric": edit(lambda c: c["metrics"].update(esr=float("nan"))),
    "infinity as a metric": edit(lambda c: c["metrics"].update(esr=float("inf"))),
    "nesting inside of the training": edit(lambda c: c["training"].update(x=json.loads("[" * 20 + "]" * 20))),
    "a configuration of ten gigabytes": stretched("config.json", 10**10),
    # architectures and arguments
    "an architecture that is a function": edit(lambda c: c.update(architecture="os.system")),
    "an architecture with its module": edit(lambda c: c.update(architecture="neuralfx.models.lstm.LSTMFiLMGLU")),
    "an architecture that is a base class": edit(lambda c: c.update(architecture="EffectModule")),
    "an architecture that is a path": edit(lambda c: c.update(architecture="../../evil")),
    "a class path as argument": arguments("LSTMFiLMGLU", **TINY, class_path="os.system", init_args={"command": "x"}),
    "a class path inside of an argument": arguments("LSTMFiLMGLU", **{**TINY, "window": {"class_path": "os.system"}}),
    "a class path inside of the losses": arguments("LSTMFiLMGLU", **TINY, losses={"class_path": "os.system"}),
    "a class path inside of the effect": edit(lambda c: c["effect"].update(class_path="os.system")),
    "an effect among the arguments": arguments("LSTMFiLMGLU", **TINY, effect={}),
    "a method's name as argument": arguments("LSTMFiLMGLU", **TINY, __class__="x"),
    "a billion hidden units": arguments("LSTMFiLMGLU", **{**TINY, "hidden_size": 10**9}),
    "a width as a float": arguments("LSTMFiLMGLU", **{**TINY, "hidden_size": 3.0}),
    "a width that is true": arguments("LSTMFiLMGLU", **{**TINY, "hidden_size": True}),
    "a million blocks": arguments("TCNConcat", channels=1, num_blocks=10**6),
    "as much as each argument may be, TCN": arguments(
        "TCNFiLM", channels=1024, num_blocks=32, kernel_size=4096, dilation_growth=16, mlp_size=1024
    ),
    "as much as each argument may be, GCN": arguments(
        "GCNFiLM", channels=1024, num_blocks=32, kernel_size=4096, dilation_growth=1, mlp_size=1024
    ),
    "as much as each argument may be, S4D": arguments(
        "S4DFiLMGLU", features=1024, state_size=256, num_blocks=32, window=4096, poles="legs", mixing=True
    ),
    "as much as each argument may be, S6": arguments(
        "S6FiLMGLU", features=1024, state_size=256, rank=1024, num_blocks=32, window=4096
    ),
    "as much as each argument may be, LRU": arguments(
        "LRUFiLMGLU", features=1024, state_size=256, num_blocks=32, window=4096
    ),
    "as much as each argument may be, LSTM": arguments("LSTMStaticHyper", hidden_size=1024, mlp_size=1024),
    "a history of a gigabyte": endless_history,
    "a time constant of no time": arguments("S4DFiLMGLU", shortest_ms=0.0),
    "poles that are unknown": arguments("S4DFiLMGLU", poles="x" * 60),
    "an odd number of states": arguments("S4DFiLMGLU", state_size=3),
    # effects
    "ninety thousand positions": edit(
        lambda c: c["effect"]["knobs"][1].update(positions=[str(number) for number in range(90_000)])
    ),
    "ten thousand knobs": edit(lambda c: c["effect"].update(knobs=[{"name": f"k{n}"} for n in range(10_000)])),
    "a thousand channels": edit(lambda c: c["effect"].update(channels=1000)),
    "a device in two lines": edit(lambda c: c["effect"].update(device="amp\nlicence     mit")),
    "a unit that steers the terminal": edit(lambda c: c["effect"]["knobs"][0].update(unit="\x1b[2J")),
    "a metric's name that steers the terminal": edit(lambda c: c["metrics"].update({"\x1b[2J": 1})),
    "a text that runs from right to left": edit(lambda c: c["effect"].update(device="\u202eedocne")),
    # names and paths
    "weights outside of the folder": edit(lambda c: c["weights"].update(file="../../model.safetensors")),
    "weights at an absolute place": edit(lambda c: c["weights"].update(file="/etc/passwd")),
    "weights in another file": edit(lambda c: c["weights"].update(file="pytorch_model.bin")),
    "a name that is a path": edit(lambda c: c.update(name="../../evil")),
    # model.safetensors
    "a pickle": weights(pickled),
    "an archive of torch": weights(torch_archive),
    "a header longer than the file": weights(lambda _: struct.pack("<Q", 2**63) + b"{}"),
    "a header of a hundred megabytes": weights(lambda _: struct.pack("<Q", 10**8) + b"{}" * 100),
    "a header of lists in lists": weights(lambda _: struct.pack("<Q", 900_000) + b"[" * 900_000),
    "a header of nothing": weights(lambda _: struct.pack("<Q", 2) + b"{}"),
    "a header of thousands of tensors": header(
        lambda e: e.update({f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(10_000)})
    ),
    "a header with a list as metadata": header(lambda e: e.update(__metadata__=[1])),
    "a shape of a yottabyte": header(lambda e: first(e).update(shape=[2**40, 2**40])),
    "a shape of a yottabyte that is empty": header(lambda e: first(e).update(shape=[2**40, 2**40, 0])),
    "a shape of thousands of dimensions": header(lambda e: first(e).update(shape=[1] * 5000)),
    "a shape that is negative": header(lambda e: first(e).update(shape=[-1, -1])),
    "a shape of true": header(lambda e: first(e).update(shape=[True])),
    "offsets behind the end": header(lambda e: first(e).update(data_offsets=[10**12, 10**12 + 4])),
    "offsets before the start": header(lambda e: first(e).update(data_offsets=[-8, 0])),
    "offsets that run backwards": header(lambda e: first(e)["data_offsets"].reverse()),
    "tensors that overlap": header(lambda e: [entry.update(first(e)) for name, entry in e.items() if name != "x"]),
    "bytes between tensors": header(lambda e: e.pop(next(iter(e)))),
    "a type of another library": header(lambda e: first(e).update(dtype="OBJECT")),
    "half precision": tensors(lambda t: t.update({name: tensor.half() for name, tensor in t.items()})),
    "double precision": tensors(lambda t: t.update({name: tensor.double() for name, tensor in t.items()})),
    "one tensor too many": tensors(lambda t: t.update(extra=torch.zeros(1))),
    "one tensor too few": tensors(lambda t: t.popitem()),
    "a tensor by another name": tensors(lambda t: t.update({"module.x": t.pop(next(iter(t)))})),
    "a tensor of another shape": tensors(lambda t: t.update({next(iter(t)): torch.zeros(1, 1)})),
    "a weight that is no number": poison(float("nan")),
    "a weight that is infinite": poison(float("-inf")),
    "weights of fifty gigabytes": stretched("model.safetensors", 5 * 10**10),
    "weights with more behind them": weights(lambda f: (f / "model.safetensors").read_bytes() + bytes(1000)),
    "weights cut short": weights(lambda f: (f / "model.safetensors").read_bytes()[:-4]),
    "weights with another checksum": lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100),
    # what is no file
    "a configuration that is a link": link("config.json", "/etc/passwd"),
    "weights that are a link to a device": link("model.safetensors", "/dev/zero"),
    "a card that is a link to a device": link("README.md", "/dev/urandom"),
    "a card that is a link to a secret": link("README.md", "../secret"),
    "a check that is a link to a secret": link("check.safetensors", "../secret"),
    "a configuration that is a link to itself": link("config.json", "config.json"),
    "a configuration that is a pipe": pipe("config.json"),
    "weights that are a pipe": pipe("model.safetensors"),
    "a card that is a pipe": pipe("README.md"),
    "weights that are a socket": door,
    "a configuration that is a folder": directory("config.json"),
    "weights that are a folder": directory("model.safetensors"),
    # README.md
    "a card of ten gigabytes": stretched("README.md", 10**10),
    "a card that is no text": lambda f: (f / "README.md").write_bytes(b"\xff\xfe\0" * 1000),
    # check.safetensors
    "a check that is a pickle": lambda f: (f / "check.safetensors").write_bytes(pickled(f)),
    "a check of a gigabyte": stretched("check.safetensors", 10**9),
    "a check of a yottabyte": header(lambda e: e["dry"].update(shape=[2**40, 2**40]), "check.safetensors"),
    "a check of no length": header(lambda e: e["dry"].update(shape=[1, 0], data_offsets=[0, 0]), "check.safetensors"),
    "a check with knobs of lists in lists": header(
        lambda e: e.update(__metadata__={"knobs": "[" * 500_000}), "check.safetensors"
    ),
    "a check with a list as a knob": header(
        lambda e: e.update(__metadata__={"knobs": '{"gain": [1, 2]}'}), "check.safetensors"
    ),
    "a check without knobs": header(lambda e: e.pop("__metadata__"), "check.safetensors"),
}  # fmt: skip

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other links, pipes and devices")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("good") / "amp"
    save_folder(LSTMFiLMGLU(effect=EFFECT.to_dict(), **TINY).eval(), folder, name="amp", **WORDS)
    return folder


@pytest.fixture(scope="module")
def reports(good: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What happened to each folder, and to the good one, in one process under watch."""
    parent = tmp_path_factory.mktemp("hostile")
    (parent / "secret").write_bytes(b"secret")
    folders = {"good": good}
    for number, (name, spoil) in enumerate(HOSTILE.items()):
        folders[name] = shutil.copytree(good, parent / str(number))
        spoil(folders[name])
    before = {path: path.lstat().st_mtime_ns for path in parent.rglob("*")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.watch", *map(str, folders.values())],
        cwd=ROOT, env={**os.environ, "NEURALFX_ENGINE": "torch"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path: path.lstat().st_mtime_ns for path in parent.rglob("*")} == before
    return dict(zip(folders, map(json.loads, done.stdout.splitlines())))


def test_the_good_folder_is_loaded_under_watch(reports: dict[str, dict[str, Any]]) -> None:
    assert reports["good"]["raised"] == "NoneType", reports["good"]
    assert reports["good"]["events"] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_in_a_moment_and_nothing_is_written_or_run(reports: dict[str, dict[str, Any]], name: str) -> None:
    report = reports[name]
    assert report["raised"] == "FormatError", report
    assert "\n" not in report["message"] and report["message"].isprintable() and len(report["message"]) < 700
    assert report["seconds"] < 1
    assert report["grown_bytes"] < 50_000_000
    assert report["events"] == []


def test_what_else_lies_in_a_folder_is_neither_read_nor_run(good: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(good, tmp_path / "amp")
    code = f"open({str(tmp_path / LOOT)!r}, 'w')"
    for name in ("__init__.py", "modeling.py", "torch.py", "sitecustomize.py"):
        (folder / name).write_text(code)
    for name in ("pytorch_model.bin", "model.pt", "last.ckpt"):
        (folder / name).write_bytes(pickle.dumps(Burglar(tmp_path / LOOT)))
    yaml = f"!!python/object/apply:builtins.exec [{json.dumps(code)}]"
    bomb = "a: &a [x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefghi", "bcdefghij"))
    (folder / "recipe.yaml").write_text(f"{bomb}model: {yaml}\n")
    (folder / "README.md").write_text(f"---\nlicense: {yaml}\n---\n# amp\n")
    assert load_folder(folder).name == "amp"
    assert not (tmp_path / LOOT).exists()


def test_a_checkpoint_is_never_unpickled_beyond_tensors(tmp_path: Path) -> None:
    content = {"neuralfx": {"format": 1}, "x": Burglar(tmp_path / LOOT)}
    torch.save(content, tmp_path / "last.ckpt")
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("last.ckpt", "bare.ckpt"):
        with pytest.raises(FormatError, match="not a checkpoint that neuralfx can use"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / LOOT).exists()


def test_no_shell_command_of_a_stranger_is_proposed(good: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(good, tmp_path / "amp")
    edit(lambda c: c.update(format=2, neuralfx_version='9"; reboot #'))(folder)
    with pytest.raises(FormatError, match="expected format 1, got 2") as caught:
        load_folder(folder)
    assert "reboot" not in str(caught.value)
