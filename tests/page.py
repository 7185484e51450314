"""What a page of a run draws, without a browser."""

import re
from pathlib import Path

from sweep.report.page import unpacked


def drawn(folder: Path) -> str:
    """The JSON that the page of a run's folder has packed."""
    found = re.search(r'<script type="text/plain" id="data">(.*?)</script>', (folder / "report.html").read_text())
    assert found
    return unpacked(found[1])


def words(folder: Path) -> str:
    """All text of the page but its scripts."""
    return re.sub(r"<(script|style).*?</\1>", "", (folder / "report.html").read_text(), flags=re.DOTALL)
