"""A broadcast by interrupts: every step serves one flush event in every lane, all its targets at once.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), flush_smp_call_function_queue()

The rule, for the CPU whose sending loop ends next, at time `t`:

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

The sender is here, its targets are in `sim/receivers.py`. `tests/twin.py` is the same rule, one CPU at a time;
`tests/fine.py` is what really happens, one event per request.
Arrays are [cpu, lane]; [lane] where unsaid; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from sim.abi import Done, Flush, Own, Run, Targets
from sim.arrays import Flags, Least, Rank, Times, aligned, full, keep, put
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.vectorized.receivers import NEVER, Delayed, Event, Receivers, Room

STARTS = 2  # loops that get their length in one step, in order of their begin
BLOCK = 16384  # CPUs times lanes that are worked on at a time: all arrays of that size together fit the cache
Cost = Mapping[str, np.ndarray]


class Broadcast:
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    # State that leaves with its lane; the last axis is the lane.
    BY_LANE = (
        "run_begin run_end full_run due pending begin busy_targets kind began last_done acked own refilled "
        "refills_next now ended wait_ns window_ns interrupts handler_ns handler_compute_ns refills run_local_ns "
        "run_all_ns"
    ).split()

    def __init__(self, shape: Shape, cost: Cost, flush: Flush, source: FlushEvents, lanes: int) -> None:
        self.shape, self.flush, self.source = shape, flush, source
        # CPUs that requests can reach, in rows padded to whole turns round the sockets; padding is never marked.
        self.cpus = shape.busy if flush.tell is Targets.OTHER_BUSY else shape.cores
        self.others = self.cpus - 1
        rows = -(-self.cpus // shape.sockets) * shape.sockets
        slow = cost["smt_slowdown"] if shape.threads_per_core == 2 else np.ones(lanes)
        self.cost = dict(cost)
        for name in ("irq_entry_ns", "handler_ns", "irq_exit_ns"):
            self.cost[name] = cost[name] * slow
        self.run_local_ns = source.local_ns * slow  # [kind, lane]
        self.run_all_ns = cost["flush_all_ns"] * slow

        flushers = (shape.flushers, lanes)
        self.run_begin = full((rows, lanes), NEVER)  # of the last handler run of a CPU
        self.run_begin[self.cpus :] = -NEVER
        self.run_end = full((rows, lanes), NEVER)  # of that run, or of the CPU's ICR writes after it
        self.full_run = full((rows, lanes), np.nan)  # begin of the last run that flushes fully
        self.due = full(flushers, 0.0)  # end of the sending loop to come or in progress
        self.pending = full(flushers, 0.0)  # begin of the flush event to come; NEVER once its loop is in progress
        self.begin = full(flushers, 0.0)  # begin of the flush event in progress
        self.busy_targets = full(flushers, 0.0)  # of the loop in progress: requests that find a non-empty queue
        self.kind = full(flushers, 0, np.int64)
        self.began = full(flushers, 0.0)  # last flush event: its begin,
        self.last_done = full(flushers, NEVER)  # last request done,
        self.acked = full(flushers, 0.0)  # all acks read,
        self.own = full(flushers, 0.0)  # and the length of the own flush after that
        self.refills_next = full(flushers, 0, bool)  # flushed fully while sending: the next compute refills
        self.refilled = full(flushers, 0, bool)  # the compute in progress refills already
        self.now = np.zeros(lanes)
        self.ended = np.full(lanes, NEVER)  # end of the last loop
        self.wait_ns = np.zeros(lanes)
        self.window_ns = np.full(lanes, np.nan)  # from a flush event's bookkeeping done to a busy CPU's flush
        self.turn = 0
        self._shape_lanes(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)

    def _shape_lanes(self, lanes: int) -> None:
        """What follows from costs and the number of lanes alone."""
        cost, sockets = self.cost, self.shape.sockets
        rows, f = len(self.run_end), self.shape.flushers
        self.lanes, self.lane = lanes, np.arange(lanes)
        self.cpu = np.arange(rows, dtype=np.int16)[:, None]
        self.socket = np.arange(sockets)[:, None]
        self.socket_of = np.arange(self.cpus) % sockets  # [cpu]
        self.on_socket = (self.cpus - 1 - np.arange(sockets)) // sockets + 1  # CPUs of each socket
        self.cross_ack_ns = cost["ack_cross_ns"] if sockets > 1 else cost["ack_ns"]
        self.ack_saving = self.cross_ack_ns - cost["ack_ns"]
        # A request's queue empties this long after the loop ahead ended; one ICR write further serves `reach` more.
        self.empties_ns = cost["ipi_send_ns"] + cost["ipi_latency_ns"] + cost["irq_entry_ns"]
        self.gains_ns = np.maximum(cost["enqueue_busy_ns"] - cost["ipi_send_ns"] / self.shape.reach, 1e-9)
        self.enqueue_extra = cost["enqueue_busy_ns"] - cost["enqueue_ns"]

        self.loops = Times.empty(f, lanes)
        self.marked, self.below = Flags.empty(rows, lanes), Flags.empty(rows, lanes)
        self.least = Least(f, lanes)
        self.rank = Rank(rows, lanes)
        self.write = np.empty((rows, lanes), dtype=self.rank.dtype)

        turns = max(1, BLOCK // (lanes * sockets))  # round the sockets
        blocks = [slice(at, min(at + turns * sockets, rows)) for at in range(0, rows, turns * sockets)]
        room = Room(min(turns * sockets, rows), lanes)
        self.receivers = [
            Receivers(vars(self), cost, self.shape, self.flush, block, self.cpus, room, self.marked, self.below)
            for block in blocks
        ]

    def reset(self) -> None:
        """Start counting anew."""
        self.interrupts = np.zeros(self.lanes)
        self.handler_ns = np.zeros(self.lanes)  # on busy CPUs
        self.handler_compute_ns = np.zeros(self.lanes)  # of that, what computing CPUs lost
        self.refills = np.zeros(self.lanes)  # on busy CPUs

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        for name in self.BY_LANE:
            setattr(self, name, aligned(getattr(self, name)[..., lanes]))
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._shape_lanes(len(lanes))

    def _at(self, row: np.ndarray) -> np.ndarray:
        """Flat indices of a row in each lane: of a CPU, or of a kind."""
        return row * self.lanes + self.lane

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        """The next flush event of `cpu` begins at `start`; its loop ends, were every queue empty, at `due`."""
        at, of_kind = self._at(cpu), self._at(kind)
        work = self.source.bookkeeping_ns.take(of_kind) + self.cost["mask_scan_ns"]
        if self.flush.own is Own.BEFORE:
            work = work + self.source.local_ns.take(of_kind)
        put(self.pending, at, start)
        put(self.due, at, start + work + self.others * self.cost["enqueue_ns"])
        put(self.kind, at, kind)
        put(self.busy_targets, at, 0.0)

    def _begin_loops(self) -> None:
        """Loops that have begun by the next loop's end get their length: how long they find queues non-empty."""
        cost, others = self.cost, float(self.others)
        horizon = self.due.min(axis=0)
        np.right_shift(self.pending.view(np.int64), 63, out=self.loops.bits)  # the mask of those in progress
        in_progress = keep(self.due.view(np.int64), self.loops.bits, out=self.loops.bits).view(float).max(axis=0)
        ahead = np.maximum(np.where(in_progress > 0.0, in_progress, NEVER), self.ended)  # end of the last loop ahead
        for _ in range(STARTS):
            j, start = self.least(self.pending.view(np.uint64))  # loops in progress, negative, come last
            start = start.view(float)
            at = self._at(j)
            begun = (start <= horizon) & (start >= 0.0)
            if not begun.any():
                return
            old = self.due.take(at)
            busy = (ahead + self.empties_ns - (old - others * cost["enqueue_ns"])) / self.gains_ns
            busy = np.minimum(np.maximum(busy, 0.0), others) * begun
            due = old + busy * self.enqueue_extra
            run_begin = self.run_begin.take(at)  # of a run that a shorter loop would have missed
            due += np.where((run_begin >= old) & (run_begin < due), self.run_end.take(at) - run_begin, 0.0)
            put(self.due, at, due)
            ahead = np.where(begun, np.maximum(ahead, due), ahead)
            put(self.busy_targets, at, self.busy_targets.take(at) + busy)
            put(self.begin, at, np.where(begun, start, self.begin.take(at)))
            put(self.pending, at, np.where(begun, NEVER, start))

    def step(self) -> None:
        """Serve the CPU whose sending loop ends first, in every lane."""
        cost, busy = self.cost, self.shape.busy
        if not self.flush.mutex:
            self._begin_loops()
        i, _ = self.least(self.pending if self.flush.mutex else self.due)  # ties go to the lowest CPU
        at = self._at(i)
        t = self.due.take(at)
        self.now = self.ended = t
        self.wait_ns = self.acked.take(at) + self.own.take(at) - self.began.take(at)  # of the last event, final now
        start = self.pending.take(at)
        began = np.where(start < 0.0, self.begin.take(at), start)
        put(self.began, at, began)
        of_kind = self._at(self.kind.take(at))
        fully, local_ns = self.source.full.take(of_kind), self.source.local_ns.take(of_kind)
        own_run = self.run_begin.take(at), self.run_end.take(at), self.full_run.take(at)
        # Its own row takes part in what follows, of no consequence: it computes nothing, and flushed already.
        put(self.pending, at, NEVER)
        put(self.full_run, at, np.maximum(own_run[0], 0.0))

        # Requests: which join a run that has not taken its queue yet, which find it empty and need an interrupt.
        np.less(self.cpu, i.astype(np.int16), out=self.below.set)  # the CPUs below the sender
        limit = t - cost["irq_entry_ns"]
        dear_limit = limit + (self.others - self.busy_targets.take(at)) * self.enqueue_extra
        for each in self.receivers:
            each.mark(limit, dear_limit)
        self.marked.clear(i)
        rank = self.rank(self.marked)
        write = self._icr_write(rank)

        # Handler runs.
        socket = self.socket_of.take(i)
        taken = np.where(self.socket == socket, cost["ipi_latency_ns"], cost["ipi_latency_cross_ns"]) + t
        first, nothing = self.flush.run is Run.FIRST_FULLY, self.flush.run is Run.NOTHING
        run_local = self.run_all_ns if first else 0.0 if nothing else self.run_local_ns.take(of_kind)
        join_work = cost["handler_ns"] + (0.0 if first else run_local)
        new_work = cost["irq_entry_ns"] + cost["handler_ns"] + run_local + cost["irq_exit_ns"]
        run_full = np.full(self.lanes, first) if first or nothing else fully
        miss_ns = np.where(run_full, cost["refill_ns"], cost["user_refill_ns"])
        misses = miss_ns.any() and not nothing
        event = Event(
            write,
            taken,
            join_work,
            (new_work - join_work).view(np.int64),
            miss_ns.view(np.int64) if misses else None,
            np.flatnonzero(run_full),
        )
        delayed = [each.run(event) for each in self.receivers]
        self._count(rank, delayed, new_work, join_work)

        # The sender: ICR writes, acks.
        sent = t + write[-1] * cost["ipi_send_ns"]
        if self.flush.own is Own.AFTER_SENDS:
            sent = sent + local_ns
        put(self.run_begin if self.flush.done is Done.RUN_BEGUN else self.run_end, at, NEVER)
        acks = [each.acks() for each in self.receivers]
        last_done = reduce(np.maximum, (done for done, _ in acks))
        same = self.on_socket.take(socket)  # CPUs of the sender's socket, itself included
        later = same - (socket < self.socket)  # [socket, lane]
        read = reduce(np.maximum, (read for _, read in acks)) - later * self.ack_saving
        all_acks = self.others * self.cross_ack_ns - (same - 1) * self.ack_saving
        acked = np.maximum(sent + all_acks, read.max(axis=0))
        put(self.last_done, at, last_done)
        if busy > 1:
            self._window(i, began + self.source.bookkeeping_ns.take(of_kind))
        self._finish(i, at, sent, acked, last_done, local_ns, fully, *own_run)
        if self.flush.mutex:
            over = self.acked.take(at) + self.own.take(at)
            here = np.maximum(over, self.run_end[: self.shape.flushers])
            np.maximum(self.due, here + (cost["mask_scan_ns"] + self.others * cost["enqueue_ns"]), out=self.due)

    def _icr_write(self, rank: np.ndarray) -> np.ndarray:
        """Which ICR write reaches each marked CPU, from 1; `rank` counts the marked CPUs up to each."""
        reach = self.shape.reach
        if reach == 1:
            return rank
        if reach >= self.cpus:
            return np.minimum(rank, 1, out=self.write)
        np.add(rank, reach - 1, out=self.write)
        return np.right_shift(self.write, reach.bit_length() - 1, out=self.write)

    def _window(self, i: np.ndarray, posted: np.ndarray) -> None:
        """How long one of the other busy CPUs, each in its turn, could use the old mapping."""
        self.turn = (self.turn + 1) % (self.shape.busy - 1)
        other = i + (1 + self.turn)
        other = self._at(np.where(other < self.shape.busy, other, other - self.shape.busy))
        flushed = self.run_end.take(other) - self.cost["irq_exit_ns"]
        if self.flush.run is Run.FIRST_FULLY:
            begin = self.run_begin.take(other)
            flushed = begin + self.cost["irq_entry_ns"] + self.cost["handler_ns"] + self.run_all_ns
        self.window_ns = flushed - posted

    def _finish(
        self,
        i: np.ndarray,
        at: np.ndarray,
        sent: np.ndarray,
        acked: np.ndarray,
        last_done: np.ndarray,
        local_ns: np.ndarray,
        fully: np.ndarray,
        begin: np.ndarray,
        run_end: np.ndarray,
        full_run: np.ndarray,
    ) -> None:
        """The sender's own flush, a run of its own that waited for interrupts to be on, and its next flush event."""
        cost = self.cost
        length = run_end - begin
        waiting = begin >= self.now
        resume = np.maximum(begin, sent)
        reading = waiting & (resume < acked)
        delay = np.maximum(resume + length - np.maximum(resume, last_done), 0.0)
        acked = acked + np.where(reading, delay, 0.0)
        own = local_ns if self.flush.own is Own.AFTER_ACKS else np.zeros(self.lanes)
        free = acked + own
        after = waiting & ~reading
        resume = np.where(after, np.maximum(resume, free), resume)
        shift = np.where(waiting, resume - begin, 0.0)
        shifted = begin + shift
        put(self.full_run, at, np.where(full_run == begin, shifted, np.nan))
        put(self.run_begin, at, shifted)
        put(self.run_end, at, np.maximum(run_end + shift, sent))  # no other run before interrupts are on
        put(self.acked, at, acked)
        put(self.own, at, own)

        compute, next_kind = self.source.draw(i)
        flushed = self.flush.own is not Own.NEVER
        refill = self.refills_next.take(at) | (fully & flushed)
        put(self.refills_next, at, False)
        put(self.refilled, at, refill)
        self.refills += refill
        start = free + compute + np.where(refill, cost["refill_ns"], cost["user_refill_ns"] * flushed)
        in_compute = after & (resume < start)
        self.handler_compute_ns += np.where(in_compute, length, 0.0)
        self._schedule(i, start + np.where(in_compute, length, 0.0), next_kind)
        due = self.due.take(at)
        in_next_loop = after & ~in_compute & (resume < due)
        put(self.due, at, due + np.where(in_next_loop, length, 0.0))

    def _count(self, rank: np.ndarray, delayed: list[Delayed], new_work: np.ndarray, join_work: np.ndarray) -> None:
        """Interrupts, refills, and handler time on busy CPUs: all of it, and what it takes from compute."""
        f, busy = self.shape.flushers, self.shape.busy
        self.interrupts += rank[-1]
        new = rank[busy - 1].astype(float)
        self.handler_ns += new * new_work + (busy - 1 - new) * join_work
        only_compute = busy - f  # busy CPUs that never flush
        new = new - rank[f - 1] + sum(each.disturbed for each in delayed)
        every = only_compute + sum(each.computing for each in delayed)
        self.handler_compute_ns += new * new_work + (every - new) * join_work
        self.refills += sum(each.refills for each in delayed)
