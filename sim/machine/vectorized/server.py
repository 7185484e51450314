"""One server that CPUs visit one at a time, in order of arrival: the cache line of a mask, or a broadcast fabric.

C:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): own flush, then cpumask_or(&pending_xpfo_flush, ...)  (XPFO v8)
Ref: arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

Every step serves one flush event in every lane, and the kernel entries that look at the line before it. Arrays are
[cpu, lane]; [lane] where unsaid; times are absolute. `compiled/server.py` says the same, one CPU at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.abi import Flush, Line, Own, Targets
from sim.events import FlushEvents, is_full
from sim.group import Shape
from sim.machine.vectorized.earliest import Earliest
from sim.machine.vectorized.state import NEVER, Steps, keep
from sim.metrics import Served


@dataclass
class Visitors:
    """The CPUs that make flush events, every field [cpu, lane]."""

    # the flush event to come
    kind: np.ndarray  # index of its kind
    start: np.ndarray
    arrival: np.ndarray  # at the server
    # misses
    refills_next: np.ndarray  # flushed by others while in a flush event: the next compute refills


@dataclass
class Visit:
    """The last visit to the server."""

    owner: np.ndarray  # the CPU, [lane]
    free: np.ndarray  # its end, [lane]


@dataclass
class Lookers:
    """The busy CPUs as they look at the note on kernel entries, every field [cpu, lane]; no CPUs if they do not."""

    entry: np.ndarray  # next kernel entry
    used: np.ndarray  # draws of entries used
    looked: np.ndarray  # last look


@dataclass
class Posts:
    """The posts that kernel entries look for, every field [lane]."""

    latest: np.ndarray  # end of the latest one,
    poster: np.ndarray  # by whom,
    other: np.ndarray  # and of the latest one by anybody else


class Server(Steps):
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    def __init__(
        self,
        shape: Shape,
        cost: Mapping[str, np.ndarray],
        flush: Flush,
        source: FlushEvents,
        lanes: int,
    ) -> None:
        """`cost` holds the parameters that the policy reads, each [lane]; `source` draws flush events and entries."""
        self.shape, self.flush, self.source, self.cost = shape, flush, source, dict(cost)
        self.hardware = flush.tell is Targets.HARDWARE
        self.shared = self.hardware or (flush.post is not None and flush.post.line is Line.GLOBAL)
        zero = np.zeros((shape.flushers, lanes))
        self.visitors = Visitors(zero.astype(np.int64), zero.copy(), zero.copy(), zero.astype(bool))
        self.visit = Visit(np.zeros(lanes, dtype=np.int64), np.zeros(lanes))
        self.served = Served.nothing(lanes)
        self._lay_out(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)
        self._begin_entries()
        self._watch()

    def _lay_out(self, lanes: int) -> None:
        """What follows from costs and the number of lanes alone."""
        self.lanes, self.lane = lanes, np.arange(lanes)
        self.read_ns = self._flags_ns()  # [socket, lane]
        self.fabric_ns = np.array([self._fabric_ns(pages) for pages in self.source.pages])  # [kind, lane]

    def _watch(self) -> None:
        """Who comes next is known without looking at every CPU in every step."""
        self._next_arrival = Earliest(self.visitors.arrival, blocks=not self.hardware)  # a broadcast delays all CPUs
        if self.looking:
            self._next_looker = Earliest(self.lookers.entry)

    def _begin_entries(self) -> None:
        """Kernel entries of every busy CPU: a Poisson stream each, and what is known of the note by looker."""
        self.looking = self.source.looking
        busy, lanes = self.shape.busy if self.looking else 0, self.lanes
        self.lookers = Lookers(
            np.full((busy, lanes), np.inf), np.zeros((busy, lanes), dtype=np.int64), np.full((busy, lanes), NEVER)
        )
        self.posts = Posts(np.full(lanes, NEVER), np.zeros(lanes, dtype=np.int64), np.full(lanes, NEVER))
        everywhere = np.ones(lanes, dtype=bool)
        for k in range(busy):
            self._next_entry(np.full(lanes, k), np.zeros(lanes), everywhere)

    def _next_entry(self, cpu: np.ndarray, after: np.ndarray, where: np.ndarray) -> None:
        """The next kernel entry of `cpu`, a drawn time after `after`, in the lanes where it is asked for."""
        lookers, at = self.lookers, (cpu, self.lane)
        used = lookers.used[at]
        self.source.entry_draws.reserve(int(used.max()) + 1)
        index = (self.source.replica_row * self.shape.busy + cpu) * self.source.entry_draws.length + used
        with np.errstate(divide="ignore", over="ignore"):  # without entries the next one never comes
            gap = self.source.entry_draws.tables[0].take(index) * (1e9 / self.cost["kernel_entries_per_s"])
        lookers.entry[at] = np.where(where, after + gap, lookers.entry[at])
        lookers.used[at] = used + where

    def _flags_ns(self) -> np.ndarray:
        """Reading the flag of every other online CPU, by the reader's socket, [socket, lane]."""
        sockets, others, cost = self.shape.sockets, self.shape.cores - 1, self.cost
        if self.flush.post is None or self.flush.post.line is not Line.PER_CPU:
            return np.zeros((sockets, self.lanes))
        near = np.array([(others - socket) // sockets for socket in range(sockets)])[:, None]  # others on its socket
        return near * cost["ack_ns"] + (others - near) * cost["ack_cross_ns"]

    def _fabric_ns(self, pages: int) -> np.ndarray:
        """A hardware broadcast of so many pages."""
        cost = self.cost
        if not self.hardware:
            return np.zeros(self.lanes)
        return np.where(
            is_full(cost, pages), cost["broadcast_all_ns"], cost["broadcast_ns"] + pages * cost["broadcast_page_ns"]
        )

    @property
    def compute_end(self) -> np.ndarray:
        """When CPUs make their next flush event, [cpu, lane]; any time before now in one."""
        return self.visitors.start

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self.visitors, self.visit = keep(self.visitors, lanes), keep(self.visit, lanes)
        self.lookers, self.posts = keep(self.lookers, lanes), keep(self.posts, lanes)
        self.served, self.counts = keep(self.served, lanes), keep(self.counts, lanes)
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._lay_out(len(lanes))
        self._watch()

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        """The next flush event of `cpu` begins at `start`."""
        visitors, at = self.visitors, (cpu, self.lane)
        work = self.source.bookkeeping_ns[kind, self.lane]
        if self.flush.own is Own.BEFORE:  # own flush
            work = work + self.source.local_ns[kind, self.lane]
        visitors.start[at], visitors.arrival[at], visitors.kind[at] = start, start + work, kind

    def step(self) -> None:
        """Serve the CPU that arrives first, in every lane."""
        while self.looking and self._serve_entries():
            pass
        served, visitors = self.served, self.visitors
        cpu = self._next_arrival.row()  # ties go to the lowest CPU
        at = (cpu, self.lane)
        arrival, kind = visitors.arrival[at], visitors.kind[at]
        served.now = arrival
        # cpumask_or(), or the fabric: one CPU at a time
        grant = np.maximum(arrival, self.visit.free) if self.shared else arrival
        end = grant + self._service_ns(cpu, kind)
        self.visit.free, self.visit.owner = end, cpu
        self.counts.queue_ns += grant - arrival
        served.wait_ns = end - visitors.start[at]
        if self.hardware:
            window_ns = served.wait_ns - self.source.bookkeeping_ns[kind, self.lane]
            served.window_ns = np.maximum(window_ns, 0.0)  # where rounding leaves less than nothing
        if self.looking:
            self._post(cpu, end)
        full = self.source.full[kind, self.lane]
        if self.hardware and full.any():
            self._refill_all(cpu, full, end)
        compute, next_kind = self.source.draw(cpu)
        self._schedule(cpu, end + compute + self._refill_ns(at, full), next_kind)
        self._next_arrival.changed(cpu)

    def _post(self, cpu: np.ndarray, end: np.ndarray) -> None:
        """Remember a post that kernel entries will look for; its CPU enters the kernel after it at the earliest."""
        entry, posts, at = self.lookers.entry, self.posts, (cpu, self.lane)
        entry[at] = np.maximum(entry[at], end)
        self._next_looker.changed(cpu)
        posts.other = np.where(cpu == posts.poster, posts.other, posts.latest)
        posts.latest, posts.poster = end, cpu

    def _serve_entries(self) -> bool:
        """Serve the next kernel entry in the lanes where it comes before the next post; whether there was one."""
        visit, lookers, posts, counts, visitors = self.visit, self.lookers, self.posts, self.counts, self.visitors
        cpu = self._next_looker.row()
        at = (cpu, self.lane)
        entered = lookers.entry[at]
        here = entered < self._next_arrival.least()
        if not here.any():
            return False
        entered = np.where(here, entered, 0.0)  # elsewhere it may be infinite, where nobody enters the kernel
        end = np.maximum(entered, visit.free) + self._service_ns(cpu, np.zeros_like(cpu))
        posted = np.where(cpu == posts.poster, posts.other, posts.latest)
        flushes = here & (posted > lookers.looked[at])
        lookers.looked[at] = np.where(here, end, lookers.looked[at])
        visit.free, visit.owner = np.where(here, end, visit.free), np.where(here, cpu, visit.owner)
        length = end - entered + np.where(flushes, self.cost["flush_all_ns"], 0.0)
        counts.entries += here
        counts.entry_ns += np.where(here, length, 0.0)
        counts.entry_flushes += flushes
        counts.refills += flushes
        visitor = np.minimum(cpu, self.shape.flushers - 1)
        of_visitor = (visitor, self.lane)
        delayed = here & (cpu == visitor)
        delay = np.where(delayed, length + np.where(flushes, self.cost["refill_ns"], 0.0), 0.0)
        visitors.arrival[of_visitor] += delay
        visitors.start[of_visitor] += np.where(visitors.start[of_visitor] > entered, delay, 0.0)
        self._next_arrival.changed(visitor)
        self._next_entry(cpu, entered + length, here)
        self._next_looker.changed(cpu)
        return True

    def _service_ns(self, cpu: np.ndarray, kind: np.ndarray) -> np.ndarray:
        """How long the server is `cpu`'s."""
        if self.hardware:
            return self.fabric_ns[kind, self.lane]
        if not self.shared:
            return self.read_ns[cpu % self.shape.sockets, self.lane]
        near = cpu % self.shape.sockets == self.visit.owner % self.shape.sockets
        return np.where(near, self.cost["mask_line_ns"], self.cost["mask_line_cross_ns"])

    def _refill_ns(self, at: tuple[np.ndarray, np.ndarray], full: np.ndarray) -> np.ndarray:
        """What the misses after its own flush add to a CPU's next compute."""
        if self.flush.own is Own.NEVER and not self.hardware:
            return np.zeros(self.lanes)
        refill = full | self.visitors.refills_next[at]
        self.visitors.refills_next[at] = False
        self.counts.refills += refill
        if not self.hardware:
            self.counts.range_misses += ~refill
        range_ns = np.zeros(self.lanes) if self.hardware else self.cost["user_refill_ns"]
        return np.where(refill, self.cost["refill_ns"], range_ns)

    def _refill_all(self, cpu: np.ndarray, full: np.ndarray, end: np.ndarray) -> None:
        """A whole-TLB broadcast empties every busy CPU's TLB: compute in progress grows, else the next one, once."""
        visitors = self.visitors
        others = np.ones_like(visitors.refills_next)
        others[cpu, self.lane] = False
        flushed = others & full
        computing = flushed & (visitors.start > end)
        grows = np.where(computing, self.cost["refill_ns"], 0.0)
        visitors.start += grows
        visitors.arrival += grows
        visitors.refills_next |= flushed & ~computing
        self.counts.refills += computing.sum(axis=0) + full * (self.shape.busy - self.shape.flushers)
