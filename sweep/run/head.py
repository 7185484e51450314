"""Whether a cluster's head still answers, seen from a thread that no call of Ray's can hold; and what Ray left behind.

Ray ends the driver without a word a minute after its head has died, and once in a while does not even do that.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sweep.store.processes import descendants, lives

LOOK_S = 5.0  # between two looks
SILENT_S = 40.0  # of a head, after which the run ends: before the 60 s of Ray's own
SLACK_S = 60.0  # beyond the longest wait for a chunk, for one turn of the driver's loop
END_S = 3.0  # for a process to end when told to


class Watch:
    """Looks at the head every LOOK_S; `lost` is called from another thread, and must end the process."""

    def __init__(self, address: str, lost: Callable[[str], None], longest_s: float, session: str | None) -> None:
        self._address, self._lost, self._longest_s, self._session = address, lost, longest_s, session
        self._processes: dict[int, int] = {}
        self._turned = time.monotonic()
        self._over = threading.Event()
        self._see()
        threading.Thread(target=self._look, daemon=True).start()

    def turn(self) -> None:
        """Say that the driver's loop turns."""
        self._turned = time.monotonic()

    def stop(self) -> None:
        """Look no more."""
        self._see()
        self._over.set()

    def end_processes(self) -> None:
        """End what is left of the processes of this driver's own cluster; another's are none of ours."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid, ticks in self._processes.items():
                if lives(pid, ticks):
                    with suppress(OSError):
                        os.kill(pid, number)
            end = time.monotonic() + END_S
            while any(lives(pid, ticks) for pid, ticks in self._processes.items()) and time.monotonic() < end:
                time.sleep(0.05)

    def _see(self) -> None:
        """Children of this process that belong to the session, and theirs: their names do not tell it later."""
        if self._session is None:
            return
        mark = self._session.encode()
        for pid, ticks in descendants(os.getpid()).items():
            with suppress(OSError):
                if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
                    self._processes |= {pid: ticks, **descendants(pid)}

    def _look(self) -> None:
        silent: float | None = None
        while not self._over.wait(LOOK_S):
            self._see()
            now = time.monotonic()
            if now - self._turned > self._longest_s + SLACK_S:
                self._end(f"a call of Ray's has not returned for {now - self._turned:.0f} s")
            if _answers(self._address):
                silent = None
                continue
            silent = silent or now
            if now - silent > SILENT_S:
                self._end(f"Ray's head at {self._address} has not answered for {now - silent:.0f} s")

    def _end(self, why: str) -> None:
        if self._over.is_set():
            return
        self.end_processes()
        self._lost(why)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=LOOK_S).close()
    except OSError:
        return False
    return True
