"""One driver per folder: a lock file with host, pid and a heartbeat.

A lock is stale when its process is gone (same host and pid namespace) or, from anywhere, when its heartbeat is older
than STALE_S. Ages are differences of the folder's own modification times, so clocks of hosts need not agree. On a local
or network filesystem the file is created exclusively. On an object store the lock is advisory: two drivers that start
in the same second may both get it; both would then write the same bytes under the same names.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pyarrow import fs

from sweep.errors import BadInput, Stopped
from sweep.store.folder import Folder

NAME = "lock.json"
HEARTBEAT_S = 5.0
STALE_S = 60.0


class Lock:
    """A lock that is held; `running` is what the status shows of the holder's work."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.running = 0
        self.lost: str | None = None
        self._mine = {
            "host": socket.gethostname(), "space": _space(), "pid": os.getpid(), "started": time.time(),
            "token": uuid.uuid4().hex,
        }  # fmt: skip

    def check(self) -> None:
        """Stopped if another driver holds the lock by now: this one was taken for dead."""
        if self.lost:
            raise Stopped(1, self.lost)

    def beat(self) -> None:
        """Say that this driver lives."""
        other = read(self.folder)
        if other is not None and other.get("token") != self._mine["token"]:
            self.lost = f"{holder(other)} has taken over {self.folder}, since this process was silent for too long"
            return
        self.folder.write(NAME, self._content())

    def _content(self) -> bytes:
        return json.dumps({**self._mine, "running": self.running}).encode() + b"\n"

    def acquire(self) -> None:
        with _exclusive(self.folder):
            other = read(self.folder)
            if other is not None:
                age_s = heartbeat_age_s(self.folder)
                if not dead(other, age_s):
                    raise BadInput(
                        f"out={self.folder}: another sweep runs there: {holder(other)}, heartbeat {age_s:.0f} s ago; "
                        f"wait for it, stop it, or choose another folder"
                    )
                self.folder.remove(NAME)
            if not self.folder.local:
                self.folder.write(NAME, self._content())
                return
            try:
                with open(self.folder.child(NAME), "xb") as file:
                    file.write(self._content())
            except FileExistsError:
                raise BadInput(f"out={self.folder}: another sweep has just started there") from None

    def release(self) -> None:
        with suppress(OSError):
            other = read(self.folder)
            if other is not None and other.get("token") == self._mine["token"]:
                self.folder.remove(NAME)


@contextmanager
def held(folder: Folder) -> Iterator[Lock]:
    """Hold the lock of a folder, with a heartbeat; BadInput if another driver has it."""
    lock = Lock(folder)
    lock.acquire()
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_S) and not lock.lost:
            with suppress(OSError, Stopped):
                lock.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield lock
    finally:
        over.set()
        thread.join(HEARTBEAT_S)
        lock.release()


def read(folder: Folder) -> dict[str, Any] | None:
    """What the lock of a folder says, or None where there is none; {} where it cannot be read."""
    try:
        content = json.loads(folder.read(NAME))
    except FileNotFoundError:
        return None
    except (ValueError, OSError):
        return {}
    return content if isinstance(content, dict) else {}


def holder(lock: dict[str, Any]) -> str:
    return f"host {lock.get('host', '?')}, pid {lock.get('pid', '?')}"


def heartbeat_age_s(folder: Folder) -> float:
    """Seconds since the lock was written, by the folder's clock where we may write there."""
    name = f".probe-{uuid.uuid4().hex}"
    try:
        folder.write(name, b"")
        now = _modified(folder, name)
        folder.remove(name)
    except (OSError, Stopped):
        now = time.time()
    return max(0.0, (now or time.time()) - (_modified(folder, NAME) or 0.0))


def dead(lock: dict[str, Any], age_s: float) -> bool:
    """Whether nobody holds this lock any more."""
    if age_s > STALE_S:
        return True
    if (lock.get("host"), lock.get("space")) != (socket.gethostname(), _space()):
        return False
    try:
        os.kill(int(lock["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(int(lock["pid"])) > float(lock["started"]) + 2.0  # the pid belongs to a younger process


def _started(pid: int) -> float:
    """When a process of this host started, seconds since the epoch; 0 where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/stat") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith("btime"))
    except (OSError, StopIteration):
        return 0.0
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def _space() -> str:
    """What tells apart containers of one host name: a pid means nothing in another pid namespace."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _modified(folder: Folder, name: str) -> float | None:
    info = folder.filesystem.get_file_info(folder.child(name))
    return None if info.type == fs.FileType.NotFound or info.mtime_ns is None else info.mtime_ns / 1e9


@contextmanager
def _exclusive(folder: Folder) -> Iterator[None]:
    """No two processes of one filesystem look at the lock at once; where folders cannot be locked, O_EXCL must do."""
    if not folder.local:
        yield
        return
    descriptor = os.open(folder.path, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
