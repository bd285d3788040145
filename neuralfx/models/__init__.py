"""Architectures: one file each, its network first, then its thin LightningModules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuralfx.errors import ArchitectureNotFoundError, closest, join_words
from neuralfx.models.catalogue import ARCHITECTURES

if TYPE_CHECKING:
    from neuralfx.models.base import EffectModule

__all__ = ["architecture", *ARCHITECTURES]


def architecture(name: str) -> type[EffectModule]:
    """The class of a pair, by its class name such as ``S4DFiLMGLU``.

    Raises:
        ArchitectureNotFoundError: If there is no such pair.
    """
    if name not in ARCHITECTURES:
        close = closest(name, [known.lower() for known in ARCHITECTURES])
        hint = join_words([known for known in ARCHITECTURES if known.lower() in close], last="or")
        raise ArchitectureNotFoundError(
            f"no architecture named {name!r}. "
            + (f"Did you mean {hint}?" if hint else f"The architectures are {join_words(list(ARCHITECTURES))}.")
        )
    found: type[EffectModule] = getattr(importlib.import_module(f"neuralfx.models.{ARCHITECTURES[name].module}"), name)
    return found


def __getattr__(name: str) -> Any:
    if name in ARCHITECTURES:
        return architecture(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
