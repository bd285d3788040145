"""Exceptions of neuralfx: each composes its message from what was expected, what arrived and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuralfx.effect import Effect, Knob


class NeuralfxError(Exception):
    """Base of all errors that neuralfx raises on purpose; the command line prints them as one line.

    Attributes:
        exit_code: Exit status of the command line: 2 for bad use, 1 for work that failed.
    """

    exit_code: int = 1


class KnobError(NeuralfxError, ValueError):
    """A knob that the effect does not have, or a value that the knob cannot take."""

    exit_code = 2

    @classmethod
    def unknown(cls, effect: Effect, name: str) -> KnobError:
        """The effect has no knob of this name."""
        if not effect.knobs:
            return cls(f"{effect.slug} has no knob {name!r}. It has no knobs at all; leave knobs out.")
        listed = [f"{knob.name} ({knob.describe_range()})" for knob in effect.knobs]
        return cls(f"{effect.slug} has no knob {name!r}. Its knobs are {join_words(listed)}.")

    @classmethod
    def out_of_range(cls, knob: Knob, value: object) -> KnobError:
        """The value lies outside the knob's range or is none of its positions."""
        expected = "one of" if knob.positions else "a value in"
        return cls(f"knob {knob.name} expects {expected} {knob.describe_range()}, got {value!r}.")


class ShapeError(NeuralfxError, ValueError):
    """An array whose shape, type or length does not fit."""

    exit_code = 2


class AudioError(NeuralfxError, ValueError):
    """Audio samples that cannot be processed: empty, not finite, integer PCM."""

    exit_code = 2


class AudioFileError(NeuralfxError, OSError):
    """A file that is missing, is not audio, or cannot be written."""


class FormatError(NeuralfxError, ValueError):
    """A model folder, manifest or checkpoint that is damaged or not of a format that this version reads."""


class ConfigError(NeuralfxError, ValueError):
    """A configuration or an option that does not fit what it configures."""

    exit_code = 2


class DatasetNotFoundError(NeuralfxError, FileNotFoundError):
    """A data set folder without the files that it should hold."""


class DownloadError(NeuralfxError, OSError):
    """A file that could not be fetched, or that is not what its publisher states."""


class ArchiveError(NeuralfxError, ValueError):
    """An archive that is damaged, or that holds what a data set has no use for, such as links or paths out of it."""


class DiskSpaceError(NeuralfxError, OSError):
    """A disk with too little room for what is to be written."""


class ModelNotFoundError(NeuralfxError, FileNotFoundError):
    """A name that is no path, no bundled model and no model in the cache."""

    @classmethod
    def unknown(cls, name: str, known: Iterable[str]) -> ModelNotFoundError:
        """No model has this name; proposes the closest ones."""
        known = list(known)
        close = closest(name, known)
        hint = f"Did you mean {join_words(close, last='or')}?" if close else f"Known models: {', '.join(known)}."
        return cls(
            f"no model named {name!r}. {hint} A model is given by name (see 'neuralfx list'), "
            "by the path of a model folder (./my-amp) or as owner/name."
        )


class HubError(NeuralfxError, OSError):
    """The Hugging Face Hub could not be reached, or wants to know who asks."""

    @classmethod
    def unreachable(cls, error: Exception) -> HubError:
        """The Hub did not answer as it should."""
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return cls(
            f"the Hugging Face Hub did not answer ({reason}). Check the network; bundled models work without it."
        )


class ArchitectureNotFoundError(NeuralfxError, ValueError):
    """A name that is none of the architecture/conditioning pairs."""

    exit_code = 2


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Join words as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def closest(name: str, known: Iterable[str]) -> list[str]:
    """The names in ``known`` that look most like ``name``, best first, three at most."""
    return difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.5)
