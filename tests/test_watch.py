"""`sweep status --watch`: a line now and then in a log, the same place of a terminal, until the run ends."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from functools import partial

import pytest

from sweep.__main__ import main
from sweep.command.verbs.status import watch
from sweep.store.folder import look
from sweep.store.lock import space
from sweep.store.status import as_text, status

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def run(sweep_in, tmp_path):
    return sweep_in("+grid=smoke", "window_events=64", "precision=0.3", out=tmp_path / "run")


def hold(run, pid):
    """Let this process be the driver of a run that is not done."""
    (run / "results.parquet").unlink(missing_ok=True)
    holder = {"host": socket.gethostname(), "space": space(), "pid": pid, "running": 1}
    (run / "lock.json").write_text(json.dumps(holder))


def test_a_run_that_is_over_is_said_once(run, capsys):
    assert main(["status", str(run), "--watch"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "finished, 1 of 1 chunks done, 0 running, 0 left, 0 points failed" in said


def test_a_run_is_watched_until_its_driver_ends(run, capsys):
    hold(run, os.getpid())
    threading.Timer(0.5, (run / "lock.json").unlink).start()
    watch(look(str(run)), line_s=0.05)
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert all(": running (host" in line for line in lines)
    assert "not running; the same command continues" in last


def test_the_time_left_is_that_of_the_chunks_left_at_the_last_drivers_rate(tmp_path, sweep_in):
    run = sweep_in("+grid=smoke", "window_events=64", "precision=0.3", "chunk_s=1e-9", out=tmp_path / "run")
    parts = sorted((run / "parts").iterdir())
    assert len(parts) == 4
    parts[-1].unlink()
    lines = [("start", 100.0, {}), ("chunk", 101.0, {"chunk": 0, "cpu_s": 900.0}), ("start", 1000.0, {})]
    lines += [("chunk", 1000.0 + 60 * at, {"chunk": at, "cpu_s": 450.0, "failed": 1}) for at in (1, 2)]
    text = [json.dumps({"event": event, "time": time, **facts}) for event, time, facts in lines]
    (run / "journal.jsonl").write_text("\n".join(text))
    (run / "results.parquet").unlink()
    found = status(look(str(run)))
    assert [found[name] for name in ("chunks", "done", "left", "failed_points")] == [4, 3, 1, 2]
    assert (found["rate"], found["left_s"], found["cpu_hours"]) == pytest.approx((1 / 60, 60.0, 0.5))
    assert "about 1 min left" in as_text(look(str(run)), found)


def watched(run, **io):
    """`sweep status --watch`, which hears Ctrl-C also where these tests run in the background and do not."""
    command = [sys.executable, "-m", "sweep", "status", str(run), "--watch"]
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, env=os.environ | {"TERM": "xterm"}, preexec_fn=hears, **io)


def test_ctrl_c_ends_the_watching_with_the_exit_code_of_the_status(run):
    hold(run, os.getpid())
    watching = watched(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"running" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, wrong = watching.communicate(timeout=20)
    assert (watching.returncode, wrong) == (0, b"")


def test_on_a_terminal_the_status_is_redrawn_in_its_place(run):
    ours, its = pty.openpty()
    hold(run, os.getpid())
    watching = watched(run, stdout=its, stderr=its)
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
            if b"CPU" in shown:  # the end of the first status
                (run / "lock.json").unlink(missing_ok=True)
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert watching.wait(20) == 0
    assert b"\x1b[" in shown
    text = b" ".join(ESCAPES.sub(b"", shown).split())
    assert b"not running" in text.rpartition(b"running (host")[2]


@pytest.mark.parametrize("text", ["", "{}", "null"])
def test_a_damaged_run_is_a_sentence(run, text, capsys):
    (run / "run.json").write_text(text)
    assert main(["status", str(run), "--watch"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_drivers_host_moves_no_cursor_in_either_form_of_the_status(sweep_in, tmp_path):
    """lock.json may be somebody else's."""
    run = sweep_in("+grid=smoke", "policy=xpfo_deferred", "window_events=64", out=tmp_path / "run")
    holder = {"host": "h\x1b[2J", "space": "x", "pid": 5, "token": "t", "running": 0}
    (run / "lock.json").write_text(json.dumps(holder))
    folder = look(str(run))
    for said in (as_text(folder, status(folder)), as_text(folder, status(folder), ", ")):
        assert "\x1b" not in said
        assert "running (host h\\x1b[2J" in said
