"""A watch on a cluster's head, from a thread that no call of Ray can block, and the end of Ray's leftovers.

Ray kills the driver silently a minute after its head has died, and sometimes not even then. A second process reports
that end.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress

import psutil

from sweep.store.folder import lives

LOOK_S = 5.0  # between two checks
SILENT_S = 40.0  # without an answer of the head, the run ends: before Ray's own 60 s
SLACK_S = 60.0  # beyond the longest wait for a chunk, for one turn of the driver's loop
END_S = 3.0  # for a process to end after a signal
WORD_S = 30  # for the last message of a driver


class Watch:
    """Checks the head every LOOK_S; calls `lost` from another thread, which must end the process.

    `own` are the processes that Ray has started for a cluster of this driver.
    """

    def __init__(
        self, address: str, lost: Callable[[str], None], longest_s: float, own: Collection[psutil.Process]
    ) -> None:
        self._address, self._lost, self._longest_s = address, lost, longest_s
        self._own, self.processes = own, {*own}
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

    def _see(self) -> None:
        """Record the children of our own cluster's processes: after its end they have another parent."""
        for process in self._own:
            with suppress(psutil.Error):
                self.processes = self.processes | {*process.children(recursive=True)}

    def _look(self) -> None:
        silent: float | None = None
        while not self._over.wait(LOOK_S):
            self._see()
            now = time.monotonic()
            if now - self._turned > self._longest_s + SLACK_S:
                self._end(f"a call of Ray has not returned for {now - self._turned:.0f} s")
            try:
                connect(self._address, LOOK_S)
                silent = None
            except OSError:
                silent = silent or now
                if now - silent > SILENT_S:
                    self._end(f"Ray's head at {self._address} has not answered for {now - silent:.0f} s")

    def _end(self, why: str) -> None:
        if self._over.is_set():
            return
        end_processes(self.processes)
        self._lost(why)


def end_processes(processes: Collection[psutil.Process]) -> None:
    """End those of these processes that still run."""
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.Error):
                end(process)
        until = time.monotonic() + END_S
        while any(map(lives, processes)) and time.monotonic() < until:
            time.sleep(0.05)


class LastWord:
    """A second process that prints a message if this one ends before it withdraws the message.

    Ray kills the driver at once, without running any Python code, when its raylet has died.
    """

    def __init__(self, words: Callable[[Collection[psutil.Process]], None]) -> None:
        heard, self._spoken = os.pipe()
        self._child = os.fork()
        if self._child:
            os.close(heard)
            return
        try:
            os.setsid()  # no signals of the run's terminal
            os.close(self._spoken)
            processes: list[psutil.Process] = []
            with open(heard, encoding="ascii") as file:
                for line in file:
                    told = json.loads(line)
                    if told is None:
                        return
                    processes = [each for each in psutil.process_iter() if each.pid in told]
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(WORD_S)
            words(processes)
        finally:
            os._exit(0)

    def tell(self, processes: Collection[psutil.Process]) -> None:
        """Set the processes to end then."""
        self._send([each.pid for each in processes])

    def take_back(self) -> None:
        """Withdraw the message."""
        self._send(None)
        with suppress(OSError):
            os.close(self._spoken)
            os.waitpid(self._child, 0)

    def _send(self, pids: list[int] | None) -> None:
        with suppress(OSError):
            os.write(self._spoken, json.dumps(pids).encode() + b"\n")


def connect(address: str, timeout_s: float) -> None:
    """OSError if nothing answers at HOST:PORT."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=timeout_s).close()
