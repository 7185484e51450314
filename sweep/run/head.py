"""A watch on a cluster's head, from a thread that no call of Ray can block, and the end of Ray's leftovers.

A second process reports the end of a driver that Ray has killed.

Ray kills the driver silently a minute after its head has died, and sometimes not even then.
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

LOOK_S = 5.0  # between two checks
SILENT_S = 40.0  # without an answer of the head, the run ends: before Ray's own 60 s
SLACK_S = 60.0  # beyond the longest wait for a chunk, for one turn of the driver's loop
END_S = 3.0  # for a process to end after a signal
WORD_S = 30  # for the last message of a driver


class Watch:
    """Checks the head every LOOK_S; calls `lost` from another thread, which must end the process."""

    def __init__(self, address: str, lost: Callable[[str], None], longest_s: float, session: str | None) -> None:
        self._address, self._lost, self._longest_s, self._session = address, lost, longest_s, session
        self.processes: dict[int, int] = {}
        self._turned = time.monotonic()
        self._over = threading.Event()
        self._see()
        threading.Thread(target=self._look, daemon=True).start()

    def turn(self) -> None:
        """Record a turn of the driver's loop."""
        self._turned = time.monotonic()

    def stop(self) -> None:
        """Stop checking."""
        self._see()
        self._over.set()

    def end_processes(self) -> None:
        """End remaining processes of this driver's own cluster, and no others."""
        end_processes(self.processes)

    def _see(self) -> None:
        """Record this process's descendants in the session: their names do not show it later."""
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
                self._end(f"a call of Ray has not returned for {now - self._turned:.0f} s")
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
    """End those of these processes, by pid and start, that still run."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, ticks in processes.items():
            if lives(pid, ticks):
                with suppress(OSError):
                    os.kill(pid, number)
        end = time.monotonic() + END_S
        while any(lives(pid, ticks) for pid, ticks in processes.items()) and time.monotonic() < end:
            time.sleep(0.05)


class LastWord:
    """A second process that prints a message if this one ends before it withdraws the message.

    Ray kills the driver at once, without running any Python code, when its raylet has died.
    """

    def __init__(self, words: Callable[[dict[int, int]], None]) -> None:
        heard, self._spoken = os.pipe()
        self._child = os.fork()
        if self._child:
            os.close(heard)
            return
        try:
            os.setsid()  # no signals of the run's terminal
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
        """Set the processes to end then, by pid and start; None: no message."""
        with suppress(OSError):
            os.write(self._spoken, json.dumps(processes).encode() + b"\n")

    def take_back(self) -> None:
        """Withdraw the message."""
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
