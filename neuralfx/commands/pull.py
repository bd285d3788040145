"""``neuralfx pull``: a model comes from the Hugging Face Hub and proves itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuralfx.commands import ArgumentParser


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch a model, replay its check, and return the exit status.

    Args:
        argv: Arguments after ``neuralfx pull``; None takes those of the process.

    Raises:
        ModelNotFoundError: If there is no such repository or revision.
        HubError: If the Hub does not deliver.
        FormatError: If the model is damaged or is none, or the folder holds something else.
    """
    parser = ArgumentParser(
        prog="neuralfx pull",
        description="Fetch the newest state of a model from the Hugging Face Hub, load it and replay its check.",
    )
    parser.add_argument("name", help="repository as owner/name or owner/name@revision")
    parser.add_argument("--revision", help="branch, tag or commit; default: the main branch")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="model folder to write; default: the Hub's cache"
    )
    arguments = parser.parse_args(argv)

    from neuralfx.hub.pull import pull

    pulled = pull(arguments.name, revision=arguments.revision, folder=arguments.output)
    print(f"{pulled.repository}: commit {pulled.commit}, check replayed to within {pulled.difference:.1g}.")
    print(f"folder  {pulled.folder}")
    model = pulled.folder.as_posix() if arguments.output else str(pulled.repository)
    print(f"Try it: neuralfx process in.wav -m {model} -o out.wav")
    return 0
