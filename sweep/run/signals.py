"""The early end of a run: reason, exit code, and never in the middle of a commit."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from sweep.errors import Stopped


class Signals:
    """Signals that end a program as Stopped with 128 plus their number, after a commit in progress.

    An ignored SIGHUP, as under nohup, stays ignored. Batch systems send SIGUSR1 or SIGUSR2 before they end a job.
    """

    def __init__(self) -> None:
        self._committing = False
        self._pending: Stopped | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self._before[number] = signal.signal(number, self._receive)
            except ValueError:  # not in the main thread: the caller decides
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        stop = Stopped(128 + number, f"stopped by {signal.Signals(number).name}")
        self._pending = stop  # raised here it may be lost, in a destructor
        if not self._committing:
            raise stop

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Nothing in this block is interrupted."""
        if self._pending:
            raise self._pending
        self._committing = True
        try:
            yield
        finally:
            self._committing = False
        if self._pending:
            raise self._pending
