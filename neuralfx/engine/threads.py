"""Rows of a batch in threads; compiled loops, like torch's operations, leave the interpreter's lock to others."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_WORTH_A_THREAD = 4096  # samples; to wake one takes about as long as playing a few hundred
_NAME = "neuralfx"
_creating = threading.Lock()


def over_rows(function: Callable[[int], None], rows: int, time: int) -> None:
    """Call a function for every row, in threads where blocks are long enough to be worth it.

    Args:
        function: Plays the row with this number; leaves the interpreter's lock to others meanwhile.
        rows: Number of rows.
        time: Samples in each.
    """

    def play(left: Iterator[int]) -> None:
        for row in left:
            function(row)

    in_threads(play, shares_of(rows, time))


def shares_of(rows: int, time: int) -> list[Iterator[int]]:
    """For as many threads as :func:`parts_of` has parts, the same iterator: whoever is done takes the next row.

    The cores of a machine are rarely as fast as each other.

    Args:
        rows: Number of rows, at least 1.
        time: Samples in each.
    """
    return [iter(range(rows))] * len(parts_of(rows, time))


def parts_of(rows: int, time: int) -> list[slice]:
    """The rows of a batch in as many parts as torch has threads, if that is worth it, else in one.

    Args:
        rows: Number of rows, at least 1.
        time: Samples in each.
    """
    threads = min(rows, torch.get_num_threads()) if time * rows >= 2 * _WORTH_A_THREAD else 1
    cuts = [rows * part // threads for part in range(threads + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(cuts)]


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What a function returns for every item, each called in a thread of its own; an error in one of them is raised.

    In these threads torch has no further ones; called in one of them, this function goes through the items by itself.
    """
    if len(items) == 1 or threading.current_thread().name.startswith(_NAME):
        return [function(item) for item in items]
    with _creating:
        pool = _pool(max(len(items), torch.get_num_threads()))
    calls = [pool.submit(function, item) for item in items]
    try:
        wait(calls)
    except BaseException:  # an interrupt must not leave them at work on what the caller takes back
        wait([call for call in calls if not call.cancel()])
        raise
    return [call.result() for call in calls]


@functools.cache
def _pool(size: int) -> ThreadPoolExecutor:
    """So many threads, which stay: to start them anew takes as long as a few thousand samples."""
    started = threading.Barrier(size + 1)

    def begin() -> None:
        torch.get_num_threads()  # sets what is not set yet, which else happens later
        torch.set_num_threads(1)
        with contextlib.suppress(threading.BrokenBarrierError):
            started.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(size, _NAME, begin)
    try:
        for _ in range(size):
            pool.submit(int)
        started.wait()
    except BaseException:  # no more threads to be had, or an interrupt
        started.abort()
        pool.shutdown()
        raise
    finally:
        torch.set_num_threads(before)  # also what threads of others begin with
    return pool


def _begin_child() -> None:
    """Threads do not come along when a process forks."""
    _pool.cache_clear()
    _creating.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_creating.acquire, after_in_parent=_creating.release, after_in_child=_begin_child)
