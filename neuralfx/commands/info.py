"""``neuralfx info``: what is known about one model. Needs no torch; the network only for a model on the Hub."""

from __future__ import annotations

import json
from collections.abc import Sequence

from neuralfx.commands import ArgumentParser
from neuralfx.hub.load import find
from neuralfx.hub.package import CARD, CONFIG, WEIGHTS, read_card, read_config
from neuralfx.text import readable_size


def main(argv: Sequence[str] | None = None) -> int:
    """Print a model's card, knobs, metrics and origin, and return the exit status.

    Args:
        argv: Arguments after ``neuralfx info``; None takes those of the process.

    Raises:
        ModelNotFoundError: If there is no such model.
        FormatError: If the model is damaged or not of a format that this version reads.
        HubError: If it is given as owner/name, is not in the local cache, and the Hub does not tell.
    """
    parser = ArgumentParser(prog="neuralfx info", description="Show a model's card, knobs, metrics and origin.")
    parser.add_argument("model", help="name, model folder, or owner/name on the Hugging Face Hub")
    parser.add_argument("--revision", help="branch, tag or commit of owner/name; default: the main branch")
    parser.add_argument("--json", action="store_true", help="print config.json instead")
    arguments = parser.parse_args(argv)
    found = find(arguments.model, revision=arguments.revision, files=(CONFIG, CARD))
    config = read_config(found.folder, found.root)
    if arguments.json:
        print(json.dumps(config.to_dict(), indent=2))
        return 0
    card = read_card(found.folder, found.root)
    print(f"{config.name}: {config.effect.device or config.effect.slug}, {config.architecture}")
    print(f"folder      {found.folder}")
    if found.commit:
        print(f"commit      {found.commit}")
    weights = found.folder / WEIGHTS
    print(f"weights     {readable_size(weights.stat().st_size) if weights.is_file() else 'not downloaded yet'}")
    print(f"licence     {config.licence}")
    print(f"parameters  {config.parameters}")
    print(f"written by  neuralfx {config.neuralfx_version}")
    for name, value in config.metrics.items():
        if name != "takes":
            print(f"{name:<11} {value:.4g}")
    print(f"\n{config.effect.knobs}\n")
    card = without_front_matter(card)
    if arguments.model == config.name:  # found by its name, which serves everywhere
        card = card.replace(f"./{config.name}", config.name)
    print(printable(card))
    return 0


def printable(text: str) -> str:
    r"""Text without control characters, which a card from elsewhere could use to steer the terminal.

    Args:
        text: Any text.

    Example:
        >>> printable("a\x1b[31mb")
        'a[31mb'
    """
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def without_front_matter(card: str) -> str:
    r"""The card without the YAML block at its start, which is for machines.

    Args:
        card: Markdown.

    Example:
        >>> without_front_matter("---\nlicense: mit\n---\n\n# Amp")
        '# Amp'
    """
    _, separator, rest = card.removeprefix("---\n").partition("\n---\n")
    return rest.strip() if card.startswith("---\n") and separator else card.strip()
