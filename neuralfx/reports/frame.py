"""What all HTML pages have in common: head, navigation, sections and foot, in one file that needs no network."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib import resources

from neuralfx import __version__


def fill_page(
    title: str, subtitle: str, sections: Sequence[tuple[str, str]], styles: Sequence[str], script: str, sounds: str
) -> str:
    """A whole page.

    Args:
        title: As text.
        subtitle: As text.
        sections: Heading, as text, and content, as HTML, of each.
        styles: Names of style sheets beside this file.
        script: Name of a script beside this file.
        sounds: JSON that the script reads, safe inside of a script element.
    """
    anchors = [f"section{index}" for index in range(len(sections))]
    contents = {
        "title": escape(title),
        "subtitle": escape(subtitle),
        "style": "\n".join(map(_resource, styles)),
        "navigation": "".join(
            f'<li><a href="#{anchor}">{escape(title)}</a></li>' for anchor, (title, _) in zip(anchors, sections)
        ),
        "sections": "\n".join(
            f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(title)}</h2>\n{content}</section>'
            for anchor, (title, content) in zip(anchors, sections)
        ),
        "version": escape(__version__),
        "sounds": sounds,
        "script": _resource(script),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: contents[match[1]], _resource("page.html"))


def escape(text: str) -> str:
    """Text for HTML, inside of quotes too."""
    return html.escape(text, quote=True)


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip("\n")
