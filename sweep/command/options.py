"""Options as argparse reads them, with a mistake answered like any other one."""

from __future__ import annotations

import argparse
from typing import NoReturn

from sweep.errors import BadInput


class Parser(argparse.ArgumentParser):
    """A parser whose errors are BadInput: one line and exit code 2, whatever command."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog, description=description, epilog=epilog, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{self.prog}: {message}; see `{self.prog} --help`")
