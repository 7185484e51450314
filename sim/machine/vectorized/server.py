"""One server that CPUs visit one at a time, in order of arrival: the cache line of a mask, or a broadcast fabric.

C:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): own flush, then cpumask_or(&pending_xpfo_flush, ...)  (XPFO v8)
Ref: arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

Every step serves one flush event in every lane, and the kernel entries that look at the line before it. Arrays are
[cpu, lane]; [lane] where unsaid; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.abi import ALL_PAGES, Flush, Line, Own, Targets
from sim.draws import ENTRY, Draws
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.vectorized.earliest import Earliest

NEVER = -1e200


class Server:
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    # State that leaves with its lane; the last axis is the lane.
    BY_LANE = (
        "arrival begin kind owner free now wait_ns window_ns queue_ns refills fabric_ns read_ns owes_refill "
        "entry entry_row entries_used looked last_post other_post poster entry_ns entries entry_flushes"
    ).split()

    def __init__(
        self,
        shape: Shape,
        cost: Mapping[str, np.ndarray],
        flush: Flush,
        source: FlushEvents,
        lanes: int,
        entries: np.ndarray | None = None,
    ) -> None:
        """`entries`: replica of each lane where the policy looks at kernel entries, else None."""
        self.shape, self.flush, self.source, self.cost = shape, flush, source, dict(cost)
        self.hardware = flush.tell is Targets.HARDWARE
        self.shared = self.hardware or (flush.post is not None and flush.post.line is Line.GLOBAL)
        self.arrival = np.zeros((shape.flushers, lanes))  # at the server
        self.begin = np.zeros((shape.flushers, lanes))  # of the flush event
        self.kind = np.zeros((shape.flushers, lanes), dtype=np.int64)
        self.owes_refill = np.zeros((shape.flushers, lanes), dtype=bool)  # flushed by others while in a flush event
        self.owner = np.zeros(lanes, dtype=np.int64)  # the CPU served last
        self.free = np.zeros(lanes)  # end of the last visit
        self.now = np.zeros(lanes)
        self.wait_ns = np.zeros(lanes)
        self.window_ns = np.full(lanes, np.nan)
        self.read_ns = self._flags_ns()  # [socket, lane]
        self.fabric_ns = np.array([self._fabric_ns(pages) for pages in source.pages])  # [kind, lane]
        self._shape_lanes(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)
        self._begin_entries(entries)
        self._watch()

    def _watch(self) -> None:
        """Who comes next is known without looking at every CPU in every step."""
        self._next_arrival = Earliest(self.arrival, blocks=not self.hardware)  # a broadcast delays all CPUs
        if len(self.entry):
            self._next_looker = Earliest(self.entry)

    def _begin_entries(self, replicas: np.ndarray | None) -> None:
        """Kernel entries of every busy CPU: a Poisson stream each, and what is known of the note by looker."""
        busy = self.shape.busy if replicas is not None else 0
        self.entry = np.full((busy, self.lanes), np.inf)  # next kernel entry
        self.entries_used = np.zeros((busy, self.lanes), dtype=np.int64)  # draws used
        self.looked = np.full((busy, self.lanes), NEVER)  # last look
        self.last_post = np.full(self.lanes, NEVER)  # last post,
        self.poster = np.zeros(self.lanes, dtype=np.int64)  # by whom,
        self.other_post = np.full(self.lanes, NEVER)  # and the last one of anybody else
        self.entry_row = np.zeros(self.lanes, dtype=np.int64)
        if replicas is None:
            return
        unique, self.entry_row = np.unique(replicas, return_inverse=True)
        self._entry_draws = Draws(self.shape.seed, unique, busy, (ENTRY,))
        everywhere = np.ones(self.lanes, dtype=bool)
        for k in range(busy):
            self._next_entry(np.full(self.lanes, k), np.zeros(self.lanes), everywhere)

    def _next_entry(self, cpu: np.ndarray, after: np.ndarray, where: np.ndarray) -> None:
        at = (cpu, self.lane)
        used = self.entries_used[at]
        self._entry_draws.reserve(int(used.max()) + 1)
        index = (self.entry_row * self.shape.busy + cpu) * self._entry_draws.length + used
        with np.errstate(divide="ignore"):
            gap = self._entry_draws.tables[0].take(index) * (1e9 / self.cost["kernel_entries_per_s"])
        self.entry[at] = np.where(where, after + gap, self.entry[at])
        self.entries_used[at] = used + where

    def _flags_ns(self) -> np.ndarray:
        """Reading the flag of every other online CPU, by the reader's socket, [socket, lane]."""
        sockets, cost = self.shape.sockets, self.cost
        if self.flush.post is None or self.flush.post.line is not Line.PER_CPU:
            return np.zeros((sockets, len(cost["think_ns"])))
        near = np.array([(self.shape.cores - 1 - s) // sockets for s in range(sockets)])[
            :, None
        ]  # others on its socket
        return near * cost["ack_ns"] + (self.shape.cores - 1 - near) * cost["ack_cross_ns"]

    def _fabric_ns(self, pages: int) -> np.ndarray:
        cost = self.cost
        if not self.hardware:
            return np.zeros_like(cost["think_ns"])
        full = (pages > cost["ceiling"]) | (pages == ALL_PAGES)
        return np.where(full, cost["broadcast_all_ns"], cost["broadcast_ns"] + pages * cost["broadcast_page_ns"])

    def _shape_lanes(self, lanes: int) -> None:
        self.lanes, self.lane = lanes, np.arange(lanes)

    def reset(self) -> None:
        """Start counting anew."""
        self.queue_ns = np.zeros(self.lanes)  # waiting for the server
        self.refills = np.zeros(self.lanes)  # on busy CPUs
        self.entries = np.zeros(self.lanes)  # kernel entries that looked,
        self.entry_ns = np.zeros(self.lanes)  # what they cost: line and full flush
        self.entry_flushes = np.zeros(self.lanes)

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        for name in self.BY_LANE:
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[..., lanes]))
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._shape_lanes(len(lanes))
        self._watch()

    def _schedule(self, cpu: np.ndarray, begin: np.ndarray, kind: np.ndarray) -> None:
        at = (cpu, self.lane)
        work = self.source.bookkeeping_ns[kind, self.lane]
        if self.flush.own is Own.BEFORE:
            work = work + self.source.local_ns[kind, self.lane]
        self.begin[at], self.arrival[at], self.kind[at] = begin, begin + work, kind

    def step(self) -> None:
        """Serve the CPU that arrives first, in every lane."""
        while len(self.entry) and self._serve_entries():
            pass
        i = self._next_arrival.row()  # ties go to the lowest CPU
        at = (i, self.lane)
        arrival, kind = self.arrival[at], self.kind[at]
        self.now = arrival
        grant = np.maximum(arrival, self.free) if self.shared else arrival
        end = grant + self._service_ns(i, kind)
        self.free, self.owner = end, i
        self.queue_ns += grant - arrival
        self.wait_ns = end - self.begin[at]
        if self.hardware:
            self.window_ns = self.wait_ns - self.source.bookkeeping_ns[kind, self.lane]
        if len(self.entry):
            self.entry[at] = np.maximum(self.entry[at], end)
            self._next_looker.changed(i)
            self.other_post = np.where(i == self.poster, self.other_post, self.last_post)
            self.last_post, self.poster = end, i
        full = self.source.full[kind, self.lane]
        if self.hardware and full.any():
            self._refill_all(i, full, end)
        compute, next_kind = self.source.draw(i)
        self._schedule(i, end + compute + self._refill_ns(at, full), next_kind)
        self._next_arrival.changed(i)

    def _serve_entries(self) -> bool:
        """Serve the next kernel entry in the lanes where it comes before the next post; whether there was one."""
        k = self._next_looker.row()
        at = (k, self.lane)
        entered = self.entry[at]
        here = entered < self._next_arrival.least()
        if not here.any():
            return False
        end = np.maximum(entered, self.free) + self._service_ns(k, np.zeros_like(k))
        posted = np.where(k == self.poster, self.other_post, self.last_post)
        found = here & (posted > self.looked[at])
        self.looked[at] = np.where(here, end, self.looked[at])
        self.free, self.owner = np.where(here, end, self.free), np.where(here, k, self.owner)
        length = end - entered + np.where(found, self.cost["flush_all_ns"], 0.0)
        self.entries += here
        self.entry_ns += np.where(here, length, 0.0)
        self.entry_flushes += found
        self.refills += found
        own = np.minimum(k, self.shape.flushers - 1)
        to = (own, self.lane)
        delay = np.where(here & (k == own), length + np.where(found, self.cost["refill_ns"], 0.0), 0.0)
        self.arrival[to] += delay
        self.begin[to] += np.where(self.begin[to] > entered, delay, 0.0)
        self._next_arrival.changed(own)
        self._next_entry(k, entered + length, here)
        self._next_looker.changed(k)
        return True

    def _service_ns(self, i: np.ndarray, kind: np.ndarray) -> np.ndarray:
        cost = self.cost
        if self.hardware:
            return self.fabric_ns[kind, self.lane]
        if not self.shared:
            return self.read_ns[i % self.shape.sockets, self.lane]
        near = i % self.shape.sockets == self.owner % self.shape.sockets
        return np.where(near, cost["mask_line_ns"], cost["mask_line_cross_ns"])

    def _refill_ns(self, at: tuple[np.ndarray, np.ndarray], full: np.ndarray) -> np.ndarray:
        """What the misses after its own flush add to a CPU's next compute."""
        if self.flush.own is Own.NEVER and not self.hardware:
            return np.zeros(self.lanes)
        refill = full | self.owes_refill[at]
        self.owes_refill[at] = False
        self.refills += refill
        range_ns = np.zeros(self.lanes) if self.hardware else self.cost["user_refill_ns"]
        return np.where(refill, self.cost["refill_ns"], range_ns)

    def _refill_all(self, i: np.ndarray, full: np.ndarray, end: np.ndarray) -> None:
        """A whole-TLB broadcast empties every busy CPU's TLB: compute in progress grows, else the next one, once."""
        others = np.ones_like(self.owes_refill)
        others[i, self.lane] = False
        hit = others & full
        computing = hit & (self.begin > end)
        grows = np.where(computing, self.cost["refill_ns"], 0.0)
        self.begin += grows
        self.arrival += grows
        self.owes_refill |= hit & ~computing
        self.refills += computing.sum(axis=0) + full * (self.shape.busy - self.shape.flushers)
