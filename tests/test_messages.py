"""What is said to the user never stops the work, and holds no secrets."""

import io
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from sweep.__main__ import main
from sweep.messages import Forgiving, without_credentials
from tests import faults

SMALL = ("+grid=smoke", "policy=xpfo_deferred", "window_events=64", "runner=serial", "report=false")
SWEEP = f"{sys.executable} -m sweep"


def shell(command, **more):
    """Exit code of a command of the shell's, and what it said."""
    done = subprocess.run(
        ["bash", "-c", command], env=faults.environment(**more), cwd=faults.ROOT, capture_output=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "streams",
    ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full", "2> >(true)", "> >(true) 2>&1"],
)
def test_streams_that_cannot_be_written_change_neither_results_nor_exit_code(tmp_path, streams):
    code, said = shell(f"{SWEEP} {' '.join(SMALL)} out={tmp_path} {streams}")
    assert (code, b"Traceback" in said) == (0, False), said
    assert (tmp_path / "results.sha256").exists()
    assert (tmp_path / "tables").is_dir()


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_a_mistake_that_cannot_be_told_keeps_its_exit_code(tmp_path, streams):
    assert shell(f"{SWEEP} +grid=nowhere {streams}") == (2, b"")
    assert shell(f"{SWEEP} status {tmp_path}/nowhere {streams}") == (2, b"")


def test_a_reader_that_has_enough_is_no_error():
    code, said = shell(f"set -o pipefail; {SWEEP} list parameters | head -1 > /dev/null; echo ${{PIPESTATUS[0]}}")
    assert (code, said) == (0, b"0\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "shift_jis", "utf-16"])
def test_characters_that_the_terminal_lacks_are_replaced(tmp_path, encoding):
    words = " ".join(["+grid=smoke", "runner=serial", "report=false", f"out={tmp_path}"])
    code, said = shell(f"{SWEEP} {words}", PYTHONIOENCODING=encoding)
    assert code == 0, said
    assert b"Traceback" not in said
    assert (tmp_path / "tables" / "summary.csv").exists()


def _on_a_terminal(out, ignored):
    """A driver whose terminal is closed once it has begun; its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        words = ["+grid=smoke", "policy=xpfo_deferred", "jobs=[1,2,3,4,5,6,7,8]", "window_events=64", "chunk_s=1e-9"]
        os.chdir(faults.ROOT)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.driver", '{"sleep_s": 0.3}', *words, "runner=serial", f"out={out}"],
            faults.environment(),
        )
    end = time.monotonic() + 60
    while faults.parts(out) < 1 and time.monotonic() < end:
        time.sleep(0.05)
    os.close(terminal)
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("it neither ended nor continued")


def test_a_terminal_that_is_closed_stops_the_run_in_order(tmp_path):
    assert _on_a_terminal(tmp_path, ignored=False) == 129
    assert 1 <= faults.parts(tmp_path) < 8
    assert "stopped by SIGHUP" in (tmp_path / "journal.jsonl").read_text()
    assert not (tmp_path / "lock.json").exists()


def test_under_nohup_a_run_goes_on_without_its_terminal(tmp_path):
    assert _on_a_terminal(tmp_path, ignored=True) == 0
    assert faults.parts(tmp_path) == 8
    assert (tmp_path / "tables" / "summary.csv").exists()


def test_a_stream_that_fails_is_written_no_more():
    class Failing(io.StringIO):
        calls = 0

        def write(self, text):
            self.calls += 1
            raise BrokenPipeError

    stream = Failing()
    forgiving = Forgiving(stream)
    for _ in range(3):
        assert forgiving.write("text") == 4
        forgiving.flush()
    assert stream.calls == 1
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        print("text", file=Forgiving(stream), flush=True)
        assert not Forgiving(stream).isatty()


def test_the_same_streams_are_there_after_the_command(capsys):
    before = sys.stdout, sys.stderr
    assert main(["list", "grids"]) == 0
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("out=s3://key:secret@bucket/run", "out=s3://***@bucket/run"),
        ("'s3://key:sec/ret@bucket/run'", "'s3://***@bucket/run'"),
        ("s3://b/r?access_key=K&secret_key=S&region=r", "s3://b/r?access_key=***&secret_key=***&region=r"),
        ("s3://b/r?region=r&session_token=T and s3://a:b@c", "s3://b/r?region=r&session_token=*** and s3://***@c"),
        ("no secrets: a@b, key=value, s3://bucket/run", "no secrets: a@b, key=value, s3://bucket/run"),
    ],
)
def test_credentials_are_taken_out(text, clean):
    assert without_credentials(text) == clean
