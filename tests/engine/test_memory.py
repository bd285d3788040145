"""Memory that a process keeps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Pages that the system has to clear while memory is taken and given back, after a first time.
_COUNT = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from neuralfx.engine.memory import keep_freed_memory
    print(keep_freed_memory())
else:
    print(True)
def take():
    return [torch.ones(50_000 * (1 + number % 7)) for number in range(300)]
take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what glibc does")
def test_memory_that_is_given_back_is_not_paged_in_anew() -> None:
    def count(mode: str) -> int:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
        done = subprocess.run([sys.executable, "-c", _COUNT, mode], capture_output=True, text=True, check=True, env=own)
        understood, pages = done.stdout.split()
        if understood != "True":
            pytest.skip("another C library")
        return int(pages)

    assert count("keep") < 0.1 * count("as it comes")
