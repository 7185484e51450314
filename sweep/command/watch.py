"""`sweep status OUT --watch`: the progress of a run, updated until its end."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Any

from sweep.store.folder import Folder
from sweep.store.status import as_line, as_text, status

LOOK_S = 2.0  # between two updates on a terminal
LINE_S = 10.0  # between two lines without a terminal


def watch(folder: Folder, look_s: float = LOOK_S, line_s: float = LINE_S) -> None:
    """Show the status until no driver is running, or Ctrl-C: redrawn on a terminal, else a line every `line_s`."""
    with suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _redraw(folder, look_s)
            return
        while _print_line(folder)["driver"]:
            time.sleep(line_s)


def _print_line(folder: Folder) -> dict[str, Any]:
    found = status(folder)
    print(as_line(folder, found), flush=True)
    return found


def _redraw(folder: Folder, look_s: float) -> None:
    """The status in one place of the terminal; the last one stays."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    found = status(folder)
    with Live(Text(as_text(folder, found)), console=Console(), auto_refresh=False) as live:
        while found["driver"]:
            time.sleep(look_s)
            found = status(folder)
            live.update(Text(as_text(folder, found)), refresh=True)
