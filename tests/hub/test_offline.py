"""Without any network: what comes with neuralfx is found, loaded, listed and played, and nobody even tries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CUT_OFF = """
import socket, sys

def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.")):
        tries.append(event)
        raise OSError(f"the network is cut off: {event}")

class NoSocket(socket.socket):
    def __init__(self, *arguments, **options):
        if sys._getframe(1).f_code.co_name == "_has_ipv6":  # urllib3, when imported: binds a socket, connects nowhere
            raise OSError("the network is cut off")
        refuse("socket.socket", arguments)

tries = []
socket.socket = NoSocket
sys.addaudithook(refuse)
"""
USE = """
import numpy as np
import neuralfx
from neuralfx.cli import main

assert "la2a-s4d" in neuralfx.list_models()
assert main(["list"]) == 0 and main(["info", "la2a-s4d"]) == 0
model = neuralfx.load("la2a-s4d")
dry = 0.1 * np.sin(np.arange(4410, dtype=np.float32))
wet = model.process(dry, {"peak_reduction": 60, "mode": "limit"}, sample_rate=44_100)
assert wet.shape == dry.shape and np.isfinite(wet).all() and np.abs(wet).max() > 0.001
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of a user who was never here: an empty home, no cache, no token, no switch for offline work."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return {
        **kept,
        "HOME": str(tmp_path),
        "USERPROFILE": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def run(code: str, environment: dict[str, str], *before: str) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", code], env=environment, cwd=environment["HOME"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_are_listed_loaded_and_played_and_no_socket_is_opened(environment: dict[str, str]) -> None:
    output = run(f"{CUT_OFF}{USE}print('tries', tries)", environment)
    assert "od300-lstm" in output
    assert "Teletronix LA-2A" in output
    assert output.endswith("tries []\n")


def test_what_needs_the_network_says_so_at_once(environment: dict[str, str]) -> None:
    code = (
        f"{CUT_OFF}import time, neuralfx\nfrom neuralfx.errors import HubError\nstart = time.perf_counter()\n"
        "for ask in (lambda: neuralfx.load('me/amp'), lambda: neuralfx.list_models(hub=True)):\n"
        "    try:\n        ask()\n    except HubError as error:\n        print(error)\n"
        "assert tries and time.perf_counter() - start < 15"  # mostly imports
    )
    lines = run(code, environment).splitlines()
    assert len(lines) == 2 and all("did not answer" in line for line in lines)


def test_a_machine_without_network_loads_and_plays(environment: dict[str, str]) -> None:
    unshare = shutil.which("unshare")
    alone = [str(unshare), "--map-root-user", "--net"]
    if not unshare or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a network of their own")
    assert "od300-lstm" in run(USE, environment, *alone)
