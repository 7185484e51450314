"""A broadcast by interrupts written the usual way: a process per CPU in SimPy, a timeout per step.

The same steps as `sim/machine/compiled/smp.py`: llist_add on each target's call_single_queue, ICR writes,
csd_lock_wait target by target, local flush; the receiver takes its queue and flushes request after request.

SimPy has no cheap form of "a handler run delays interrupted work": interrupting a process, or a preemptive resource,
needs an exception and a new request each time. So work has an end that handler runs postpone, and is checked again at
that time. Events at one instant are in the order of scheduling, not by CPU; otherwise the numbers are those of
`sim/machine/compiled/smp.py`.
"""

from bisect import bisect_right
from collections.abc import Callable, Generator
from itertools import accumulate
from typing import Any

import simpy

from sim.draws import COMPUTE, KIND, PAGES, stream

RANGE, FULL = 1, 2  # size of a flush; the greater includes the less
MOST = 4096  # flush events of a CPU
Steps = Generator[simpy.Event, Any, None]


def draws(replica: int) -> Callable[[int, int], tuple[float, float, float]]:
    """draw(cpu, number): unit compute and the uniforms of kind and pages, as the engines draw them under seed 0."""
    tapes: dict[int, Any] = {}

    def draw(cpu: int, number: int) -> tuple[float, float, float]:
        if cpu not in tapes:
            compute, kind, pages = (stream(0, replica, cpu, purpose) for purpose in (COMPUTE, KIND, PAGES))
            tapes[cpu] = (compute.standard_exponential(MOST), kind.random(MOST), pages.random(MOST))
        compute, kind, pages = (float(tape[number]) for tape in tapes[cpu])
        return compute, kind, pages

    return draw


class Cpu:
    """The state of one CPU for its process and its handler runs."""

    def __init__(self) -> None:
        self.phase = "idle"
        self.work_end = 0.0  # end of its work unless a run postpones it
        self.closed_until = 0.0  # interrupts off, or a handler run
        self.call_single_queue: list[tuple[float, int, simpy.Event]] = []  # (work, size of flush, done)
        self.queue_owner, self.queue_free = -1, 0.0  # its cache line: last owner, occupied until then
        self.dropped = 0  # since the last compute


class Machine:
    """All CPUs in one environment; times in ns."""

    def __init__(
        self,
        cost: dict[str, Any],
        think_ns: float,
        alloc_share: float,
        draw: Callable[[int, int], tuple[float, float, float]],
    ) -> None:
        self.cost, self.think_ns, self.alloc_share, self.draw = cost, think_ns, alloc_share, draw
        self.pages, weights = zip(*dict(cost["range_pages"]).items(), strict=True)
        self.cumulative = list(accumulate(weight / sum(weights) for weight in weights))
        self.slow = cost["smt_slowdown"] if cost["threads_per_core"] == 2 else 1.0
        self.entry, self.handler, self.exit = (
            cost[name] * self.slow for name in ("irq_entry_ns", "handler_fixed_ns", "irq_exit_ns")
        )
        self.physical = cost["cores"] // cost["threads_per_core"]
        self.refill = (0.0, cost["user_refill_ns"], cost["refill_ns"])
        apic = cost["apic"] if cost["apic"] != "auto" else "flat" if cost["cores"] <= 8 else "cluster"
        self.reach = {"flat": cost["cores"], "cluster": 16, "physical": 1}[apic]
        self.env = simpy.Environment()
        self.cpus = [Cpu() for _ in range(cost["cores"])]
        self.waits: list[float] = []
        self.runs = 0
        self.wanted, self.reached = 0, self.env.event()
        for k in range(min(cost["jobs"], cost["cores"])):
            self.env.process(self.busy(k))

    def simulate(self, flushes: int) -> None:
        """Run until this many flush events are done in total."""
        self.wanted, self.reached = flushes, self.env.event()
        self.env.run(until=self.reached)

    def work(self, cpu: Cpu, phase: str, length: float) -> Steps:
        """Work that handler runs postpone."""
        cpu.phase, cpu.work_end = phase, self.env.now + length
        yield self.env.timeout(length)
        while cpu.work_end > self.env.now:
            yield self.env.timeout(cpu.work_end - self.env.now)

    def busy(self, k: int) -> Steps:
        """A CPU of the build: compute, flush event, compute."""
        env, cost, cpu, number = self.env, self.cost, self.cpus[k], 0
        while True:
            exponential, kind, size = self.draw(k, number)
            number += 1
            alloc = kind < self.alloc_share
            pages = self.pages[min(bisect_right(self.cumulative, size), len(self.pages) - 1)] if alloc else 1
            refill, cpu.dropped = self.refill[cpu.dropped], 0
            yield from self.work(cpu, "compute", exponential * self.think_ns + refill)
            begin = env.now
            yield from self.work(
                cpu, "scan", cost["alloc_bookkeeping_ns" if alloc else "kunmap_bookkeeping_ns"] + cost["mask_scan_ns"]
            )
            full = pages > cost["ceiling"]
            local = cost["flush_all_ns"] if full else cost["flush_fixed_ns"] + pages * cost["invlpg_ns"]
            yield from self.broadcast(k, cpu, local, FULL if full else RANGE)
            cpu.phase, cpu.closed_until = "flush", env.now + local  # interrupts off
            yield env.timeout(local)
            cpu.dropped = max(cpu.dropped, FULL if full else RANGE)
            self.waits.append(env.now - begin)
            if len(self.waits) == self.wanted:
                self.reached.succeed()
            yield from self.work(cpu, "return", 0.0)  # a delayed run comes first

    def broadcast(self, k: int, cpu: Cpu, local: float, drops: int) -> Steps:
        """smp_call_function_many()"""
        env, cost = self.env, self.cost
        marked, requests = [], []
        for j, target in enumerate(self.cpus):
            if j == k:
                continue
            own = cost["enqueue_fixed_ns"] * self.slow_sender(k) + cost["csd_lines"] * self.line(j, k)
            yield from self.work(cpu, "enqueue", self.take_queue(j, k) + own)
            if not target.call_single_queue:
                marked.append(j)
            done = env.event()
            target.call_single_queue.append(
                (self.handler + cost["request_lines"] * self.line(k, j) + self.slow * local, drops, done)
            )
            requests.append((j, done))
        written = 0.0
        for rank, j in enumerate(marked):
            written += cost["ipi_send_ns"] if rank % self.reach == 0 else 0.0
            env.process(self.run(j, written + cost[self.latency(k, j)]))
        cpu.closed_until = env.now + written  # interrupts off
        yield from self.work(cpu, "send", written)
        for j, done in requests:
            if not done.triggered:
                cpu.phase = "wait"
                yield done
                if cpu.closed_until > env.now:  # during a handler run
                    yield from self.work(cpu, "wait", cpu.closed_until - env.now)
            yield from self.work(cpu, "read", cost["ack_lines"] * self.line(j, k))

    def latency(self, k: int, j: int) -> str:
        cross = (self.core(k) - self.core(j)) % self.cost["sockets"]
        return "ipi_latency_cross_ns" if cross else "ipi_latency_ns"

    def core(self, k: int) -> int:
        return k % self.physical

    def slow_sender(self, k: int) -> float:
        """The factor for a sender with a busy sibling, which is half of all CPUs away."""
        others = (k - self.physical, k + self.physical)
        return self.slow if any(0 <= other < min(self.cost["jobs"], self.cost["cores"]) for other in others) else 1.0

    def line(self, owner: int, taker: int) -> float:
        """The time of a cache line between two CPUs of a machine without clusters."""
        if owner == taker:
            return self.cost["line_hit_ns"]
        if self.core(owner) == self.core(taker):
            return self.cost["line_sibling_ns"]
        cross = (self.core(owner) - self.core(taker)) % self.cost["sockets"]
        return self.cost["line_cross_ns" if cross else "line_socket_ns"]

    def take_queue(self, j: int, k: int) -> float:
        """The time until CPU k has the line of CPU j's queue."""
        target, now = self.cpus[j], self.env.now
        owner = j if target.queue_owner < 0 else target.queue_owner
        target.queue_free = max(now, target.queue_free) + self.cost["queue_lines"] * self.line(owner, k)
        target.queue_owner = k
        return target.queue_free - now

    def run(self, j: int, latency: float) -> Steps:
        """An interrupt in transit, and its handler run."""
        env, cpu = self.env, self.cpus[j]
        yield env.timeout(latency)
        if cpu.phase == "idle" and cpu.closed_until <= env.now:
            yield env.timeout(self.cost["idle_exit_ns"])
        while cpu.closed_until > env.now:
            yield env.timeout(cpu.closed_until - env.now)
        self.runs += 1
        self.put_off(cpu, self.entry)
        yield env.timeout(self.entry)
        requests, cpu.call_single_queue = cpu.call_single_queue, []
        taking = self.take_queue(j, j)
        self.put_off(cpu, taking + sum(work for work, _, _ in requests) + self.exit)
        dropped = max((drops for _, drops, _ in requests), default=0)
        if cpu.phase == "compute":
            cpu.work_end += self.refill[dropped]
        else:
            cpu.dropped = max(cpu.dropped, dropped)
        yield env.timeout(taking)
        for work, _, done in requests:
            yield env.timeout(work)
            done.succeed()

    def put_off(self, cpu: Cpu, length: float) -> None:
        """A handler run takes this time: work is postponed, waiting for an ack is not."""
        cpu.closed_until = self.env.now + length
        cpu.work_end = max(cpu.work_end, cpu.closed_until) if cpu.phase == "wait" else cpu.work_end + length


def broadcast(
    cost: dict[str, Any],
    *,
    think_ns: float,
    alloc_share: float,
    draw: Callable[[int, int], tuple[float, float, float]],
    events: int,
    warmup_events: int,
) -> dict[str, float]:
    """Means per flush event over `events` of them after `warmup_events`; `cost` as for `sim.simulate`."""
    machine = Machine(cost, think_ns, alloc_share, draw)
    machine.simulate(warmup_events)
    begin, runs = machine.env.now, machine.runs
    machine.simulate(warmup_events + events)
    return {
        "flush_wait_ns": sum(machine.waits[warmup_events:]) / events,
        "flush_interval_ns": (machine.env.now - begin) / events,
        "interrupts_per_flush": (machine.runs - runs) / events,
    }
