"""One driver per folder: the kernel's lock on it, and a lock file with host, pid and a heartbeat.

The kernel admits a second driver of its machine only after the end of the first, for any namespaces: a holder from the
same boot and namespaces is dead where the folder can be locked. If it cannot be locked, such a holder is dead when no
running process has its pid. From elsewhere it is dead when its heartbeat is older than STALE_S. Ages are differences of
the folder's own modification times, so clocks of hosts need not agree. On a local or network filesystem the file is
created exclusively. On an object store the lock is advisory: two drivers that start in the same second may both get it;
both would then write the same bytes under the same names.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from sweep.errors import BadInput, Stopped
from sweep.inputs.door import Written, admit
from sweep.store.folder import Folder, has_process, private, reason

NAME = "lock.json"
HEARTBEAT_S = 5.0
STALE_S = 60.0
NOBODY_S = 10.0  # after which a lock without a holder is stale: a full disk left it


class Holder(Written):
    """The content of lock.json; empty if it cannot be read."""

    host: str = ""
    space: str = ""
    pid: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    token: str = ""
    running: int = 0

    def __str__(self) -> str:
        return f"host {self.host or '?'}, pid {self.pid or '?'}"


class Lock:
    """A lock of this process, with a heartbeat; `running` is the number of chunks for the status."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.running = 0
        self.lost: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)
        self._kernel: int | None = None  # descriptor of the folder with the kernel's lock
        self._mine = {"host": socket.gethostname(), "space": space(), "pid": os.getpid(), "token": uuid.uuid4().hex}

    def __enter__(self) -> Lock:
        self.acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(HEARTBEAT_S)
        self.release()

    def _beat_on(self) -> None:
        while not self._over.wait(HEARTBEAT_S) and not self.lost:
            with suppress(OSError, Stopped, BadInput):
                self.beat()

    def check(self) -> None:
        """Stopped if another driver has taken the lock, or it is gone: this one was taken for dead."""
        if not self.lost and self.folder.local and not os.path.exists(self.folder.child(NAME)):
            self.lost = self._gone()
        if self.lost:
            raise Stopped(1, self.lost)

    def beat(self) -> None:
        """Write a heartbeat of this driver."""
        other = read(self.folder)
        if other is None:
            self.lost = self._gone()
        elif other.token != self._mine["token"]:
            self.lost = f"{other} has taken over {self.folder}, since this process was silent for too long"
        else:
            self.folder.write(NAME, self._content())

    def _gone(self) -> str:
        return f"{self.folder}/{NAME} is gone: the folder was removed or moved, or another sweep takes it over"

    def _content(self) -> bytes:
        return json.dumps({**self._mine, "running": self.running}).encode() + b"\n"

    def acquire(self) -> None:
        """Lock the folder; BadInput if another driver has it."""
        try:
            free = self._ask_kernel()
            other = read(self.folder)
            if other is not None:
                age_s = heartbeat_age_s(self.folder)
                if free is False or not dead(other, age_s, locked=free is True):
                    raise BadInput(
                        f"out={self.folder}: another sweep runs there: {other}, heartbeat {age_s:.0f} s ago; "
                        f"wait for it, stop it, or choose another folder"
                    )
                self.folder.remove(NAME)
            if free is False:
                raise FileExistsError
            self._create()
        except BaseException as error:
            self._let_go()
            if isinstance(error, FileExistsError):
                raise BadInput(f"out={self.folder}: another sweep has just started there") from None
            raise

    def _ask_kernel(self) -> bool | None:
        """Whether this process got the kernel's lock on the folder; None if folders cannot be locked.

        The lock belongs to this process alone and ends with it: its children do not inherit the descriptor.
        """
        if not self.folder.local:
            return None
        try:
            self._kernel = os.open(self.folder.path, os.O_RDONLY)
        except OSError as error:
            raise BadInput(f"out={self.folder}: cannot be read: {reason(error)}") from None
        try:
            fcntl.flock(self._kernel, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True

    def _let_go(self) -> None:
        if self._kernel is not None:
            os.close(self._kernel)
            self._kernel = None

    def _create(self) -> None:
        """Create the file; FileExistsError if there is one."""
        if self.folder.local:
            os.close(private(self.folder.child(NAME), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            self.folder.write(NAME, self._content())
        except Stopped:
            self.folder.remove(NAME)
            raise

    def release(self) -> None:
        with suppress(OSError, Stopped, BadInput):
            other = read(self.folder)
            if other is not None and other.token == self._mine["token"]:
                self.folder.remove(NAME)
        self._let_go()


def read(folder: Folder) -> Holder | None:
    """The holder of a folder's lock; None without a lock, an empty one if it cannot be read."""
    try:
        return admit(Holder, json.loads(folder.read(NAME)))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, BadInput):
        return Holder()


def heartbeat_age_s(folder: Folder) -> float:
    """Seconds since the lock was written, by the folder's clock if the folder is writable."""
    name = f".probe-{uuid.uuid4().hex}"
    try:
        folder.write(name, b"")
        now = _modified(folder, name)
        folder.remove(name)
    except (OSError, Stopped):
        now = None
    return max(0.0, (now or time.time()) - (_modified(folder, NAME) or 0.0))


def dead(holder: Holder, age_s: float, locked: bool = False) -> bool:
    """Whether the holder of this lock is dead; `locked`: this process has got the kernel's lock on the folder."""
    if holder.pid and holder.space and holder.space == space():
        return locked or not has_process(holder.pid)
    return age_s > (STALE_S if holder.pid else NOBODY_S)


def space() -> str:
    """The boot and the namespace in which a pid identifies a process; empty: not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _modified(folder: Folder, name: str) -> float | None:
    try:
        mtime_ns = folder.filesystem.get_file_info(folder.child(name)).mtime_ns
    except (OSError, pa.ArrowException):
        return None
    return None if mtime_ns is None else mtime_ns / 1e9
