"""One line of progress: redrawn on a terminal, printed every 30 s in a log, absent when quiet."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO, cast

from sweep.messages import Forgiving

LOG_EVERY_S = 30.0
BAR = 24  # characters


class Progress:
    """The progress of `points` points, `before` of them already done; `work_s` are the CPU seconds of the others.

    The line goes to stderr, since stdout has the table. Time between calls is not interrupted: a line in a log comes
    with the first advance after 30 s, and with the last one.
    """

    def __init__(
        self, points: int, quiet: bool = False, stream: TextIO | None = None, before: int = 0,
        work_s: float | None = None,
    ) -> None:  # fmt: skip
        self._stream = cast(TextIO, Forgiving(stream or sys.stderr))
        self._quiet = quiet
        self._points, self._before, self._done = points, before, before
        self._work_s = points - before if work_s is None else work_s  # by default equal for each point
        self._worked_s = 0.0  # of points done
        self._failures = 0
        self._cpus: float | None = None  # in use, on Ray
        self._begin_s = self._printed_s = time.monotonic()
        self._first: tuple[float, float] | None = None  # time and work of the first points done
        self._live: AbstractContextManager[Any] = nullcontext()

    def __enter__(self) -> Progress:
        if not self._quiet and self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self, console=Console(file=self._stream), refresh_per_second=4)
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def advance(self, points: int, work_s: float | None = None, failures: int = 0, cpus: float | None = None) -> None:
        """Count more points as done."""
        self._done += points
        self._worked_s += points if work_s is None else work_s
        self._failures += failures
        self._cpus = cpus
        self._first = self._first or (time.monotonic(), self._worked_s)
        due = self._done >= self._points or time.monotonic() - self._printed_s >= LOG_EVERY_S
        if due and not self._quiet and isinstance(self._live, nullcontext):
            self._printed_s = time.monotonic()
            print(self, file=self._stream, flush=True)

    def left_s(self) -> float | None:
        """The time left: estimated work at the speed since the first points were done.

        The start of Ray and compiling do not count. Before a second result all of the time does.
        """
        begin_s, before_s = self._first or (self._begin_s, 0.0)
        if not self._worked_s > before_s:
            begin_s, before_s = self._begin_s, 0.0
        now_s = time.monotonic()
        speed = (self._worked_s - before_s) / (now_s - begin_s) if now_s > begin_s else 0.0
        return max(self._work_s - self._worked_s, 0.0) / speed if speed else None

    def __str__(self) -> str:
        """Bar, points done, rate, time left, failures, CPUs in use."""
        share = self._done / self._points if self._points else 1.0
        filled = int(BAR * share)
        elapsed_s = time.monotonic() - self._begin_s
        rate = (self._done - self._before) / elapsed_s if elapsed_s > 0 else 0.0
        left_s = self.left_s()
        left = "time left unknown" if left_s is None else duration(left_s) + " left"
        words = [f"{self._done}/{self._points} points", f"{rate:.3g}/s", left if share < 1.0 else duration(elapsed_s)]
        if self._failures:
            words.append(f"{self._failures} points failed")
        if self._cpus is not None:
            words.append(f"{self._cpus:g} CPUs busy")
        return f"[{'#' * filled}{'.' * (BAR - filled)}] " + ", ".join(words)

    def __rich__(self) -> Any:
        from rich.text import Text

        return Text(str(self), no_wrap=True, overflow="ellipsis")


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
