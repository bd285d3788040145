"""The ``neuralfx`` command: finds the subcommand, and turns errors into one line and an exit code.

Only the subcommand that is asked for is imported, so that ``--help``, ``list`` and ``info`` answer without torch.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from neuralfx import __version__
from neuralfx.errors import NeuralfxError, closest, join_words

COMMANDS = {
    "fit": "train a model from a configuration or a recipe's name",
    "validate": "measure a checkpoint on the validation part",
    "test": "measure a checkpoint on the held-out part",
    "predict": "run a checkpoint over the test part of the data",
    "process": "run audio files through a model",
    "list": "the models at hand, one a line",
    "info": "a model's card, knobs, metrics and licence",
    "package": "turn a checkpoint into a model folder with its card",
    "push": "publish a model folder on the Hugging Face Hub",
    "pull": "fetch a model from the Hugging Face Hub and prove it",
    "data": "public data sets and folders of recordings: list, download, check, align",
    "study": "train, measure and tabulate a grid of models, effects and seeds",
    "evaluate": "measure models on recordings: tables, and a report to hear and to look at",
    "benchmark": "sizes, speed and memory of the pairs on this machine",
}
TRAINING = ("fit", "validate", "test", "predict")  # Lightning's own, all in one module


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes them from the shell.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad use, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # old Windows consoles lack some characters of cards and tables
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"neuralfx {__version__}")
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        close = closest(command, COMMANDS)
        hint = f"did you mean {join_words(close, last='or')}?" if close else f"commands: {', '.join(COMMANDS)}"
        return _fail(f"no command {command!r}; {hint}", 2)
    _report_progress(debug)
    # Torch's threads spin for milliseconds after each of its operations, on cores that other threads want.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    try:
        if command in TRAINING:
            return int(importlib.import_module("neuralfx.commands.train").main(command, rest))
        return int(importlib.import_module(f"neuralfx.commands.{command}").main(rest))
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        message = str(error) or type(error).__name__
        if not isinstance(error, NeuralfxError):
            message = f"{type(error).__name__}: {message.splitlines()[0]} (--debug shows where)"
        return _fail(message, error.exit_code if isinstance(error, NeuralfxError) else 1)


def _report_progress(debug: bool) -> None:
    """Print what our own code logs; other libraries keep their handlers."""
    logger = logging.getLogger("neuralfx")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


def _fail(message: str, code: int) -> int:
    print("neuralfx: " + " ".join(message.split()), file=sys.stderr)
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "Neural models of analog audio gear, knobs included.\n\n"
        f"usage: neuralfx COMMAND ...\n\n{commands}\n\n"
        "'neuralfx COMMAND --help' explains a command; --debug shows where an error happened; --version.\n\n"
        "example: neuralfx process guitar.wav -m od300-lstm -k level=0.5 -o wet.wav"
    )
