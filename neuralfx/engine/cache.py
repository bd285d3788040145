"""Where compiled loops are kept: a folder per installation, state of the sources, of numba and of the machine."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from importlib import metadata
from pathlib import Path


@functools.cache
def folder() -> Path | None:
    """The folder of everything that these sources compile to here; None where there is no place to write.

    numba looks at the file of a function alone when it decides whether a cached one is still good; its callees may be
    in others. So a folder belongs to all sources together. It finds nothing that it compiled from another place.
    """
    from llvmlite import binding

    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    versions = (
        str(here),
        sys.version,
        metadata.version("numba"),
        metadata.version("llvmlite"),
        binding.get_host_cpu_name(),
    )
    key = hashlib.sha256(sources + "\0".join(versions).encode()).hexdigest()[:16]
    try:
        place = _root() / key
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only, or no home at all
        return None
    return place if os.access(place, os.W_OK) else None


def _root() -> Path:
    """Where this user's applications keep what can be made again."""
    given = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    if given:
        return Path(given) / "neuralfx" / "engine"
    below = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    return Path.home() / below / "neuralfx" / "engine"
