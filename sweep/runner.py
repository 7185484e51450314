"""Carrying chunks to processors: one process, or Ray. Both are generators of (chunk, table)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sweep.catalog import BadInput
from sweep.chunk import compute
from sweep.plan import Plan


@dataclass(frozen=True)
class Runner:
    """How chunks are carried, from `conf/runner/`."""

    kind: str = "auto"
    serial_below_s: float = 60.0
    address: str | None = None
    cpus: int | None = None
    tasks_per_cpu: int = 2

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "serial", "ray"):
            raise BadInput(f"runner.kind={self.kind!r}: must be auto, serial or ray")
        if self.address and self.address.startswith(("http://", "https://")):
            raise BadInput(
                f"runner.address={self.address!r}: is Ray's Jobs API; submit with "
                f"`ray job submit --address {self.address}`, or give HOST:PORT of the head"
            )
        if self.tasks_per_cpu < 1:
            raise BadInput(f"runner.tasks_per_cpu={self.tasks_per_cpu}: must be at least 1")
        if self.cpus is not None and self.cpus < 1:
            raise BadInput(f"runner.cpus={self.cpus}: must be at least 1")

    def choose(self, estimate_s: float) -> tuple[str, str]:
        """serial or ray, and why, in words."""
        if self.kind != "auto":
            return self.kind, f"runner={self.kind}"
        if estimate_s < self.serial_below_s:
            return "serial", f"about {estimate_s:.0f} CPU s of work: one process, without Ray's start"
        return "ray", f"about {estimate_s:.0f} CPU s of work: on Ray"


def serial(plan: Plan, chunks: Sequence[int]) -> Iterator[tuple[int, pa.Table]]:
    """One chunk after the other, in this process."""
    for chunk in chunks:
        yield chunk, compute(plan, chunk)


def ray(plan: Plan, chunks: Sequence[int], runner: Runner) -> Iterator[tuple[int, pa.Table]]:
    """A bounded window of tasks on Ray, in the order they finish."""
    import logging

    import ray as rayapi

    owned = not rayapi.is_initialized()
    if owned:
        rayapi.init(
            address=runner.address, num_cpus=runner.cpus if runner.address in (None, "local") else None,
            include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        )  # fmt: skip
    try:
        task = rayapi.remote(max_retries=3, scheduling_strategy="SPREAD")(compute)
        shared = rayapi.put(plan)
        window = max(1, int(runner.tasks_per_cpu * rayapi.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
        todo = iter(chunks)
        flying = {}
        for chunk in todo:
            flying[task.remote(shared, chunk)] = chunk
            if len(flying) < window:
                continue
            yield from _finished(rayapi, flying)
        while flying:
            yield from _finished(rayapi, flying)
    finally:
        if owned:
            rayapi.shutdown()


def _finished(rayapi, flying) -> Iterator[tuple[int, pa.Table]]:  # type: ignore[no-untyped-def]
    done, _ = rayapi.wait(list(flying), num_returns=1)
    for reference in done:
        chunk = flying.pop(reference)
        yield chunk, rayapi.get(reference)


def cpus_busy() -> float | None:
    """CPUs that Ray has given to tasks now; None where this process has no Ray."""
    import ray as rayapi

    if not rayapi.is_initialized():
        return None
    whole, free = rayapi.cluster_resources(), rayapi.available_resources()  # type: ignore[no-untyped-call]
    return float(whole.get("CPU", 0.0) - free.get("CPU", 0.0))
