from __future__ import annotations

import pytest

from neuralfx.metrics import METRICS
from neuralfx.models.catalogue import ARCHITECTURES
from neuralfx.study.published import PAPERS, explain_published, find_published, published_devices, read_published


def value(device: str, pair: str, metric: str) -> float:
    found = find_published(device, pair, metric)
    assert found is not None
    return found.value


@pytest.mark.parametrize(
    ("device", "pair", "metric", "expected"),
    [
        ("od300", "LSTMFiLMGLU", "esr", 0.106),
        ("od300", "LRUFiLMGLU", "mfcc_published", 1.05),
        ("la2a", "S6FiLMGLU", "mse", 8.25e-5),
        ("pultec", "S4DFiLMGLU", "mfcc_published", 9.44e-2),
        ("neutron-filter", "LRUFiLMGLU", "esr_published", 0.658),
        ("boss-od3", "GRUDynamicHyper", "transient", 11.308),
        ("la2a", "GRUDynamicHyper", "lufs", 0.377),
        ("la2a", "TCNFiLM", "rms_published", 0.585),
    ],
)
def test_values_are_those_of_the_papers(device: str, pair: str, metric: str, expected: float) -> None:
    assert value(device, pair, metric) == expected


def test_every_value_names_its_place() -> None:
    values = read_published()
    assert len(values) == 35 * 2 + 35 * 5 + 2 * 12 * 7 + 6
    assert {(found.paper.name, found.table) for found in values} == {
        ("simionato", 3), ("simionato", 4), ("yeh", 1), ("yeh", 2), ("yeh", 3),
    }  # fmt: skip
    assert len({found.pair for found in values}) == 17
    assert {found.pair for found in values} <= set(ARCHITECTURES)
    assert all(found.row and found.value > 0 for found in values)
    assert len({(found.paper.name, found.table, found.row, found.heading) for found in values}) == len(values)


def test_values_stand_beside_metrics_that_there_are() -> None:
    for paper in PAPERS:
        headings = {found.heading for found in read_published() if found.paper is paper}
        assert set(paper.measures) <= headings
        assert {name for names in paper.measures.values() for name in names} <= set(METRICS)


def test_the_errors_of_both_tables_of_a_device_are_in_a_fixed_ratio() -> None:
    """What the powers of ten that are not legible were inferred from; the LRU's rows are an exception."""
    for device in set(published_devices()) - {"boss-od3"}:
        pairs = [f"{name}FiLMGLU" for name in ("LSTM", "ED", "S4D", "S6")]
        ratios = [value(device, pair, "mse") / value(device, pair, "esr") for pair in pairs]
        assert max(ratios) < 1.02 * min(ratios)


def test_what_differs_is_said_of_the_papers_that_are_shown() -> None:
    certain, inferred = find_published("od300", "S6FiLMGLU", "esr"), find_published("od300", "LSTMFiLMGLU", "mse")
    assert certain is not None and inferred is not None
    (sentence,) = explain_published([certain])
    assert "arXiv:2405.04124, table 4; other recordings" in sentence and "no real recurrence" in sentence
    both = explain_published([certain, inferred])
    assert "tables 3 and 4" in both[0] and both[1].startswith("?: ")
    assert explain_published([]) == []


def test_nothing_is_found_where_papers_have_nothing() -> None:
    assert find_published("od300", "GRUFiLM", "esr") is None
    assert find_published("od300", "LSTMFiLMGLU", "spectral_flux_published") is None
    assert find_published("fuzz", "LSTMFiLMGLU", "esr") is None
