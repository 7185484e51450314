"""The ways in which a run ends early, and how a wrong name is answered."""

import difflib
from collections.abc import Iterable

MOST_LISTED = 16  # names in an error


class Stopped(BaseException):
    """The run cannot go on; what is committed stays, and the same command continues from there.

    No Exception: a signal may come while a point is simulated, and is no failure of that point.
    """

    def __init__(self, code: int, why: str, no_room: bool = False) -> None:
        super().__init__(why)
        self.code = code
        self.no_room = no_room  # for want of disk space: nothing that was given is wrong


class BadInput(Exception):
    """What the user gave cannot be run; the message names the key, the value and what is allowed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the names that are near, or all of them where they are few."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if len(known) <= MOST_LISTED:
        return f"; there are: {', '.join(known)}"
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    return (f"; the nearest are {', '.join(near)}" if near else "") + "; `sweep list` shows all names"


class Unmeasurable(Exception):
    """This machine cannot be measured; the message says why."""


def printable(text: str) -> str:
    """A text on one line that moves no cursor and rings no bell: it may be somebody else's."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
