"""Kill workers, a node and the driver of a sweep at random moments, go on, and compare with an undisturbed one.

`python -m tests.faults N` runs N seeds, one after the other, and ends in one sentence. Everything it kills it started.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
CHUNKS = 200
GRID = (
    "+grid=smoke", "policy=xpfo_deferred", f"jobs={list(range(1, CHUNKS + 1))}", "ceiling=[0,33]",
    "window_events=64", "replicas=1", "chunk_s=1e-9",
)  # fmt: skip

TASKS = (b"ray::smoke chunk ",)  # how Ray names who carries them

HOST = """
import json, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
cluster.add_node(num_cpus=2)
raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
head = cluster.head_node.all_processes["gcs_server"][0].process.pid
print(json.dumps({"address": cluster.address, "raylets": raylets, "head": head}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def environment(**more: str) -> dict[str, str]:
    out = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return out | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_BACKEND_LOG_LEVEL": "error"} | more


@contextmanager
def two_nodes() -> Iterator[dict]:
    """Address, raylet pids and the head's pid of a cluster of two nodes on this machine; the first is the head's."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=environment(), cwd=ROOT,
    )  # fmt: skip
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def start(out: Path, *overrides: str, faults: dict | None = None, **env: str) -> subprocess.Popen:
    """A driver as a process of its own."""
    command = [sys.executable, "-m", "tests.driver", json.dumps(faults or {}), *overrides, f"out={out}"]
    return subprocess.Popen(
        command, env=environment(**env), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(driver: subprocess.Popen, timeout: float = 120.0) -> tuple[int, str]:
    """Exit code and standard error."""
    try:
        _, said = driver.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        driver.kill()
        raise
    return driver.returncode, said


def parts(out: Path) -> int:
    return len(list((out / "parts").glob("part-*"))) if (out / "parts").is_dir() else 0


def wait_for(out: Path, count: int, driver: subprocess.Popen, timeout_s: float = 90.0) -> None:
    """Until so many chunks are committed."""
    end = time.monotonic() + timeout_s
    while parts(out) < count:
        assert driver.poll() is None, f"the driver ended with {driver.returncode}: {driver.communicate()[1]}"
        assert time.monotonic() < end, f"{parts(out)} parts after {timeout_s} s, not {count}"
        time.sleep(0.02)


def goes_on(out: Path, count: int, driver: subprocess.Popen) -> bool:
    """Whether the driver goes on without the node; on one machine it may be its own, and then Ray ends it at once."""
    end = time.monotonic() + 90
    while parts(out) < count and driver.poll() is None:
        assert time.monotonic() < end, f"{parts(out)} parts after 90 s without the node, not {count}"
        time.sleep(0.02)
    assert driver.poll() in (None, 1), driver.returncode
    return driver.poll() is None


def workers(raylets: list[int]) -> list[int]:
    """Pids of the raylets' children that carry tasks, not their agents: a raylet without its agent ends itself."""
    out = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                name = (entry / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            if parent in raylets and name.startswith((b"ray::IDLE", *TASKS)):
                out.append(int(entry.name))
    return out


def some_workers(raylets: list[int]) -> list[int]:
    """As `workers`; there is one soon, where the last has just been killed."""
    end = time.monotonic() + 10.0
    while not (found := workers(raylets)):
        assert time.monotonic() < end, "no process of Ray's carries tasks: is it named as TASKS has it?"
        time.sleep(0.02)
    return found


def kill(pid: int) -> bool:
    """Whether it was there to be killed."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def undisturbed(out: Path) -> bytes:
    """results.parquet of the same sweep in one process."""
    code, said = finish(start(out, *GRID, "runner=serial", "quiet=true"))
    assert code == 0, said
    return (out / "results.parquet").read_bytes()


def disturbed(out: Path, seed: int, commit: str = "driver") -> dict[str, float]:
    """One run with kills at the moments that the seed draws; how many workers were killed, and times."""
    luck = random.Random(seed)
    begun, killed = time.monotonic(), 0
    with two_nodes() as cluster:
        on = (
            *GRID,
            "runner=ray",
            f"runner.address={cluster['address']}",
            "runner.stall_s=60",
            f"runner.commit={commit}",
        )
        faults = {"sleep_s": 0.05}
        driver = start(out, *on, faults=faults)
        try:
            at = sorted(luck.sample(range(2, 150), 4))  # parts there when: two workers, a node, the driver
            for moment in at[:2]:
                wait_for(out, moment, driver)
                time.sleep(luck.uniform(0.0, 0.05))
                while not kill(luck.choice(some_workers(cluster["raylets"]))):
                    pass
                killed += 1
            wait_for(out, at[2], driver)
            kill(cluster["raylets"][1])
            own = not goes_on(out, at[3], driver)
            time.sleep(luck.uniform(0.0, 0.05))
        finally:
            driver.kill()
            driver.communicate()
        before = parts(out)
        code, said = finish(start(out, *on, faults=faults))
        assert code == 0, said
        assert "chunks are already done" in said or before == 0, said
    assert killed == 2, f"{killed} workers were killed, not 2"
    return {"workers": killed, "resumed_at": before, "own_node": own, "seconds": time.monotonic() - begun}


def check(out: Path, expected: bytes) -> None:
    """The same bytes, every point once, no litter."""
    assert (out / "results.parquet").read_bytes() == expected, "results.parquet differs from the serial run's"
    table = pq.read_table(out / "results.parquet")
    assert table["point"].to_pylist() == list(range(2 * CHUNKS))
    assert set(table["status"].to_pylist()) == {"ok"}
    assert parts(out) == CHUNKS
    assert not (out / "lock.json").exists()
    assert not (out / "broken").exists(), "a kill left a broken part"
    assert not list((out / "parts").glob(".*")), "a kill left half a part"


def main() -> int:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        expected = undisturbed(Path(folder) / "serial")
        for seed in range(first, first + seeds):
            out = Path(folder) / str(seed)
            try:
                took = disturbed(out, seed, ("driver", "workers")[seed % 2])
                check(out, expected)
                print(f"seed {seed}: the same bytes; {took}", flush=True)
            except Exception as error:
                wrong.append(seed)
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
    print(
        f"{seeds} seeds, each with two workers, a node and the driver of a sweep of {CHUNKS} chunks killed, and the "
        f"same command again: {seeds - len(wrong)} gave the bytes of an undisturbed run"
        + (f"; not: {wrong}." if wrong else ".")
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
