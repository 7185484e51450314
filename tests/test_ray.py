"""The Ray that a sweep starts: whom it answers, what its workers import, and how it ends."""

import errno
import glob
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from operator import attrgetter
from pathlib import Path

import psutil
import pytest

from sweep.__main__ import main
from sweep.run.ray import _gauges
from sweep.store.folder import look
from tests import faults

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time on a machine
RAY = ("+grid=smoke", "policy=xpfo_deferred", "jobs=[1,2,3,4]", "window_events=64", "chunk_s=1e-9", "runner=ray")
OURS = (*RAY, "runner.cpus=1", "report=false")
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


PRIVATE = (  # places inside Ray that sweep.run.ray reaches into: pyproject.toml bounds the version for their sake
    "ray._private.worker:_global_node", "ray._private.state:state._get_all_task_events",
)  # fmt: skip


@pytest.mark.parametrize("place", PRIVATE)
def test_a_place_inside_ray_has_not_moved(place):
    module, _, name = place.partition(":")
    attrgetter(name)(importlib.import_module(module))


def test_no_other_place_inside_ray_is_used():
    source = (Path(__file__).parent.parent / "sweep" / "run" / "ray.py").read_text(encoding="utf-8")
    used = set(re.findall(r"\b_private(?:\.worker\._global_node|\.\w+)|\b_raylet\.\w+", source))
    assert used == {"_private.worker._global_node", "_private.state"}


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def listening(pids):
    """Address and port, in hexadecimal, of every TCP socket on which these processes listen, with the pid."""
    owners = {}
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                owners[os.readlink(entry)] = pid
            except OSError:
                continue
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and (pid := owners.get(f"socket:[{words[9]}]")):
                address, _, port = words[1].partition(":")
                found[address, int(port, 16)] = pid
    return found


def wait_for_process(driver, name, timeout_s=60.0):
    """The pid of a process below this one whose command line holds the name."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        assert driver.poll() is None, driver.communicate()[1]
        for each in descendants(driver.pid):
            if name in command_line(each.pid):
                return each.pid
        time.sleep(0.02)
    raise AssertionError(f"no {name} after {timeout_s} s")


def descendants(pid):
    return psutil.Process(pid).children(recursive=True)


def gone(processes, timeout_s=15.0):
    """The command lines of those that are still there after a while."""
    _, alive = psutil.wait_procs(processes, timeout_s)
    return [command_line(each.pid) for each in alive]


STRANGER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print('in'); ray.shutdown()"


def knock(port, home, timeout=40.0, **env):
    """Whether a stranger gets into the cluster, in this many seconds."""
    clean = {name: value for name, value in faults.environment().items() if not name.startswith("RAY_AUTH")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", STRANGER, f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=timeout,
            env=clean | {"HOME": str(home), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} | env,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and "in" in done.stdout


def test_a_ray_of_ours_listens_on_loopback_and_answers_only_who_has_its_token(tmp_path):
    driver = faults.start(tmp_path / "out", *OURS, faults={"sleep_s": 30}, RAY_AUTH_MODE="disabled")
    try:
        head = wait_for_process(driver, "gcs_server")
        wait_for_process(driver, "ray::smoke chunk ")
        sockets = listening([driver.pid, *(each.pid for each in descendants(driver.pid))])
        assert len(sockets) >= 3
        assert {address for address, _ in sockets} <= LOOPBACK
        port = next(port for (_, port), pid in sockets.items() if pid == head)
        told = dict(each.partition("=")[::2] for each in Path(f"/proc/{head}/environ").read_text().split("\0"))
        begun = time.monotonic()
        assert knock(port, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=told["RAY_AUTH_TOKEN"])
        long = 2.0 * (time.monotonic() - begun)  # for who is let in; who is not may wait for ever
        assert not knock(port, tmp_path, long, RAY_AUTH_MODE="disabled")
        assert not knock(port, tmp_path, long, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    finally:
        driver.send_signal(signal.SIGTERM)
        code, said = faults.finish(driver, 60)
    assert code == 143, said


@pytest.mark.parametrize("how", ["module", "script"])
def test_files_in_the_working_folder_do_not_stand_in_for_our_modules(tmp_path, how):
    here, scripts = tmp_path / "here", tmp_path / "bin"
    here.mkdir()
    scripts.mkdir()
    for name in ("sim", "numpy", "ray", "pyarrow", *(["sweep"] if how == "script" else [])):
        (here / f"{name}.py").write_text("raise SystemExit('the module of the user was imported')\n")
    (scripts / "sweep").write_text("from sweep.__main__ import console\nconsole()\n")
    program = ["-m", "sweep"] if how == "module" else [str(scripts / "sweep")]
    done = subprocess.run(
        [sys.executable, *program, *OURS, f"out={tmp_path}/out"], cwd=here, env=faults.environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "out" / "failures.parquet").exists()


ONLY_HERE = """
import sys
sys.path.insert(0, sys.argv[1])
import only_here
from sweep.run import compute as simulation
from sweep import __main__ as command
simulation.compute = only_here.compute
sys.exit(command.main(sys.argv[2:]))
"""


def test_workers_that_cannot_import_what_they_are_to_run_stop_it_at_once_with_the_reason(tmp_path):
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "only_here.py").write_text(
        "from sweep.run.compute import compute as c\ndef compute(*a): c(*a)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", ONLY_HERE, str(tmp_path / "only"), *OURS, f"out={tmp_path}/out"],
        env=faults.environment(), cwd=faults.ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "cannot import their code" in done.stderr
    assert "No module named 'only_here'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not faults.parts(tmp_path / "out")


@pytest.mark.long
def test_the_death_of_our_own_head_ends_the_run_in_time_with_a_sentence_and_no_orphans(tmp_path):
    driver = faults.start(tmp_path, *faults.GRID, "runner=ray", "runner.cpus=2", faults={"sleep_s": 1})
    faults.wait_for(tmp_path, 2, driver)
    started = descendants(driver.pid)
    begun = time.monotonic()
    faults.kill(wait_for_process(driver, "gcs_server"))
    code, said = faults.finish(driver, timeout=100)
    assert code == 1, said
    assert time.monotonic() - begun < 90
    assert "the same command continues" in said
    assert not gone(started)
    assert not (tmp_path / "lock.json").exists()


@pytest.mark.parametrize("name", ["raylet/raylet", "ray::DashboardAgent"])
def test_where_ray_ends_the_driver_a_sentence_says_how_to_go_on_and_the_lock_is_given_back(tmp_path, name):
    driver = faults.start(tmp_path, *faults.GRID, "runner=ray", "runner.cpus=2", faults={"sleep_s": 0.3})
    faults.wait_for(tmp_path, 2, driver)
    started = descendants(driver.pid)
    os.kill(wait_for_process(driver, name), signal.SIGTERM)
    code, said = faults.finish(driver, timeout=100)
    assert code == 1, said
    last = said.splitlines()[-1]
    # Ray says at times to who waits for results that they are lost, and at times ends the process
    assert "its raylet or the raylet's agent has died" in last or "raylet died" in last
    assert f"{faults.parts(tmp_path)} of {faults.CHUNKS} chunks are committed" in last
    assert "the same command continues" in last
    assert "Traceback" not in said
    assert not gone(started)
    assert not (tmp_path / "lock.json").exists()


def test_a_signal_while_ray_starts_ends_it_with_a_word_and_no_orphans(tmp_path):
    driver = faults.start(tmp_path, *OURS)
    head = wait_for_process(driver, "gcs_server")
    started = {*descendants(driver.pid), psutil.Process(head)}
    driver.send_signal(signal.SIGTERM)
    code, said = faults.finish(driver, timeout=60)
    assert code == 143, said
    assert "stopped by SIGTERM" in said
    assert "the same command continues" in said
    assert not gone(started)
    assert not (tmp_path / "lock.json").exists()


def test_without_a_loopback_interface_ray_is_not_started(tmp_path):
    """Ray would say nothing for three minutes."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("unshare --net is not permitted here")
    command = ["unshare", "--net", sys.executable, "-m", "sweep", *OURS, f"out={tmp_path}/out"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=faults.environment(), cwd=faults.ROOT
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "`ip link set lo up`" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_loopback_interface_that_refuses_connections_is_said(tmp_path, monkeypatch, capsys):
    def refused(*_, **__):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refused)
    assert main([*OURS, f"out={tmp_path}/out"]) == 2
    said = capsys.readouterr().err
    assert "nothing can connect to 127.0.0.1 (Network is unreachable)" in said
    assert "runner=serial" in said
    assert not list(tmp_path.iterdir())


def test_a_reason_of_the_system_not_to_start_ray_is_a_sentence(tmp_path):
    long = tmp_path / ("x" * 80)
    long.mkdir()
    code, said = faults.finish(faults.start(tmp_path / "out", *OURS, "quiet=true", TMPDIR=str(long)))
    assert code == 1, said
    assert said.count("\n") == 1
    assert "Ray does not start" in said
    assert "TMPDIR" in said


def chunk_lines(out):
    """What the journal says of each chunk, by its number."""
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines() if line]
    return {line["chunk"]: line for line in lines if line["event"] == "chunk"}


def test_the_log_of_the_worker_of_a_failed_point_is_named_and_is_there(tmp_path):
    out = tmp_path / "out"
    faults_of = {"raises": [[2, 33]], "exits": [[3, 33]]}
    code, said = faults.finish(faults.start(out, *OURS, "ceiling=33", faults=faults_of))
    assert code == 3, said
    chunks = chunk_lines(out)
    logs = {chunk: line["worker_log"] for chunk, line in chunks.items() if line["failed"]}
    assert len(logs) == 2
    assert not any("worker_log" in line for line in chunks.values() if not line["failed"])
    last = said.splitlines()[-1]
    assert any(f"the log of their worker, as HOST:FILE, is {log}" in last for log in logs.values())
    assert "journal.jsonl has 1 more" in last
    for log in logs.values():
        host, _, path = log.partition(":")
        assert host == socket.gethostname()
        assert glob.glob(path), path
    raised = next(line for line in chunks.values() if line["failed"] and "crashed" not in line)
    assert raised["worker_log"].endswith(f"-{raised['worker_pid']}.err")


def test_a_task_is_named_by_its_grid_chunk_and_how_many_there_are(tmp_path):
    driver = faults.start(tmp_path / "out", *OURS, faults={"sleep_s": 30})
    try:
        pid = wait_for_process(driver, "ray::smoke chunk ")
        chunks = json.loads((tmp_path / "out" / "run.json").read_text())["chunk_bounds"]
        assert re.match(rf"ray::smoke chunk [0-{chunks - 1}]/{chunks}\b", command_line(pid))
    finally:
        driver.send_signal(signal.SIGTERM)
        faults.finish(driver, 60)


def test_progress_is_a_metric_of_ray_by_run(ray, sweep_in, monkeypatch, tmp_path):
    import ray.util.metrics

    told = {}

    class Gauge:
        def __init__(self, name, description, tag_keys):
            assert description
            assert tag_keys == ("run",)
            self.values = told.setdefault(name, [])

        def set(self, value, tags):
            assert tags == {"run": str(look(str(tmp_path)))}
            self.values.append(value)

    monkeypatch.setattr(ray.util.metrics, "Gauge", Gauge)
    _gauges.cache_clear()
    sweep_in(*RAY, "report=false", out=tmp_path)
    _gauges.cache_clear()
    assert set(told["sweep_points"]) == {4}
    assert sorted(told["sweep_points_done"]) == told["sweep_points_done"]
    assert told["sweep_points_done"][-1] == 4
    assert min(told["sweep_points_per_second"]) > 0.0


def test_one_process_does_without_metrics_and_ray(tmp_path):
    script = (
        "import sys; from sweep.__main__ import main\n"
        "assert main(['+grid=smoke', 'window_events=64', 'runner=serial', 'quiet=true', 'out=' + sys.argv[1]]) == 0\n"
        "assert 'ray' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], env=faults.environment(),
                          cwd=faults.ROOT, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
