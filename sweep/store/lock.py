"""One driver per folder: the kernel's lock on it, and a lock file with host, pid, start and a heartbeat.

The kernel admits a second driver of its machine only after the end of the first, for any namespaces. If it cannot
lock a folder, or the holder may be on another machine, the file decides: on the same boot and in the same namespaces
the holder is the process of that pid and start, independent of clocks. From elsewhere it counts as dead when its
heartbeat is older than STALE_S. Ages are differences of the folder's own modification times, so clocks of hosts need
not agree. On a local or network filesystem the file appears whole and exclusively. On an object store the lock is
advisory: two drivers that start in the same second may both get it; both would then write the same bytes under the same
names.
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

import pyarrow as pa
from pyarrow import fs

from sweep.errors import BadInput, Stopped
from sweep.inputs.door import Written, admit
from sweep.store import processes
from sweep.store.folder import Folder, private, reason, temporary_name

NAME = "lock.json"
HEARTBEAT_S = 5.0
STALE_S = 60.0
NOBODY_S = 10.0  # after which a lock without a holder is stale: a full disk left it


class Holder(Written):
    """The content of lock.json; empty if it cannot be read."""

    host: str = ""
    space: str = ""
    pid: int = 0
    ticks: int | None = None
    token: str = ""
    running: int = 0

    def __str__(self) -> str:
        return f"host {self.host or '?'}, pid {self.pid or '?'}"


class Lock:
    """A lock of this process; `running` is the number of chunks for the status."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.running = 0
        self.lost: str | None = None
        self._kernel: int | None = None  # descriptor of the folder with the kernel's lock
        self._mine = {
            "host": socket.gethostname(), "space": processes.space(), "pid": os.getpid(),
            "ticks": processes.start_ticks(os.getpid()), "token": uuid.uuid4().hex,
        }  # fmt: skip

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
            return
        if other.token != self._mine["token"]:
            self.lost = f"{other} has taken over {self.folder}, since this process was silent for too long"
            return
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
                if not (free and dead(other, age_s)):
                    raise BadInput(
                        f"out={self.folder}: another sweep runs there: {other}, heartbeat {age_s:.0f} s ago; "
                        f"wait for it, stop it, or choose another folder"
                    )
                self.folder.remove(NAME)
            if not self.folder.local:
                self.folder.write(NAME, self._content())
                return
            try:
                if not free:
                    raise FileExistsError
                self._create(self.folder.child(NAME))
            except FileExistsError:
                raise BadInput(f"out={self.folder}: another sweep has just started there") from None
            except OSError as error:
                raise Stopped(1, f"{self.folder.child(NAME)}: cannot be written: {reason(error)}") from None
        except BaseException:
            self._let_go()
            raise

    def _ask_kernel(self) -> bool:
        """Whether no other process of this kernel has locked the folder; True if folders cannot be locked.

        The lock belongs to this process alone and ends with it: its children do not inherit the descriptor.
        """
        if not self.folder.local:
            return True
        try:
            self._kernel = os.open(self.folder.path, os.O_RDONLY)
        except OSError as error:
            raise BadInput(f"out={self.folder}: cannot be read: {reason(error)}") from None
        try:
            fcntl.flock(self._kernel, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _let_go(self) -> None:
        if self._kernel is not None:
            os.close(self._kernel)
            self._kernel = None

    def _create(self, path: str) -> None:
        """Create the file, complete or not at all, and only if there is none."""
        temporary = os.path.join(self.folder.path, temporary_name(NAME))
        try:
            with open(temporary, "wb", opener=private) as file:
                file.write(self._content())
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise
            except OSError:  # a filesystem without hard links
                with open(path, "xb", opener=private) as file:
                    file.write(self._content())
        finally:
            with suppress(OSError):
                os.unlink(temporary)

    def release(self) -> None:
        with suppress(OSError, Stopped, BadInput):
            other = read(self.folder)
            if other is not None and other.token == self._mine["token"]:
                self.folder.remove(NAME)
        self._let_go()


@contextmanager
def held(folder: Folder) -> Iterator[Lock]:
    """Lock a folder, with a heartbeat; BadInput if another driver has it."""
    lock = Lock(folder)
    lock.acquire()
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_S) and not lock.lost:
            with suppress(OSError, Stopped, BadInput):
                lock.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield lock
    finally:
        over.set()
        thread.join(HEARTBEAT_S)
        lock.release()


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
        now = time.time()
    return max(0.0, (now or time.time()) - (_modified(folder, NAME) or 0.0))


def dead(holder: Holder, age_s: float) -> bool:
    """Whether the holder of this lock is dead."""
    if holder.pid and holder.space and holder.space == processes.space():
        return not processes.lives(holder.pid, holder.ticks)
    return age_s > (STALE_S if holder.pid else NOBODY_S)


def _modified(folder: Folder, name: str) -> float | None:
    try:
        info = folder.filesystem.get_file_info(folder.child(name))
    except (OSError, pa.ArrowException):
        return None
    return None if info.type == fs.FileType.NotFound or info.mtime_ns is None else info.mtime_ns / 1e9
