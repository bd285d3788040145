"""Load model folders one after another under watch: ``python -m tests.hub.watch GOOD FOLDER...``.

``GOOD`` is loaded first, so that everything is imported. Then there are 64 MB of address space left, where the system
can limit it, and each try is reported as a line of JSON: what was raised, the seconds, the bytes by which the peak of
memory grew, and what Python's audit hooks saw that loading a model has no need of.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOM_BYTES = 64_000_000
SUSPICIOUS = (
    "compile", "ctypes.", "exec", "import", "marshal.", "os.chmod", "os.exec", "os.fork", "os.kill", "os.link",
    "os.mkdir", "os.posix_spawn", "os.remove", "os.rename", "os.rmdir", "os.startfile", "os.symlink", "os.system",
    "os.truncate", "pickle.", "shutil.", "socket.", "subprocess.", "tempfile.", "urllib.", "webbrowser.",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

seen: list[str] = []


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: remember what is suspicious."""
    if event.startswith(SUSPICIOUS) or (event == "open" and int(arguments[2] or 0) & WRITING):
        seen.append(f"{event} {str(arguments[0])[:80] if arguments else ''}")


def limit_memory() -> None:
    """Leave little room for more memory than there is now."""
    if sys.platform != "linux":
        return
    import resource

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM_BYTES, resource.RLIM_INFINITY))


def peak_bytes(start: bool = False) -> int:
    """Largest memory in use since the last call with ``start``; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    if start:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def watch(folder: str) -> dict[str, Any]:
    """Load a folder and replay its check."""
    from neuralfx.hub.package import load_folder, replay_check

    before = peak_bytes(start=True)
    seen.clear()
    start, error = time.process_time(), None
    try:
        replay_check(load_folder(folder), folder)
    except BaseException as caught:
        error = caught
    seconds, events = time.process_time() - start, list(seen)
    return {
        "raised": type(error).__name__,
        "message": str(error),
        "seconds": seconds,
        "grown_bytes": peak_bytes() - before,
        "events": events,
    }


if __name__ == "__main__":
    from neuralfx.models import ARCHITECTURES, architecture

    for name in ARCHITECTURES:
        architecture(name)
    watch(sys.argv[1])
    sys.addaudithook(note)
    limit_memory()
    for folder in sys.argv[1:]:
        print(json.dumps(watch(folder)))
