"""Columns of text that fit the terminal: text too long for its column continues in the next line."""

from __future__ import annotations

import io
from collections.abc import Sequence

from sweep.errors import printable
from sweep.tables.text import terminal_width

GAP = 2  # spaces between two columns


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = (), folded: Sequence[int] = (), most: int = 0) -> str:
    """Rows of cells as lines of at most `most` characters, or of the terminal's width.

    Columns with indices in `right` are aligned right; those in `folded` are narrowed if there is no room.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
    for number in range(len(rows[0]) if rows else 0):
        table.add_column(justify="right" if number in right else "left", no_wrap=number not in folded, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    page = io.StringIO()
    Console(file=page, width=most or terminal_width(), color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())
