"""What config.json may say: every argument in its range, and which neuralfx to install for what came later."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import neuralfx
from neuralfx.errors import FormatError
from neuralfx.hub import config
from neuralfx.hub.config import ARGUMENTS, ModelConfig
from neuralfx.hub.folder import MAX_BYTES
from neuralfx.hub.weights import ITEM_BYTES
from neuralfx.models import architecture
from neuralfx.models.catalogue import ARCHITECTURES

CONFIG: dict[str, Any] = {
    "format": 1,
    "name": "my-amp",
    "architecture": "LSTMFiLMGLU",
    "arguments": {"hidden_size": 3},
    "effect": {"slug": "amp", "sample_rate": 48_000},
    "metrics": {},
    "training": {},
    "licence": "mit",
    "neuralfx_version": "0.1.0",
    "parameters": 10,
    "weights": {"file": "model.safetensors", "sha256": "0" * 64},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_argument_of_a_pair_has_a_type_and_a_range_that_takes_its_default(name: str) -> None:
    for argument, parameter in inspect.signature(architecture(name)).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            assert ARGUMENTS[argument].kind.__name__ == parameter.annotation, argument
            assert ARGUMENTS[argument].takes(parameter.default), argument


def test_every_known_argument_is_one_of_a_pair() -> None:
    assert set(ARGUMENTS) <= {
        name for pair in ARCHITECTURES for name in inspect.signature(architecture(pair)).parameters
    }


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("hidden_size", 0), ("hidden_size", 1025), ("hidden_size", 2.0), ("hidden_size", True), ("hidden_size", None),
        ("hidden_size", [2]), ("hidden_size", "2"), ("shortest_ms", 0), ("shortest_ms", "1"), ("shortest_ms", False),
        ("mixing", 1), ("mixing", "yes"), ("poles", 1), ("poles", "x" * 65), ("poles", ["legs"]),
    ],
)  # fmt: skip
def test_arguments_out_of_range_or_of_another_type_are_refused(argument: str, value: Any) -> None:
    with pytest.raises(FormatError, match=f"expected .* as {argument}, got"):
        ModelConfig.from_dict({**CONFIG, "arguments": {argument: value}})


@pytest.mark.parametrize(
    "news",
    [
        {"format": 2},
        {"format": 2, "loudness": -18.0},
        {"loudness": -18.0},
        {"architecture": "XLSTMFiLMGLU"},
        {"arguments": {"hidden_size": 3, "heads": 2}},
        {"arguments": {"hidden_size": 4096}},
        {"effect": {"slug": "amp", "sample_rate": 48_000, "maker": "x"}},
        {"weights": {"file": "model.safetensors", "sha256": "0" * 64, "kind": "F16"}},
    ],
    ids=str,
)
def test_what_a_later_version_added_says_which_neuralfx_to_install(news: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=r'written by neuralfx 7\.3, and this is .*: pip install "neuralfx>=7\.3"\.$'):
        ModelConfig.from_dict({**CONFIG, **news, "neuralfx_version": "7.3rc1"})


def test_a_later_version_that_added_nothing_is_read() -> None:
    assert ModelConfig.from_dict({**CONFIG, "neuralfx_version": "99.0.0"}).name == "my-amp"


@pytest.mark.parametrize("version", ["0.0.1", "0.1", neuralfx.__version__, "0.1.0.dev3"])
def test_this_and_earlier_versions_are_not_told_to_install_another(version: str) -> None:
    with pytest.raises(FormatError) as caught:
        ModelConfig.from_dict({**CONFIG, "loudness": -18.0, "neuralfx_version": version})
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("version", ["", "new", "1.0; reboot", '1.0"', "1." + "9" * 90, "\u0661.\u0660"])
def test_a_version_is_a_version(version: str) -> None:
    with pytest.raises(FormatError, match="expected a neuralfx_version such as"):
        ModelConfig.from_dict({**CONFIG, "neuralfx_version": version})


def test_the_page_about_the_format_names_every_file_size_and_key() -> None:
    page = Path(config.__file__).with_name("FORMAT.md").read_text(encoding="utf-8")
    for name, size in MAX_BYTES.items():
        assert re.search(rf"^\| `{re.escape(name)}` \|.*\| {size // 1_000_000} MB \|", page, re.MULTILINE), name
    for key in ModelConfig.from_dict(CONFIG).to_dict():
        assert f"| `{key}` |" in page, key
    for kind in ITEM_BYTES:
        assert kind in page, kind
