"""Whether a cluster's head still answers, seen from a thread that no call of Ray's can hold; and what Ray left behind.

What there is to say where Ray has ended the driver is said by a process beside it.

Ray ends the driver without a word a minute after its head has died, and once in a while does not even do that.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from sweep.store.processes import descendants, lives

LOOK_S = 5.0  # between two looks
SILENT_S = 40.0  # of a head, after which the run ends: before the 60 s of Ray's own
SLACK_S = 60.0  # beyond the longest wait for a chunk, for one turn of the driver's loop
END_S = 3.0  # for a process to end when told to
WORD_S = 30  # for the last words of a driver


class Watch:
    """Looks at the head every LOOK_S; `lost` is called from another thread, and must end the process."""

    def __init__(self, address: str, lost: Callable[[str], None], longest_s: float, session: str | None) -> None:
        self._address, self._lost, self._longest_s, self._session = address, lost, longest_s, session
        self.processes: dict[int, int] = {}
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
        end_processes(self.processes)

    def _see(self) -> None:
        """Children of this process that belong to the session, and theirs: their names do not tell it later."""
        if self._session is None:
            return
        mark = self._session.encode()
        for pid, ticks in descendants(os.getpid()).items():
            with suppress(OSError):
                if mark in Path(f"/proc/{pid}/cmdline").read_bytes():
                    self.processes |= {pid: ticks, **descendants(pid)}

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


def end_processes(processes: Mapping[int, int]) -> None:
    """End those of these processes, by pid and start, that live."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, ticks in processes.items():
            if lives(pid, ticks):
                with suppress(OSError):
                    os.kill(pid, number)
        end = time.monotonic() + END_S
        while any(lives(pid, ticks) for pid, ticks in processes.items()) and time.monotonic() < end:
            time.sleep(0.05)


class LastWord:
    """A process beside this one that says these words where this one ends before it takes them back.

    Ray ends the driver at once, and no code of Python's runs any more, where the raylet that it speaks to has died.
    """

    def __init__(self, words: Callable[[dict[int, int]], None]) -> None:
        heard, self._spoken = os.pipe()
        self._child = os.fork()
        if self._child:
            os.close(heard)
            return
        try:
            os.setsid()  # what a terminal sends to all of this run's processes is not meant for this one
            os.close(self._spoken)
            with open(heard, encoding="ascii") as file:
                told = [json.loads(line) for line in file]
            if None not in told:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(WORD_S)
                words({int(pid): ticks for each in told for pid, ticks in each.items()})
        finally:
            os._exit(0)

    def tell(self, processes: Mapping[int, int] | None) -> None:
        """Processes that are then to be ended, by pid and start; None: no word is to be said."""
        with suppress(OSError):
            os.write(self._spoken, json.dumps(processes).encode() + b"\n")

    def take_back(self) -> None:
        """Say nothing."""
        self.tell(None)
        with suppress(OSError):
            os.close(self._spoken)
            os.waitpid(self._child, 0)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=LOOK_S).close()
    except OSError:
        return False
    return True
