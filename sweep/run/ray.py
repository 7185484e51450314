"""Chunks on Ray; only this module imports it.

A `Cluster` already runs, or is this machine's own for the time of a run.
"""

import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import chdir, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import psutil

from sweep.errors import BadInput, Stopped
from sweep.inputs.settings import Runner
from sweep.plan.plan import Plan
from sweep.run.flight import Flight, Write, one_line
from sweep.run.head import LastWord, Watch, connect, end_processes
from sweep.run.runner import Carried, Known
from sweep.store.folder import ask

LOOPBACK = "127.0.0.1"
ONE_HOST = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0": Ray keeps to the loopback interface
LOOPBACK_CONNECT_S = 2.0
SHUTDOWN_S = 20.0
REACH_S = 13.0  # for a head to answer: 15 for the user, with this program's start
ENDED = "this process was killed, or Ray ended it because its raylet or the raylet's agent has died"
LOG_S = 3.0  # for Ray to name the worker of a failed task


def reach(settings: Runner) -> None:
    """BadInput, within 15 s, if this runner's Ray does not answer or cannot start; starts nothing."""
    address = settings.where()
    if address == "local":
        _check_loopback()
        return
    wrong = f"runner.address={address!r}: no Ray head answers"
    remedy = "start one (`ray start --head`), name another, or use runner.address=local"
    end = time.monotonic() + REACH_S
    if address != "auto":
        try:
            connect(address, timeout_s=5)
        except OSError as error:
            raise BadInput(f"{wrong} ({error.strerror or error}); {remedy}") from None
    script = "import ray, sys; ray.init(address=sys.stdin.read(), log_to_driver=False); ray.shutdown()"
    try:  # Ray tries for over a minute and then kills its process
        why = ask(script, address, end - time.monotonic())
    except subprocess.TimeoutExpired:
        raise BadInput(f"{wrong} within {REACH_S:.0f} s; {remedy}") from None
    if why:
        raise BadInput(f"{wrong} ({why}); {remedy}")


def _check_loopback() -> None:
    """BadInput where processes of this machine cannot connect to one another: Ray would try for minutes."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=LOOPBACK_CONNECT_S).close()
    except OSError as error:
        raise BadInput(
            f"runner.address='local': Ray cannot start: nothing can connect to {LOOPBACK} ({error.strerror or error}); "
            "`ip link set lo up` brings the loopback interface up; runner=serial needs no Ray"
        ) from None


class Cluster:
    """A Ray that carries chunks; `lost` is called from another thread, or after this process, if its head is gone."""

    def __init__(self, settings: Runner, lost: Callable[[str], None]) -> None:
        self._settings, self._say_lost = settings, lost
        self._word: LastWord | None = None  # in case Ray kills this process
        self._watch: Watch | None = None
        self._folder: str | None = None  # private logs and sockets of our own Ray
        self._logs = False  # whether a message names a worker's log
        self.hung = False  # whether Ray's shutdown hangs: its threads would block the process

    def carry(self, plan: Plan, chunks: Sequence[int], known: Known, write: Write) -> Generator[Carried, None, None]:
        """These chunks in order of completion; Stopped if Ray does not start or no chunk finishes.

        `write` runs on the worker, for chunks that it computes whole.
        """
        local = self._settings.where() == "local"
        if "ray" not in sys.modules:
            _set_environment(local)
        import ray

        owned = not ray.is_initialized()
        if owned and local and os.environ.get(ONE_HOST) != "0":
            raise Stopped(1, "Ray was imported before the sweep, as by a policy of your own, and would start without a "
                          "token: leave that import out, or start Ray before the sweep")  # fmt: skip
        try:
            if owned:
                self._start(ray, local)
            turn = self._watch.turn if self._watch else lambda: None
            for carried in Flight(ray, plan, self._settings, known, write, turn, _log_of).carry(chunks):
                self._logs |= "worker_log" in carried.note
                yield carried
        finally:
            if owned:
                self._shut_down(ray)

    def _lost(self, why: str) -> None:
        if self._word:
            self._word.take_back()
        self._say_lost(why)

    def _ended(self, processes: Collection[psutil.Process]) -> None:
        """Set the work of the second process after the end of this one."""
        end_processes(processes)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._say_lost(ENDED)

    def report(self, run: str, points: int, done: int, per_second: float) -> float:
        """Export the progress as metrics of Ray, labelled by the run; the CPUs that Ray gave to tasks of late."""
        for name, value in (("points", points), ("points_done", done), ("points_per_second", per_second)):
            _gauges()[name].set(value, {"run": run})
        return _cpus_busy(int(time.monotonic()))

    def _start(self, ray: Any, local: bool) -> None:
        from loky import cpu_count  # by affinity and control groups

        if local:
            self._folder = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get("RAY_TMPDIR"))  # 0700
        before = signal.getsignal(signal.SIGTERM)
        self._word = LastWord(self._ended)
        others = psutil.Process().children()
        try:
            with chdir(_working_folder()):
                ray.init(
                    address=self._settings.where(),
                    num_cpus=self._settings.cpus or cpu_count() if local else None,
                    include_dashboard=False if local else None, log_to_driver=False, logging_level=logging.ERROR,
                    **({"_node_ip_address": LOOPBACK, "_temp_dir": self._folder} if local else {}),
                )  # fmt: skip
        except SystemExit:  # Ray's reaction to a SIGTERM during its start
            raise Stopped(128 + signal.SIGTERM, "stopped by SIGTERM") from None
        except Exception as error:
            remedy = "; give a shorter TMPDIR" if "AF_UNIX" in str(error) else ""
            raise Stopped(1, f"Ray does not start: {one_line(error)}{remedy}") from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray has replaced it
        address = ray.get_runtime_context().gcs_address
        own = {*psutil.Process().children()}.difference(others) if local else ()
        self._watch = Watch(address, self._lost, self._settings.stall_s, own)
        self._word.tell(self._watch.processes)

    def _shut_down(self, ray: Any) -> None:
        """Shut Ray down, for at most SHUTDOWN_S: with a hung node it may take for ever."""
        watch = self._watch
        try:
            if watch:
                watch.stop()
            thread = threading.Thread(target=ray.shutdown, daemon=True)
            thread.start()
            thread.join(SHUTDOWN_S)
            self.hung = thread.is_alive()
        finally:
            if watch:
                end_processes(watch.processes)
            if self._word:
                self._word.take_back()
            self._watch = self._word = None
            if self._folder and not self._logs:
                shutil.rmtree(self._folder, ignore_errors=True)


def _set_environment(local: bool) -> None:
    """The environment of Ray and its processes; Ray reads it when it is imported.

    Our own cluster requires a token, and listens only on the loopback interface: Ray replaces 127.0.0.1 by the host's
    address unless it takes the machine for one without clusters.
    """
    os.environ.setdefault("RAY_task_oom_retries", "1")  # else tasks killed for memory are retried for ever
    if local:
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32),
            ONE_HOST: "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers are this Python
        }


def _working_folder() -> Path:
    """The folder of our modules: Ray puts the driver's working folder first in the workers' search path.

    If our modules are installed, workers find them anyway, and the folder is one without modules.
    """
    root = Path(__file__).resolve().parent.parent.parent
    installed = {Path(path).resolve() for path in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))}
    return Path(sys.prefix) if root in installed else root


@lru_cache(maxsize=1)
def _cpus_busy(second: int) -> float:
    """CPUs in use; a query takes a millisecond, as long as sending a chunk."""
    import ray

    whole, free = ray.cluster_resources(), ray.available_resources()  # type: ignore[no-untyped-call]
    return float(whole.get("CPU", 0.0) - free.get("CPU", 0.0))


@cache
def _gauges() -> dict[str, Any]:
    """The metrics of a run: Ray exports them as `ray_sweep_` and their name."""
    from ray.util.metrics import Gauge

    meanings = {
        "points": "points of the run's plan",
        "points_done": "committed points, including those of earlier drivers",
        "points_per_second": "points committed by this driver per second",
    }
    return {name: Gauge(f"sweep_{name}", meaning, ("run",)) for name, meaning in meanings.items()}


def _log_of(task: Any) -> str | None:
    """HOST:PATH of the log of a failed task's worker; None if Ray does not know it in time.

    Ray knows a task's worker within a second. The file's name ends in the worker's pid, which is not known here: a
    star takes its place.
    """
    import ray
    from ray._private.state import state

    end = time.monotonic() + LOG_S
    while time.monotonic() < end:
        with suppress(Exception):  # private functions of Ray; without an answer the run continues
            events = [event for event in state._get_all_task_events() if event.task_id == task.task_id().binary()]
            last = max(events, key=lambda event: event.attempt_number).state_updates
            nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            host = next(node["NodeManagerHostname"] for node in nodes if node["NodeID"] == last.node_id.hex())
            own_node: Any = ray._private.worker._global_node
            if last.worker_id:
                logs = own_node.get_logs_dir_path()
                return f"{host}:{logs}/worker-{last.worker_id.hex()}-*.err"
        time.sleep(0.1)
    return None
