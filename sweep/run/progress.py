"""One line of progress: redrawn on a terminal, printed every 30 s in a log, absent when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, cast

from sweep.messages import Forgiving

LOG_EVERY_S = 30.0
BAR = 24  # characters


@dataclass
class Progress:
    """The progress of a run."""

    points: int
    done: int = 0
    before: int = 0  # points done by an earlier run
    failures: int = 0
    cpus: float | None = None  # in use, on Ray
    begin_s: float = 0.0
    work_s: float | None = None  # estimated CPU seconds of all points; None: equal for each
    worked_s: float = 0.0  # of points done
    first: tuple[float, float] | None = None  # time and `worked_s` of the first points done

    def advance(self, now_s: float, points: int, work_s: float | None, failures: int, cpus: float | None) -> None:
        """Count more points as done."""
        self.done += points
        self.worked_s += float(points) if work_s is None else work_s
        self.failures += failures
        self.cpus = cpus
        self.first = self.first or (now_s, self.worked_s)

    def left_s(self, now_s: float) -> float | None:
        """The time left: estimated work at the speed since the first points were done.

        The start of Ray and compiling do not count. Before a second result all of the time does.
        """
        work_s = float(self.points - self.before) if self.work_s is None else self.work_s
        begin_s, before_s = self.first or (self.begin_s, 0.0)
        if not self.worked_s > before_s:
            begin_s, before_s = self.begin_s, 0.0
        speed = (self.worked_s - before_s) / (now_s - begin_s) if now_s > begin_s else 0.0
        return max(work_s - self.worked_s, 0.0) / speed if speed else None

    def line(self, now_s: float) -> str:
        """Bar, points done, rate, time left, failures, CPUs in use."""
        share = self.done / self.points if self.points else 1.0
        filled = int(BAR * share)
        elapsed_s = now_s - self.begin_s
        rate = (self.done - self.before) / elapsed_s if elapsed_s > 0 else 0.0
        left_s = self.left_s(now_s)
        left = "time left unknown" if left_s is None else _time(left_s) + " left"
        words = [f"{self.done}/{self.points} points", f"{rate:.3g}/s", left if share < 1.0 else _time(elapsed_s)]
        if self.failures:
            words.append(f"{self.failures} points failed")
        if self.cpus is not None:
            words.append(f"{self.cpus:g} CPUs busy")
        return f"[{'#' * filled}{'.' * (BAR - filled)}] " + ", ".join(words)


Advance = Callable[..., None]  # advance(points, work_s=None, failures=0, cpus=None)


@contextmanager
def progress(
    points: int, quiet: bool, stream: TextIO | None = None, before: int = 0, work_s: float | None = None
) -> Iterator[Advance]:
    """Show the progress of `points` points, `before` of them already done; yields `advance`, called at each commit.

    `work_s` are the estimated CPU seconds of the others; `advance` takes those of the points done, which differ.

    The line goes to stderr, since stdout has the table. Time between calls is not interrupted: a line in a log comes
    with the first advance after 30 s.
    """
    if stream is None:
        stream = cast(TextIO, sys.stderr if isinstance(sys.stderr, Forgiving) else Forgiving(sys.stderr))
    state = Progress(points, before, before, begin_s=time.monotonic(), work_s=work_s)
    draw: Callable[[bool], None]
    if quiet:
        draw = _nothing
    elif stream.isatty():
        with _live(stream, state) as draw:
            yield _advancing(state, draw)
            draw(True)
        return
    else:
        draw = _logging(stream, state)
    yield _advancing(state, draw)
    draw(True)


def _advancing(state: Progress, draw: Callable[[bool], None]) -> Advance:
    def advance(points: int, work_s: float | None = None, failures: int = 0, cpus: float | None = None) -> None:
        state.advance(time.monotonic(), points, work_s, failures, cpus)
        draw(False)

    return advance


def _nothing(last: bool) -> None:
    pass


def _logging(stream: TextIO, state: Progress) -> Callable[[bool], None]:
    printed_s = time.monotonic()

    def draw(last: bool) -> None:
        nonlocal printed_s
        now_s = time.monotonic()
        if last or now_s - printed_s >= LOG_EVERY_S:
            printed_s = now_s
            print(state.line(now_s), file=stream, flush=True)

    return draw


@contextmanager
def _live(stream: TextIO, state: Progress) -> Iterator[Callable[[bool], None]]:
    """A line that redraws itself four times a second, by rich."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    class Line:
        def __rich__(self) -> Any:
            return Text(state.line(time.monotonic()), no_wrap=True, overflow="ellipsis")

    with Live(Line(), console=Console(file=stream), refresh_per_second=4) as live:
        yield lambda last: live.refresh() if last else None


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
