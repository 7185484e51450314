"""Messages to the user: on streams that may be closed, and without credentials of URIs."""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from sweep.errors import printable

PRIVATE = "key|secret|token|password|credential|signature|sas"  # in the names of a URI's parameters
PARAMETERS = re.compile(rf"""(?i)([?&][\w-]*(?:{PRIVATE})[\w-]*=)[^\s&'"\\]+""")
RUN = re.compile(r"""[^\s'"\\]+""")  # of characters that may be a URI


def without_credentials(text: str) -> str:
    """A text without keys, secrets or tokens in URIs."""
    if "://" not in text:
        return text
    return PARAMETERS.sub(r"\1***", RUN.sub(lambda run: _masked(run[0]), text))


def _masked(run: str) -> str:
    """`scheme://key:secret@bucket` without the part before the `@`."""
    scheme, found, rest = run.partition("://")
    before, at, _ = rest.partition("@")
    if not found or not at or ("/" in before and ":" not in before):
        return run
    return f"{scheme}://***{rest[rest.rfind('@') if ':' in before else len(before) :]}"


def say(text: str) -> None:
    """A line on stderr; dropped if stderr is closed."""
    lines = map(printable, without_credentials(text).split("\n"))
    print(*lines, sep="\n", file=Forgiving(sys.stderr), flush=True)


class Forgiving:
    """A text stream without errors: text that cannot be written is dropped, and unencodable characters are replaced."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = io.StringIO() if stream is None else stream
        self._gone = stream is None
        self.full = False  # whether there was no room for some text

    def write(self, text: str) -> int:
        if not self._gone:
            with self._dropping():
                try:
                    self._stream.write(text)
                except UnicodeError:
                    encoding = self._stream.encoding or "ascii"
                    self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        if not self._gone:
            with self._dropping():
                self._stream.flush()

    def isatty(self) -> bool:
        try:
            return not self._gone and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Stop writing after an error; buffered text is discarded, or it would fail at the interpreter's end."""
        try:
            yield
        except (OSError, ValueError) as error:
            self._gone = True
            self.full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            if self._stream in (sys.__stdout__, sys.__stderr__):
                with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def forgiving() -> Iterator[None]:
    """Inside the block, standard output and standard error are Forgiving."""
    for number in range(3):  # else the next opened file would get a closed one's number, and a library's messages
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream if isinstance(stream, Forgiving) else Forgiving(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
