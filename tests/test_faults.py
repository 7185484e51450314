"""Every fault a sweep must survive, with real processes, Ray and kills; `python -m tests.faults N` runs many seeds."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sweep.__main__ import main
from sweep.errors import BadInput, Stopped
from sweep.store import lock
from sweep.store.folder import open_folder
from tests import faults
from tests.conftest import changed

pytestmark = pytest.mark.xdist_group("ray")  # one Ray at a time on a machine

SMALL = (
    "+grid=smoke",
    "policy=xpfo_deferred",
    "jobs=[1,2,3,4]",
    "ceiling=[0,33,512]",
    "window_events=64",
    "replicas=2",
)
CUT = (*SMALL, "chunk_s=1e-9")  # four chunks of three points
BAD_POINTS = [[2, 33], [4, 0]]


def results(folder):
    return (folder / "results.parquet").read_bytes()


@pytest.fixture(scope="module")
def expected(sweep_in):
    return results(sweep_in(*SMALL, "runner=serial"))


# --- real kills


@pytest.mark.parametrize(("seed", "commit"), [(4, "driver"), pytest.param(7, "workers", marks=pytest.mark.long)])
def test_a_sweep_survives_its_workers_a_node_and_the_driver(tmp_path, undisturbed, seed, commit):
    faults.disturbed(tmp_path, seed, commit)
    faults.check(tmp_path, undisturbed)


def _goes_on_in_one_process(out, expected):
    before = faults.parts(out)
    code, said = faults.finish(faults.start(out, *faults.GRID, "runner=serial"))
    assert code == 0, said
    assert f"{before} of {faults.CHUNKS} chunks are already done" in said
    faults.check(out, expected)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return faults.undisturbed(tmp_path_factory.mktemp("undisturbed"))


def test_what_is_committed_outlives_the_head(tmp_path, undisturbed):
    """Ray ends the driver without a word when the head is gone for long: 60 s, and here 5."""
    with faults.two_nodes() as cluster:
        on = (*faults.GRID, "runner=ray", f"runner.address={cluster['address']}")
        driver = faults.start(tmp_path, *on, faults={"sleep_s": 0.1}, RAY_gcs_rpc_server_reconnect_timeout_s="5")
        faults.wait_for(tmp_path, 20, driver)
        faults.kill(cluster["head"])
        code, _ = faults.finish(driver, timeout=90)
        assert code != 0
        assert 20 <= faults.parts(tmp_path) < faults.CHUNKS
    _goes_on_in_one_process(tmp_path, undisturbed)


@pytest.mark.long
def test_a_hung_node_does_not_hold_the_run_for_ever(tmp_path, undisturbed):
    with faults.two_nodes() as cluster:
        on = (*faults.GRID, "runner=ray", f"runner.address={cluster['address']}", "runner.stall_s=8",
              "engine=vectorized")  # no loop is compiled within the 8 s  # fmt: skip
        driver = faults.start(tmp_path, *on, faults={"sleep_s": 0.1})
        faults.wait_for(tmp_path, 20, driver)
        os.kill(cluster["raylets"][1], signal.SIGSTOP)
        code, said = faults.finish(driver, timeout=120)
        assert code in (0, 1), said  # Ray may have given its tasks to the other node in time
        assert code == 0 or ("no chunk has finished for 8 s" in said and "the same command continues" in said), said
        assert faults.parts(tmp_path) > 20
        faults.kill(cluster["raylets"][1])
    _goes_on_in_one_process(tmp_path, undisturbed)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("runner", ["serial", "ray"])
def test_a_signal_ends_the_run_and_the_same_command_continues(tmp_path, runner, number, code):
    on = (*faults.GRID, f"runner={runner}", *(["runner.cpus=2"] if runner == "ray" else []))
    driver = faults.start(tmp_path, *on, faults={"sleep_s": 0.02})
    faults.wait_for(tmp_path, 20, driver)
    driver.send_signal(number)
    ended, said = faults.finish(driver, timeout=30)
    assert ended == code, said
    assert f"stopped by {number.name}" in said
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert not (tmp_path / "lock.json").exists()
    assert not list(tmp_path.rglob(".*"))
    if (runner, number) != ("ray", signal.SIGTERM):
        return
    before = faults.parts(tmp_path)
    ended, said = faults.finish(faults.start(tmp_path, *faults.GRID, "runner=serial"))
    assert ended == 0, said
    assert f"{before} of {faults.CHUNKS} chunks are already done" in said
    assert pq.read_metadata(tmp_path / "results.parquet").num_rows == 2 * faults.CHUNKS


# --- points that fail


@pytest.fixture(scope="module")
def with_failures(tmp_path_factory):
    """A serial run in which two points raise."""
    out = tmp_path_factory.mktemp("failures")
    code, said = faults.finish(faults.start(out, *CUT, "runner=serial", faults={"raises": BAD_POINTS}))
    assert code == 3, said
    assert "2 points failed" in said
    return out


def test_a_point_that_raises_is_a_row_and_the_sweep_goes_on(with_failures, expected, tmp_path):
    table = pq.read_table(with_failures / "results.parquet").to_pandas()
    assert len(table) == 24
    bad = table[table["status"] != "ok"]
    assert sorted(set(zip(bad["jobs"], bad["ceiling"], strict=True))) == [(2, 33), (4, 0)]
    assert set(bad["status"]) == {"failed: ZeroDivisionError: a point that cannot be"}
    assert bad["system_time_s"].isna().all()
    (tmp_path / "whole.parquet").write_bytes(expected)
    whole = pd.read_parquet(tmp_path / "whole.parquet")
    good = table["status"] == "ok"
    pd.testing.assert_frame_equal(table[good], whole[good], check_exact=True)


def test_failures_are_kept_with_parameters_and_traceback(with_failures):
    lost = pd.read_parquet(with_failures / "failures.parquet")
    assert lost[["jobs", "ceiling"]].to_numpy().tolist() == BAD_POINTS
    assert lost["refill_ns"].notna().all()
    assert lost["traceback"].str.contains("tests/driver.py:").all()
    assert not lost["traceback"].str.contains(str(faults.ROOT)).any()


def test_failures_are_the_same_bytes_on_ray(with_failures, tmp_path):
    driver = faults.start(tmp_path, *CUT, "runner=ray", "runner.cpus=2", faults={"raises": BAD_POINTS})
    code, said = faults.finish(driver)
    assert code == 3, said
    assert results(tmp_path) == results(with_failures)
    assert (tmp_path / "failures.parquet").read_bytes() == (with_failures / "failures.parquet").read_bytes()


def test_workers_that_commit_themselves_make_the_same_bytes(with_failures, tmp_path):
    on = (*CUT, "runner=ray", "runner.cpus=2", "runner.commit=workers")
    code, said = faults.finish(faults.start(tmp_path, *on, faults={"raises": BAD_POINTS}))
    assert code == 3, said
    assert (tmp_path / "failures.parquet").read_bytes() == (with_failures / "failures.parquet").read_bytes()
    assert results(tmp_path) == results(with_failures)
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines() if line]
    chunks = [line for line in lines if line["event"] == "chunk"]
    assert sum(line["failed"] for line in chunks) == 2
    assert sum(line["points"] for line in chunks) == 12


def test_the_same_command_tells_of_failures_and_retry_failed_computes_only_them_again(
    with_failures, expected, capsys, monkeypatch
):
    from sweep.run import compute as simulation

    computed = []
    compute = simulation.compute
    monkeypatch.setattr(simulation, "compute", lambda plan, points: computed.extend(points) or compute(plan, points))
    arguments = [*CUT, "runner=serial", f"out={with_failures}", "quiet=true"]
    assert main(arguments) == 3
    assert "2 points failed" in capsys.readouterr().err
    assert main([*arguments, "retry_failed=true"]) == 0
    assert len(computed) == 2
    assert results(with_failures) == expected
    assert not (with_failures / "failures.parquet").exists()


def test_too_many_failures_stop_the_run(tmp_path):
    driver = faults.start(tmp_path, *CUT, "runner=serial", "max_failures=0", faults={"raises": BAD_POINTS})
    code, said = faults.finish(driver)
    assert code == 3
    assert "max_failures=0" in said
    assert "the same command continues" in said
    assert not (tmp_path / "results.parquet").exists()


def test_a_point_that_kills_its_worker_or_takes_all_memory_is_found_by_halving(tmp_path, expected):
    total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    with open("/proc/meminfo") as file:
        left_mb = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) / 1e3
    limit = min(0.95, 1.0 - (left_mb - 4000.0) / total_mb)  # 4 GB above what is taken now
    injected = {"exits": [[2, 33]], "fills": [[4, 0]], "fill_mb": 8000}
    driver = faults.start(
        tmp_path, *CUT, "runner=ray", "runner.cpus=2", faults=injected,
        RAY_memory_usage_threshold=f"{limit:.4f}", RAY_memory_monitor_refresh_ms="100",
        RAY_task_oom_retries="0", RAY_task_oom_retry_delay_base_ms="100",
    )  # fmt: skip
    code, said = faults.finish(driver, timeout=300)
    assert code == 3, said
    table = pq.read_table(tmp_path / "results.parquet").to_pandas()
    status = table.drop_duplicates("point").set_index(["jobs", "ceiling"])["status"]
    assert status[2, 33] == "failed: its worker died (WorkerCrashedError)"
    assert status[4, 0] == "failed: its worker ran out of memory"
    assert (status != "ok").sum() == 2
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines() if line]
    assert any(line.get("out_of_memory", 0) >= 1 for line in lines)


# --- disks, heads and stalls


def test_a_full_disk_stops_cleanly_and_says_how_much_is_needed(tmp_path, expected, capsys):
    arguments = [*CUT, "runner=serial", f"out={tmp_path}", "quiet=true"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, before[1]))  # a real error of write(2)
    try:
        assert main(arguments) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    assert "no room in" in said
    assert "bytes or more are needed" in said
    assert "the same command continues" in said
    assert not list(tmp_path.rglob(".*"))
    assert not list((tmp_path / "parts").glob("part-*"))
    assert main(arguments) == 0
    assert results(tmp_path) == expected


def test_a_head_that_is_not_there_is_said_within_seconds_and_nothing_is_written(tmp_path):
    mute = socket.create_server(("127.0.0.1", 0))  # answers the connection and then nothing
    try:
        for address, limit_s in (("127.0.0.1:1", 5), (f"127.0.0.1:{mute.getsockname()[1]}", 15)):
            begun = time.monotonic()
            driver = faults.start(tmp_path / "out", *SMALL, "runner=ray", f"runner.address={address}")
            code, said = faults.finish(driver)
            assert (code, "Traceback" in said) == (2, False), said
            assert f"runner.address='{address}'" in said
            assert time.monotonic() - begun < limit_s + 2
            assert not (tmp_path / "out").exists()
    finally:
        mute.close()


def test_a_run_in_which_nothing_finishes_stops_and_says_how_to_go_on(tmp_path):
    stalled = (*CUT, "runner=ray", "runner.cpus=1", "runner.stall_s=2")
    code, said = faults.finish(faults.start(tmp_path, *stalled, faults={"sleep_s": 60}))
    assert code == 1
    assert "no chunk has finished for 2 s" in said
    assert "the same command continues" in said


# --- one driver per folder


def test_a_second_driver_is_refused(tmp_path, capsys):
    driver = faults.start(tmp_path, *faults.GRID, "runner=serial", faults={"sleep_s": 0.2})
    try:
        faults.wait_for(tmp_path, 1, driver)
        assert main([*faults.GRID, "runner=serial", f"out={tmp_path}"]) == 2
        said = capsys.readouterr().err
        assert f"host {socket.gethostname()}, pid {driver.pid}, heartbeat" in said
    finally:
        driver.kill()  # no chance to take its lock away
        driver.communicate()
    assert (tmp_path / "lock.json").exists()
    with lock.Lock(open_folder(str(tmp_path))):
        pass
    assert not (tmp_path / "lock.json").exists()


def test_a_lock_of_another_host_is_stale_when_its_heartbeat_is_old(tmp_path):
    folder = open_folder(str(tmp_path))
    other = {"host": "elsewhere", "space": "x", "pid": 1, "started": 0.0, "token": "t", "running": 1}
    (tmp_path / "lock.json").write_text(json.dumps(other))
    with pytest.raises(BadInput, match="host elsewhere, pid 1, heartbeat 0 s ago"), lock.Lock(folder):
        pass
    old = time.time() - lock.STALE_S - 5
    os.utime(tmp_path / "lock.json", (old, old))
    with lock.Lock(folder) as mine:
        (tmp_path / "lock.json").write_text(json.dumps(other))  # it was only suspended, and takes the folder back
        mine.beat()
        with pytest.raises(Stopped, match="elsewhere, pid 1 has taken over"):
            mine.check()
    assert (tmp_path / "lock.json").exists(), "a lock is released by its holder only"


def test_of_many_drivers_that_start_at_once_one_gets_the_folder(tmp_path):
    folder = open_folder(str(tmp_path))
    (tmp_path / "lock.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "t"}))
    os.utime(tmp_path / "lock.json", (0, 0))
    got, gate = [], threading.Barrier(8)

    def try_it():
        mine = lock.Lock(folder)
        gate.wait()
        try:
            mine.acquire()
            got.append(mine)
        except BadInput:
            pass

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


# --- knowing and going on


def test_status_tells_what_is_done_while_it_runs_and_after_it_died(tmp_path):
    driver = faults.start(tmp_path, *faults.GRID, "runner=serial", faults={"sleep_s": 0.1})
    faults.wait_for(tmp_path, 5, driver)
    command = [sys.executable, "-m", "sweep", "status", str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, env=faults.environment(), cwd=faults.ROOT)
    assert f"running (host {socket.gethostname()}, pid {driver.pid}" in shown.stdout, shown.stderr
    assert f"of {faults.CHUNKS} chunks done" in shown.stdout
    assert "chunks/s" in shown.stdout
    driver.kill()
    driver.communicate()
    shown = subprocess.run(command, capture_output=True, text=True, env=faults.environment(), cwd=faults.ROOT)
    assert "not running; the same command continues" in shown.stdout
    assert f"{faults.parts(tmp_path)} of {faults.CHUNKS} chunks done" in shown.stdout


def test_status_of_no_run_is_refused(tmp_path, capsys):
    for arguments, said in (
        ([], "required: OUT"),
        ([str(tmp_path)], "the folder of a run"),
        ([str(tmp_path / "no")], "the folder of a run"),
    ):
        assert main(["status", *arguments]) == 2
        assert said in capsys.readouterr().err


def test_points_of_an_older_run_are_taken_over_by_content(tmp_path, sweep_in, capsys, monkeypatch, expected):
    old = sweep_in(*changed(*SMALL, "runner=serial", "ceiling=[33,512,7]", "replicas=3", "chunk_s=0.01"))
    from sweep.run import compute as simulation

    computed = []
    compute = simulation.compute
    monkeypatch.setattr(simulation, "compute", lambda plan, points: computed.extend(points) or compute(plan, points))
    arguments = [*SMALL, "runner=serial", f"out={tmp_path}"]
    assert main([*arguments, f"reuse={old}"]) == 0
    assert "8 of 12 points were reused" in capsys.readouterr().err
    assert len(computed) == 4
    assert results(tmp_path) == expected


@pytest.mark.parametrize(("change", "said"), [("seed=1", "has seed 0, not 1"), ("replicas=3", "has 2 replicas")])
def test_a_run_of_another_seed_or_fewer_replicas_is_not_taken_over(tmp_path, sweep_in, capsys, change, said):
    old = sweep_in(*changed(*SMALL, "runner=serial", "jobs=1"))
    assert main([*changed(*SMALL, change), "runner=serial", f"out={tmp_path}", f"reuse={old}"]) == 2
    assert said in capsys.readouterr().err


def test_a_cut_has_the_rows_that_the_whole_has(tmp_path, sweep_in, expected):
    (tmp_path / "whole.parquet").write_bytes(expected)
    whole = pd.read_parquet(tmp_path / "whole.parquet")
    cut = pd.read_parquet(sweep_in(*CUT, "runner=serial", "points=2:8") / "results.parquet")
    there = whole[whole["point"].between(2, 7)].reset_index(drop=True)
    pd.testing.assert_frame_equal(cut, there, check_exact=True)


@pytest.mark.parametrize("points", ["8:2", "0:13", "3", "-1:2", "a:b", "2:2"])
def test_a_cut_that_is_none_is_refused(points, tmp_path, capsys):
    assert main([*SMALL, f"points='{points}'", f"out={tmp_path}"]) == 2
    assert f"points='{points}': must be BEGIN:END with 0 <= BEGIN < END <= 12" in capsys.readouterr().err


def test_a_cut_of_a_billion_points_opens_at_once(sweep_in):
    begun = time.monotonic()
    large = (
        "+grid=smoke",
        "max_points=1e10",
        "max_cpu_hours=1e9",
        "refill_ns={from: 0, to: 999999999, steps: 1000000000}",
        "policy=xpfo_deferred",
    )
    folder = sweep_in(*large, "points=999999990:1000000000", "runner=serial")
    assert pq.read_metadata(folder / "results.parquet").num_rows == 20
    assert time.monotonic() - begun < 5.0


def test_inside_a_ray_job_a_relative_folder_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    for given in ([], ["out=here"]):
        assert main([*SMALL, *given]) == 2
        assert "inside a Ray job" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main([*SMALL, f"out={tmp_path}/run", "commit=v1-dirty", "quiet=true"]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["commit"] == "v1-dirty"
