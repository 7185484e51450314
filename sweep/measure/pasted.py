"""Text pasted into mail and issues, and numbers printed in any language."""

import quopri
import re
import sys
from contextlib import nullcontext

from sweep.errors import BadInput
from sweep.inputs.home import expanded

MOST_BYTES = 10_000_000
SPACES = "\u00a0\u202f\u2009"  # between thousands, in French and others
NUMBER = rf"(?:\d{{1,3}}(?:[{SPACES} ']\d{{3}})+(?:[.,]\d+)?|\d[\d.,]*)"  # input of `number`


def recorded(path: str, option: str) -> str:
    """The text of a recorded file, `-` for standard input; BadInput if it cannot be read or is too long."""
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(expanded(path, option), "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{option}: {error.strerror}: {path!r}") from None
    if len(content) > MOST_BYTES:
        where = "standard input" if path == "-" else f"{option}: {path!r}"
        raise BadInput(f"{where}: must be at most {MOST_BYTES} bytes")
    return content.decode("utf-8", "replace")


def plain(text: str) -> str:
    """The text without quote marks of mail and without quoted-printable; lines keep their numbers."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if re.search(r"=3D|\w=\n", text):
        text = re.sub(r"(?:[^\n]*=\n)+[^\n]*", _joined, text)
        text = quopri.decodestring(text.encode()).decode("utf-8", "replace")
    return re.sub(r"^(?:> ?)+", "", text, flags=re.MULTILINE)


def _joined(lines: re.Match[str]) -> str:
    """Lines broken by a mail program as one, with blank lines that keep later ones in place."""
    return re.sub(r"=\n(?:> ?)*", "", lines[0]) + "\n" * lines[0].count("=\n")


def number(text: str, whole: bool = False) -> float | None:
    """A number with thousands separated by comma, dot, apostrophe or blank; None if it is no number.

    A single comma or dot separates thousands if a `whole` number is read, else decimals.
    """
    digits = re.sub(rf"[{SPACES} ']", "", text)
    marks = re.findall(r"[.,]", digits)
    last = marks[-1] if marks and (len({*marks}) == 2 or (len(marks) == 1 and not whole)) else None
    body, _, decimals = digits.rpartition(last) if last else (digits, "", "")
    if not re.fullmatch(r"\d+|\d{1,3}(?:,\d{3})+|\d{1,3}(?:\.\d{3})+", body):
        return None
    return float(f"{re.sub('[.,]', '', body)}.{decimals or 0}") if re.fullmatch(r"\d*", decimals) else None


def line_of(text: str, at: int) -> int:
    """The number of a character's line."""
    return text.count("\n", 0, at) + 1
