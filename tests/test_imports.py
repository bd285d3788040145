"""Imports point one way: each layer uses only the layers before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "neuralfx"
# Lower layers first; a module may import its own layer and those before it.
LAYERS = [
    {"errors", "files", "text", "recipes", "effect", "audio", "batch", "engine"},
    {"nn", "losses", "metrics"},
    {"streaming"},
    {"models", "datasets"},
    {"hub", "export", "recording", "reports", "evaluation", "study"},
    {"commands"},
    {"cli", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part == "__init__":
        return  # the front door sees everything, on first use
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    for module in imported:
        if module.startswith("neuralfx.") and part_of(module) in RANK:
            assert RANK[part_of(module)] <= RANK[part], f"{path.name} is below {module}"


def test_every_part_has_a_layer() -> None:
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts - {"__init__"} <= set(RANK)


def test_models_and_datasets_do_not_know_each_other() -> None:
    for folder, other in (("models", "datasets"), ("datasets", "models")):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"neuralfx.{other}" not in path.read_text(encoding="utf-8"), path
