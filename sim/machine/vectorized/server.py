"""One server that CPUs visit one at a time: the cache line of a mask, or a broadcast fabric.

Kernel: arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): local flush, then cpumask_or(&pending_xpfo_flush, ...)  (v8)
Ref:    arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

Every step serves one flush event in every lane, and the kernel entries that check the line before it. Arrays are
[cpu, lane], or [lane] unless noted; times are absolute. `compiled/server.py` simulates the same CPU by CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.cache_lines import distances, flags_ns, line_times_ns
from sim.events import FlushEvents, is_full
from sim.machine.vectorized.state import NEVER, Steps, first_least
from sim.policy import Line, Local, Policy, Targets
from sim.topology import Shape


@dataclass
class Senders:
    """The senders; every field is [cpu, lane]."""

    # the next flush event
    kind: np.ndarray  # index of its kind
    start: np.ndarray
    arrival: np.ndarray  # at the server
    # misses
    refills_next: np.ndarray  # flushed by another CPU during a flush event, so the next compute refills


@dataclass
class Visit:
    """The last visit to the server."""

    owner: np.ndarray  # the CPU, [lane]
    free: np.ndarray  # its end, [lane]
    turns: np.ndarray  # visits in a row inside one cluster, [lane]


@dataclass
class Checkers:
    """The checks of busy CPUs at kernel entries; every field is [cpu, lane], empty if there are no checks."""

    entry: np.ndarray  # next kernel entry
    used: np.ndarray  # draws of entries used
    checked: np.ndarray  # last check


@dataclass
class Marks:
    """The marks that kernel entries check; every field is [lane]."""

    latest: np.ndarray  # end of the latest mark
    marker: np.ndarray  # CPU of the latest mark
    other: np.ndarray  # end of the latest mark by another CPU


class Server(Steps):
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    STATE = ("senders", "visit", "checkers", "marks")

    def __init__(self, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, source: FlushEvents) -> None:
        """`cost` has the parameters that the policy reads, each [lane]; `source` draws flush events and entries."""
        self.hardware = policy.targets is Targets.HARDWARE
        self.line = policy.mark.line if policy.mark else None
        self.shared = self.hardware or self.line is Line.GLOBAL
        super().__init__(shape, cost, policy, source)
        zero, nothing = np.zeros((shape.senders, self.lanes)), np.zeros(self.lanes)
        self.senders = Senders(zero.astype(int), zero, zero.copy(), zero.astype(bool))
        self.visit = Visit(nothing.astype(int), nothing, nothing.astype(int))
        self.marks = Marks(nothing + NEVER, nothing.astype(int), nothing + NEVER)
        self._draw_first()
        # the kernel entries of every busy CPU, a Poisson process each
        entries = np.full((shape.busy if source.checking else 0, self.lanes), np.inf)
        self.checkers = Checkers(entries, np.zeros(entries.shape, dtype=int), np.full(entries.shape, NEVER))
        for k in range(len(entries)):
            self._next_entry(np.full(self.lanes, k), nothing, np.ones(self.lanes, dtype=bool))

    def _lay_out(self, lanes: int) -> None:
        super()._lay_out(lanes)
        on_a_line, flags = self.line is Line.GLOBAL, self.line is Line.PER_CPU
        self.burst = self.cost["line_burst"] if on_a_line else np.zeros(lanes)  # 0: in order of arrival
        self.line_ns = line_times_ns(self.shape, self.cost) if on_a_line else None  # [lane, distance]
        self.cluster = self.shape.cluster
        leaves = self.hardware and self.shape.delivery != "apic"
        self.leave_ns = self.cost["exit_ns"] if leaves else np.zeros(lanes)  # exit to the hypervisor and back
        self.flags_ns = flags_ns(self.shape, self.cost) if flags else np.zeros((self.shape.senders, lanes))
        self.fabric_ns = np.array([self._fabric_ns(pages) for pages in self.source.pages])  # [kind, lane]

    def _next_entry(self, cpu: np.ndarray, after: np.ndarray, where: np.ndarray) -> None:
        """Schedule the next kernel entry of `cpu`, a drawn time after `after`, in the lanes of the mask `where`."""
        checkers, at = self.checkers, (cpu, self.lane)
        with np.errstate(divide="ignore", over="ignore"):  # without entries the next one never comes
            gap = self.source.unit_gaps(cpu, checkers.used[at]) * (1e9 / self.cost["kernel_entries_per_s"])
        checkers.entry[at] = np.where(where, after + gap, checkers.entry[at])
        checkers.used[at] += where

    def _fabric_ns(self, pages: int) -> np.ndarray:
        """The time of a hardware broadcast of this many pages."""
        cost = self.cost
        if not self.hardware:
            return np.zeros(self.lanes)
        once = np.where(
            is_full(cost, pages), cost["broadcast_all_ns"], cost["broadcast_ns"] + pages * cost["broadcast_page_ns"]
        )
        return once * cost["broadcast_repeats"]

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        senders, at = self.senders, (cpu, self.lane)
        work = self.source.bookkeeping_ns[kind, self.lane] + self.leave_ns
        if self.policy.local is Local.FIRST:  # local flush
            work = work + self.source.local_ns[kind, self.lane]
        senders.start[at], senders.arrival[at], senders.kind[at] = start, start + work, kind

    def step(self) -> None:
        """Serve the CPU that arrives first, in every lane."""
        while self.source.checking and self._serve_entries():
            pass
        served, senders = self.served, self.senders
        cpu = self._next_in_line()
        at = (cpu, self.lane)
        arrival, kind = senders.arrival[at], senders.kind[at]
        # cpumask_or(), or the fabric: one CPU at a time
        grant = np.maximum(arrival, self.visit.free) if self.shared else arrival
        end = grant + self._service_ns(cpu, kind)
        self._own(cpu, end, np.ones(self.lanes, dtype=bool))
        served.now = grant
        self.tally.queue_ns += grant - arrival
        served.wait_ns = end - senders.start[at]
        if self.hardware:
            window_ns = served.wait_ns - self.source.bookkeeping_ns[kind, self.lane]
            served.window_ns = np.maximum(window_ns, 0.0)  # where rounding leaves less than nothing
        if self.source.checking:
            self._mark(cpu, end)
        full = self.source.full[kind, self.lane]
        if self.hardware and full.any():
            self._refill_all(cpu, full, end)
        compute, next_kind = self.source.draw(cpu)
        self._schedule(cpu, end + compute + self._refill_ns(at, full), next_kind)

    def _next_in_line(self) -> np.ndarray:
        """The next visitor: a waiter of the owner's cluster during its turns, else the first to arrive."""
        visit, arrival = self.visit, self.senders.arrival
        first = first_least(arrival)  # ties go to the lowest CPU
        if self.line_ns is None:
            return first
        near = self.cluster[: self.shape.senders, None] == self.cluster[visit.owner]
        cpu = first_least(np.where(near, arrival, np.inf))
        waits = near[cpu, self.lane] & (arrival[cpu, self.lane] <= visit.free) & (visit.turns < self.burst)
        return np.where(waits, cpu, first)

    def _own(self, cpu: np.ndarray, end: np.ndarray, here: np.ndarray) -> None:
        """`cpu` has visited the server, in the lanes of the mask `here`."""
        visit = self.visit
        again = (self.cluster[cpu] == self.cluster[visit.owner]) & (visit.turns < self.burst)
        visit.turns = np.where(here, np.where(again, visit.turns + 1, 1), visit.turns)
        visit.free, visit.owner = np.where(here, end, visit.free), np.where(here, cpu, visit.owner)

    def _mark(self, cpu: np.ndarray, end: np.ndarray) -> None:
        """Keep a mark for the checks at kernel entries; the next kernel entry of its CPU is after the mark."""
        entry, marks, at = self.checkers.entry, self.marks, (cpu, self.lane)
        entry[at] = np.maximum(entry[at], end)
        marks.other = np.where(cpu == marks.marker, marks.other, marks.latest)
        marks.latest, marks.marker = end, cpu

    def _serve_entries(self) -> bool:
        """Serve the next kernel entry in lanes in which it comes before the next mark; return whether there was one."""
        visit, checkers, marks, counts, senders = self.visit, self.checkers, self.marks, self.tally, self.senders
        cpu = first_least(checkers.entry)
        at = (cpu, self.lane)
        entered = checkers.entry[at]
        here = entered < senders.arrival.min(axis=0)
        if not here.any():
            return False
        entered = np.where(here, entered, 0.0)  # in other lanes it may be infinite, if no CPU enters the kernel
        end = np.maximum(entered, visit.free) + self._service_ns(cpu, np.zeros_like(cpu))
        marked = np.where(cpu == marks.marker, marks.other, marks.latest)
        flushes = here & (marked > checkers.checked[at])
        checkers.checked[at] = np.where(here, end, checkers.checked[at])
        self._own(cpu, end, here)
        length = end - entered + np.where(flushes, self.cost["flush_all_ns"], 0.0)
        counts.entries += here
        counts.entry_ns += np.where(here, length, 0.0)
        counts.entry_flushes += flushes
        counts.refills += flushes
        sender = np.minimum(cpu, self.shape.senders - 1)
        of_sender = (sender, self.lane)
        delayed = here & (cpu == sender)
        delay = np.where(delayed, length + np.where(flushes, self.cost["refill_ns"], 0.0), 0.0)
        senders.arrival[of_sender] += delay
        senders.start[of_sender] += np.where(senders.start[of_sender] > entered, delay, 0.0)
        self._next_entry(cpu, entered + length, here)
        return True

    def _service_ns(self, cpu: np.ndarray, kind: np.ndarray) -> np.ndarray:
        """The service time of `cpu`."""
        if self.hardware:
            grant = np.maximum(self.senders.arrival[cpu, self.lane], self.visit.free)
            waiters = (self.senders.arrival <= grant).sum(axis=0) - 1
            return self.fabric_ns[kind, self.lane] * (1.0 + self.cost["broadcast_per_waiter"] * waiters)
        if self.line_ns is None:
            return self.flags_ns[cpu, self.lane]
        return self.line_ns[self.lane, distances(self.shape)[self.visit.owner, cpu]]

    def _refill_ns(self, at: tuple[np.ndarray, np.ndarray], full: np.ndarray) -> np.ndarray:
        """The time that misses after its local flush add to the next compute of a CPU."""
        if self.policy.local is Local.NEVER and not self.hardware:
            return np.zeros(self.lanes)
        refill = full | self.senders.refills_next[at]
        self.senders.refills_next[at] = False
        self.tally.refills += refill
        if not self.hardware:
            self.tally.range_misses += ~refill
        range_ns = np.zeros(self.lanes) if self.hardware else self.cost["user_refill_ns"]
        return np.where(refill, self.cost["refill_ns"], range_ns)

    def _refill_all(self, cpu: np.ndarray, full: np.ndarray, end: np.ndarray) -> None:
        """A broadcast of a full flush empties the TLBs of busy CPUs, which lengthens their current or next compute."""
        senders = self.senders
        others = np.ones_like(senders.refills_next)
        others[cpu, self.lane] = False
        flushed = others & full
        computing = flushed & (senders.start > end)
        grows = np.where(computing, self.cost["refill_ns"], 0.0)
        senders.start += grows
        senders.arrival += grows
        senders.refills_next |= flushed & ~computing
        self.tally.refills += computing.sum(axis=0) + full * (self.shape.busy - self.shape.senders)
