"""A broadcast by interrupts: every step serves one flush event in every lane, all its targets in one pass.

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

`tests/twin.py` is the same rule, one CPU at a time; `tests/fine.py` is what really happens, one event per request.
Arrays are [cpu, lane]; [lane] where unsaid; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.abi import Done, Flush, Own, Run, Targets
from sim.costs import FlushEvents, Shape

NEVER = -1e200
STARTS = 2  # loops that get their length in one step, in order of their begin

Cost = Mapping[str, np.ndarray]


class Broadcast:
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    # State that leaves with its lane; the last axis is the lane.
    BY_LANE = (
        "taken run_end full_taken due pending begin in_loop busy_targets kind began sent last_done own free refilled "
        "refills_next now ended wait_ns interrupts handler_ns handler_compute_ns refills run_local_ns run_all_ns"
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
        self.taken = np.full((rows, lanes), NEVER)  # when the last handler run of a CPU takes its queue
        self.taken[self.cpus :] = -NEVER
        self.run_end = np.full((rows, lanes), NEVER)
        self.full_taken = np.full((rows, lanes), np.nan)  # `taken` of the last run that flushes fully
        self.due = np.zeros(flushers)  # end of the sending loop to come or in progress
        self.pending = np.zeros(flushers)  # begin of the flush event to come; inf once its loop is in progress
        self.begin = np.zeros(flushers)  # begin of the flush event in progress
        self.in_loop = np.zeros(flushers, dtype=bool)
        self.busy_targets = np.zeros(flushers)  # of the loop in progress: requests that find a non-empty queue
        self.kind = np.zeros(flushers, dtype=np.int64)
        self.began = np.zeros(flushers)  # last flush event: its begin,
        self.sent = np.full(flushers, NEVER)  # last ICR write done and interrupts on,
        self.last_done = np.full(flushers, NEVER)  # last request done,
        self.own = np.zeros(flushers)  # length of the own flush after the acks,
        self.free = np.zeros(flushers)  # its end
        self.refills_next = np.zeros(flushers, dtype=bool)  # flushed fully while sending: the next compute refills
        self.refilled = np.zeros(flushers, dtype=bool)  # the compute in progress refills already
        self.now = np.zeros(lanes)
        self.ended = np.full(lanes, NEVER)  # end of the last loop
        self.wait_ns = np.zeros(lanes)
        self._shape_lanes(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)

    def _shape_lanes(self, lanes: int) -> None:
        """What follows from costs and the number of lanes alone."""
        cost, sockets = self.cost, self.shape.sockets
        self.lanes, self.lane = lanes, np.arange(lanes)
        self.cpu = np.arange(len(self.taken))[:, None]
        self.socket = np.arange(sockets)[:, None]
        self.on_socket = (self.cpus - 1 - np.arange(sockets)) // sockets + 1  # CPUs of each socket
        # Acks to read from CPU k on, k included: as if all were cross-socket, less what those of k's turn on save.
        self.cross_ack_ns = cost["ack_cross_ns"] if sockets > 1 else cost["ack_ns"]
        self.ack_saving = self.cross_ack_ns - cost["ack_ns"]
        self.acks_from = (self.cpus - self.cpu) * self.cross_ack_ns + (self.cpu // sockets) * self.ack_saving
        # A request's queue empties this long after the loop ahead ended; one ICR write further serves `reach` more.
        self.empties_ns = cost["ipi_send_ns"] + cost["ipi_latency_ns"] + cost["irq_entry_ns"]
        self.gains_ns = np.maximum(cost["enqueue_busy_ns"] - cost["ipi_send_ns"] / self.shape.reach, 1e-9)
        self.enqueue_extra = cost["enqueue_busy_ns"] - cost["enqueue_ns"]

    def reset(self) -> None:
        """Start counting anew."""
        self.interrupts = np.zeros(self.lanes)
        self.handler_ns = np.zeros(self.lanes)  # on busy CPUs
        self.handler_compute_ns = np.zeros(self.lanes)  # of that, what computing CPUs lost
        self.refills = np.zeros(self.lanes)  # on busy CPUs

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        for name in self.BY_LANE:
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[..., lanes]))
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._shape_lanes(len(lanes))

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        """The next flush event of `cpu` begins at `start`; its loop ends, were every queue empty, at `due`."""
        at = (cpu, self.lane)
        work = self.source.bookkeeping_ns[kind, self.lane] + self.cost["mask_scan_ns"]
        if self.flush.own is Own.BEFORE:
            work = work + self.source.local_ns[kind, self.lane]
        self.pending[at], self.due[at], self.kind[at] = (
            start,
            start + work + self.others * self.cost["enqueue_ns"],
            kind,
        )
        self.in_loop[at], self.busy_targets[at] = False, 0.0

    def _begin_loops(self) -> None:
        """Loops that have begun by the next loop's end get their length: how long they find queues non-empty."""
        horizon = self.due.min(axis=0)
        ahead = np.maximum(
            np.where(self.in_loop, self.due, NEVER).max(axis=0), self.ended
        )  # end of the last loop ahead
        for _ in range(STARTS):
            j = self.pending.argmin(axis=0)
            at = (j, self.lane)
            begun = self.pending[at] <= horizon
            loop_begin = self.due[at] - self.others * self.cost["enqueue_ns"]
            busy = np.clip((ahead + self.empties_ns - loop_begin) / self.gains_ns, 0.0, float(self.others))
            old = self.due[at]
            due = old + np.where(begun, busy * self.enqueue_extra, 0.0)
            run_begin = (
                self.taken[at] - self.cost["irq_entry_ns"]
            )  # a run that the loop would have missed, was it shorter
            due += np.where((run_begin >= old) & (run_begin < due), self.run_end[at] - run_begin, 0.0)
            self.due[at] = due
            ahead = np.where(begun, np.maximum(ahead, due), ahead)
            self.busy_targets[at] = np.where(begun, busy, self.busy_targets[at])
            self.begin[at] = np.where(begun, self.pending[at], self.begin[at])
            self.pending[at] = np.where(begun, np.inf, self.pending[at])
            self.in_loop[at] |= begun

    def step(self) -> None:
        """Serve the CPU whose sending loop ends first, in every lane."""
        cost, lane, f, sockets = self.cost, self.lane, self.shape.flushers, self.shape.sockets
        if not self.flush.mutex:
            self._begin_loops()
        i = (self.pending if self.flush.mutex else self.due).argmin(axis=0)  # ties go to the lowest CPU
        at = (i, lane)
        t = self.due[at]
        self.now = self.ended = t
        self.wait_ns = self.free[at] - self.began[at]  # of the flush event before, whose end is final now
        self.began[at] = np.where(self.in_loop[at], self.begin[at], self.pending[at])
        kind = self.kind[at]
        full = self.source.full[kind, lane]
        own_taken, own_end = self.taken[at], self.run_end[at]

        # Requests: which join a run that has not taken its queue yet, which find it empty and need an interrupt.
        before = self.cpu < i
        after = (self.cpus - 1.0 - self.cpu) - before  # targets after this one
        busy_after = np.maximum(after - (self.others - self.busy_targets[at]), 0.0)
        queued = t - (after * cost["enqueue_ns"] + busy_after * self.enqueue_extra)
        joins = self.taken > queued
        joins[at] = True
        marked = ~joins
        rank = marked.cumsum(axis=0)
        write = -(-rank // self.shape.reach)
        latency = np.where(self.socket == i % sockets, cost["ipi_latency_ns"], cost["ipi_latency_cross_ns"])
        arrival = write * cost["ipi_send_ns"]
        arrival.reshape(-1, sockets, self.lanes)[:] += latency + t
        idle = slice(self.shape.busy, None)
        arrival[idle] += np.where(self.run_end[idle] <= arrival[idle], cost["idle_exit_ns"], 0.0)

        # Handler runs: the work of each request goes in at `resume`.
        resume = np.maximum(np.where(marked, arrival, NEVER), self.run_end)
        np.maximum(resume[:f], self.sent, out=resume[:f])
        left = self.free - resume[:f]  # of the flush event that the run finds, if positive
        in_own_flush = (left > 0.0) & (left <= self.own)
        resume[:f] += np.where(in_own_flush, left, 0.0)
        first = self.flush.run is Run.FIRST_FULLY
        run_local = self.run_all_ns if first else self.run_local_ns[kind, lane]
        if self.flush.run is Run.NOTHING:
            run_local = np.zeros(self.lanes)
        join_work = cost["handler_ns"] + (0.0 if first else run_local)
        new_work = cost["irq_entry_ns"] + cost["handler_ns"] + run_local + cost["irq_exit_ns"]
        end = resume + np.where(marked, new_work, join_work)
        end[at] = resume[at]
        taken = np.where(marked, resume + cost["irq_entry_ns"], self.taken)
        done = taken.copy() if self.flush.done is Done.RUN_BEGUN else end - cost["irq_exit_ns"]
        done[at] = NEVER
        done[self.cpus :] = NEVER

        # A run delays what it finds on its CPU.
        reading = left > self.own
        computing = ~reading & ~self.in_loop & (resume[:f] < self.pending)
        computing[at] = False
        self._count(marked, joins, computing, new_work, join_work)
        delay = np.maximum(end[:f], self.last_done) - np.maximum(resume[:f], self.last_done)
        self.free += np.where(reading, delay, 0.0)
        delay += self._refill(i, marked, joins, computing, left > 0.0, full, taken)
        self.due += np.where(resume[:f] < self.due, delay, 0.0)
        self.pending += np.where(resume[:f] < self.pending, delay, 0.0)
        self.taken, self.run_end = taken, end

        # The sender: ICR writes, acks.
        sent = t + write[-1] * cost["ipi_send_ns"]
        if self.flush.own is Own.AFTER_SENDS:
            sent = sent + self.source.local_ns[kind, lane]
        same = self.on_socket[i % sockets]  # CPUs of the sender's socket, itself included
        all_acks = self.others * self.cross_ack_ns - (same - 1) * self.ack_saving
        acked_by = done + self.acks_from - before * cost["ack_ns"]
        acked_by.reshape(-1, sockets, self.lanes)[:] -= (same - (i % sockets < self.socket)) * self.ack_saving
        acked = np.maximum(sent + all_acks, acked_by.max(axis=0))
        self.sent[at], self.last_done[at] = sent, done.max(axis=0)
        self._finish(at, acked, kind, full, own_taken, own_end)
        if self.flush.mutex:
            here = np.maximum(self.free[at], self.run_end[:f])
            np.maximum(self.due, here + (cost["mask_scan_ns"] + self.others * cost["enqueue_ns"]), out=self.due)

    def _finish(
        self,
        at: tuple[np.ndarray, np.ndarray],
        acked: np.ndarray,
        kind: np.ndarray,
        full: np.ndarray,
        taken: np.ndarray,
        run_end: np.ndarray,
    ) -> None:
        """The sender's own flush, a run of its own that waited for interrupts to be on, and its next flush event."""
        cost = self.cost
        begin = taken - cost["irq_entry_ns"]
        length = run_end - begin
        waiting = begin >= self.now
        resume = np.maximum(begin, self.sent[at])
        reading = waiting & (resume < acked)
        delay = np.maximum(resume + length - np.maximum(resume, self.last_done[at]), 0.0)
        acked = acked + np.where(reading, delay, 0.0)
        own = self.source.local_ns[kind, self.lane] if self.flush.own is Own.AFTER_ACKS else np.zeros(self.lanes)
        free = acked + own
        after = waiting & ~reading
        resume = np.where(after, np.maximum(resume, free), resume)
        shift = np.where(waiting, resume - begin, 0.0)
        self.full_taken[at] = np.where(self.full_taken[at] == taken, taken + shift, np.nan)
        self.taken[at], self.run_end[at] = taken + shift, run_end + shift
        self.free[at], self.own[at] = free, own

        compute, next_kind = self.source.draw(at[0])
        flushed = self.flush.own is not Own.NEVER
        refill = self.refills_next[at] | (full & flushed)
        self.refills_next[at], self.refilled[at] = False, refill
        self.refills += refill
        start = free + compute + np.where(refill, cost["refill_ns"], cost["user_refill_ns"] * flushed)
        in_compute = after & (resume < start)
        self.handler_compute_ns += np.where(in_compute, length, 0.0)
        self._schedule(at[0], start + np.where(in_compute, length, 0.0), next_kind)
        in_next_loop = after & ~in_compute & (resume < self.due[at])
        self.due[at] += np.where(in_next_loop, length, 0.0)

    def _count(
        self,
        marked: np.ndarray,
        joins: np.ndarray,
        computing: np.ndarray,
        new_work: np.ndarray,
        join_work: np.ndarray,
    ) -> None:
        """Interrupts, and handler time on busy CPUs: all of it, and what it takes from compute."""
        f, busy = self.shape.flushers, self.shape.busy
        self.interrupts += marked.sum(axis=0)
        new = marked[:busy].sum(axis=0)
        joined = busy - 1 - new
        self.handler_ns += new * new_work + joined * join_work
        idle_new, idle_joined = marked[f:busy].sum(axis=0), joins[f:busy].sum(axis=0)  # busy CPUs that never flush
        new = (marked[:f] & computing).sum(axis=0) + idle_new
        joined = (joins[:f] & computing).sum(axis=0) + idle_joined
        self.handler_compute_ns += new * new_work + joined * join_work

    def _refill(
        self,
        i: np.ndarray,
        marked: np.ndarray,
        joins: np.ndarray,
        computing: np.ndarray,
        in_event: np.ndarray,
        full: np.ndarray,
        taken: np.ndarray,
    ) -> np.ndarray:
        """What flushes in handler runs add to compute, [cpu, lane] in ns: misses of the compute in progress.

        A full flush inside a flush event lengthens the next compute, once. A full flush of a run that flushed ranges
        before counts as full.
        """
        cost, f, busy = self.cost, self.shape.flushers, self.shape.busy
        if self.flush.run is Run.NOTHING:
            return np.zeros((f, self.lanes))
        first = self.flush.run is Run.FIRST_FULLY
        fully = np.ones_like(full) if first else full
        each = np.where(fully, cost["refill_ns"], cost["user_refill_ns"])
        extra = np.where(marked[:f] & computing, each, 0.0)
        if not fully.any():
            return extra
        turns = joins[:busy] & (fully & (not first)) & (self.full_taken[:busy] != taken[:busy])
        turns[i, self.lane] = False
        new = marked[:busy] & fully
        self.full_taken[:busy][new | turns] = taken[:busy][new | turns]
        more = cost["refill_ns"] - cost["user_refill_ns"]
        extra += np.where(turns[:f] & computing, more, 0.0)
        in_compute = new | turns
        in_compute[:f] &= computing
        flushed = (new | turns)[:f] & ~computing
        drawn = flushed & in_event & ~self.refilled  # the compute after this flush event is drawn already
        extra += np.where(drawn, more, 0.0)
        self.refilled |= drawn
        self.refills_next |= flushed & ~in_event
        self.refills += in_compute.sum(axis=0) + drawn.sum(axis=0)
        return extra
