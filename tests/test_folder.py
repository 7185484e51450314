"""A run's folder as it is found: damaged, somebody else's, half written, under another clock; and what is refused."""

import errno
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import unicodedata

import pandas as pd
import pytest

import sweep
from sweep.__main__ import main
from sweep.errors import BadInput, Stopped
from sweep.run import compute as simulation
from sweep.run.record import commit
from sweep.store import lock
from sweep.store.folder import look, open_folder
from sweep.store.parts import NO_CHECKSUM, part_bytes, verify
from tests import faults
from tests.conftest import changed
from tests.test_grid import plan_of

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time on a machine

SMALL = ("+grid=smoke", "policy=xpfo_deferred", "jobs=[1,2]", "ceiling=[0,33,512]", "window_events=64", "runner=serial")
QUIET = (*SMALL, "chunk_s=1e-9", "quiet=true")


def results(folder):
    return (folder / "results.parquet").read_bytes()


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def run(tmp_path):
    """A finished run of some chunks."""
    assert main([*QUIET, f"out={tmp_path}/run"]) == 0
    return tmp_path / "run"


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(content)


# --- results are what was written


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9, 0.999])
def test_a_flipped_bit_of_the_results_is_not_read_and_the_same_command_makes_them_again(run, where, capsys):
    expected = results(run)
    flip(run / "results.parquet", int(where * len(expected)))
    with pytest.raises(BadInput, match="it does not match"):
        sweep.load(run)
    for verb in (["tables", str(run)], ["report", str(run)], ["compare", str(run), str(run)]):
        assert main(verb) == 2
        assert "rebuilds it from its parts" in capsys.readouterr().err
    assert main([*QUIET, f"out={run}"]) == 0
    assert results(run) == expected
    assert len(sweep.load(run))


@pytest.mark.parametrize("digest", [None, b"", b"\xff", b"0" * 64])
def test_results_without_their_digest_are_made_again(run, digest):
    expected = results(run)
    (run / "results.parquet").write_bytes(b"PAR1")
    (run / "results.sha256").unlink() if digest is None else (run / "results.sha256").write_bytes(digest)
    assert main([*QUIET, f"out={run}"]) == 0
    assert results(run) == expected
    checked = subprocess.run(["sha256sum", "-c", "results.sha256"], cwd=run, capture_output=True, text=True)
    assert checked.stdout == "results.parquet: OK\n"


def test_an_error_that_holds_the_place_of_the_checksum_makes_a_part_that_verifies(monkeypatch, tmp_path):
    monkeypatch.setattr(simulation, "simulate", lambda **_: (_ for _ in ()).throw(ValueError(f"{NO_CHECKSUM} \udc80")))
    assert main([*QUIET, f"out={tmp_path}"]) == 3
    parts = sorted((tmp_path / "parts").iterdir())
    assert parts
    for path in parts:
        verify(path.read_bytes())
    assert main([*QUIET, f"out={tmp_path}"]) == 3
    assert not (tmp_path / "broken").exists()


def test_parts_say_what_they_always_said(run):
    plan = plan_of({"policy": ["vanilla", "xpfo"]}, machine="xeon_8160")
    content = part_bytes(plan, 0, simulation.compute(plan, range(2)))
    assert verify(content)[1]["plan"] == plan.hash


def test_failed_points_are_told_of_whatever_became_of_failures_parquet(monkeypatch, tmp_path, capsys):
    real = simulation.simulate

    def failing(**parameters):
        if (parameters["ceiling"] == 33).any():
            raise ZeroDivisionError("no")
        return real(**parameters)

    monkeypatch.setattr(simulation, "simulate", failing)
    arguments = [*QUIET, f"out={tmp_path}"]
    assert main(arguments) == 3
    kept = (tmp_path / "failures.parquet").read_bytes()
    (tmp_path / "failures.parquet").unlink()
    assert main(["status", str(tmp_path)]) == 0
    assert "2 points failed" in capsys.readouterr().out
    assert main(arguments) == 3
    assert (tmp_path / "failures.parquet").read_bytes() == kept


def test_a_table_that_cannot_be_made_does_not_hide_that_points_failed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(simulation, "simulate", lambda **_: 1 / 0)
    monkeypatch.setattr("sweep.run.driver.tables_and_answer", lambda folder: pd.DataFrame()["no such column"])
    assert main([*QUIET, f"out={tmp_path}"]) == 3
    said = capsys.readouterr().err
    assert "points failed; " in said
    assert "tables or page cannot be made: KeyError" in said


# --- names that only look like ours


def test_only_names_of_parts_count(run, capsys):
    expected = results(run)
    part = (run / "parts" / "part-00000000.parquet").read_bytes()
    odd = [
        "part-1.parquet", "part-00000000 (conflicted copy).parquet", "part-0000000\u00b9.parquet", "part-.parquet",
        "part-000000000000000000000000.parquet", "part-00000000.parquet.orig", "notes.txt", "part-00000000",
    ]  # fmt: skip
    for name in odd:
        (run / "parts" / name).write_bytes(part)
    (run / "parts" / "part-7.parquet").mkdir()
    assert main(["status", str(run)]) == 0
    assert "2 of 2 chunks done, 0 running, 0 left" in capsys.readouterr().out
    (run / "results.parquet").unlink()
    assert main([*QUIET, f"out={run}"]) == 0
    assert results(run) == expected
    assert all((run / "parts" / name).exists() for name in odd)


@pytest.mark.parametrize("name", ["parts", "broken", "tables"])
def test_a_file_where_a_folder_must_be_is_said_and_nothing_is_written(tmp_path, name, capsys):
    (tmp_path / name).write_text("mine")
    assert main([*QUIET, f"out={tmp_path}"]) == 2
    assert f"{name} must be a folder" in capsys.readouterr().err
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["run.json", "results.parquet", "parts/part-00000000.parquet", "lock.json"])
def test_a_folder_where_a_file_must_be_is_said_and_nothing_is_lost(run, name, capsys):
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    before = names(run)
    assert main([*QUIET, f"out={run}"]) == 2
    assert f"{name} must be a file" in capsys.readouterr().err
    assert names(run) == before


def test_an_out_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    for out in ("out", "out/below"):
        assert main([*QUIET, f"out={tmp_path}/{out}"]) == 2
        assert "Traceback" not in capsys.readouterr().err


RUNS = [
    "null", "[]", "7", '"text"', "{", "", "{}", '{"plan": 1}', '{"plan": null}', "[" * 100_000, "\udc80",
    {"chunk_s": None}, {"chunk_s": ...}, {"chunk_bounds": ...}, {"chunk_bounds": "2"}, {"chunk_bounds": -1},
    {"points": []}, {"points": {}}, {"plan": ...}, {"code": ...}, {"versions": [1]}, {"versions": {"numpy": 2}},
]  # fmt: skip


@pytest.mark.parametrize("form", RUNS, ids=lambda form: str(form)[:24])
def test_a_run_json_of_another_form_is_a_sentence_everywhere_and_nothing_is_lost(run, form, capsys):
    if isinstance(form, dict):
        content = json.loads((run / "run.json").read_text()) | form
        form = json.dumps({key: value for key, value in content.items() if value is not ...})
    (run / "run.json").write_bytes(form.encode("utf-8", "surrogateescape"))
    before = names(run)
    for command in ([*QUIET, f"out={run}"], ["status", str(run)], ["report", str(run)]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.startswith("sweep: ")
        assert "run.json" in said
        assert said.count("\n") == 1
    assert main([*QUIET, f"out={run.parent}/new", f"reuse={run}"]) == 2
    assert not (run.parent / "new").exists()
    assert names(run) == before


@pytest.mark.parametrize(
    "line", [b"null", b"[]", b"7", b"{}", b'{"event": "chunk"}', b'{"event": 1, "time": "x"}', b"\xff"]
)
def test_a_journal_with_lines_of_another_form_is_read_all_the_same(run, line, capsys):
    with (run / "journal.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert main(["status", str(run)]) == 0
    assert "2 of 2 chunks done" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["parts", "tables", "run.json"])
def test_what_belongs_to_another_user_is_said_before_work_starts(run, name, capsys, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith(f"/{name}") and real(path, mode))
    before = names(run)
    assert main([*QUIET, f"out={run}"]) == 2
    assert f"{name} cannot be read or written" in capsys.readouterr().err
    assert names(run) == before


# --- what is refused leaves nothing behind


def test_a_refused_reuse_leaves_nothing_behind(run, tmp_path, capsys):
    assert main([*QUIET, f"out={tmp_path}/new", "seed=7", f"reuse={run}"]) == 2
    assert "has seed 0, not 7" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_parts_of_another_numpy_are_not_mixed_with_ours(run, capsys):
    expected = results(run)
    content = json.loads((run / "run.json").read_text())
    content["versions"]["numpy"] = "1.99"
    (run / "run.json").write_text(json.dumps(content))
    assert main([*QUIET, f"out={run}"]) == 0, "nothing is computed"
    (run / "parts" / "part-00000001.parquet").unlink()
    before = names(run)
    assert main([*QUIET, f"out={run}"]) == 2
    assert "computed with numpy 1.99, and this is numpy" in capsys.readouterr().err
    assert names(run) == before
    (run / "parts" / "part-00000000.parquet").unlink()
    (run / "results.parquet").unlink()
    assert main([*QUIET, f"out={run}"]) == 0, "nothing of the other numpy is left"
    assert results(run) == expected
    assert json.loads((run / "run.json").read_text())["versions"]["numpy"] != "1.99"


def test_temporaries_of_dead_drivers_go_and_those_of_living_ones_stay(run):
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = socket.gethostname()
    dead = [run / f".results.parquet.{host}.{ended.pid}", run / "tables" / f".summary.csv.{host}.{ended.pid}"]
    alive = [run / f".results.parquet.{host}.{os.getppid()}", run / ".mine", run / ".results.parquet.elsewhere.5"]
    for path in (*dead, *alive):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert main([*QUIET, f"out={run}"]) == 0
    assert not any(path.exists() for path in dead)
    assert all(path.exists() for path in alive)


# --- stores


@pytest.mark.parametrize("out", ["s3:/bucket", "s3:bucket/run", "gs:/bucket/a", "file:/tmp/x"])
def test_a_uri_with_one_slash_is_refused_with_the_remedy(out, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*QUIET, f"out='{out}'"]) == 2
    scheme, _, rest = out.partition(":")
    wanted = f"{scheme}:///{rest[1:]}" if scheme == "file" else f"{scheme}://{rest.lstrip('/')}"
    assert f"a URI must have two slashes: {wanted}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_store_that_does_not_answer_is_said_in_time(monkeypatch, capsys):
    mute = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr("sweep.store.folder.ANSWER_S", 4.0)
    for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{mute.getsockname()[1]}", "AWS_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    begun = time.monotonic()
    assert main([*QUIET, "out='s3://key:se+cret@bucket/run'"]) == 2
    assert time.monotonic() - begun < 12
    said = capsys.readouterr().err
    assert "s3://***@bucket/run': does not answer within 4 s" in said
    assert "cret" not in said


@pytest.mark.parametrize(
    "out",
    [
        "s3://KEY:SECRETVALUE@bucket/run?region=x", "s3://bucket/run?access_key=a&secret_key=SECRETVALUE&region=x",
        "abfs://KEY:SECRETVALUE@host/x", "abfs://host/x?sas_token=SECRETVALUE", "s3://bucket/a?X-Amz-Signature=SECRETVALUE",
        "s3://KEY:with/slash/SECRETVALUE@bucket/run",
    ],
)  # fmt: skip
def test_credentials_are_in_no_message_and_no_record(out, capsys, tmp_path):
    assert main([*QUIET, f"reuse='{out}'", f"out={tmp_path}/x"]) == 2
    assert "SECRETVALUE" not in capsys.readouterr().err
    from sweep.command.compose import compose
    from sweep.inputs.conf import conf_dir
    from sweep.plan.open import open_plan
    from sweep.run.record import describe

    request = compose([*QUIET, f"out='{out}'"], [conf_dir()])
    described = json.dumps(describe(open_plan(request.composition), request))
    assert "SECRETVALUE" not in described
    assert "***" in described


# --- what is taken away while it runs


MIDWAY = (*changed(*faults.GRID, f"jobs={list(range(1, 13))}"), "runner=serial", "quiet=true")


def _damage(folder, how):
    part = sorted((folder / "parts").glob("part-*"))[0]
    if how == "flipped":
        flip(part, os.path.getsize(part) // 3)
    elif how == "removed":
        part.unlink()
    elif how == "no run.json":
        (folder / "run.json").unlink()
    else:
        (folder / "run.json").write_text("{")


@pytest.mark.parametrize("how", ["flipped", "removed", "no run.json", "no JSON"])
def test_what_is_damaged_while_a_run_goes_on_is_said_and_the_same_command_mends_it(tmp_path, how):
    expected = faults.start(tmp_path / "whole", *MIDWAY)
    assert faults.finish(expected)[0] == 0
    driver = faults.start(tmp_path / "run", *MIDWAY, faults={"sleep_s": 0.1})
    faults.wait_for(tmp_path / "run", 2, driver)
    _damage(tmp_path / "run", how)
    code, said = faults.finish(driver)
    assert said.count("\n") == 1, said
    if "JSON" in how or "json" in how:
        assert code == 0
        assert "run.json was removed or changed during the sweep, and is written again" in said
    else:
        assert code == 1
        assert "parts/part-000000" in said
        assert "was damaged or removed since it was committed" in said
        assert "the same command continues" in said
        assert not (tmp_path / "run" / "results.parquet").exists()
    computed = faults.parts(tmp_path / "run")
    assert computed >= 11
    assert faults.finish(faults.start(tmp_path / "run", *MIDWAY))[0] == 0
    assert results(tmp_path / "run") == results(tmp_path / "whole")


# --- the lock


def _lock_of(pid, **more):
    return json.dumps({"host": socket.gethostname(), "space": lock.space(), "pid": pid, "token": "t"} | more)


def test_where_folders_cannot_be_locked_a_living_holder_keeps_its_lock_whatever_the_clock_says(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    folder = open_folder(str(tmp_path))
    (tmp_path / "lock.json").write_text(_lock_of(os.getppid()))
    for age in (0, 3600, -3600, 1e8):
        os.utime(tmp_path / "lock.json", (time.time() - age,) * 2)
        with pytest.raises(BadInput, match="another sweep runs there"):
            lock.Lock(folder).acquire()
    ended = subprocess.Popen(["true"])
    time.sleep(0.2)  # a zombie: its remains have a pid
    for _ in range(2):
        (tmp_path / "lock.json").write_text(_lock_of(ended.pid))
        with lock.Lock(folder):
            pass
        ended.wait()


def test_while_a_driver_lives_the_kernel_refuses_a_second_one_whatever_lock_json_says(tmp_path):
    folder = open_folder(str(tmp_path))
    with lock.Lock(folder):
        for content in (_lock_of(os.getppid()), _lock_of(1, space="elsewhere")):
            (tmp_path / "lock.json").write_text(content)
            os.utime(tmp_path / "lock.json", (0, 0))
            with pytest.raises(BadInput, match="another sweep runs there"), lock.Lock(folder):
                pass
        (tmp_path / "lock.json").unlink()
        with pytest.raises(BadInput, match="another sweep has just started there"), lock.Lock(folder):
            pass
    with lock.Lock(folder):
        pass


@pytest.mark.parametrize("namespace", [["--time", "--boottime", "100000"], ["--pid", "--fork", "--mount-proc"]])
def test_a_second_driver_in_a_namespace_of_its_own_is_refused(tmp_path, namespace):
    if subprocess.run(["unshare", *namespace, "true"], capture_output=True).returncode:
        pytest.skip(f"unshare {namespace[0]} is not permitted here")
    driver = faults.start(tmp_path, *faults.GRID, "runner=serial", faults={"sleep_s": 0.5})
    try:
        faults.wait_for(tmp_path, 1, driver)
        os.kill(driver.pid, signal.SIGSTOP)  # its heart does not beat
        os.utime(tmp_path / "lock.json", (0, 0))
        second = [*faults.GRID, "runner=serial", f"out={tmp_path}"]
        done = subprocess.run(
            ["unshare", *namespace, sys.executable, "-m", "sweep", *second],
            capture_output=True, text=True, env=faults.environment(), cwd=faults.ROOT,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert f"another sweep runs there: host {socket.gethostname()}, pid {driver.pid}, heartbeat" in done.stderr
    finally:
        driver.kill()
        driver.communicate()


def test_a_younger_process_of_the_same_pid_or_a_dead_one_does_not_hold_a_folder_that_can_be_locked(tmp_path):
    folder = open_folder(str(tmp_path))
    ended = subprocess.Popen(["true"])
    time.sleep(0.2)  # a zombie: its remains have a pid
    for content in (_lock_of(os.getppid()), _lock_of(ended.pid)):
        (tmp_path / "lock.json").write_text(content)
        with lock.Lock(folder):
            pass
    ended.wait()


@pytest.mark.parametrize("content", ["", "null", "{}", "[1]", '{"pid": "x"}', '{"pid": []}', "\x00" * 50])
def test_a_lock_that_names_nobody_is_taken_over_when_it_is_old(tmp_path, content):
    folder = open_folder(str(tmp_path))
    (tmp_path / "lock.json").write_text(content)
    with pytest.raises(BadInput, match=r"host \?, pid \?"), lock.Lock(folder):
        pass
    old = time.time() - lock.NOBODY_S - 1
    os.utime(tmp_path / "lock.json", (old, old))
    with lock.Lock(folder):
        pass
    assert not (tmp_path / "lock.json").exists()


def test_no_room_for_the_lock_leaves_no_lock(tmp_path):
    resource = pytest.importorskip("resource")
    folder = open_folder(str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(Stopped, match=r"no room in .* for lock\.json"):
            lock.Lock(folder).acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_vanishes_in_mid_run_is_one_sentence(tmp_path):
    driver = faults.start(tmp_path / "run", *faults.GRID, "runner=serial", faults={"sleep_s": 0.05})
    faults.wait_for(tmp_path / "run", 3, driver)
    (tmp_path / "run").rename(tmp_path / "moved")
    code, said = faults.finish(driver, timeout=30)
    assert code == 1, said
    assert "is gone" in said
    assert "Traceback" not in said
    assert faults.parts(tmp_path / "moved") >= 3


# --- modes, disks


def test_nothing_that_is_written_is_writable_for_the_world(tmp_path):
    before = os.umask(0)
    try:
        assert main([*SMALL, f"out={tmp_path}/a/run", "report=true"]) == 0
    finally:
        os.umask(before)
    paths = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    assert len(paths) > 8
    assert not [path.name for path in paths if path.stat().st_mode & 0o002]


@pytest.mark.parametrize("size", [300, 2_000, 6_000, 20_000, 60_000, 400_000])
def test_a_disk_that_is_full_at_any_moment_is_one_sentence_and_the_same_command_goes_on(tmp_path, run, size):
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY));"
        "from sweep.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [*SMALL, "chunk_s=1e-9", "report=true", f"out={tmp_path}/full"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=faults.environment(),
        cwd=faults.ROOT,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "bytes or more are needed" in done.stderr
    assert not list((tmp_path / "full").rglob(".*"))
    assert not (tmp_path / "full" / "lock.json").exists()
    assert main([*arguments, "quiet=true"]) == 0
    assert results(tmp_path / "full") == results(run)


# --- CPUs and provenance


def test_the_commit_is_of_this_checkout_whatever_git_is_told(tmp_path, monkeypatch):
    expected = commit()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name, value in (("GIT_DIR", f"{tmp_path}/.git"), ("GIT_WORK_TREE", str(tmp_path)), ("GIT_INDEX_FILE", "x")):
        monkeypatch.setenv(name, value)
    assert commit() == expected


def test_the_command_on_record_can_be_run_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        main(
            [
                *SMALL[:2],
                "window_events=64",
                "jobs='1 x cores'",
                "cores=4",
                'out="my run (1)"',
                "quiet=true",
                "report=true",
            ]
        )
        == 0
    )
    run = json.loads((tmp_path / "my run (1)" / "run.json").read_text())
    words = shlex.split(run["command"])
    assert words[0] == "sweep"
    assert main(changed(*words[1:], "out=again")) == 0
    assert results(tmp_path / "again") == results(tmp_path / "my run (1)")


def test_the_users_own_files_are_on_record(tmp_path):
    (tmp_path / "mine" / "grid").mkdir(parents=True)
    grid = tmp_path / "mine" / "grid" / "g.yaml"
    grid.write_text("# Mine?\nmachine: i5_3550\npolicy: xpfo_deferred\njobs: 4\nwindow_events: 64\n")
    assert main(["--config-dir", f"{tmp_path}/mine", "+grid=g", f"out={tmp_path}/o", "quiet=true"]) == 0
    run = json.loads((tmp_path / "o" / "run.json").read_text())
    digest = subprocess.check_output(["sha256sum", str(grid)], text=True).split()[0]
    assert run["own_files"] == {"grid/g.yaml": digest}


@pytest.mark.parametrize(("there", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_folder_is_the_same_in_whatever_unicode_form_it_is_typed(tmp_path, there, typed):
    folder = tmp_path / unicodedata.normalize(there, "übung") / unicodedata.normalize(there, "erklärt")
    folder.mkdir(parents=True)
    for name in ("", "/new"):
        assert look(unicodedata.normalize(typed, str(folder) + name)).path == str(folder) + name
    (tmp_path / unicodedata.normalize(typed, "übung")).mkdir()  # a folder of exactly this name comes first
    assert look(str(tmp_path / unicodedata.normalize(typed, "übung"))).path.endswith(
        unicodedata.normalize(typed, "übung")
    )


def test_a_look_at_a_folder_makes_nothing(tmp_path):
    look(f"{tmp_path}/x")
    assert not list(tmp_path.iterdir())
