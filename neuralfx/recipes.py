"""The shipped configurations: where they are, and how a name finds one. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from neuralfx.errors import ConfigError, closest, join_words

RUNS = ("data", "models", "recipes", "trainer")  # folders of what a run is configured with
STUDIES = ("studies",)


def configs_folder() -> Path:
    """Where the shipped configurations are: inside the installed package, or beside it in a checkout."""
    package = Path(str(resources.files("neuralfx")))
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_config(value: str, folders: Sequence[str] = RUNS) -> Path:
    """The path of a configuration.

    Args:
        value: Path of a file, or the stem of a file in one of the folders: ``od300-lstm`` finds
            ``configs/recipes/od300-lstm.yaml``.
        folders: Folders below ``configs`` whose files have names.

    Raises:
        ConfigError: If it is neither a file nor the name of a shipped configuration.
    """
    path = Path(value)
    if path.exists() and not path.is_dir():
        return path
    shipped = {path.stem: path for folder in folders for path in sorted((configs_folder() / folder).glob("*.yaml"))}
    if value in shipped:
        return shipped[value]
    close = closest(value, shipped)
    hint = f"did you mean {join_words(close, last='or')}?" if close else f"there are {join_words(sorted(shipped))}."
    raise ConfigError(f"--config {value}: no such file, and no shipped configuration of this name; {hint}")
