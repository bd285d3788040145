"""``neuralfx data``: the public data sets, and folders of one's own recordings. Needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from neuralfx.commands import ArgumentParser
from neuralfx.datasets import catalogue
from neuralfx.datasets.base import Dataset, Manual, Remote
from neuralfx.datasets.prepare import explain_manual, find_problem, known_size, missing_files, prepare
from neuralfx.datasets.storage import free_bytes
from neuralfx.errors import ConfigError, closest, join_words
from neuralfx.text import align, readable_size

MOST_DEVICES = 3  # that a line names before it counts them

_USAGE = """\
usage: neuralfx data ACTION ...

  list      the public data sets, one a line
  download  fetch a public data set, or go on where an earlier call was interrupted
  check     look at a folder of recordings before training
  align     write a corrected copy of a folder of recordings

'neuralfx data ACTION --help' explains an action.

example: neuralfx data download signaltrain-la2a -o data/signaltrain-la2a"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the actions and return the exit status.

    Args:
        argv: Arguments after ``neuralfx data``; None takes those of the process.

    Raises:
        ConfigError: If there is no such action.
        DatasetNotFoundError: If there is no such data set, or files of it are missing.
        NeuralfxError: As the actions raise them.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if arguments else 2
    action, *rest = arguments
    if action == "list":
        return _list(rest)
    if action == "download":
        return _download(rest)
    if action in ("check", "align"):
        from neuralfx.commands import data_check

        return data_check.check(rest) if action == "check" else data_check.align(rest)
    actions = ("list", "download", "check", "align")
    close = closest(action, actions)
    hint = f"did you mean {join_words(close, last='or')}?" if close else f"expected {join_words(actions, last='or')}."
    raise ConfigError(f"neuralfx data has no action {action!r}; {hint}")


def _list(argv: Sequence[str]) -> int:
    parser = ArgumentParser(prog="neuralfx data list", description="List the public data sets.")
    parser.parse_args(argv)
    head = ("name", "title", "devices", "size", "licence", "how")
    print(align([head, *(_row(catalogue.find(name)) for name in catalogue.names())]))
    return 0


def _row(dataset: Dataset) -> tuple[str, ...]:
    kinds = {Remote: "download", Manual: "by hand"}
    how = join_words([word for kind, word in kinds.items() if any(isinstance(file, kind) for file in dataset.files)])
    count = len(dataset.devices)
    devices = ", ".join(dataset.devices) if count <= MOST_DEVICES else f"{count} devices"
    return (dataset.name, dataset.title, devices, known_size(dataset.files), dataset.licence.partition(":")[0], how)


def _download(argv: Sequence[str]) -> int:
    parser = ArgumentParser(
        prog="neuralfx data download",
        description="Fetch a public data set, unpack it and make sure that it reads. An interrupted call is finished "
        "by the same command. What needs an account or a browser is said.",
    )
    parser.add_argument("name", help="name of a data set, see 'neuralfx data list'")
    parser.add_argument("--device", help="only what one of its devices needs; default: all")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="its folder; default: data/NAME")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched")
    arguments = parser.parse_args(argv)
    dataset = catalogue.find(arguments.name)
    if arguments.device is not None and arguments.device not in dataset.devices:
        close = closest(arguments.device, dataset.devices)
        hint = f"did you mean {join_words(close, last='or')}?" if close else f"it has {join_words(dataset.devices)}."
        raise ConfigError(f"{dataset.name} has no device {arguments.device!r}; {hint}")
    root = arguments.output or Path("data", dataset.name)
    if arguments.dry_run:
        _announce(dataset, root, arguments.device)
        return 0
    prepare(dataset, root, download=True, device=arguments.device)
    print(f"{root}: {dataset.title}, ready.")
    print(f"licence     {dataset.licence}")
    print(f"please cite {dataset.citation}")
    return 0


def _announce(dataset: Dataset, root: Path, device: str | None) -> None:
    """Print what a download would fetch, and what a person would have to."""
    is_there = find_problem(dataset, root, device, everything=True) is None
    missing = [] if is_there else missing_files(dataset.files_for(device), root)
    remotes = [file for file in missing if isinstance(file, Remote)]
    print(f"{dataset.name}: {dataset.title}")
    print(f"homepage  {dataset.homepage}")
    print(f"licence   {dataset.licence}")
    print(f"folder    {root}")
    print(f"to fetch  {known_size(remotes) if remotes else 'nothing, it is there' if is_there else 'nothing'}")
    print(f"free      {readable_size(free_bytes(root))}")
    if remotes:
        print(align([("file", "size", "from"), *((file.name, known_size([file]), file.url) for file in remotes)]))
    for sentence in explain_manual(missing, root):
        print(sentence)
