"""``neuralfx push``: a model folder goes to the Hugging Face Hub, after a look at what will go up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuralfx.commands import ArgumentParser
from neuralfx.text import align, readable_size

if TYPE_CHECKING:
    from neuralfx.hub.push import Plan


def main(argv: Sequence[str] | None = None) -> int:
    """Check and publish a model folder, and return the exit status.

    Args:
        argv: Arguments after ``neuralfx push``; None takes those of the process.

    Raises:
        FormatError: If the folder is damaged, or its check does not replay.
        ConfigError: If the name, the tag or the visibility cannot be.
        HubError: If there is no token, or the Hub refuses or does not answer.
    """
    parser = ArgumentParser(
        prog="neuralfx push",
        description="Publish a model folder on the Hugging Face Hub. The folder is loaded and its check replayed, "
        "then everything goes up in one commit, which gets a tag.",
    )
    parser.add_argument("folder", type=Path, help="a model folder, see 'neuralfx package'")
    parser.add_argument("name", help="repository as owner/name; created if it is not there")
    parser.add_argument("--private", action="store_true", help="only you may see the new repository")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go up")
    parser.add_argument("--tag", help="name of the release; default: v1.0.0")
    parser.add_argument("--message", help="title of the commit; default: 'Release' and the tag")
    parser.add_argument(
        "--overwrite-card", action="store_true", help="replace the card even if you edited it on the Hub"
    )
    arguments = parser.parse_args(argv)

    from neuralfx.hub.push import plan_push, require_token, upload

    if not arguments.dry_run:
        require_token()
    plan = plan_push(
        arguments.folder,
        arguments.name,
        private=arguments.private,
        tag=arguments.tag,
        overwrite_card=arguments.overwrite_card,
    )
    _announce(plan)
    if arguments.dry_run:
        print("Nothing was uploaded (--dry-run).")
        return 0
    release = upload(plan, message=arguments.message)
    print(f"{release.address}: {release.tag} is commit {release.commit}.")
    print(f"Use it: neuralfx.load('{plan.repository.name}@{release.tag}')")
    return 0


def _announce(plan: Plan) -> None:
    """Print what goes where."""
    state = "new" if plan.creates else "there already"
    print(f"repository  {plan.repository.address} ({state}, {'private' if plan.private else 'public'})")
    print(f"release     {plan.tag}")
    print(f"check       replayed to within {plan.difference:.1g}")
    print(align([("file", "size"), *((path, readable_size(size)) for path, size in plan.files.items())]))
    for path in plan.removed:
        print(f"{path} is removed there.")
    if plan.keeps_card:
        print("README.md was edited on the Hub and stays as it is there; --overwrite-card replaces it.")
    else:
        print(f"head of the card:\n{plan.head}")
