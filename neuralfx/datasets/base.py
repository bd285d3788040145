"""What a public data set is: where it lives, under which terms, and how its folder is read. Needs no torch.

A data set is one file beside this one: a reader of its native layout and a :class:`Dataset` that states the facts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from neuralfx.datasets.manifest import Recording


class Remote(NamedTuple):
    """A file that anyone can download.

    Attributes:
        url: Its address.
        name: Its name in the data set's folder.
        size: Its size in bytes; None where the publisher states none.
        checksum: ``md5:`` or ``sha256:`` and the digest in hexadecimal; empty where the publisher states none.
        devices: Slugs of the devices that need it; empty where all do.
        folder: Folder in that of the data set in which an archive is unpacked; empty for the latter itself.
    """

    url: str
    name: str
    size: int | None = None
    checksum: str = ""
    devices: tuple[str, ...] = ()
    folder: str = ""


class Manual(NamedTuple):
    """A file that a person has to fetch, because its place asks for an account or a browser.

    Attributes:
        page: Page to open.
        name: Name that the file has, and keeps in the data set's folder.
        todo: What to do there, in a sentence.
        size: Its size in bytes; None where it is not known.
        checksum: As for :class:`Remote`, and so are the others.
    """

    page: str
    name: str
    todo: str
    size: int | None = None
    checksum: str = ""
    devices: tuple[str, ...] = ()
    folder: str = ""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The facts about a public data set.

    Attributes:
        name: Slug, such as ``signaltrain-la2a``; also the name of its folder.
        title: Full name for people.
        homepage: Page that describes it.
        licence: Licence as its page states it, such as ``cc-by-4.0``; ``not stated`` where there is none.
        citation: Reference to cite, in a sentence.
        devices: Slugs of the devices that it records.
        files: What has to be in the folder: archives, or audio files.
        read: Reads the takes of a device from an unpacked folder; a device of None means the only one. Raises
            DatasetNotFoundError where the folder holds something else, FormatError where it is damaged.
        convert: Turns unpacked files that are no audio into audio and a manifest, once; None where that is not needed.
        notes: Known defects, and what is done about each.
    """

    name: str
    title: str
    homepage: str
    licence: str
    citation: str
    devices: tuple[str, ...]
    files: tuple[Remote | Manual, ...]
    read: Callable[[Path, str | None], Recording]
    convert: Callable[[Path], None] | None = None
    notes: tuple[str, ...] = ()

    def files_for(self, device: str | None) -> tuple[Remote | Manual, ...]:
        """The files that a device needs; None stands for all devices."""
        return tuple(file for file in self.files if device is None or not file.devices or device in file.devices)
