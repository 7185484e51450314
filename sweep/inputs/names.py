"""Names in any Unicode form: the same letters are the same name."""

from __future__ import annotations

from collections.abc import Collection
from unicodedata import normalize


def meant(name: str, known: Collection[str]) -> str:
    """The known name of the same letters; without one, the name as typed."""
    if name in known or name.isascii():
        return name
    return next((each for each in known if normalize("NFKC", each) == normalize("NFKC", name)), name)
