"""Training in several threads: the same results as in one."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from neuralfx.engine.threads import in_threads, over_rows, parts_of, shares_of
from tests.checks import noise, tiny_model

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "name", ["LSTMFiLMGLU", "EDFiLMGLU", "S6FiLMGLU", "GRUConcat", "LSTMFiLM", "GRUDynamicHyper", "LSTMDynamicHyper"]
)
def test_the_number_of_threads_changes_nothing(name: str) -> None:
    model, samples, rows = tiny_model(name), 1024, 37

    def train(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        model.zero_grad()
        state = model.network.initial_state(rows)
        dry, knobs = noise(rows, 1, samples), torch.linspace(0, 1, 2 * rows).reshape(rows, 2)
        estimate, _ = model.network(dry, knobs, state)
        estimate.square().mean().backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        return [estimate.detach(), *gradients]

    for one, several in zip(train(1), train(3)):
        torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-7)


def test_rows_are_shared_out_where_it_is_worth_it() -> None:
    torch.set_num_threads(3)
    assert parts_of(8, 100_000) == [slice(0, 2), slice(2, 5), slice(5, 8)]
    assert parts_of(2, 100_000) == [slice(0, 1), slice(1, 2)]
    assert parts_of(8, 64) == [slice(0, 8)]


def test_a_thread_that_is_done_takes_the_next_row(two_threads: None) -> None:
    assert len(shares_of(8, 64)) == 1
    rows: dict[int, list[int]] = {}
    first, others_done = threading.Lock(), threading.Event()

    def play(row: int) -> None:
        rows.setdefault(threading.get_ident(), []).append(row)
        if first.acquire(blocking=False):  # who comes first stays with its row until all others are done
            assert others_done.wait(60)
        elif sum(map(len, rows.values())) == 8:
            others_done.set()

    over_rows(play, 8, 100_000)
    assert sorted(map(len, rows.values())) == [1, 7]
    assert sorted(itertools.chain(*rows.values())) == list(range(8))


def test_threads_stay_have_no_further_ones_and_change_nothing_outside() -> None:
    torch.set_num_threads(3)

    def look(number: int) -> tuple[threading.Thread, int, set[threading.Thread]]:
        inner = in_threads(lambda _: threading.current_thread(), [0, 1])
        return threading.current_thread(), torch.get_num_threads(), set(inner)

    seen = [found for _ in range(20) for found in in_threads(look, [0, 1])]
    assert all((threads, inner) == (1, {own}) for own, threads, inner in seen)
    assert len({own for own, _, _ in seen}) <= 3
    assert torch.get_num_threads() == 3
    assert in_threads(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]


def test_nothing_waits_for_threads_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(7)
    start, begun = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            in_threads(abs, [1, 2])
    assert torch.get_num_threads() == 7
    for thread in begun:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert in_threads(abs, [-1, -2]) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system whose processes fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_forks_has_threads_of_its_own() -> None:
    in_threads(abs, [1, 2])
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = sum(in_threads(abs, [-1, -2]))
        finally:
            os._exit(code)
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child waits for threads that it does not have")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(ended[1]) == 3


def test_errors_of_threads_are_raised() -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        in_threads(fail, [0, 1, 2])
