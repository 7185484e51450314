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
from sim.columns import Rank, keep_bits, least, mask, negative, put
from sim.costs import FlushEvents, Shape

NEVER = -1e200
STARTS = 2  # loops that get their length in one step, in order of their begin

Cost = Mapping[str, np.ndarray]


class Broadcast:
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    # State that leaves with its lane; the last axis is the lane.
    BY_LANE = (
        "taken run_end full_taken due pending begin outside busy_targets kind began sent last_done own free refilled "
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
        self.taken = np.full((rows, lanes), NEVER)  # when the last handler run of a CPU takes its queue
        self.taken[self.cpus :] = -NEVER
        self.run_end = np.full((rows, lanes), NEVER)
        self.full_taken = np.full((rows, lanes), np.nan)  # `taken` of the last run that flushes fully
        self.due = np.zeros(flushers)  # end of the sending loop to come or in progress
        self.pending = np.zeros(flushers)  # begin of the flush event to come; inf once its loop is in progress
        self.begin = np.zeros(flushers)  # begin of the flush event in progress
        self.outside = np.full(flushers, -1, dtype=np.int64)  # 0 while its loop is in progress, else all bits set
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
        self.lanes, self.lane = lanes, np.arange(lanes)
        self.cpu = np.arange(len(self.taken), dtype=np.int16)[:, None]
        self.cpus_after = self.cpus - 1.0 - self.cpu
        self.socket = np.arange(sockets)[:, None]
        self.socket_of = np.arange(self.cpus) % sockets  # [cpu]
        self.on_socket = (self.cpus - 1 - np.arange(sockets)) // sockets + 1  # CPUs of each socket
        # Acks to read from CPU k on, k included: as if all were cross-socket, less what those of k's turn on save.
        self.cross_ack_ns = cost["ack_cross_ns"] if sockets > 1 else cost["ack_ns"]
        self.ack_saving = self.cross_ack_ns - cost["ack_ns"]
        self.acks_from = (self.cpus - self.cpu) * self.cross_ack_ns + (self.cpu // sockets) * self.ack_saving
        # A request's queue empties this long after the loop ahead ended; one ICR write further serves `reach` more.
        self.empties_ns = cost["ipi_send_ns"] + cost["ipi_latency_ns"] + cost["irq_entry_ns"]
        self.gains_ns = np.maximum(cost["enqueue_busy_ns"] - cost["ipi_send_ns"] / self.shape.reach, 1e-9)
        self.enqueue_extra = cost["enqueue_busy_ns"] - cost["enqueue_ns"]
        # Of the two prices a loop moves at, the dearer comes first, so the sum of both is the larger of two lines.
        self.longer = np.maximum if (self.enqueue_extra >= 0.0).all() else self._either

        # Room to work in, so that no step allocates large arrays.
        rows, f = len(self.taken), self.shape.flushers
        self.c1, self.c2, self.spare, self.before = (np.empty((rows, lanes)) for _ in range(4))
        self.marked = np.empty((rows, lanes), dtype=bool)
        self.marks = np.empty((rows, lanes), dtype=np.int64)
        self.f1, self.f2, self.left = (np.empty((f, lanes)) for _ in range(3))
        self.reading, self.computing, self.ahead, self.flag = (np.empty((f, lanes), dtype=np.int64) for _ in range(4))
        self.rank = Rank(rows, lanes)
        self.write = np.empty((rows, lanes), dtype=self.rank.dtype)

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
        put(self.outside, at, -1)
        put(self.busy_targets, at, 0.0)

    def _begin_loops(self) -> None:
        """Loops that have begun by the next loop's end get their length: how long they find queues non-empty."""
        cost, others = self.cost, float(self.others)
        horizon = self.due.min(axis=0)
        in_progress = keep_bits(self.due, np.invert(self.outside, out=self.ahead), out=self.f1).max(axis=0)
        ahead = np.maximum(np.where(in_progress > 0.0, in_progress, NEVER), self.ended)  # end of the last loop ahead
        for _ in range(STARTS):
            j, start = least(self.pending)
            at = self._at(j)
            begun = start <= horizon
            if not begun.any():
                return
            old = self.due.take(at)
            busy = (ahead + self.empties_ns - (old - others * cost["enqueue_ns"])) / self.gains_ns
            busy = np.minimum(np.maximum(busy, 0.0), others) * begun
            due = old + busy * self.enqueue_extra
            run_begin = self.taken.take(at) - cost["irq_entry_ns"]  # of a run that a shorter loop would have missed
            due += np.where((run_begin >= old) & (run_begin < due), self.run_end.take(at) - run_begin, 0.0)
            put(self.due, at, due)
            ahead = np.where(begun, np.maximum(ahead, due), ahead)
            put(self.busy_targets, at, self.busy_targets.take(at) + busy)
            put(self.begin, at, np.where(begun, start, self.begin.take(at)))
            put(self.pending, at, np.where(begun, np.inf, start))
            put(self.outside, at, self.outside.take(at) & (begun.astype(np.int64) - 1))

    def step(self) -> None:
        """Serve the CPU whose sending loop ends first, in every lane."""
        cost, f, busy = self.cost, self.shape.flushers, self.shape.busy
        if not self.flush.mutex:
            self._begin_loops()
        i, _ = least(self.pending if self.flush.mutex else self.due)  # ties go to the lowest CPU
        at = self._at(i)
        t = self.due.take(at)
        self.now = self.ended = t
        self.wait_ns = self.free.take(at) - self.began.take(at)  # of the flush event before: its end is final now
        began = np.where(self.outside.take(at) == 0, self.begin.take(at), self.pending.take(at))
        put(self.began, at, began)
        of_kind = self._at(self.kind.take(at))
        full, local_ns = self.source.full.take(of_kind), self.source.local_ns.take(of_kind)
        own_taken, own_end = self.taken.take(at), self.run_end.take(at)

        # Requests: which join a run that has not taken its queue yet, which find it empty and need an interrupt.
        before = self.before  # 1 for the CPUs below the sender
        np.copyto(before, np.less(self.cpu, i.astype(np.int16), out=self.marked))
        after = np.subtract(self.cpus_after, before, out=self.c1)  # targets after this one
        cheap = self.others - self.busy_targets.take(at)  # of which the last so many found an empty queue
        queued = np.multiply(after, cost["enqueue_busy_ns"], out=self.c2)
        queued -= cheap * self.enqueue_extra
        after *= cost["enqueue_ns"]
        self.longer(queued, after, out=queued)  # this long before the loop's end
        queued += self.taken
        marked = np.less_equal(queued, t, out=self.marked)
        put(marked, at, False)
        rank = self.rank(marked)
        write = self._icr_write(rank)
        arrival = self.c1
        np.copyto(arrival, write)
        arrival *= cost["ipi_send_ns"]
        socket = self.socket_of.take(i)
        near = self.socket == socket
        latency = np.where(near, cost["ipi_latency_ns"], cost["ipi_latency_cross_ns"]) + t
        by_socket = self.by_socket(arrival)
        by_socket += latency
        idle = slice(busy, None)
        asleep = mask(np.less_equal(self.run_end[idle], arrival[idle]), out=self.marks[idle])
        arrival[idle] += keep_bits(cost["idle_exit_ns"], asleep, out=self.spare[idle])

        # Handler runs: the work of each request goes in at `resume`.
        marks = mask(marked, out=self.marks)
        resume = keep_bits(arrival, marks, out=arrival)  # a joined run is resumed where it ended, after time 0
        np.maximum(resume, self.run_end, out=resume)
        mine = resume[:f]
        np.maximum(mine, self.sent, out=mine)
        left = np.subtract(self.free, mine, out=self.left)  # of the flush event that the run finds, if positive
        reading = negative(np.subtract(self.own, left, out=self.f1), out=self.reading)
        in_own_flush = keep_bits(
            np.maximum(left, 0.0, out=self.f1), np.invert(reading, out=self.computing), out=self.f1
        )
        mine += in_own_flush
        first = self.flush.run is Run.FIRST_FULLY
        run_local = self.run_all_ns if first else self.run_local_ns.take(of_kind)
        if self.flush.run is Run.NOTHING:
            run_local = np.zeros(self.lanes)
        join_work = cost["handler_ns"] + (0.0 if first else run_local)
        new_work = cost["irq_entry_ns"] + cost["handler_ns"] + run_local + cost["irq_exit_ns"]
        end = keep_bits(new_work - join_work, marks, out=self.spare)
        end += join_work
        end += resume
        put(end, at, resume.take(at))
        taken = keep_bits(np.add(resume, cost["irq_entry_ns"], out=self.c2), marks, out=self.c2)
        np.maximum(self.taken, taken, out=self.taken)  # a new run is later than the last; the sender's own is put back

        # A run delays what it finds on its CPU.
        ahead = negative(np.subtract(mine, self.pending, out=self.f1), out=self.ahead)
        computing = self.computing  # not reading, so far
        computing &= ahead
        computing &= self.outside
        put(computing, at, 0)
        disturbed = np.bitwise_and(marks[:f], computing, out=self.flag)  # computing, and a new run comes
        delay = np.maximum(end[:f], self.last_done, out=self.f2)
        delay -= np.maximum(mine, self.last_done, out=self.f1)
        self._count(rank, disturbed, computing, new_work, join_work)
        self.free += keep_bits(delay, reading, out=self.f1)
        self._refill(delay, i, marked, disturbed, computing, full)
        self.pending += keep_bits(delay, ahead, out=self.f1)
        earlier = negative(np.subtract(mine, self.due, out=self.f1), out=self.ahead)
        self.due += keep_bits(delay, earlier, out=self.f1)
        self.spare, self.run_end = self.run_end, end

        # The sender: ICR writes, acks.
        sent = t + write[-1] * cost["ipi_send_ns"]
        if self.flush.own is Own.AFTER_SENDS:
            sent = sent + local_ns
        done = np.subtract(end, cost["irq_exit_ns"], out=self.c1)
        if self.flush.done is Done.RUN_BEGUN:
            np.copyto(done, self.taken)
        put(done, at, NEVER)
        done[self.cpus :] = NEVER
        last_done = done.max(axis=0)
        same = self.on_socket.take(socket)  # CPUs of the sender's socket, itself included
        all_acks = self.others * self.cross_ack_ns - (same - 1) * self.ack_saving
        done += self.acks_from
        done -= np.multiply(before, cost["ack_ns"], out=before)
        if self.shape.sockets > 1:
            later = same - (socket < self.socket)
            self.by_socket(done)[:] -= later * self.ack_saving
        acked = np.maximum(sent + all_acks, done.max(axis=0))
        put(self.sent, at, sent)
        put(self.last_done, at, last_done)
        if busy > 1:
            self._window(i, began + self.source.bookkeeping_ns.take(of_kind), end)
        self._finish(i, at, sent, acked, last_done, local_ns, full, own_taken, own_end)
        if self.flush.mutex:
            here = np.maximum(self.free.take(at), self.run_end[:f])
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

    def by_socket(self, values: np.ndarray) -> np.ndarray:
        """The same values as [turn, socket, lane]."""
        return values.reshape(-1, self.shape.sockets, self.lanes)

    def _window(self, i: np.ndarray, posted: np.ndarray, end: np.ndarray) -> None:
        """How long one of the other busy CPUs, each in its turn, could use the old mapping."""
        self.turn = (self.turn + 1) % (self.shape.busy - 1)
        other = i + (1 + self.turn)
        other = self._at(np.where(other < self.shape.busy, other, other - self.shape.busy))
        flushed = end.take(other) - self.cost["irq_exit_ns"]
        if self.flush.run is Run.FIRST_FULLY:
            flushed = self.taken.take(other) + self.cost["handler_ns"] + self.run_all_ns
        self.window_ns = flushed - posted

    def _finish(
        self,
        i: np.ndarray,
        at: np.ndarray,
        sent: np.ndarray,
        acked: np.ndarray,
        last_done: np.ndarray,
        local_ns: np.ndarray,
        full: np.ndarray,
        taken: np.ndarray,
        run_end: np.ndarray,
    ) -> None:
        """The sender's own flush, a run of its own that waited for interrupts to be on, and its next flush event."""
        cost = self.cost
        begin = taken - cost["irq_entry_ns"]
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
        shifted = taken + shift
        put(self.full_taken, at, np.where(self.full_taken.take(at) == taken, shifted, np.nan))
        put(self.taken, at, shifted)
        put(self.run_end, at, run_end + shift)
        put(self.free, at, free)
        put(self.own, at, own)

        compute, next_kind = self.source.draw(i)
        flushed = self.flush.own is not Own.NEVER
        refill = self.refills_next.take(at) | (full & flushed)
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

    def _count(
        self,
        rank: np.ndarray,
        disturbed: np.ndarray,
        computing: np.ndarray,
        new_work: np.ndarray,
        join_work: np.ndarray,
    ) -> None:
        """Interrupts, and handler time on busy CPUs: all of it, and what it takes from compute."""
        f, busy = self.shape.flushers, self.shape.busy
        self.interrupts += rank[-1]
        new = rank[busy - 1].astype(float)
        self.handler_ns += new * new_work + (busy - 1 - new) * join_work
        never_flush = busy - f  # busy CPUs that only compute
        new = new - rank[f - 1] - disturbed.sum(axis=0)
        every = never_flush - computing.sum(axis=0)
        self.handler_compute_ns += new * new_work + (every - new) * join_work

    def _refill(
        self,
        delay: np.ndarray,
        i: np.ndarray,
        marked: np.ndarray,
        disturbed: np.ndarray,
        computing: np.ndarray,
        full: np.ndarray,
    ) -> None:
        """Add to `delay` what flushes in handler runs cost compute: misses of the compute in progress.

        A full flush inside a flush event lengthens the next compute, once. A full flush of a run that flushed ranges
        before counts as full.
        """
        cost, f, busy = self.cost, self.shape.flushers, self.shape.busy
        if self.flush.run is Run.NOTHING:
            return
        first = self.flush.run is Run.FIRST_FULLY
        fully = np.ones_like(full) if first else full
        each = np.where(fully, cost["refill_ns"], cost["user_refill_ns"])
        if each.any():
            delay += keep_bits(each, disturbed, out=self.f1)
        if not fully.any():
            return
        some = np.flatnonzero(fully)  # only these lanes
        new, taken, full_taken = marked[:busy, some], self.taken[:busy, some], self.full_taken[:busy, some]
        turns = ~new & (not first) & (full_taken != taken)
        turns[i[some], np.arange(len(some))] = False
        flushes = new | turns
        self.full_taken[:busy, some] = np.where(flushes, taken, full_taken)
        more = (cost["refill_ns"] - cost["user_refill_ns"])[some]
        inside, in_event = computing[:, some] != 0, self.left[:, some] > 0.0
        extra = np.where(turns[:f] & inside, more, 0.0)
        in_compute = flushes.copy()
        in_compute[:f] &= inside
        elsewhere = flushes[:f] & ~inside
        drawn = elsewhere & in_event & ~self.refilled[:, some]  # the compute after is drawn already
        extra += np.where(drawn, more, 0.0)
        delay[:, some] += extra
        self.refilled[:, some] |= drawn
        self.refills_next[:, some] |= elsewhere & ~in_event
        self.refills[some] += in_compute.sum(axis=0) + drawn.sum(axis=0)

    def _either(self, dear: np.ndarray, cheap: np.ndarray, out: np.ndarray) -> np.ndarray:
        """The larger of two lines where a busy queue is dearer, else the smaller."""
        out[:] = np.where(self.enqueue_extra >= 0.0, np.maximum(dear, cheap), np.minimum(dear, cheap))
        return out
