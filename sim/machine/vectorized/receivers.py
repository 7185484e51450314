"""The receivers of a broadcast: what a flush event does to the CPUs that it interrupts.

C:   kernel/smp.c  flush_smp_call_function_queue(); arch/x86/mm/tlb.c  do_flush_tlb_all(), do_kernel_range_flush()

The rule is in `sim/broadcast.py`. Rows are CPUs, some of them at a time, so that all they need stays in the cache.
Arrays are [cpu, lane]; [lane] where unsaid; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.abi import Done, Flush, Run
from sim.arrays import Flags, Times, keep, widen
from sim.group import Shape

NEVER = -1e200


class Room:
    """Room to work in, so that no step allocates large arrays."""

    def __init__(self, rows: int, lanes: int) -> None:
        self.times = [Times.empty(rows, lanes) for _ in range(4)]
        self.masks = [Times.empty(rows, lanes).bits for _ in range(2)]
        self.flags = [Flags.empty(rows, lanes) for _ in range(3)]


@dataclass(frozen=True)
class Event:
    """A flush event as its targets see it."""

    write: np.ndarray  # [cpu, lane] which ICR write reaches each marked CPU, from 1
    taken: np.ndarray  # [socket, lane] when the interrupt of an ICR write that took no time would be taken
    join_work: np.ndarray  # length of a request that joins a run,
    extra_work: np.ndarray  # and what a run of its own takes longer, as bits
    miss_ns: np.ndarray | None  # misses after a run of its own, as bits; None: none in any lane
    full: np.ndarray  # lanes (indices) where runs flush fully


@dataclass(frozen=True)
class Delayed:
    """CPUs whose compute was delayed, to count."""

    computing: np.ndarray | int  # all of them,
    disturbed: np.ndarray | int  # by a run of their own
    refills: np.ndarray | int  # misses after full flushes


NOBODY = Delayed(0, 0, 0)


class Receivers:
    """The CPUs of some rows: their part of the state, and what they do."""

    STATE = "run_begin run_end full_run".split()
    FLUSHERS = "due pending last_done acked own refilled refills_next".split()

    def __init__(
        self,
        state: Mapping[str, np.ndarray],
        cost: Mapping[str, np.ndarray],
        shape: Shape,
        flush: Flush,
        rows: slice,
        cpus: int,
        room: Room,
        marked: Flags,
        below: Flags,
    ) -> None:
        """`rows` are whole turns round the sockets, of which CPUs from `cpus` on are padding.

        `marked`: CPUs that get an interrupt; `below`: those below the sender.
        """
        self.rows, self.cost, self.shape, self.flush = rows, cost, shape, flush
        n = rows.stop - rows.start
        self.targets = min(n, cpus - rows.start)
        self.busy = min(max(shape.busy - rows.start, 0), n)
        self.flushers = f = min(max(shape.flushers - rows.start, 0), n)
        self.run_begin, self.run_end, self.full_run = (state[name][rows] for name in self.STATE)
        mine = slice(rows.start, rows.start + f)
        self.due, self.pending, self.last_done, self.acked, self.own, self.refilled, self.refills_next = (
            state[name][mine] for name in self.FLUSHERS
        )
        self.resume, self.work, _, _ = (each.part(slice(n)) for each in room.times)
        self.mine, self.delay, self.free, self.some = (each.part(slice(f)) for each in room.times)
        self.by_socket = self.resume.ns.reshape(-1, shape.sockets, self.run_end.shape[1])  # [turn, socket, lane]
        self.marks, self.mask = (each[:n] for each in room.masks)
        self.marked, self.below = marked.part(rows), below.part(rows)
        self.here, self.there, _ = (each.part(slice(n)) for each in room.flags)
        self.disturbed, self.ahead, self.computing = (each.part(slice(f)) for each in room.flags)
        self.marked_flushers = marked.part(mine)

        cpu = np.arange(rows.start, rows.stop)[:, None]
        # From a request to the loop's end, the sender not counted as a target: at either price of a request.
        after = cpus - 1.0 - cpu
        self.dear_ns, self.cheap_ns = after * cost["enqueue_busy_ns"], after * cost["enqueue_ns"]
        # Acks to read from a CPU on: as if all were cross-socket, less what those of its turn on save.
        cross_ns = cost["ack_cross_ns"] if shape.sockets > 1 else cost["ack_ns"]
        self.acks_ns = (cpus - cpu) * cross_ns + (cpu // shape.sockets) * (cross_ns - cost["ack_ns"])

    def mark(self, limit: np.ndarray, dear_limit: np.ndarray) -> None:
        """Mark the CPUs whose last run has begun by their request: they find its queue taken.

        A loop moves at the dearer of its two prices first, so a request is as early as the earlier of the two times
        that one price alone would give: a run has begun by then if it has by both.
        """
        cost, marked = self.cost, self.marked
        self._begun(self.dear_ns, dear_limit, cost["enqueue_busy_ns"], out=marked)
        self._begun(self.cheap_ns, limit, cost["enqueue_ns"], out=self.here)
        cheaper_busy = cost["enqueue_busy_ns"] < cost["enqueue_ns"]
        if cheaper_busy.any():
            either = (marked.set | self.here.set) & cheaper_busy
            marked.words &= self.here.words
            marked.set[:] |= either
        else:
            marked.words &= self.here.words

    def _begun(self, line_ns: np.ndarray, limit: np.ndarray, price: np.ndarray, out: Flags) -> None:
        """Runs that had begun so long before `limit`; CPUs below the sender have one target less after them."""
        begun = np.add(self.run_begin, line_ns, out=self.work.ns)
        np.less_equal(begun, limit + price, out=out.set)
        out.words &= self.below.words
        np.less_equal(begun, limit, out=self.there.set)
        out.words |= self.there.words

    def run(self, event: Event) -> Delayed:
        """The handler runs of a flush event, and what they delay. The sender's row means nothing."""
        cost, resume, work, marks = self.cost, self.resume, self.work, self.marks
        arrival = resume.ns
        np.copyto(arrival, event.write[self.rows])
        arrival *= cost["ipi_send_ns"]
        self.by_socket += event.taken
        if self.busy < len(arrival):
            idle = slice(self.busy, None)
            np.less_equal(self.run_end[idle], arrival[idle], out=self.here.set[idle])
            widen(self.here.set[idle], out=marks[idle])
            keep(cost["idle_exit_ns"].view(np.int64), marks[idle], out=work.bits[idle])
            arrival[idle] += work.ns[idle]

        # The work of each request goes in at `resume`: a joined run is resumed where it ended, after time 0.
        widen(self.marked.set, out=marks)
        keep(resume.bits, marks, out=resume.bits)
        np.maximum(resume.ns, self.run_end, out=resume.ns)
        if self.flushers:
            self._wait_for_interrupts()
        keep(event.extra_work, marks, out=work.bits)
        work.ns += event.join_work
        np.add(work.ns, resume.ns, out=self.run_end)
        keep(resume.bits, marks, out=work.bits)
        np.maximum(self.run_begin, work.ns, out=self.run_begin)
        return self._delay(event) if self.busy else NOBODY

    def _wait_for_interrupts(self) -> None:
        """A run finds its CPU reading acks, or has to wait until its own flush is over."""
        mine, mask = self.mine, self.mask[: self.flushers]
        np.greater_equal(mine.ns, self.acked, out=self.computing.set)  # or in its own flush, so far
        np.add(self.acked, self.own, out=self.free.ns)
        keep(self.free.bits, widen(self.computing.set, out=mask), out=self.some.bits)
        np.maximum(mine.ns, self.some.ns, out=mine.ns)

    def _delay(self, event: Event) -> Delayed:
        """A run delays what it finds on its CPU."""
        f, mine, delay, some = self.flushers, self.mine.ns, self.delay, self.some
        mask = self.mask[:f]
        np.maximum(mine, self.last_done, out=delay.ns)
        np.subtract(self.run_end[:f], delay.ns, out=delay.ns)
        np.maximum(delay.ns, 0.0, out=delay.ns)
        reading = np.invert(mask, out=mask)
        keep(delay.bits, reading, out=some.bits)
        self.acked += some.ns
        np.less(mine, self.pending, out=self.ahead.set)
        self.computing.words &= self.ahead.words
        np.bitwise_and(self.computing.words, self.marked_flushers.words, out=self.disturbed.words)
        if event.miss_ns is not None:
            keep(event.miss_ns, widen(self.disturbed.set, out=mask), out=some.bits)
            delay.ns += some.ns
        refills = self._refill(event.full) if len(event.full) else 0
        keep(delay.bits, widen(self.ahead.set, out=mask), out=some.bits)
        self.pending += some.ns
        np.less(mine, self.due, out=self.ahead.set)
        keep(delay.bits, widen(self.ahead.set, out=mask), out=some.bits)
        self.due += some.ns
        return Delayed(self.computing.count(), self.disturbed.count(), refills)

    def _refill(self, full: np.ndarray) -> np.ndarray:
        """What full flushes in handler runs cost compute, added to the delay; how many there are.

        Inside a flush event they lengthen the next compute, once. A full flush of a run that flushed ranges before
        counts as one.
        """
        cost, f, busy = self.cost, self.flushers, self.busy
        new, begin, full_run = self.marked.set[:busy, full], self.run_begin[:busy, full], self.full_run[:busy, full]
        turns = np.zeros_like(new) if self.flush.run is Run.FIRST_FULLY else ~new & (full_run != begin)
        flushes = new | turns
        self.full_run[:busy, full] = np.where(flushes, begin, full_run)
        more = (cost["refill_ns"] - cost["user_refill_ns"])[full]
        inside, in_event = self.computing.set[:, full], self.mine.ns[:, full] <= self.free.ns[:, full]
        extra = np.where(turns[:f] & inside, more, 0.0)
        in_compute = flushes.copy()
        in_compute[:f] &= inside
        elsewhere = flushes[:f] & ~inside
        drawn = elsewhere & in_event & ~self.refilled[:, full]  # the compute after is drawn already
        extra += np.where(drawn, more, 0.0)
        self.delay.ns[:, full] += extra
        self.refilled[:, full] |= drawn
        self.refills_next[:, full] |= elsewhere & ~in_event
        refills = np.zeros(self.run_end.shape[1])
        refills[full] = in_compute.sum(axis=0) + drawn.sum(axis=0)
        return refills

    def acks(self) -> tuple[np.ndarray, np.ndarray]:
        """End of the last request; [socket, lane] all acks read, were the last one of that socket waited for."""
        done, is_done_ns = self.run_end, -self.cost["irq_exit_ns"]
        if self.flush.done is Done.RUN_BEGUN:
            done, is_done_ns = self.run_begin, self.cost["irq_entry_ns"]
        last_done = done[: self.targets].max(axis=0) + is_done_ns
        read, ack = self.resume.ns, self.work
        np.add(done, self.acks_ns, out=read)
        keep(self.cost["ack_ns"].view(np.int64), widen(self.below.set, out=self.marks), out=ack.bits)
        read -= ack.ns
        read[self.targets :] = NEVER
        return last_done, self.by_socket.max(axis=0) + is_done_ns
