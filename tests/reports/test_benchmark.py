"""The report of a benchmark: its ratios, tables and files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from neuralfx.reports import benchmark
from neuralfx.reports.benchmark import QUICK, bounds, cost_rows, measure, render_markdown, speed_rows, write


def spread(value: float) -> dict[str, float]:
    return {"median": value, "lowest": 0.9 * value, "highest": 1.1 * value, "repetitions": 3}


BLOCKS = {
    "median_us": spread(20.0), "p99_us": 30.0, "worst_us": 50.0, "worst_to_median": 2.5, "speed": spread(66.0),
}  # fmt: skip
PAIR: dict[str, Any] = {
    "parameters": 100, "multiply_adds": 90, "flops": 200, "weight_bytes": 400, "state_bytes": 50,
    "batch": 8, "segment": 2400, "training": spread(20.0), "file_still": spread(80.0), "file_moving": spread(40.0),
    "block_still": BLOCKS, "block_moving": BLOCKS, "naive": spread(0.1),
    "file_memory_bytes": 2_000_000, "training_memory_bytes": None,
}  # fmt: skip
MACHINE = {"flops_per_s": 96e9, "copy_bytes_per_s": 24e9}
GROWTH: dict[str, Any] = {
    "length": {"seconds": [1.0, 2.0], "time_s": [0.1, 0.2]},
    "knobs": {"count": [0, 1], "still": [80.0, 80.0], "moving": [80.0, 60.0]},
    "hidden_size": {"size": [8, 16], "still": [90.0, 50.0], "training": [20.0, 10.0]},
}


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Pretends to measure; returns the tasks that were asked for."""
    tasks = []

    def run_apart(task: dict[str, Any], _: object) -> dict[str, Any]:
        tasks.append(task)
        if task["name"] == "S6FiLMGLU":
            raise subprocess.CalledProcessError(1, "python", stderr="Traceback\nMemoryError: too large\n")
        return {"pairs": {**PAIR, "machine": MACHINE}, "growth": GROWTH}[task["what"]]

    monkeypatch.setattr(benchmark, "_run_apart", run_apart)
    return tasks


@pytest.fixture
def report(no_processes: list[dict[str, Any]]) -> dict[str, Any]:
    *_, last = measure(["S4DFiLMGLU", "GRUFiLM"], QUICK, peers=False)
    return last


def test_bounds_by_hand() -> None:
    compared = bounds(PAIR, MACHINE, 64)
    assert compared["arithmetic_bound"] == pytest.approx(96e9 / (200 * 48_000))
    assert compared["copy_bound"] == pytest.approx(24e9 / 500 * 64 / 48_000)
    assert compared["file_to_naive"] == pytest.approx(800)
    assert compared["file_to_arithmetic_bound"] == pytest.approx(80 / 10_000)
    assert compared["block_to_copy_bound"] == pytest.approx(66 / 64_000)


def test_what_nobody_counted_has_no_bound() -> None:
    compared = bounds({**PAIR, "flops": None}, MACHINE, 64)
    assert compared["arithmetic_bound"] is compared["file_to_arithmetic_bound"] is None


def test_the_machine_s_best_moment_counts_for_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([2e9, 8e9, 4e9])

    def run_apart(*_: object) -> dict[str, Any]:
        return {**PAIR, "machine": {**MACHINE, "flops_per_s": next(rates)}}

    monkeypatch.setattr(benchmark, "_run_apart", run_apart)
    *_, last = measure(["S6FiLMGLU", "GRUFiLM", "GCNFiLM"], QUICK, growth=False, peers=False)
    assert last["machine"] == {**MACHINE, "flops_per_s": 8e9}
    assert {pair["arithmetic_bound"] for pair in last["pairs"].values()} == {8e9 / (200 * 48_000)}


def test_the_tables_list_what_was_measured(report: dict[str, Any]) -> None:
    assert report["complete"]
    for rows in (speed_rows(report), cost_rows(report)):
        assert [row[0] for row in rows] == ["pair", "S4DFiLMGLU", "GRUFiLM"]
        assert {len(row) for row in rows} == {len(rows[0])}
    assert "80 ±10%" in speed_rows(report)[1]
    assert cost_rows(report)[1][-2:] == ("2.0 MB", "-")


def test_peers_stand_below_the_pairs_with_what_they_have(report: dict[str, Any]) -> None:
    report["peers"]["NAM LSTM"] = {"parameters": 7111, "file_still": spread(6.0), "block_still": BLOCKS}
    assert speed_rows(report)[-1][:5] == ("NAM LSTM", "-", "6 ±10%", "-", "66 ±10%")
    assert benchmark.plot_speeds(report).axes


def test_growth_is_measured_for_one_pair_of_a_kind(no_processes: list[dict[str, Any]]) -> None:
    *_, last = measure(["S4DFiLMGLU", "GRUConcat", "TCNConcat"], QUICK, peers=False)
    assert list(last["growth"]) == ["S4DFiLMGLU", "GRUConcat"]
    sizes = {task["name"]: bool(task["sizes"]) for task in no_processes if task["what"] == "growth"}
    assert sizes == {"S4DFiLMGLU": False, "GRUConcat": True}


def test_a_pair_that_fails_does_not_stop_the_others(no_processes: list[dict[str, Any]]) -> None:
    *_, last = measure(["S6FiLMGLU", "GRUFiLM"], QUICK, growth=False, peers=False)
    assert last["failed"] == {"pairs S6FiLMGLU": "MemoryError: too large"}
    assert list(last["pairs"]) == ["GRUFiLM"]
    assert "pairs S6FiLMGLU failed: MemoryError: too large" in render_markdown(last)


def test_an_absent_peer_is_told_in_a_line(
    no_processes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with caplog.at_level("INFO"):
        *_, last = measure(["GRUFiLM"], QUICK, growth=False)
    assert last["peers"] == {}
    assert "NAM is not installed" in caplog.messages[0]


def test_the_markdown_states_the_conditions(report: dict[str, Any]) -> None:
    text = render_markdown(report)
    state = report["conditions"]
    for expected in (state["cpu"], state["date"], state["versions"]["torch"], "1 thread(s)", "blocks of 64 samples"):
        assert expected in text
    assert "| S4DFiLMGLU | 20 ±10% |" in text


def test_what_is_finished_can_be_written_at_any_time(no_processes: list[dict[str, Any]], tmp_path: Path) -> None:
    for number, so_far in enumerate(measure(["GRUFiLM"], QUICK, peers=False)):
        files = [path.name for path in write(so_far, tmp_path / str(number))]
        assert json.loads((tmp_path / str(number) / "benchmark.json").read_text())["complete"] == (number == 1)
        assert files == ["benchmark.json", "benchmark.md", "speed.png", "growth.png"][: number + 3]
        assert ("Interrupted" in (tmp_path / str(number) / "benchmark.md").read_text()) == (number < 1)
