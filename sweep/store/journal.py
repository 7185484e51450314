"""The log of a run: a line of JSON per chunk and per start or stop of a driver. No result depends on it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

from sweep.errors import BadInput, Stopped
from sweep.inputs.door import Written, admit
from sweep.messages import without_credentials
from sweep.store.folder import Folder, private

NAME = "journal.jsonl"
PUT_S = 30.0  # between two writes to an object store, which has no append


class JournalLine(Written):
    """The fields of a line that the status needs."""

    event: str
    time: float
    chunk: int = -1
    cpu_s: float = 0.0
    failed: int = 0


class Journal:
    """The journal of one driver; on a store without append, a separate file in `journal/`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lines: list[bytes] = []
        self._put = time.monotonic()
        host, pid = socket.gethostname(), os.getpid()
        self._name = f"journal/{time.strftime('%Y%m%dT%H%M%S')}-{host}-{pid}.jsonl"
        self._facts = {"host": host, "pid": pid}
        self._first = True

    def note(self, event: str, **facts: Any) -> None:
        """Add a line; errors of writing are ignored."""
        facts = {"time": time.time(), "event": event, **self._facts, **facts}
        line = without_credentials(json.dumps(facts)).encode() + b"\n"
        if not self._folder.local:
            self._lines.append(line)
            if time.monotonic() - self._put > PUT_S:
                self.close()
            return
        with suppress(OSError), open(self._folder.child(NAME), "ab", opener=private) as file:
            file.write(b"\n" + line if self._first else line)  # a killed driver may have left half a line
            self._first = False

    def close(self) -> None:
        """Write the rest to an object store."""
        if self._lines:
            with suppress(OSError, Stopped, pa.ArrowException):
                self._folder.write(self._name, b"".join(self._lines))
            self._put = time.monotonic()


def read(folder: Folder) -> Iterator[JournalLine]:
    """All lines of all drivers, in the order of writing; foreign lines are ignored."""
    names = ([NAME] if folder.exists(NAME) else []) + [f"journal/{name}" for name in folder.names("journal")]
    for name in names:
        with suppress(BadInput, FileNotFoundError):  # reports of progress must not stop a run
            for line in folder.read(name).splitlines():
                with suppress(ValueError, RecursionError, BadInput):
                    yield admit(JournalLine, json.loads(line))
