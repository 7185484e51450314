"""One server that CPUs visit one at a time, in order of arrival: the cache line of a mask, or a broadcast fabric.

C:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): own flush, then cpumask_or(&pending_xpfo_flush, ...)  (XPFO v8)
Ref: arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

Every step serves one visit in every lane. Arrays are [cpu, lane]; [lane] where unsaid; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.abi import ALL_PAGES, Flush, Line, Own, Targets
from sim.costs import FlushEvents, Shape


class Server:
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    # State that leaves with its lane; the last axis is the lane.
    BY_LANE = "arrival begin kind owner free now wait_ns queue_ns refills fabric_ns owes_refill".split()

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, source: FlushEvents, lanes: int
    ) -> None:
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
        self.fabric_ns = np.array([self._fabric_ns(pages) for pages in source.pages])  # [kind, lane]
        self._shape_lanes(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)

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

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        for name in self.BY_LANE:
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[..., lanes]))
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._shape_lanes(len(lanes))

    def _schedule(self, cpu: np.ndarray, begin: np.ndarray, kind: np.ndarray) -> None:
        at = (cpu, self.lane)
        work = self.source.bookkeeping_ns[kind, self.lane]
        if self.flush.own is Own.BEFORE:
            work = work + self.source.local_ns[kind, self.lane]
        self.begin[at], self.arrival[at], self.kind[at] = begin, begin + work, kind

    def step(self) -> None:
        """Serve the CPU that arrives first, in every lane."""
        i = self.arrival.argmin(axis=0)  # ties go to the lowest CPU
        at = (i, self.lane)
        arrival, kind = self.arrival[at], self.kind[at]
        self.now = arrival
        grant = np.maximum(arrival, self.free) if self.shared else arrival
        end = grant + self._service_ns(i, kind)
        self.free, self.owner = end, i
        self.queue_ns += grant - arrival
        self.wait_ns = end - self.begin[at]
        full = self.source.full[kind, self.lane]
        if self.hardware and full.any():
            self._refill_all(i, full, end)
        compute, next_kind = self.source.draw(i)
        self._schedule(i, end + compute + self._refill_ns(at, full), next_kind)

    def _service_ns(self, i: np.ndarray, kind: np.ndarray) -> np.ndarray:
        cost = self.cost
        if self.hardware:
            return self.fabric_ns[kind, self.lane]
        if not self.shared:
            return np.zeros(self.lanes)
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
