"""Marks on cache lines that CPUs read before they write: each line is modified in one CPU, or shared by several.

Kernel: after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8), with cpumask_test_cpu()
        before cpumask_or() and cpumask_test_and_clear_cpu()

Every step serves one flush event in every lane: all visits in order of arrival up to its last one, including those of
other flush events and of checks. Arrays are [cpu, lane] or [line, lane], or [lane] unless noted; times are absolute.
`compiled/coherence.py` has the rules, and simulates the same CPU by CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.cache_lines import SAME, distances, line_times_ns
from sim.events import FlushEvents
from sim.machine.vectorized.state import Steps, first_least
from sim.policy import Line, Local, Policy
from sim.topology import Shape


@dataclass
class Senders:
    """The senders; every field is [cpu, lane]."""

    kind: np.ndarray  # kind of the next or current flush event
    start: np.ndarray
    arrival: np.ndarray  # at the next line
    stage: np.ndarray  # twice the number of finished lines, plus one if a write is next


@dataclass
class Checkers:
    """The checks of busy CPUs; every field is [cpu, lane]."""

    check: np.ndarray  # next arrival at the line; infinite while the mark is clear
    clearing: np.ndarray  # whether the write is next, after the read
    used: np.ndarray  # draws of checks used
    cleared: np.ndarray  # generation of its line in which the mark is clear


@dataclass
class Lines:
    """The lines; every field is [line, lane]."""

    owner: np.ndarray  # last writer
    turns: np.ndarray  # visits in a row inside one cluster
    free: np.ndarray  # end of the last occupation
    version: np.ndarray  # writes so far
    generation: np.ndarray  # writes that marked CPUs pending so far
    clear: np.ndarray  # CPUs whose mark is clear
    copy: np.ndarray  # version of the copy of each busy CPU, [line, cpu, lane]


@dataclass
class Access:
    """One visit to a line in every lane of the step; every field is [lane]."""

    checks: np.ndarray  # whether the visit is by a check
    marks: np.ndarray  # whether it is by a flush event
    cpu: np.ndarray
    line: np.ndarray
    writes: np.ndarray  # whether it is a write, not a read
    mine: np.ndarray  # whether the mark of this CPU is on the line and clear
    now: np.ndarray  # arrival
    end: np.ndarray


class Coherence(Steps):
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    STATE = ("senders", "checkers", "lines")

    def __init__(self, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, source: FlushEvents) -> None:
        """`cost` has the parameters that the policy reads and checks_per_s; `source` draws events and checks."""
        super().__init__(shape, cost, policy, source)
        self.count = shape.sockets if policy.mark is not None and policy.mark.line is Line.NODE else 1
        zero = np.zeros((shape.senders, self.lanes))
        self.senders = Senders(zero.astype(int), zero, zero.copy(), zero.astype(int))
        zero = np.zeros((shape.busy, self.lanes), dtype=int)
        self.checkers = Checkers(np.full(zero.shape, np.inf), zero.astype(bool), zero, zero.copy())
        zero = np.zeros((self.count, self.lanes), dtype=int)
        clear = zero + np.bincount(shape.socket % self.count, minlength=self.count)[:, None]  # no CPU is marked yet
        copy = np.full((self.count, shape.busy, self.lanes), -1)
        self.lines = Lines(zero, zero.copy(), zero.astype(float), zero.copy(), zero.copy(), clear, copy)
        self._draw_first()

    def _lay_out(self, lanes: int) -> None:
        super()._lay_out(lanes)
        self.line_ns, self.socket = line_times_ns(self.shape, self.cost), self.shape.socket
        self.cluster = self.shape.cluster
        rate = self.cost.get("checks_per_s", np.zeros(lanes))
        self.gap_ns = np.divide(1e9, rate, out=np.full(lanes, np.inf), where=rate > 0.0)  # between checks of a CPU

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        senders, at = self.senders, (cpu, self.lane)
        work = self.source.bookkeeping_ns[kind, self.lane]
        if self.policy.local is Local.FIRST:  # local flush
            work = work + self.source.local_ns[kind, self.lane]
        senders.start[at], senders.arrival[at], senders.kind[at], senders.stage[at] = start, start + work, kind, 0

    def step(self) -> None:
        """Serve one flush event in every lane."""
        cpu, end, now = np.zeros(self.lanes, dtype=np.int64), np.zeros(self.lanes), self.served.now.copy()
        unserved = np.ones(self.lanes, dtype=bool)
        while unserved.any():
            access = self._access(unserved)
            self._check(access)
            over = self._visit(access)
            cpu, end = np.where(over, access.cpu, cpu), np.where(over, access.end, end)
            now = np.where(access.marks, np.maximum(now, access.now), now)
            unserved &= ~over
        self.served.now = now
        self.served.wait_ns = end - self.senders.start[cpu, self.lane]
        refill_ns = self._refill_ns(self.source.full[self.senders.kind[cpu, self.lane], self.lane])
        compute, next_kind = self.source.draw(cpu)
        self._schedule(cpu, end + compute + refill_ns, next_kind)

    def _next_in_line(self) -> np.ndarray:
        """The next visitor of a line: a waiter of the owner's cluster during its turns, else the first to arrive."""
        arrival, lane, senders = self.senders.arrival, self.lane, len(self.senders.kind)
        first = first_least(arrival)
        line = (self.socket[first] + self.senders.stage[first, lane] // 2) % self.count
        owner, free, turns = (held[line, lane] for held in (self.lines.owner, self.lines.free, self.lines.turns))
        near = self.cluster[:senders, None] == self.cluster[owner]
        cpu = first_least(np.where(near, arrival, np.inf))
        waits = near[cpu, lane] & (arrival[cpu, lane] <= free) & (turns < self.cost["line_burst"])
        same = line == (self.socket[cpu] + self.senders.stage[cpu, lane] // 2) % self.count
        return np.where(waits & same, cpu, first)

    def _access(self, unserved: np.ndarray) -> Access:
        """The next visit to a line, in lanes with a flush event that is not served yet."""
        senders, checkers, held, counts, lane = self.senders, self.checkers, self.lines, self.tally, self.lane
        sender, checker = self._next_in_line(), first_least(checkers.check)  # ties go to the lowest CPU
        of_sender = (sender, lane)
        arrival, check, stage = senders.arrival[of_sender], checkers.check[checker, lane], senders.stage[of_sender]
        checks = unserved & (check < senders.arrival.min(axis=0))
        marks = unserved & ~checks
        cpu, now = np.where(checks, checker, sender), np.where(checks, check, arrival)
        line = np.where(checks, self.socket[checker], self.socket[sender] + stage // 2) % self.count
        writes = np.where(checks, checkers.clearing[checker, lane], stage % 2 == 1)
        at, of_cpu = (line, lane), (line, cpu, lane)
        mine = (line == self.socket[cpu] % self.count) & (checkers.cleared[cpu, lane] == held.generation[at])
        hits = ~writes & (held.copy[of_cpu] == held.version[at])
        takes, written = unserved & ~hits, unserved & writes
        grant = np.maximum(now, held.free[at])
        owner = held.owner[at]
        transfer = self.line_ns[lane, distances(self.shape)[owner, cpu]]
        end = np.where(hits, now + self.line_ns[:, SAME], grant + transfer)
        free = np.where(writes, end, grant + np.minimum(self.cost["line_fill_ns"], transfer))
        again = (self.cluster[cpu] == self.cluster[owner]) & (held.turns[at] < self.cost["line_burst"])
        held.turns[at] = np.where(takes, np.where(again, held.turns[at] + 1, 1), held.turns[at])
        held.free[at] = np.where(takes, free, held.free[at])
        held.owner[at] = np.where(written, cpu, held.owner[at])
        held.version[at] += written
        held.copy[of_cpu] = np.where(takes, held.version[at], held.copy[of_cpu])
        counts.queue_ns += np.where(marks & takes, grant - now, 0.0)
        counts.line_misses += marks & takes & ~writes
        counts.line_writes += marks & writes
        counts.line_clears += checks & writes
        return Access(checks, marks, cpu, line, writes, mine, now, end)

    def _check(self, access: Access) -> None:
        """A check has read its line and writes it next, or has cleared its mark."""
        checkers, held = self.checkers, self.lines
        at, clears = (access.cpu, self.lane), access.checks & access.writes
        generation = held.generation[access.line, self.lane]
        checkers.check[at] = np.where(access.checks, np.where(clears, np.inf, access.end), checkers.check[at])
        checkers.clearing[at] = np.where(access.checks, ~clears, checkers.clearing[at])
        checkers.cleared[at] = np.where(clears, generation, checkers.cleared[at])
        held.clear[access.line, self.lane] += clears

    def _visit(self, access: Access) -> np.ndarray:
        """A flush event has read or written a line; return whether it is over, [lane]."""
        senders, checkers, held, lane = self.senders, self.checkers, self.lines, self.lane
        cpu, at = access.cpu, (access.line, lane)
        others = held.clear[at] > access.mine  # whether marks of other CPUs are clear
        sets = access.marks & access.writes  # cpumask_or()
        self._arm(access, np.flatnonzero(sets & others))
        held.generation[at] += sets
        held.clear[at] = np.where(sets, access.mine, held.clear[at])
        checkers.cleared[cpu, lane] = np.where(  # no CPU marks itself
            sets & access.mine, held.generation[at], checkers.cleared[cpu, lane]
        )
        of_sender = (np.minimum(cpu, self.shape.senders - 1), lane)
        stage = senders.stage[of_sender] + np.where(access.writes | others, 1, 2)
        over = access.marks & (stage >= 2 * self.count)
        goes_on = access.marks & ~over
        senders.stage[of_sender] = np.where(goes_on, stage, senders.stage[of_sender])
        senders.arrival[of_sender] = np.where(goes_on, access.end, senders.arrival[of_sender])
        return over

    def _arm(self, access: Access, lanes: np.ndarray) -> None:
        """Mark all other CPUs in these lanes (indices), and draw the next check of each CPU with a clear mark."""
        if not len(lanes):
            return
        checkers, cpu = self.checkers, np.arange(self.shape.busy)[:, None]
        line = access.line[lanes]
        was_clear = checkers.cleared[:, lanes] == self.lines.generation[line, lanes]
        armed = was_clear & (self.socket[: self.shape.busy, None] % self.count == line) & (cpu != access.cpu[lanes])
        used = checkers.used[:, lanes]
        with np.errstate(over="ignore"):  # CPUs that never check overflow
            check = access.end[lanes] + self.source.unit_gaps(cpu, used, lanes) * self.gap_ns[lanes]
        checkers.check[:, lanes] = np.where(armed, check, checkers.check[:, lanes])
        checkers.used[:, lanes] = used + armed

    def _refill_ns(self, full: np.ndarray) -> np.ndarray:
        """The time that misses after its local flush add to the next compute of a CPU."""
        if self.policy.local is Local.NEVER:
            return np.zeros(self.lanes)
        self.tally.refills += full
        self.tally.range_misses += ~full
        return np.where(full, self.cost["refill_ns"], self.cost["user_refill_ns"])
