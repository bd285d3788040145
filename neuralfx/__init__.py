"""Neural models of analog audio gear, knobs included: train, load by name, play in real time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralfx.effect import Effect, Knob
    from neuralfx.hub.load import load
    from neuralfx.hub.registry import list_models

__version__ = "0.1.0"
__all__ = ["Effect", "Knob", "__version__", "list_architectures", "list_models", "load"]


def list_architectures() -> list[str]:
    """Class names of the architecture/conditioning pairs, such as ``S4DFiLMGLU``."""
    from neuralfx.models.catalogue import ARCHITECTURES

    return list(ARCHITECTURES)


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the command line answers without importing torch.
    if name == "load":
        from neuralfx.hub.load import load as found
    elif name == "list_models":
        from neuralfx.hub.registry import list_models as found  # type: ignore[assignment]
    elif name in ("Effect", "Knob"):
        from neuralfx import effect

        found = getattr(effect, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
