"""The progress line: one on a terminal, a line every 30 s in a log, none when quiet."""

import io
import os
import pty
import subprocess
import sys

import pytest

from sweep.run import progress as module
from sweep.run.progress import Progress


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


def test_the_line_says_bar_points_rate_time_left_failures_and_cpus(clock):
    some = Progress(points=200)
    clock.now_s = 110.0
    some.advance(50, None, 2, 6.0)
    assert str(some) == "[######..................] 50/200 points, 5/s, 30 s left, 2 points failed, 6 CPUs busy"
    clock.now_s = 100.0
    started = Progress(points=200, work_s=100.0)  # ten of them take half of the work
    clock.now_s = 130.0
    started.advance(10, 50.0)  # Ray, and compiling
    assert "10/200 points, 0.333/s, 30 s left" in str(started)
    clock.now_s = 140.0
    started.advance(10, 20.0)
    assert "20/200 points, 0.5/s, 15 s left" in str(started)  # what is left at two a second
    assert "time left unknown" in str(Progress(points=200))
    done = Progress(points=2, before=2)
    clock.now_s += 3700.0
    assert str(done).endswith("1 h 01 min")


def test_a_log_gets_a_line_every_thirty_seconds_and_one_at_the_end(clock):
    stream = io.StringIO()
    with Progress(100, quiet=False, stream=stream) as shown:
        for _ in range(10):
            clock.now_s += 7.0
            shown.advance(10)
    lines = stream.getvalue().splitlines()
    assert [line.split("] ")[1].split(" points")[0] for line in lines] == ["50/100", "100/100"]


def test_quiet_is_silent(clock):
    stream = io.StringIO()
    with Progress(2, quiet=True, stream=stream) as shown:
        clock.now_s += 100.0
        shown.advance(2)
    assert stream.getvalue() == ""


def test_a_failing_run_does_not_claim_to_be_done(clock):
    stream = io.StringIO()

    def failing():
        with Progress(2, quiet=False, stream=stream) as shown:
            shown.advance(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert stream.getvalue() == ""


def test_on_a_terminal_the_line_redraws_in_place():
    script = (
        "from sweep.run.progress import Progress\n"
        "with Progress(3, quiet=False) as shown:\n"
        "    for _ in range(3): shown.advance(1)\n"
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


def test_a_run_that_is_continued_shows_what_was_there_in_its_bar(clock):
    continued = Progress(points=100, before=60)
    clock.now_s += 10.0
    continued.advance(20)
    assert str(continued) == "[###################.....] 80/100 points, 2/s, 10 s left"
