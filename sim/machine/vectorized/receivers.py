"""The receivers of a broadcast: the effects of a flush event on its targets.

Kernel: kernel/smp.c  flush_smp_call_function_queue(); arch/x86/mm/tlb.c  do_flush_tlb_all(), do_kernel_range_flush()

The rules of the approximation are in `broadcast.py`. Rows are CPUs, in blocks that fit into the cache. Arrays are
[cpu, lane], or [lane] unless noted; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.arrays import Flags, select, widen
from sim.machine.vectorized.state import NEVER, Cpus, Room, Senders, view
from sim.policy import Done, Policy, Run
from sim.topology import Shape


@dataclass(frozen=True)
class Work:
    """The times that a request adds to handler runs."""

    joined: np.ndarray  # addition to a run that another request began
    new: np.ndarray  # whole length of a new run
    extra: np.ndarray  # new minus joined


@dataclass(frozen=True)
class Requests:
    """The data of a flush event for its targets."""

    write: np.ndarray  # [cpu, lane] number of the ICR write to each marked CPU, from 1
    taken: np.ndarray  # [socket, lane] time of the interrupt if ICR writes took no time
    join_work: np.ndarray  # length of a request that joins a run
    extra_work: np.ndarray  # additional length of a new run, as bits
    range_miss: np.ndarray  # whether a new run flushes a range
    miss_ns: np.ndarray | None  # misses after a new run, as bits; None if no lane has misses
    full: np.ndarray  # lanes (indices) where runs flush fully


@dataclass(frozen=True)
class Delayed:
    """Numbers of CPUs with delayed compute, for the counts."""

    computing: np.ndarray | int = 0  # all such CPUs
    disturbed: np.ndarray | int = 0  # CPUs with a new run
    refills: np.ndarray | int = 0  # CPUs with misses after full flushes
    upgrades: np.ndarray | int = 0  # refills that are counted as range misses already


class Receivers:
    """The CPUs of a block of rows, with their part of the state."""

    def __init__(
        self,
        rows: slice,
        reachable: int,
        cpus: Cpus,
        senders: Senders,
        cost: Mapping[str, np.ndarray],
        shape: Shape,
        policy: Policy,
        room: Room,
        marked: Flags,
        below: Flags,
    ) -> None:
        """`rows` are whole turns round the sockets; CPUs from `reachable` on are padding.

        `cpus`, `senders`, `marked` (CPUs that get an interrupt) and `below` (CPUs below the sender) have all rows.
        """
        self.rows, self.cost, self.shape, self.policy = rows, cost, shape, policy
        n = rows.stop - rows.start
        self.targets = min(n, reachable - rows.start)
        self.busy = min(max(shape.busy - rows.start, 0), n)
        self.flushers = f = min(max(shape.flushers - rows.start, 0), n)
        first = slice(rows.start, rows.start + f)  # the senders among them
        self.cpus, self.senders = view(cpus, rows), view(senders, first)
        self.marked, self.below, self.marked_senders = marked.part(rows), below.part(rows), marked.part(first)
        self._name_room(room, n, f)

        cpu = np.arange(rows.start, rows.stop)[:, None]
        # Time from a request to the end of the loop, and time to read the acks from a CPU on, both without the sender.
        self.requests_ns, self.acks_ns = (
            (reachable - 1.0 - cpu) * cost["enqueue_ns"],
            (reachable - cpu) * cost["ack_ns"],
        )

    def _name_room(self, room: Room, rows: int, senders: int) -> None:
        """Name the parts of the room; two names of one part are for uses at different times."""
        n, f = slice(rows), slice(senders)
        self.resume, self.work, self.row_mask = room.resume.part(n), room.work.part(n), room.row_mask[n]
        self.by_socket = self.resume.ns.reshape(-1, self.shape.sockets, self.resume.ns.shape[1])  # [turn, socket, lane]
        self.here, self.there = room.here.part(n), room.there.part(n)
        # rows of the senders, which come first
        self.sender_resume, self.free, self.part = room.resume.part(f), room.free.part(f), room.part.part(f)
        self.sender_mask, self.computing = room.sender_mask[f], room.computing.part(f)
        self.delay = room.work.part(f)  # after the end of the run is known
        self.disturbed, self.ahead = room.here.part(f), room.there.part(f)  # after requests are queued

    def mark(self, limit: np.ndarray) -> None:
        """Mark the CPUs whose last handler run took its queue before the request came.

        CPUs below the sender have one target fewer after them.
        """
        begun, marked = np.add(self.cpus.run_begin, self.requests_ns, out=self.work.ns), self.marked
        np.less_equal(begun, limit + self.cost["enqueue_ns"], out=marked.set)
        marked.words &= self.below.words
        np.less_equal(begun, limit, out=self.there.set)
        marked.words |= self.there.words

    def run(self, requests: Requests) -> Delayed:
        """Schedule the handler runs of a flush event and their delays. The row of the sender has no meaning."""
        cost, cpus, resume, work, mask = self.cost, self.cpus, self.resume, self.work, self.row_mask
        arrival = resume.ns
        np.copyto(arrival, requests.write[self.rows])
        arrival *= cost["ipi_send_ns"]
        self.by_socket += requests.taken
        if self.busy < len(arrival):
            idle = slice(self.busy, None)
            np.less_equal(cpus.run_end[idle], arrival[idle], out=self.here.set[idle])
            widen(self.here.set[idle], out=mask[idle])
            select(cost["idle_exit_ns"].view(np.int64), mask[idle], out=work.bits[idle])
            arrival[idle] += work.ns[idle]

        # The work of each request is added at `resume`: a joined run continues at its end, after time 0.
        widen(self.marked.set, out=mask)
        select(resume.bits, mask, out=resume.bits)
        np.maximum(resume.ns, cpus.run_end, out=resume.ns)
        if self.flushers:
            self._wait_for_interrupts()
        select(requests.extra_work, mask, out=work.bits)
        work.ns += requests.join_work
        np.add(work.ns, resume.ns, out=cpus.run_end)
        select(resume.bits, mask, out=work.bits)
        np.maximum(cpus.run_begin, work.ns, out=cpus.run_begin)
        return self._delay(requests) if self.busy else Delayed()

    def _wait_for_interrupts(self) -> None:
        """A run interrupts the reads of acks, or waits until the local flush ends."""
        resume, senders = self.sender_resume, self.senders
        np.greater_equal(resume.ns, senders.acked, out=self.computing.set)  # or in the local flush
        np.add(senders.acked, senders.own, out=self.free.ns)
        select(self.free.bits, widen(self.computing.set, out=self.sender_mask), out=self.part.bits)
        np.maximum(resume.ns, self.part.ns, out=resume.ns)

    def _delay(self, requests: Requests) -> Delayed:
        """A run delays the current work of its CPU: reads of acks, compute, or the sending loop."""
        senders, resume, delay, part, mask = (
            self.senders,
            self.sender_resume.ns,
            self.delay,
            self.part,
            self.sender_mask,
        )
        np.maximum(resume, senders.last_done, out=delay.ns)
        np.subtract(self.cpus.run_end[: self.flushers], delay.ns, out=delay.ns)
        np.maximum(delay.ns, 0.0, out=delay.ns)
        reading = np.invert(mask, out=mask)
        select(delay.bits, reading, out=part.bits)
        senders.acked += part.ns
        np.less(resume, senders.start, out=self.ahead.set)
        self.computing.words &= self.ahead.words
        np.bitwise_and(self.computing.words, self.marked_senders.words, out=self.disturbed.words)
        refills: np.ndarray | int = 0
        upgrades: np.ndarray | int = 0
        if requests.miss_ns is not None:
            select(requests.miss_ns, widen(self.disturbed.set, out=mask), out=part.bits)
            delay.ns += part.ns
        if len(requests.full):
            refills, upgrades = self._refill(requests.full)
        select(delay.bits, widen(self.ahead.set, out=mask), out=part.bits)
        senders.start += part.ns
        np.less(resume, senders.loop_end, out=self.ahead.set)
        select(delay.bits, widen(self.ahead.set, out=mask), out=part.bits)
        senders.loop_end += part.ns
        return Delayed(self.computing.count(), self.disturbed.count(), refills, upgrades)

    def _refill(self, full: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add the misses after full flushes in handler runs to the delay; return refills and upgrades of `Delayed`.

        During a flush event such misses lengthen the next compute once. A run with earlier range flushes and one full
        flush counts as a full flush.
        """
        cost, cpus, senders, f, busy = self.cost, self.cpus, self.senders, self.flushers, self.busy
        new, begin, full_run = self.marked.set[:busy, full], cpus.run_begin[:busy, full], cpus.full_run[:busy, full]
        turns = np.zeros_like(new) if self.policy.run is Run.FIRST_FULLY else ~new & (full_run != begin)
        flushes = new | turns
        cpus.full_run[:busy, full] = np.where(flushes, begin, full_run)
        more = (cost["refill_ns"] - cost["user_refill_ns"])[full]
        inside, in_event = self.computing.set[:, full], self.sender_resume.ns[:, full] <= self.free.ns[:, full]
        extra = np.where(turns[:f] & inside, more, 0.0)
        in_compute = flushes.copy()
        in_compute[:f] &= inside
        elsewhere = flushes[:f] & ~inside
        drawn = elsewhere & in_event & ~senders.refilled[:, full]  # the next compute is drawn already
        extra += np.where(drawn, more, 0.0)
        self.delay.ns[:, full] += extra
        senders.refilled[:, full] |= drawn
        senders.refills_next[:, full] |= elsewhere & ~in_event
        refills, upgrades = np.zeros(cpus.run_end.shape[1]), np.zeros(cpus.run_end.shape[1])
        refills[full] = in_compute.sum(axis=0) + drawn.sum(axis=0)
        upgrades[full] = (turns & in_compute).sum(axis=0) + drawn.sum(axis=0)
        return refills, upgrades

    def acks(self) -> tuple[np.ndarray, np.ndarray]:
        """The end of the last request, and the time at which all acks of these CPUs are read."""
        done, is_done_ns = self.cpus.run_end, -self.cost["irq_exit_ns"]
        if self.policy.done is Done.RUN_BEGUN:
            done, is_done_ns = self.cpus.run_begin, self.cost["irq_entry_ns"] + self.cost["take_ns"]
        last_done = done[: self.targets].max(axis=0) + is_done_ns
        read, ack = self.resume.ns, self.work
        np.add(done, self.acks_ns, out=read)
        select(self.cost["ack_ns"].view(np.int64), widen(self.below.set, out=self.row_mask), out=ack.bits)
        read -= ack.ns
        read[self.targets :] = NEVER
        return last_done, read.max(axis=0) + is_done_ns
