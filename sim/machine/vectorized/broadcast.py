"""A broadcast by interrupts: every step serves one flush event in every lane, all its targets at once.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), flush_smp_call_function_queue()

The rule, for the CPU whose sending loop ends next, at time `now`:

  * A loop has its length when it begins: its requests find non-empty queues (`enqueue_busy_ns`) until the interrupts
    of the loops ahead of it have emptied them, the rest find them empty (`enqueue_ns`).
  * A request joins the target's last handler run if that had not taken its queue by then, and lengthens it; otherwise
    the target is marked, and a run begins when the interrupt is there, the last run is over and interrupts are on.
  * ICR writes for the marked targets in ascending order, interrupts off; acks in ascending order; own flush.
  * A run delays what it finds on its CPU: compute, sending loop, or ack reading (there only beyond the last request
    that the reader is blocked on).
  * An own flush before anybody is told is work ahead of the loop like bookkeeping: interrupts count as on in it.
  * Under a mutex the CPU that asked first is next: its scan begins when the flush event ahead is over and no run is on
    here, and its requests find empty queues. A run costs one that waits for the mutex nothing else.

The sender is here, its targets are in `receivers.py`. `compiled/broadcast.py` is the same rule, one CPU at a time,
with the same comments at the six places of a flush event; `compiled/exact.py` is what really happens.
Arrays are [cpu, lane]; [lane] where unsaid; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from sim.abi import Done, Flush, Own, Run, Targets
from sim.arrays import Flags, Least, Rank, Times, aligned, put, select
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.vectorized.receivers import Delayed, Generations, Notes, Receivers, Requests, Work
from sim.machine.vectorized.state import NEVER, Cpus, Room, Sender, Senders, Steps, keep
from sim.metrics import Served

STARTS = 2  # loops that get their length in one step, in order of their begin
BLOCK = 16384  # CPUs times lanes that are worked on at a time: all arrays of that size together fit the cache


class Broadcast(Steps):
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, source: FlushEvents, lanes: int
    ) -> None:
        """`cost` holds the parameters that the policy reads, each [lane]; `source` draws the flush events."""
        self.shape, self.flush, self.source = shape, flush, source
        self.reachable = shape.busy if flush.tell is Targets.OTHER_BUSY else shape.cores  # CPUs that requests can reach
        self.others = self.reachable - 1
        self.catch_up = flush.run is Run.CATCH_UP
        self.no_wait = flush.done is Done.SENT
        self.notes = source.holds.any and flush.tell is Targets.OTHER_RUNNING
        self.cost = dict(cost)
        slow = shape.mean_slowdown(self.reachable, cost["smt_slowdown"])
        for name in ("irq_entry_ns", "handler_ns", "irq_exit_ns"):
            self.cost[name] = cost[name] * slow
        self.slow = slow

        rows = -(-self.reachable // shape.sockets) * shape.sockets  # padded to whole turns round the sockets
        self.cpus = Cpus.idle(rows, self.reachable, lanes)
        self.senders = Senders.computing(shape.flushers, lanes)
        self.served = Served.nothing(lanes)
        self.ended = np.full(lanes, NEVER)  # end of the last loop
        self.newest = np.zeros(lanes)  # generation of the address space
        self.turn = 0  # which of the other busy CPUs is watched
        self._lay_out(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)

    def _lay_out(self, lanes: int) -> None:
        """What follows from costs and the number of lanes alone."""
        cost, sockets = self.cost, self.shape.sockets
        rows, f = len(self.cpus.run_end), self.shape.flushers
        self.lanes, self.lane = lanes, np.arange(lanes)
        self.cpu = np.arange(rows, dtype=np.int16)[:, None]
        self.socket = np.arange(sockets)[:, None]
        self.socket_of = np.arange(self.reachable) % sockets  # [cpu]
        self.on_socket = (self.reachable - 1 - np.arange(sockets)) // sockets + 1  # CPUs of each socket
        self.cross_ack_ns = cost["ack_cross_ns"] if sockets > 1 else cost["ack_ns"]
        self.ack_saving = self.cross_ack_ns - cost["ack_ns"]
        # A request's queue empties this long after the loop ahead ended; one ICR write further serves `reach` more.
        self.empties_ns = cost["ipi_send_ns"] + cost["deliver_ns"] + cost["ipi_latency_ns"] + cost["irq_entry_ns"]
        interrupt_ns = cost["ipi_send_ns"] / self.shape.reach + cost["deliver_ns"]
        self.gains_ns = np.maximum(cost["enqueue_busy_ns"] - interrupt_ns, 1e-9)
        self.enqueue_extra = cost["enqueue_busy_ns"] - cost["enqueue_ns"]
        self.run_local_ns = self.source.local_ns * self.slow  # [kind, lane] flushing a range in a handler run,
        self.run_all_ns = cost["flush_all_ns"] * self.slow  # everything,
        self.run_mm_ns = cost["flush_mm_ns"] * self.slow if self.catch_up else self.run_all_ns  # or the address space

        self.loops = Times.empty(f, lanes)
        self.marked, self.below = Flags.empty(rows, lanes), Flags.empty(rows, lanes)
        self.least = Least(f, lanes)
        self.rank = Rank(rows, lanes)
        counts = np.uint16 if self.shape.delivery == "hypercall" else self.rank.dtype  # with room for `reach`
        self.write = np.empty((rows, lanes), dtype=counts)

        block = max(1, BLOCK // (lanes * sockets)) * sockets  # whole turns round the sockets
        blocks = [slice(begin, min(begin + block, rows)) for begin in range(0, rows, block)]
        room = Room.empty(min(block, rows), lanes)
        state = (self.reachable, self.cpus, self.senders)
        self.receivers = [
            Receivers(rows, *state, cost, self.shape, self.flush, room, self.marked, self.below) for rows in blocks
        ]

    @property
    def compute_end(self) -> np.ndarray:
        """When CPUs make their next flush event, [cpu, lane]; any time before now in one."""
        return self.senders.start

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self.cpus, self.senders = keep(self.cpus, lanes), keep(self.senders, lanes)
        self.served, self.counts = keep(self.served, lanes), keep(self.counts, lanes)
        self.ended, self.slow, self.newest = aligned(self.ended[lanes]), self.slow[lanes], self.newest[lanes]
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._lay_out(len(lanes))

    def _flat(self, row: np.ndarray) -> np.ndarray:
        """Flat indices of a row in each lane: of a CPU, or of a kind."""
        return row * self.lanes + self.lane

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        """The next flush event of `cpu` begins at `start`; its loop ends as if all queues will be empty."""
        senders, at, kind_at = self.senders, self._flat(cpu), self._flat(kind)
        work = self.source.bookkeeping_ns.take(kind_at) + self.cost["mask_scan_ns"]
        if self.flush.own is Own.BEFORE:  # own flush
            work = work + self.source.local_ns.take(kind_at)
        put(senders.start, at, start)
        put(senders.loop_end, at, start + work + self.others * self.cost["enqueue_ns"])
        put(senders.kind, at, kind)
        put(senders.busy_targets, at, 0.0)

    def _begin_loops(self) -> None:
        """Loops that have begun by the next loop's end get their length: how long they find queues non-empty."""
        cost, senders, others = self.cost, self.senders, float(self.others)
        ends = self._ends_of_loops()
        horizon = ends.min(axis=0)
        np.right_shift(senders.start.view(np.int64), 63, out=self.loops.bits)  # the mask of those in progress
        select(ends.view(np.int64), self.loops.bits, out=self.loops.bits)
        in_loop_end = self.loops.ns.max(axis=0)
        ahead = np.maximum(np.where(in_loop_end > 0.0, in_loop_end, NEVER), self.ended)  # end of the last loop ahead
        for _ in range(STARTS):
            j, start = self.least(senders.start.view(np.uint64))  # loops in progress, negative, come last
            start = start.view(float)
            at = self._flat(j)
            begun = (start <= horizon) & (start >= 0.0)
            if not begun.any():
                return
            shorter = senders.loop_end.take(at)
            busy = (ahead + self.empties_ns - (shorter - others * cost["enqueue_ns"])) / self.gains_ns
            busy = np.minimum(np.maximum(busy, 0.0), others) * begun
            loop_end = shorter + busy * self.enqueue_extra
            run_begin = self.cpus.run_begin.take(at)  # of a run that would have begun after the shorter loop
            delays = (run_begin >= shorter) & (run_begin < loop_end)
            loop_end += np.where(delays, self.cpus.run_end.take(at) - run_begin, 0.0)
            put(senders.loop_end, at, loop_end)
            end = np.maximum(loop_end, senders.unlocked.take(at)) if self.no_wait else loop_end
            ahead = np.where(begun, np.maximum(ahead, end), ahead)
            put(senders.busy_targets, at, senders.busy_targets.take(at) + busy)
            put(senders.loop_begin, at, np.where(begun, start, senders.loop_begin.take(at)))
            put(senders.start, at, np.where(begun, NEVER, start))
            if self.catch_up:
                self._count_up(at, begun)

    def _ends_of_loops(self) -> np.ndarray:
        """When loops end, [sender, lane]: csd_lock() waits in them for the requests of the event before.

        rule: a run that falls into that wait delays nothing.
        """
        senders = self.senders
        return np.maximum(senders.loop_end, senders.unlocked) if self.no_wait else senders.loop_end

    def _count_up(self, at: np.ndarray, begun: np.ndarray) -> None:
        """inc_mm_tlb_gen(): flush events of an address space begin, where `begun`, on the CPUs of flat indices `at`."""
        cpus, senders = self.cpus, self.senders
        self.newest = self.newest + begun
        put(senders.generation, at, np.where(begun, self.newest, senders.generation.take(at)))
        if self.flush.own is Own.BEFORE:
            put(cpus.caught_up, at, np.where(begun, self.newest, cpus.caught_up.take(at)))

    def step(self) -> None:
        """Serve the CPU whose sending loop ends first, in every lane."""
        # smp_call_function_many(): whose loop over its targets ends next
        if not self.flush.mutex:
            self._begin_loops()
        sender = self._end_loop()
        # llist_add(): a request joins the run that is still to take the queue, or finds it empty and needs an interrupt
        self._queue(sender)
        # kvm_flush_tlb_multi(): who is held is left a note; rule: that is known when the loop ends
        notes = self._leave_notes(sender) if self.notes else None
        # arch_send_call_function_ipi_mask(): ICR writes for the marked targets
        rank = self.rank(self.marked)
        write = self._icr_write(rank)
        sent = self._sent(sender, write, rank)
        # flush_smp_call_function_queue(): handler runs on the targets
        work = self._work(sender)
        requests = self._requests(sender, write, rank, work, notes)
        self._count(rank, [receivers.run(requests) for receivers in self.receivers], work, requests)
        # csd_lock_wait(): acks
        acked, last_done = self._read_acks(sender, sent, notes)
        if self.shape.busy > 1:
            self._watch_window(sender)
        # own flush, and the compute after it
        self._finish(sender, sent, acked, last_done)
        if self.flush.mutex:
            self._hand_over(sender)

    def _end_loop(self) -> Sender:
        """The CPU whose flush event is served; ties go to the lowest CPU."""
        cpus, senders, served, source = self.cpus, self.senders, self.served, self.source
        ends = self._ends_of_loops()
        cpu, _ = self.least(senders.start if self.flush.mutex else ends)
        at = self._flat(cpu)
        now = ends.take(at)
        served.now = self.ended = now
        served.wait_ns = senders.acked.take(at) + senders.own.take(at) - senders.began.take(at)  # its last, final now
        start = senders.start.take(at)
        began = np.where(start < 0.0, senders.loop_begin.take(at), start)
        put(senders.began, at, began)
        kind_at = self._flat(senders.kind.take(at))
        if self.catch_up:
            self._count_up(at, start >= 0.0)
        own_ns, own_full, own_flushes = self._own_flush(at, kind_at)
        sender = Sender(
            cpu=cpu,
            at=at,
            kind_at=kind_at,
            now=now,
            began=began,
            socket=self.socket_of.take(cpu),
            full=source.full.take(kind_at),
            own_ns=own_ns,
            own_full=own_full,
            own_flushes=own_flushes,
            run_begin=cpus.run_begin.take(at),
            run_end=cpus.run_end.take(at),
            full_run=cpus.full_run.take(at),
        )
        # Its own row takes part in what follows, of no consequence: it computes nothing, and flushed already.
        put(senders.start, at, NEVER)
        put(cpus.full_run, at, np.maximum(sender.run_begin, 0.0))
        return sender

    def _own_flush(self, at: np.ndarray, kind_at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How long the own flush takes at the end of a flush event; whether it is full there, and whether there is one.

        One before anybody is told is part of the loop's work by now.
        """
        own, cpus = self.flush.own, self.cpus
        local_ns, full = self.source.local_ns.take(kind_at), self.source.full.take(kind_at)
        if own in (Own.NEVER, Own.BEFORE):
            flushes = np.full(self.lanes, own is Own.BEFORE)
            return np.zeros(self.lanes), full & flushes, flushes
        if not self.catch_up:
            return local_ns, full, np.ones(self.lanes, dtype=bool)
        caught_up, generation = cpus.caught_up.take(at), self.senders.generation.take(at)
        flushes = caught_up < generation
        put(cpus.caught_up, at, np.where(flushes, self.newest, caught_up))
        only_this = (caught_up + 1 == generation) & (generation == self.newest)
        length = np.where(only_this, local_ns, self.cost["flush_mm_ns"])
        return np.where(flushes, length, 0.0), flushes & (full | ~only_this), flushes

    def _queue(self, sender: Sender) -> None:
        """Mark the targets whose queue the sender's requests find empty."""
        np.less(self.cpu, sender.cpu.astype(np.int16), out=self.below.set)
        limit = sender.now - self.cost["irq_entry_ns"]
        cheap = self.others - self.senders.busy_targets.take(sender.at)  # requests that find an empty queue
        dear_limit = limit + cheap * self.enqueue_extra
        for receivers in self.receivers:
            receivers.mark(limit, dear_limit)
        self.marked.clear(sender.cpu)

    def _leave_notes(self, sender: Sender) -> Notes:
        """The targets that are held, now or since an earlier note: they get no interrupt."""
        cpus, now = self.cpus, sender.now
        last_note = cpus.run_again == cpus.run_begin
        np.copyto(self.marked.set, cpus.run_begin <= now, where=last_note)  # they run again, and took no queue
        self.marked.clear(sender.cpu)
        held_ns = self.source.holds.draw(self.marked.set, now - cpus.ran)
        np.copyto(cpus.ran, now + held_ns, where=self.marked.set)
        new = held_ns > 0.0
        left = new | (last_note & ~self.marked.set)
        put(left, sender.at, False)
        self.marked.set[new] = False
        return Notes(left, new, now + held_ns, self.cost["flush_all_ns"])

    def _icr_write(self, rank: np.ndarray) -> np.ndarray:
        """Which ICR write reaches each marked CPU, from 1; `rank` counts the marked CPUs up to each."""
        reach = self.shape.reach
        if reach == 1:
            return rank
        if reach >= self.reachable:
            return np.minimum(rank, 1, out=self.write)
        np.add(rank, reach - 1, out=self.write, dtype=self.write.dtype)
        return np.right_shift(self.write, reach.bit_length() - 1, out=self.write)

    def _sent(self, sender: Sender, write: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """When the sender's ICR writes, and an own flush right after them, are done and interrupts on."""
        sent = sender.now + write[-1] * self.cost["ipi_send_ns"] + rank[-1] * self.cost["deliver_ns"]
        return sent + sender.own_ns if self.flush.own is Own.AFTER_SENDS else sent

    def _work(self, sender: Sender) -> Work:
        """How long the handler runs of a flush event take."""
        cost, first, nothing = self.cost, self.flush.run is Run.FIRST_FULLY, self.flush.run is Run.NOTHING
        flush_ns = self.run_all_ns if first else 0.0 if nothing else self.run_local_ns.take(sender.kind_at)
        joined = cost["handler_ns"] + (0.0 if first or self.catch_up else flush_ns)
        new = cost["irq_entry_ns"] + cost["handler_ns"] + flush_ns + cost["irq_exit_ns"]
        extra = cost["irq_entry_ns"] + cost["irq_exit_ns"] if self.catch_up else new - joined
        return Work(joined, new, extra)

    def _requests(
        self, sender: Sender, write: np.ndarray, rank: np.ndarray, work: Work, notes: Notes | None
    ) -> Requests:
        """A flush event as its targets see it."""
        cost, first, nothing = self.cost, self.flush.run is Run.FIRST_FULLY, self.flush.run is Run.NOTHING
        near = self.socket == sender.socket  # [socket, lane]
        full = np.full(self.lanes, first) if first or nothing else sender.full
        miss_ns = np.where(full, cost["refill_ns"], cost["user_refill_ns"])
        return Requests(
            write=write,
            held=self.source.holds.draw(self.marked.set) if self.source.holds.any and not self.notes else None,
            notes=notes,
            rank=rank if cost["deliver_ns"].any() else None,
            taken=np.where(near, cost["ipi_latency_ns"], cost["ipi_latency_cross_ns"]) + sender.now,
            join_work=work.joined,
            extra_work=work.extra.view(np.int64),
            range_miss=~full & (not nothing),
            miss_ns=miss_ns.view(np.int64) if miss_ns.any() and not nothing else None,
            full=np.flatnonzero(full),
            generations=self._generations(sender) if self.catch_up else None,
        )

    def _generations(self, sender: Sender) -> Generations:
        """What its targets may have missed of the address space."""
        return Generations(
            cpu=sender.cpu,
            this=self.senders.generation.take(sender.at),
            newest=self.newest,
            full=sender.full,
            range_ns=self.run_local_ns.take(sender.kind_at),
            full_ns=self.run_mm_ns,
        )

    def _count(self, rank: np.ndarray, delayed: list[Delayed], work: Work, requests: Requests) -> None:
        """Interrupts, notes, refills, and handler time on busy CPUs: all of it, and what it takes from compute."""
        counts, f, busy = self.counts, self.shape.flushers, self.shape.busy
        counts.interrupts += rank[-1]
        new, every = rank[busy - 1].astype(float), np.full(self.lanes, busy - 1)
        new_computing = new - rank[f - 1] + sum(block.disturbed for block in delayed)
        computing = busy - f + sum(block.computing for block in delayed)  # busy CPUs that never flush are, always
        counts.refills += sum(block.refills for block in delayed)
        notes = requests.notes
        if notes is not None:
            counts.notes += notes.left.sum(axis=0)
            every -= notes.left[:busy].sum(axis=0)
            computing = computing - notes.left[f:busy].sum(axis=0)
            counts.entry_ns += sum(block.notes for block in delayed) * notes.flush_ns
        missed = requests.generations
        if missed is None:
            counts.handler_ns += new * work.new + (every - new) * work.joined
            counts.handler_compute_ns += new_computing * work.new + (computing - new_computing) * work.joined
            counts.range_misses += new_computing * requests.range_miss - sum(block.upgrades for block in delayed)
            return
        ranges, fulls, computing_ranges, computing_fulls = reduce(np.add, (block.flushes for block in delayed))
        flushes = ranges * missed.range_ns + fulls * missed.full_ns
        counts.handler_ns += new * work.extra + every * work.joined + flushes
        flushes = computing_ranges * missed.range_ns + computing_fulls * missed.full_ns
        counts.handler_compute_ns += new_computing * work.extra + computing * work.joined + flushes
        counts.range_misses += computing_ranges - sum(block.upgrades for block in delayed)

    def _read_acks(self, sender: Sender, sent: np.ndarray, notes: Notes | None) -> tuple[np.ndarray, np.ndarray]:
        """When the sender has read all acks, no run delaying it, and when the last request is done."""
        # Its own row is no target.
        put(self.cpus.run_begin if self.flush.done is Done.RUN_BEGUN else self.cpus.run_end, sender.at, NEVER)
        acks = [receivers.acks(notes) for receivers in self.receivers]
        last_done = reduce(np.maximum, (done for done, _ in acks))
        same = self.on_socket.take(sender.socket)  # CPUs of the sender's socket, itself included
        later = same - (sender.socket < self.socket)  # [socket, lane]
        read = reduce(np.maximum, (read for _, read in acks)) - later * self.ack_saving
        all_acks = self.others * self.cross_ack_ns - (same - 1) * self.ack_saving
        acked = np.maximum(sent + all_acks, read.max(axis=0))
        if self.no_wait:
            put(self.senders.unlocked, sender.at, acked)
            acked, last_done = sent, np.full(self.lanes, NEVER)
        put(self.senders.last_done, sender.at, last_done)
        return acked, last_done

    def _watch_window(self, sender: Sender) -> None:
        """How long one of the other busy CPUs, each in its turn, could use the old mapping."""
        posted = sender.began + self.source.bookkeeping_ns.take(sender.kind_at)
        self.turn = (self.turn + 1) % (self.shape.busy - 1)
        watched = sender.cpu + (1 + self.turn)
        watched = self._flat(np.where(watched < self.shape.busy, watched, watched - self.shape.busy))
        flushed = self.cpus.run_end.take(watched) - self.cost["irq_exit_ns"]
        if self.flush.run is Run.FIRST_FULLY:
            begin = self.cpus.run_begin.take(watched)
            flushed = begin + self.cost["irq_entry_ns"] + self.cost["handler_ns"] + self.run_all_ns
        if self.notes:
            again = self.cpus.run_again.take(watched) == self.cpus.run_begin.take(watched)
            flushed = np.where(again, self.cpus.run_end.take(watched), flushed)
        self.served.window_ns = flushed - posted

    def _finish(self, sender: Sender, sent: np.ndarray, acked: np.ndarray, last_done: np.ndarray) -> None:
        """The sender's own flush, a run of its own that waited for interrupts to be on, and its next flush event."""
        cpus, senders, at = self.cpus, self.senders, sender.at
        begin, length = sender.run_begin, sender.run_end - sender.run_begin
        waiting = begin >= sender.now
        resume = np.maximum(begin, sent)
        reading = waiting & (resume < acked)
        delay = np.maximum(resume + length - np.maximum(resume, last_done), 0.0)
        acked = acked + np.where(reading, delay, 0.0)
        own = sender.own_ns if self.flush.own is Own.AFTER_ACKS else np.zeros(self.lanes)
        free = acked + own
        afterwards = waiting & ~reading
        resume = np.where(afterwards, np.maximum(resume, free), resume)
        shift = np.where(waiting, resume - begin, 0.0)
        shifted = begin + shift
        runs_again = cpus.run_again.take(at) == begin
        put(cpus.run_again, at, np.where(runs_again, shifted, np.nan))
        put(cpus.full_run, at, np.where(sender.full_run == begin, shifted, np.nan))
        put(cpus.run_begin, at, shifted)
        put(cpus.run_end, at, np.maximum(sender.run_end + shift, sent))  # no other run before interrupts are on
        put(senders.acked, at, acked)
        put(senders.own, at, own)

        start, kind = self._compute(sender, free)
        in_compute = afterwards & (resume < start)
        self.counts.entry_ns += np.where(in_compute & runs_again, length, 0.0)
        self.counts.handler_compute_ns += np.where(in_compute & ~runs_again, length, 0.0)
        self._schedule(sender.cpu, start + np.where(in_compute, length, 0.0), kind)
        loop_end = senders.loop_end.take(at)
        in_next_loop = afterwards & ~in_compute & (resume < loop_end)
        put(senders.loop_end, at, loop_end + np.where(in_next_loop, length, 0.0))

    def _compute(self, sender: Sender, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When the sender's next flush event starts, and its kind: compute drawn anew, lengthened by misses."""
        senders, cost = self.senders, self.cost
        compute, kind = self.source.draw(sender.cpu)
        refill = senders.refills_next.take(sender.at) | sender.own_full
        range_miss = sender.own_flushes & ~refill
        put(senders.refills_next, sender.at, False)
        put(senders.refilled, sender.at, refill)
        self.counts.refills += refill
        self.counts.range_misses += range_miss
        misses_ns = np.where(refill, cost["refill_ns"], np.where(range_miss, cost["user_refill_ns"], 0.0))
        return free + compute + misses_ns, kind

    def _hand_over(self, sender: Sender) -> None:
        """The mutex is free: who waits for it scans once the event is over and no run is on there."""
        senders, cost = self.senders, self.cost
        free = senders.acked.take(sender.at) + senders.own.take(sender.at)
        locked = np.maximum(free, self.cpus.run_end[: self.shape.flushers])
        scanned = locked + (cost["mask_scan_ns"] + self.others * cost["enqueue_ns"])
        np.maximum(senders.loop_end, scanned, out=senders.loop_end)
