"""From a public data set's name to a folder that reads: look, unpack, convert, and download only when asked to.

The ladder: the folder reads already; its files are there and only want unpacking and converting; nobody asked to
download, so say how; download, then as before. A call that was interrupted anywhere is finished by the next one.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from neuralfx.datasets.base import Dataset, Manual, Remote
from neuralfx.datasets.download import download as fetch
from neuralfx.datasets.storage import locked, require_space, verify
from neuralfx.datasets.unpack import is_archive, unpack
from neuralfx.errors import DatasetNotFoundError, NeuralfxError
from neuralfx.text import readable_size

_log = logging.getLogger(__name__)

# Audio shrinks to no less than a twentieth, unless it is silence.
LIMIT_RATIO = 20
LIMIT_BYTES = 1_000_000_000
# Lies in the folder as long as it is half-made, and names the archives that are unpacked.
_NOTES = ".preparing.json"


def prepare(
    dataset: Dataset,
    root: str | os.PathLike[str],
    download: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> None:
    """Make sure that a folder holds a data set, unpacked and converted. Archives are kept.

    Args:
        dataset: The data set.
        root: Its folder.
        download: Whether to fetch what is missing. Files that only a person can fetch are asked for.
        device: Device that has to be there. If None, all of them with ``download``, else at least one.
        progress: Whether to show progress bars on a terminal.

    Raises:
        DatasetNotFoundError: If files are missing; says how to get each of them.
        DownloadError: If a download fails, or a file is not what its publisher states.
        ArchiveError: If an archive is damaged or not to be trusted.
        DiskSpaceError: If the disk has too little room.
        FormatError: If everything is there, but does not read.
    """
    root = Path(root)
    if find_problem(dataset, root, device, download) is None:
        return
    if not (download or root.is_dir()):
        raise DatasetNotFoundError(_explain(dataset, root, dataset.files_for(device), device))
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / ".lock"):
        if find_problem(dataset, root, device, download) is None:  # another process has done it meanwhile
            return
        files = dataset.files_for(device)
        missing = missing_files(files, root)
        for file in files:
            if file not in missing:
                verify(root / file.name, file.size, file.checksum, progress)
        if download:
            _fetch(dataset, root, [file for file in missing if isinstance(file, Remote)], progress)
            missing = missing_files(files, root)
        _build(dataset, root, progress, is_complete=not missing)
        problem = find_problem(dataset, root, device, download)
    if problem is not None and missing:
        raise DatasetNotFoundError(_explain(dataset, root, missing, device, problem)) from problem
    if problem is not None:
        raise problem


def missing_files(files: Iterable[Remote | Manual], root: Path) -> list[Remote | Manual]:
    """Those of a data set's files that are not in its folder.

    Args:
        files: The files that should be there.
        root: The folder.
    """
    return [file for file in files if not (root / file.name).is_file()]


def known_size(files: Iterable[Remote | Manual]) -> str:
    """The size of files together, for people.

    Args:
        files: Files; the size of some may be unknown.
    """
    sizes = [file.size for file in files]
    known = readable_size(sum(size or 0 for size in sizes))
    if None not in sizes:
        return known
    return f"at least {known}" if any(sizes) else "size unknown"


def explain_manual(files: Sequence[Remote | Manual], root: Path) -> list[str]:
    """What a person has to do, in a sentence or two per page; empty if there is nothing.

    Args:
        files: Files that are missing.
        root: Folder where they belong.
    """
    pages: dict[tuple[str, str], list[Manual]] = {}
    for file in files:
        if isinstance(file, Manual):
            pages.setdefault((file.page, file.todo), []).append(file)
    return [
        f"Open {page} and: {todo} What is to be there then: {', '.join(str(root / file.name) for file in manual)} "
        f"({known_size(manual)})."
        for (page, todo), manual in pages.items()
    ]


def find_problem(dataset: Dataset, root: Path, device: str | None, everything: bool) -> NeuralfxError | None:
    """Why a folder cannot be used yet; None if it can. Only headers of audio files are read.

    Args:
        dataset: The data set.
        root: Its folder.
        device: Device that has to be there; None asks for any.
        everything: Whether None asks for all of them instead.
    """
    if (root / _NOTES).exists():
        return DatasetNotFoundError(f"{root} was left half-prepared.")
    devices = (dataset.devices or (None,)) if device is None else (device,)
    problems = []
    for name in devices:
        try:
            dataset.read(root, name)
        except NeuralfxError as error:
            problems.append(error)
    enough = not problems if everything else len(problems) < len(devices)
    return None if enough else problems[0]


def _fetch(dataset: Dataset, root: Path, remotes: Sequence[Remote], progress: bool) -> None:
    """Download files, if there is room for all of them and for what they unpack to."""
    here = sum(part.stat().st_size for part in root.glob("*.part"))
    unpacked_bytes = sum(remote.size or 0 for remote in remotes if is_archive(remote.name))
    needed_bytes = sum(remote.size or 0 for remote in remotes) + unpacked_bytes
    require_space(root, needed_bytes - here, dataset.name)
    for remote in remotes:
        _log.info("Fetching %s (%s, licence: %s).", remote.url, known_size([remote]), dataset.licence)
        fetch(remote, root, progress, reserve_bytes=unpacked_bytes)


def _build(dataset: Dataset, root: Path, progress: bool, is_complete: bool) -> None:
    """Unpack the archives that are there, and convert."""
    notes = root / _NOTES
    unpacked = _read_notes(notes)
    archives = {
        root / file.name: root / file.folder
        for file in dataset.files
        if is_archive(file.name) and (root / file.name).is_file()
    }
    notes.write_text(json.dumps(unpacked), encoding="utf-8")
    try:
        for archive, folder in archives.items():
            key = f"{archive.name} {archive.stat().st_size}"
            if key not in unpacked:
                limit_bytes = LIMIT_BYTES + LIMIT_RATIO * archive.stat().st_size
                folder.mkdir(exist_ok=True)
                unpack(archive, folder, limit_bytes, progress)
                unpacked.append(key)
                notes.write_text(json.dumps(unpacked), encoding="utf-8")
        if dataset.convert is not None:
            try:
                dataset.convert(root)
            except DatasetNotFoundError:  # without all files there may be nothing to convert
                if is_complete:
                    raise
    except NeuralfxError:  # these leave nothing half-made
        notes.unlink()
        raise
    notes.unlink()
    if archives:
        size = readable_size(sum(archive.stat().st_size for archive in archives))
        names = ", ".join(archive.name for archive in archives)
        _log.info("%s: unpacked. The archives (%s) are kept; remove them if you need the room: %s.", root, size, names)


def _read_notes(path: Path) -> list[str]:
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(note) for note in notes] if isinstance(notes, list) else []


def _explain(
    dataset: Dataset,
    root: Path,
    missing: Sequence[Remote | Manual],
    device: str | None,
    problem: NeuralfxError | None = None,
) -> str:
    """What is missing, and how to get it."""
    sentences = [f"{dataset.name} is not in {root}."]
    if problem is not None and any(not path.name.startswith(".") for path in root.iterdir()):
        sentences.append(f"What is there does not do: {problem}")
    remotes = [file for file in missing if isinstance(file, Remote)]
    if remotes:
        chosen = f" --device {device}" if device is not None and any(file.devices for file in dataset.files) else ""
        sentences.append(
            f"'neuralfx data download {dataset.name}{chosen} -o {root}' fetches what is missing "
            f"({known_size(remotes)}, licence: {dataset.licence})."
        )
    return "\n".join([*sentences, *explain_manual(missing, root)])
