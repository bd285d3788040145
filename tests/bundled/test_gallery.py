"""The published gallery shows the models that come with neuralfx as they are."""

from __future__ import annotations

import re
from pathlib import Path

from neuralfx.hub.registry import bundled
from neuralfx.reports.gallery import MEDIA, read_entries, render_page, render_readme

CARDS = Path(__file__).parent.parent.parent / "model_cards"
AGAIN = "neuralfx list --gallery model_cards"
LARGEST_BYTES = 6_000_000


def test_the_pages_are_up_to_date() -> None:
    entries = read_entries(bundled())
    written = {"README.md": render_readme(entries), "gallery.html": render_page(entries)}
    for name, text in written.items():
        assert (CARDS / name).read_text(encoding="utf-8") == text, AGAIN


def test_all_links_lead_somewhere_and_no_picture_or_sound_is_left_over() -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", (CARDS / "README.md").read_text(encoding="utf-8")))
    assert not [link for link in links if not (CARDS / link).is_file()], AGAIN
    there = {path.relative_to(CARDS).as_posix() for path in (CARDS / MEDIA).iterdir()}
    assert there == {link for link in links if link.startswith(MEDIA)}, "delete what is left of earlier models"


def test_the_gallery_stays_small() -> None:
    files = [*(CARDS / MEDIA).iterdir(), *CARDS.glob("*.md"), *CARDS.glob("*.html")]
    assert sum(path.stat().st_size for path in files) < LARGEST_BYTES
