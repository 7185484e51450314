"""Points whose worker dies, on a stand-in for Ray that ends the tasks which a test names."""

from types import SimpleNamespace
from typing import Any

import pytest

from sweep.__main__ import main
from sweep.run import flight
from sweep.run.flight import Flight


class OutOfMemoryError(Exception):
    """As Ray's."""


class StandIn:
    """As much of Ray as a flight calls; each task is done when it is sent, and dies as often as `deaths` says."""

    exceptions = SimpleNamespace(
        OutOfMemoryError=OutOfMemoryError, WorkerCrashedError=type("WorkerCrashedError", (Exception,), {}),
        RayTaskError=type("RayTaskError", (Exception,), {}), RayError=type("RayError", (Exception,), {}),
        RaySystemError=type("RaySystemError", (Exception,), {}),
    )  # fmt: skip

    def __init__(self, deaths: int) -> None:
        self.deaths, self.sent, self._answers = deaths, 0, {}

    def remote(self, **_: Any) -> Any:
        def wrapped(function: Any) -> Any:
            return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *each: self._send(function, each)))

        return wrapped

    def _send(self, function: Any, arguments: Any) -> int:
        self.sent += 1
        died = self.sent <= self.deaths
        self._answers[self.sent] = OutOfMemoryError("ended") if died else function(*arguments)
        return self.sent

    def get(self, reference: int) -> Any:
        answer = self._answers[reference]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, value: Any) -> Any:
        return value

    def wait(self, references: list[int], **_: Any) -> Any:
        return references[:1], references[1:]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}


@pytest.mark.parametrize(("deaths", "failed"), [(2, 0), (3, 1)])  # one with others beside it, then by itself
def test_a_point_fails_for_want_of_memory_only_after_two_tries_by_itself(monkeypatch, tmp_path, deaths, failed):
    plans: list[Any] = []
    monkeypatch.setattr(flight.time, "sleep", lambda seconds: None)
    monkeypatch.setattr("sweep.run.driver.run", lambda request: plans.append(request) or 0)
    assert main(["+grid=point", "policy=xpfo_deferred", "cores=4", "jobs=4", "window_events=64", "replicas=1",
                 f"out={tmp_path}"]) == 0  # fmt: skip
    from sweep.plan.open import open_plan

    plan, ray = open_plan(plans[0].composition), StandIn(deaths)
    settings = SimpleNamespace(tasks_per_cpu=1, stall_s=60.0)
    task = Flight(ray, plan, settings, lambda chunk: None, lambda plan, chunk, table: None)  # type: ignore[arg-type]
    [carried] = task.carry([0])
    assert ray.sent == min(deaths + 1, 3)
    assert carried.failed == failed
