"""``neuralfx benchmark`` runs, prints what it measured and writes it down. No test looks at a time."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuralfx.commands.benchmark import find_pairs, main
from neuralfx.errors import ConfigError
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.reports import benchmark

TINY = "--quick --batch 2 --segment 32 --block 16 --seconds 0.01 --repetitions 2 --no-peers".split()


def test_a_pair_is_measured_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURALFX_ENGINE", "torch")  # a compiler would take longer than all the rest
    assert main(["lstm-concat", *TINY, "-o", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    written = {path.name: path for path in (tmp_path / "report").iterdir()}
    assert set(written) == {"benchmark.json", "benchmark.md", "speed.png", "growth.png"}
    assert all(path.stat().st_size > 0 for path in written.values())
    report = json.loads(written["benchmark.json"].read_text(encoding="utf-8"))
    assert report["complete"] and not report["failed"]
    assert list(report["pairs"]) == ["LSTMConcat"]
    assert list(report["growth"]) == ["LSTMConcat"]
    for name, pair in report["pairs"].items():
        assert sum(line.startswith(f"{name} ") for line in printed.splitlines()) == 2  # a line in each table
        for speed in (pair["training"], pair["file_still"], pair["block_still"]["speed"], pair["naive"]):
            assert math.isfinite(speed["median"]) and speed["median"] > 0
    assert report["conditions"]["engine"] == "torch"
    assert report["conditions"]["threads"] == 1


def test_what_is_finished_survives_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(names: Any, settings: benchmark.Settings, *_: Any) -> Iterator[dict[str, Any]]:
        parts: dict[str, Any] = {key: {} for key in ("machine", "pairs", "peers", "growth", "failed")}
        yield {"complete": False, "conditions": benchmark.conditions(settings), **parts}
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        main(["-o", str(tmp_path)])
    assert (tmp_path / "benchmark.json").is_file()
    assert str(tmp_path / "benchmark.md") in capsys.readouterr().out


def test_patterns_are_class_names_or_tails() -> None:
    assert find_pairs([]) == list(ARCHITECTURES)
    assert find_pairs(["lstm"]) == ["LSTMFiLMGLU"]
    assert find_pairs(["GCN*", "LRUFiLMGLU"]) == ["LRUFiLMGLU", "GCNConcat", "GCNFiLM"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["wavenet"], "no pair is named like 'wavenet'"),
        (["--threads", "0"], "at least 1, got '0'"),
        (["--seconds", "nan"], "expected seconds above 0"),
    ],
    ids=str,
)
def test_bad_use_is_told(arguments: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        main(arguments)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom neuralfx.commands.benchmark import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n"
        "    print({'torch', 'matplotlib', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
