"""What a page of a run draws, without a browser."""

import base64
import re
import zlib
from pathlib import Path


def unpacked(text: str) -> str:
    """The inverse of the page's `packed`."""
    return zlib.decompress(base64.b64decode(text)).decode()


def drawn(folder: Path) -> str:
    """The JSON that the page of a run's folder has packed."""
    found = re.search(r'<script type="text/plain" id="data">(.*?)</script>', (folder / "report.html").read_text())
    assert found
    return unpacked(found[1])


def words(folder: Path) -> str:
    """All text of the page but its scripts."""
    return re.sub(r"<(script|style).*?</\1>", "", (folder / "report.html").read_text(), flags=re.DOTALL)
