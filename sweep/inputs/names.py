"""Names as they are meant: the same letters are the same name, in whatever Unicode form each text writes them."""

from __future__ import annotations

from collections.abc import Collection
from unicodedata import normalize


def meant(name: str, known: Collection[str]) -> str:
    """The known name of the same letters; the name as it was typed if there is none."""
    if name in known or name.isascii():
        return name
    return next((each for each in known if normalize("NFKC", each) == normalize("NFKC", name)), name)
