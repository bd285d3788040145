"""The commands behind ``neuralfx <command>``: one file each, with ``main(argv) -> exit code``."""

from __future__ import annotations

import argparse
from typing import NoReturn

from neuralfx.errors import ConfigError


class ArgumentParser(argparse.ArgumentParser):
    """Tells bad use as an error of ours, in one line, instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raise a :class:`ConfigError` with argparse's message."""
        raise ConfigError(f"{message}; '{self.prog} --help' tells more")
