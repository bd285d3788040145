"""A model folder comes back as the model it was, and anything else is refused in one line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from neuralfx import engine
from neuralfx.errors import FormatError
from neuralfx.hub.package import (
    FILES,
    ModelConfig,
    describe_model,
    load_folder,
    make_check_audio,
    read_card,
    read_config,
    replay_check,
    save_folder,
)
from neuralfx.hub.registry import bundled, bundled_folder
from tests.checks import tiny_model

FROZEN = sorted((Path(__file__).parents[1] / "data" / "format_1").iterdir())  # as neuralfx 0.1.0 wrote them
WORDS: dict[str, Any] = {"card": "# x", "metrics": {}, "training": {}, "recipe": "", "licence": "mit"}


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change config.json."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def put_weights(folder: Path, data: bytes) -> None:
    """Replace the weights and state their checksum, as someone would who makes a folder to do harm."""
    (folder / "model.safetensors").write_bytes(data)
    edit(folder, lambda config: config["weights"].update(sha256=hashlib.sha256(data).hexdigest()))


def assert_refused(folder: Path, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        load_folder(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.skipif(not engine.is_installed(), reason="torch alone rounds as torch alone does")
def test_a_model_that_rounding_decides_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(engine.SWITCH, raising=False)
    model = tiny_model("LSTMConcat", hidden_size=32)
    with torch.no_grad():
        model.network.get_parameter("recurrent.cell.weight_hh_l0").mul_(16.0)  # chaos
    with pytest.raises(FormatError, match="unstable: rounding decides"):
        save_folder(model, tmp_path / "chaos", name="chaos", **WORDS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_comes_back_as_the_same_model(model: Any, folder: Path) -> None:
    loaded = load_folder(folder)
    assert type(loaded) is type(model)
    assert loaded.effect == model.effect
    assert loaded.architecture_arguments() == model.architecture_arguments()
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor, atol=0, rtol=0)
    assert (loaded.name, loaded.metrics["esr"], loaded.training) == ("my-amp", 0.0123, False)
    assert loaded.card == read_card(folder)
    assert replay_check(loaded, folder) == 0.0


def test_a_folder_holds_its_five_files_and_nothing_else_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["my-amp"]


def test_the_configuration_comes_back(model: Any, folder: Path) -> None:
    config = read_config(folder)
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert config.arguments == {"hidden_size": 3, "features": 2, "window": 4, "longest_ms": 100.0}
    assert config.parameters == sum(parameter.numel() for parameter in model.network.parameters())
    described = describe_model(
        model, name="my-amp", metrics=config.metrics, training=config.training, licence=config.licence
    )
    assert described == config


def test_reading_the_configuration_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; from neuralfx.hub.package import read_config as r; r(sys.argv[1]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_the_checked_audio_can_be_given(model: Any, tmp_path: Path) -> None:
    save_folder(model, tmp_path / "a", name="a", check_audio=np.ones((1, 10), dtype=np.float32), **WORDS)
    np.testing.assert_array_equal(load_file(tmp_path / "a" / "check.safetensors")["dry"], np.ones((1, 10)))


def test_check_audio_is_a_quarter_second_of_finite_sound_at_half_of_full_scale() -> None:
    audio = make_check_audio(8000, channels=2)
    assert audio.shape == (2, 2000)
    assert audio.dtype == np.float32
    assert 0.4 < np.abs(audio[0, :500]).max() <= 0.5
    assert 0.49 < np.abs(audio[0, 500:]).max() <= 0.5


def test_a_model_folder_may_be_replaced(model: Any, folder: Path) -> None:
    save_folder(model, folder, name="other", **WORDS)
    assert load_folder(folder).name == "other"
    assert [path.name for path in folder.parent.iterdir()] == ["my-amp"]


def test_other_content_is_left_alone(model: Any, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"precious")
    with pytest.raises(FormatError, match=r"song\.wav"):
        save_folder(model, tmp_path, name="a", **WORDS)
    with pytest.raises(FormatError, match="got a file"):
        save_folder(model, tmp_path / "song.wav", name="a", **WORDS)
    assert (tmp_path / "song.wav").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "My Amp"}, "lower case with hyphens"),
        ({"metrics": {"esr": float("nan")}}, "expected numbers"),
        ({"metrics": {"esr": "good"}}, "expected a number"),
        ({"training": {"path": Path("x")}}, "expected numbers, texts"),
        ({"licence": ""}, "licence"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_read_is_not_written(model: Any, tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        save_folder(model, tmp_path / "a", **{"name": "a", **WORDS, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing_half_written(model: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        next(model.network.parameters()).fill_(float("nan"))
    with pytest.raises(Exception, match="finite"):
        save_folder(model, tmp_path / "a", name="a", **WORDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert_refused(folder, f"{name} is missing")


def test_a_missing_check_is_named(model: Any, folder: Path) -> None:
    (folder / "check.safetensors").unlink()
    with pytest.raises(FormatError, match=r"check\.safetensors is missing"):
        replay_check(model, folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c.update(format=2, neuralfx_version="9.0", news=1),
            "expected format 1, got 2.*written by neuralfx 9.0.*pip install .neuralfx>=9.0",
        ),
        (lambda c: c.update(format=0), "expected format 1"),
        (lambda c: c.update(format=True), "expected a whole number"),
        (lambda c: c.pop("format"), "expected format 1"),
        (lambda c: c.pop("licence"), "missing key 'licence'"),
        (lambda c: c.update(news=1), "unknown key 'news'"),
        (lambda c: c.update(architecture="os.system"), "expected an architecture among .*LSTMFiLMGLU"),
        (lambda c: c.update(architecture=["LSTMFiLMGLU"]), "architecture: expected text"),
        (lambda c: c["arguments"].update(hidden_size=10**9), "a whole number from 1 to 1024 as hidden_size"),
        (lambda c: c["arguments"].update(hidden_size=[[1]]), "a whole number from 1 to 1024"),
        (lambda c: c["arguments"].update(hidden_size="big"), "a whole number from 1 to 1024"),
        (lambda c: c["arguments"].update(hidden_size=-1), "a whole number from 1 to 1024"),
        (lambda c: c["arguments"].update(hidden_size=4), "expected tensor"),
        (lambda c: c["arguments"].update(lr=1.0), "no architecture has an argument 'lr'"),
        (lambda c: c["arguments"].update(kernel_size=3), "LSTMFiLMGLU has the arguments .*, got 'kernel_size'"),
        (lambda c: c["effect"].update(sample_rate=-1), "sample rate"),
        (lambda c: c["effect"]["knobs"].pop(), "expected tensor"),
        (lambda c: c["effect"]["knobs"][0].update(maximum=10**400), "numbers"),
        (lambda c: c["metrics"].update(esr="low"), "expected a number"),
        (lambda c: c["metrics"].update(takes=[1]), "expected a dictionary"),
        (lambda c: c.update(name="../../etc"), "expected a name"),
        (lambda c: c.update(licence="mit\x1b[31m"), "control characters"),
        (lambda c: c.update(parameters=7), "number of parameters"),
        (
            lambda c: c["weights"].update(file="../secret/model.safetensors"),
            "expected the weights in 'model.safetensors'",
        ),
        (lambda c: c["weights"].update(file="/etc/passwd"), "expected the weights in"),
        (lambda c: c["weights"].update(sha256="0" * 64), "SHA-256"),
        (lambda c: c["weights"].update(sha256=5), "SHA-256"),
    ],
)
def test_a_wrong_configuration_is_refused(folder: Path, change: Any, words: str) -> None:
    edit(folder, change)
    assert_refused(folder, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json", "expected JSON"),
        (b"", "expected JSON"),
        (b"[]", "expected a dictionary"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"format": NaN}', "expected numbers"),
        (b'{"format": 1e999}', "expected numbers"),
        (b'{"format": ' + b"9" * 5000 + b"}", "expected numbers"),
        (b"[" * 100_000, "nesting"),
        (b"[" * 50 + b"]" * 50, "nesting"),
        (b" " * 1_000_001, "at most 1000000 bytes"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_what_is_no_configuration_is_refused(folder: Path, content: bytes, words: str) -> None:
    (folder / "config.json").write_bytes(content)
    assert_refused(folder, words)


def test_damaged_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    assert_refused(folder, "SHA-256")
    for damaged in (data[:-1], data[:20], data[:4], b"", b"\xff" * 100, (2).to_bytes(8, "little") + b"[]"):
        put_weights(folder, damaged)
        assert_refused(folder, r"model\.safetensors")


def test_weights_of_another_shape_name_or_type_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    name = next(iter(tensors))
    for wrong in (
        {**tensors, name: torch.zeros(1)},
        {**tensors, name: tensors[name].double()},
        {**tensors, "extra": torch.zeros(1)},
        {key: value for key, value in tensors.items() if key != name},
    ):
        save_file(wrong, weights)
        put_weights(folder, weights.read_bytes())
        assert_refused(folder, "the file belongs to another model")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values())).view(-1)[0] = value
    save_file(tensors, weights)
    put_weights(folder, weights.read_bytes())
    assert_refused(folder, "NaN or infinity")


class Burglar:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def test_a_pickle_is_never_unpickled(folder: Path, tmp_path: Path) -> None:
    put_weights(folder, pickle.dumps(Burglar(tmp_path / "stolen")))
    assert_refused(folder, "expected a safetensors file")
    torch.save({"a": Burglar(tmp_path / "stolen")}, tmp_path / "x.pt")
    put_weights(folder, (tmp_path / "x.pt").read_bytes())
    assert_refused(folder, "expected a safetensors file")
    assert not (tmp_path / "stolen").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_link_out_of_the_folder_is_refused_unless_its_root_is_trusted(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert_refused(folder, "a link that leaves the folder")
    assert load_folder(folder, root=tmp_path).name == "my-amp"


def test_arguments_that_would_fill_the_memory_are_refused_before_anything_is_made(folder: Path) -> None:
    edit(folder, lambda config: config["arguments"].update(hidden_size=1024, features=256, window=4096))
    assert_refused(folder, "expected tensor")


def test_a_check_that_sounds_different_is_refused(model: Any, folder: Path) -> None:
    with torch.no_grad():
        model.network.output.bias += 1e-3
    with pytest.raises(FormatError, match=r"differs from the stored one by 0\.001"):
        replay_check(model, folder)


def test_a_check_of_hours_is_refused_before_it_is_replayed(model: Any, folder: Path) -> None:
    check = folder / "check.safetensors"
    long = {name: torch.zeros(1, 50_000) for name in ("dry", "wet")}
    save_file({**load_file(check), **long}, check, metadata={"knobs": "{}"})
    with pytest.raises(FormatError, match="at most 1 s of dry audio"):
        replay_check(model, folder)


@pytest.mark.parametrize("values", ['{"gain": 99}', '{"volume": 1}', "[1]", "", '{"gain": 1.0}'])
def test_a_check_with_wrong_knobs_is_refused(model: Any, folder: Path, values: str) -> None:
    check = folder / "check.safetensors"
    save_file(load_file(check), check, metadata={"knobs": values})
    with pytest.raises(ValueError, match=r"knob|JSON"):
        replay_check(model, folder)


@pytest.mark.parametrize("frozen", FROZEN, ids=lambda frozen: frozen.name)
def test_a_folder_of_an_earlier_version_loads_and_sounds_as_it_did(
    frozen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURALFX_ENGINE", "torch")
    model = load_folder(frozen)
    assert model.name == f"tiny-{frozen.name}"
    assert replay_check(model, frozen) < 1e-5


def replays() -> Iterator[Any]:
    """Every bundled model by compiled loops; by torch, which may be slow, by default only one of each architecture."""
    seen = set()
    for name in bundled():
        architecture = read_config(bundled_folder(name)).architecture
        yield pytest.param(name, "wait")
        yield pytest.param(name, "torch", marks=[pytest.mark.slow] if architecture in seen else [])
        seen.add(architecture)


@pytest.mark.parametrize(("name", "engine"), list(replays()))
def test_every_bundled_model_proves_itself_with_and_without_compiled_loops(
    name: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURALFX_ENGINE", engine)
    folder = bundled_folder(name)
    assert replay_check(load_folder(folder), folder) < 1e-5
