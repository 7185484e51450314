"""What happened when and where: a line of JSON per chunk and per start or stop of a driver. No result depends on it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sweep.errors import Stopped
from sweep.store.folder import Folder

NAME = "journal.jsonl"
PUT_S = 30.0  # how often the journal is written to an object store, where nothing can be appended


class Journal:
    """The journal of one driver; where a folder cannot be appended to, a file of its own in `journal/`."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lines: list[bytes] = []
        self._put = time.monotonic()
        host, pid = socket.gethostname(), os.getpid()
        self._name = f"journal/{time.strftime('%Y%m%dT%H%M%S')}-{host}-{pid}.jsonl"
        self._facts = {"host": host, "pid": pid}
        self._first = True

    def note(self, event: str, **facts: Any) -> None:
        """Add a line; a journal that cannot be written stops nothing."""
        line = json.dumps({"time": time.time(), "event": event, **self._facts, **facts}).encode() + b"\n"
        if not self._folder.local:
            self._lines.append(line)
            if time.monotonic() - self._put > PUT_S:
                self.close()
            return
        with suppress(OSError), open(self._folder.child(NAME), "ab") as file:
            file.write(b"\n" + line if self._first else line)  # a driver that was killed may have left half a line
            self._first = False

    def close(self) -> None:
        """Write what an object store has not got yet."""
        if self._lines:
            with suppress(OSError, Stopped):
                self._folder.write(self._name, b"".join(self._lines))
            self._put = time.monotonic()


def read(folder: Folder) -> Iterator[dict[str, Any]]:
    """All lines of all drivers, in the order of writing; what is not JSON is left out."""
    names = ([NAME] if folder.exists(NAME) else []) + [f"journal/{name}" for name in folder.names("journal")]
    for name in names:
        for line in folder.read(name).splitlines():
            with suppress(ValueError):
                content = json.loads(line)
                if isinstance(content, dict):
                    yield content
