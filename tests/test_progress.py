"""The progress line: one on a terminal, a line every 30 s in a log, none when quiet."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from sweep.run import progress as module
from sweep.run.progress import Progress, progress


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_the_line_says_bar_points_rate_time_left_failures_and_cpus():
    some = Progress(points=200, begin_s=0.0)
    some.advance(10.0, 50, None, 2, 6.0)
    assert some.line(10.0) == "[######..................] 50/200 points, 5/s, 30 s left, 2 points failed, 6 CPUs busy"
    started = Progress(points=200, begin_s=0.0, work_s=100.0)  # ten of them take half of the work
    started.advance(30.0, 10, 50.0, 0, None)  # Ray, and compiling
    assert "10/200 points, 0.333/s, 30 s left" in started.line(30.0)
    started.advance(40.0, 10, 20.0, 0, None)
    assert "20/200 points, 0.5/s, 15 s left" in started.line(40.0)  # what is left at two a second
    assert "time left unknown" in Progress(points=200, begin_s=0.0).line(1.0)
    assert Progress(points=2, done=2, begin_s=0.0).line(3700.0).endswith("1 h 01 min")


def test_a_log_gets_a_line_every_thirty_seconds_and_one_at_the_end(clock):
    stream = io.StringIO()
    with progress(100, quiet=False, stream=stream) as advance:
        for _ in range(10):
            clock.now_s += 7.0
            advance(10)
    lines = stream.getvalue().splitlines()
    assert [line.split("] ")[1].split(" points")[0] for line in lines] == ["50/100", "100/100", "100/100"]


def test_quiet_is_silent(clock):
    stream = io.StringIO()
    with progress(2, quiet=True, stream=stream) as advance:
        clock.now_s += 100.0
        advance(2)
    assert stream.getvalue() == ""


def test_a_failing_run_does_not_claim_to_be_done(clock):
    stream = io.StringIO()

    def failing():
        with progress(2, quiet=False, stream=stream) as advance:
            advance(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert stream.getvalue() == ""


def test_on_a_terminal_the_line_redraws_in_place():
    script = (
        "from sweep.run.progress import progress\n"
        "with progress(3, quiet=False) as advance:\n"
        "    for _ in range(3): advance(1)\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", script], stderr=theirs, env=environment, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "3/3 points" in shown
    assert "\x1b[2K" in shown
    assert shown.count("\n") == 1


def test_a_run_that_is_continued_shows_what_was_there_in_its_bar():
    continued = Progress(points=100, done=60, before=60, begin_s=0.0)
    continued.advance(10.0, 20, None, 0, None)
    assert continued.line(10.0) == "[###################.....] 80/100 points, 2/s, 10 s left"
