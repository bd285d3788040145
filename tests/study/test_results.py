from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuralfx.errors import ConfigError
from neuralfx.reports.tables import render_markdown
from neuralfx.study import tables
from neuralfx.study.plan import Cell, Study
from neuralfx.study.results import Results, read_results, read_speeds
from neuralfx.study.runner import run

Make = Callable[..., Study]
OUT = Path("out")


def write_measures(cell: Cell, values: list[float], metric: str = "esr", **fields: Any) -> None:
    """Results of a cell with one value per take."""
    cell.folder.mkdir(parents=True)
    (cell.folder / "cell.yaml").write_text(cell.dump(), encoding="utf-8")
    rows = [
        {"candidate": name, "take": f"take{take}", "knobs": {"gain": take, "mode": "b"}, "values": {metric: value}}
        for take, value in enumerate(values)
        for name in ("model", *cell.baselines)
    ]
    content = {
        "candidates": ["model", *cell.baselines],
        "metrics": {metric: {"higher_is_better": False}},
        "parameters": {"model": 100},
        "multiply_adds": 90,
        "rows": rows,
        **fields,
    }
    (cell.folder / "measures.json").write_text(json.dumps(content), encoding="utf-8")


def results_of(study: Study, values: dict[str, list[float]], **fields: Any) -> Results:
    cells = study.cells(OUT)
    for cell in cells:
        if cell.name in values:
            write_measures(cell, values[cell.name], **fields)
    return read_results(study, cells)


def test_a_score_is_the_mean_over_takes_and_its_deviation_over_seeds(study: Make) -> None:
    found = results_of(study(), {"good-amp-seed0": [1.0, 3.0], "good-amp-seed1": [4.0, 4.0]}).compare("esr")
    score = found.scores["good", "amp"]
    assert score.runs == {0: 2.0, 1: 4.0}
    assert (score.mean, score.deviation) == (3.0, pytest.approx(math.sqrt(2)))
    assert found.scores["identity", "amp"].mean == 2.0
    assert math.isnan(found.scores["identity", "amp"].deviation)


def test_a_take_on_which_nobody_has_a_value_is_left_out(study: Make) -> None:
    nan = math.nan
    values = {"good-amp-seed0": [1.0, nan, 2.0], "bad-amp-seed0": [nan, nan, 2.0]}
    found = results_of(study(seeds=[0], evaluate={"baselines": []}), values).compare("esr")
    assert found.scores["good", "amp"].mean == 1.5
    assert math.isnan(found.scores["bad", "amp"].mean)
    assert found.ranks == {"good": 1.0, "bad": 2.0}


def test_models_are_ranked_and_compared_with_the_best(study: Make) -> None:
    seeds = list(range(6))
    errors = {"good": 1.0, "bad": 2.0}
    values = {f"{model}-amp-seed{seed}": [errors[model] + 0.01 * seed] for seed in seeds for model in errors}
    found = results_of(study(seeds=seeds), values).compare("esr")
    assert (found.best, found.ranks) == ("good", {"good": 1.0, "bad": 2.0})
    assert (found.p_values, found.pairs) == ({"bad": pytest.approx(2**-5)}, {"bad": 6})


def test_large_values_may_be_good(study: Make) -> None:
    values = {"good-amp-seed0": [1.0], "bad-amp-seed0": [2.0]}
    found = results_of(study(seeds=[0]), values, metrics={"esr": {"higher_is_better": True}}).compare("esr")
    assert found.ranks == {"good": 2.0, "bad": 1.0}


def test_what_is_missing_is_said_and_the_rest_is_shown(study: Make) -> None:
    results = results_of(study(), {"good-amp-seed0": [1.0]})
    assert results.missing == ("bad-amp-seed0", "good-amp-seed1", "bad-amp-seed1")
    assert "there is nothing yet of bad-amp-seed0" in " ".join(tables.explain(results))
    assert [line.labels for line in tables.tabulate(results)[0].lines] == [("good",), ("identity",), ("linear",)]


def test_the_table_marks_best_and_second_best(study: Make) -> None:
    mine = study()
    run(mine, mine.cells(OUT), OUT)
    (table,) = tables.tabulate(read_results(mine, mine.cells(OUT)))
    lines = render_markdown(table).splitlines()
    assert lines[0] == "| model | amp | rank | p against good | parameters | multiply-adds |"
    assert lines[2].startswith("| good | **0.158** ± 0.0106 | **1")
    assert lines[3].startswith("| bad | <ins>0.63")
    assert lines[4] == "| identity | 13.5 | - | - | - | - |"
    assert [cell.value for cell in table.lines[1].cells] == [pytest.approx(0.63), 2.0, 0.5, 100, 90]


def test_several_metrics_give_a_table_per_metric_and_one_per_effect(study: Make) -> None:
    mine = study(evaluate={"metrics": ["esr", "mae"]})
    run(mine, mine.cells(OUT), OUT)
    found = tables.tabulate(read_results(mine, mine.cells(OUT)))
    assert [table.title.split()[0] for table in found] == ["esr", "mae", "amp:"]
    assert [column.title for column in found[2].columns] == ["esr", "mae", "parameters", "multiply-adds"]


def test_published_values_stand_beside_ours_where_pair_device_and_metric_are_the_same(study: Make) -> None:
    pairs = {
        "mine": {"class_path": "neuralfx.models.EDFiLMGLU", "error": 0.1},
        "other": {"class_path": "x", "error": 1},
    }
    mine = study(models=pairs, published={"amp": "od300"}, evaluate={"metrics": ["esr", "mse", "mae"]})
    run(mine, mine.cells(OUT), OUT)
    results = read_results(mine, mine.cells(OUT))
    esr, mse, mae, by_metric = tables.tabulate(results)
    assert [column.title for column in esr.columns[:3]] == ["amp", "amp in paper", "rank"]
    assert [line.cells[1].value for line in esr.lines] == [0.154, None, None, None]
    assert all(ranks[1] is None for ranks in esr.ranks())
    assert mse.lines[0].cells[1] == (3.57e-4, "?")
    assert [column.title for column in mae.columns[:2]] == ["amp", "rank"]
    titles = ["esr", "esr in paper", "mse", "mse in paper", "mae", "parameters", "multiply-adds"]
    assert [column.title for column in by_metric.columns] == titles
    tables.write(results, OUT)
    texts = {name: (OUT / name).read_text(encoding="utf-8") for name in ("results.csv", "table.md", "table.tex")}
    assert texts["results.csv"].splitlines()[0].endswith(",esr_in_paper,esr_source,mse_in_paper,mse_source")
    told = '0.154,"simionato, table 4, OD300 Overdrive: ED",0.000357,"simionato, table 3, OD300 Overdrive: ED (power of'
    assert told in texts["results.csv"].splitlines()[1]
    assert texts["results.csv"].splitlines()[-1].endswith(",,,,")
    assert "| 0.154 |" in texts["table.md"] and "3.57e-04 ?" in texts["table.md"]
    assert r"$3.57\cdot10^{-4}$ ?" in texts["table.tex"] and "& 0.154 &" in texts["table.tex"]
    assert all("no real recurrence" in texts[name] for name in ("table.md", "table.tex"))


def test_a_model_of_nam_is_compared_at_its_setting_only(study: Make) -> None:
    capture = {"file": "nam/amp.nam", "knobs": {"gain": 1}}
    mine = study(seeds=[0], evaluate={"nam": {"amp": capture}})
    first, second = mine.cells(OUT)
    assert first.capture == (Path("nam/amp.nam"), {"gain": 1}) and second.capture is None
    write_measures(first, [1.0, 2.0], parameters={"model": 100, "nam": 3000})
    write_measures(second, [3.0, 5.0])
    assert read_results(mine, mine.cells(OUT)).missing == (first.name,)  # measured without it
    measures = json.loads((first.folder / "measures.json").read_text(encoding="utf-8"))
    heard = {"candidate": "nam", "take": "take1", "knobs": {"gain": 1, "mode": "b"}, "values": {"esr": 0.5}}
    measures["rows"].append(heard)
    measures["candidates"].append("nam")
    (first.folder / "measures.json").write_text(json.dumps(measures), encoding="utf-8")
    results = read_results(mine, mine.cells(OUT))
    every, there = tables.tabulate(results)
    assert [line.labels[0] for line in every.lines] == ["good", "bad", "identity", "linear"]
    assert [column.title for column in there.columns] == ["amp at gain 1", "parameters", "multiply-adds"]
    values = {line.labels[0]: line.cells[0].value for line in there.lines}
    assert values == {"good": 2.0, "bad": 5.0, "identity": 2.0, "linear": 2.0, "nam": 0.5}
    assert there.lines[-1].cells[1].value == 3000
    tables.write(results, OUT)
    assert (OUT / "results.csv").read_text(encoding="utf-8").splitlines()[-1] == "nam,amp,,take1,3000,1,b,0.5"


def test_speeds_come_from_a_benchmark_of_the_same_pair_and_size(study: Make, tmp_path: Path) -> None:
    mine = study(seeds=[0])
    for cell, count in zip(mine.cells(OUT), (100, 200)):
        write_measures(cell, [1.0], parameters={"model": count})
    measured = {name: {"parameters": 100, "file_still": {"median": 30.5}} for name in ("good", "bad", "other")}
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps({"pairs": measured}), encoding="utf-8")
    results = read_results(mine, mine.cells(OUT), read_speeds(path))
    (table,) = tables.tabulate(results)
    assert table.columns[-1].title == "speed"
    speeds = {line.labels[0]: line.cells[-1].value for line in table.lines}
    assert speeds == {"good": 30.5, "bad": None, "identity": None, "linear": None}
    assert "seconds of audio per second" in " ".join(tables.explain(results))
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"benchmark.json: not a benchmark.json"):
        read_speeds(path)


def test_the_files_hold_every_take_and_the_tables(study: Make) -> None:
    mine = study()
    run(mine, mine.cells(OUT), OUT)
    results = read_results(mine, mine.cells(OUT))
    files = tables.write(results, OUT)
    assert [path.name for path in files] == ["results.csv", "table.md", "table.tex", "figure.png"]
    rows = (OUT / "results.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "model,effect,seed,take,parameters,knob_gain,esr"
    assert rows[1] == "good,amp,0,take0,100,0,0.1"
    assert len(rows) == 1 + 2 * 2 * 2 + 2 * 2
    assert r"\textbf{0.158} $\pm$ 0.0106" in (OUT / "table.tex").read_text(encoding="utf-8")
    assert "2 run(s) with the same effect and seed" in (OUT / "table.md").read_text(encoding="utf-8")
    assert (OUT / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert not list(OUT.glob("*.part"))
