"""An approximation of a broadcast by interrupts on bare metal: two events per flush event, in all lanes at once.

Kernel: kernel/smp.c  on_each_cpu(), smp_call_function_many(), flush_smp_call_function_queue()

The rules, for the CPU whose sending loop ends next, at time `now`:

  * Cache lines take the mean time over all pairs of a sender and a target, without waits, so that the length of a loop
    is known when it begins.
  * A request joins the target's last handler run, and lengthens it, if that run had not taken its queue yet. Otherwise
    the target is marked, and a run begins after the interrupt and the last run, once interrupts are on.
  * Then come the ICR writes for the marked targets in ascending order, with interrupts off, the acks in ascending
    order, and the local flush.
  * A run delays the current work of its CPU: compute, sending loop, or the reads of acks (these only after the last
    request that blocks the reader).
  * A local flush before the sending loop is work like bookkeeping, with interrupts on.

The sender is in this module, its targets are in `receivers.py`. `compiled/broadcast.py` is the exact simulation,
request by request; `benchmarks/distance.py` measures the distance between the two.
Arrays are [cpu, lane], or [lane] unless noted; times are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from sim.arrays import Flags, Least, Rank, aligned, put
from sim.cache_lines import SAME, distances, line_times_ns, mean_line_ns
from sim.events import FlushEvents
from sim.machine.vectorized.receivers import Delayed, Receivers, Requests, Work
from sim.machine.vectorized.state import NEVER, Cpus, Room, Sender, Senders, Served, Steps, keep
from sim.policy import Done, Local, Policy, Run, Targets
from sim.topology import Shape

BLOCK = 16384  # CPUs times lanes of one block: all arrays of this size together fit into the cache


class Broadcast(Steps):
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    def __init__(self, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, source: FlushEvents) -> None:
        """`cost` has the parameters that the policy reads, each [lane]; `source` draws the flush events."""
        self.shape, self.policy, self.source, lanes = shape, policy, source, len(source.replica_row)
        self.reachable = (
            shape.busy if policy.targets is Targets.OTHER_BUSY else shape.cores
        )  # CPUs that requests can reach
        self.others = self.reachable - 1
        self.slow = shape.mean_slowdown(self.reachable, cost["smt_slowdown"])
        self.cost = dict(cost) | _mean_costs(shape, cost, self.reachable, self.slow)

        rows = -(-self.reachable // shape.sockets) * shape.sockets  # padded to whole turns round the sockets
        self.cpus = Cpus.idle(rows, self.reachable, lanes)
        self.senders = Senders.computing(shape.flushers, lanes)
        self.served = Served.nothing(lanes)
        self.ended = np.full(lanes, NEVER)  # end of the last loop
        self.turn = 0  # offset of the watched CPU from the sender
        self._lay_out(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)

    def _lay_out(self, lanes: int) -> None:
        """Set the values that depend only on costs and the number of lanes."""
        cost, sockets = self.cost, self.shape.sockets
        rows, f = len(self.cpus.run_end), self.shape.flushers
        self.lanes, self.lane = lanes, np.arange(lanes)
        self.cpu = np.arange(rows, dtype=np.int16)[:, None]
        self.socket = np.arange(sockets)[:, None]
        self.socket_of = np.arange(self.reachable) % sockets  # [cpu]
        self.run_local_ns = self.source.local_ns * self.slow  # [kind, lane] range flush in a handler run
        self.run_all_ns = cost["flush_all_ns"] * self.slow  # full flush in a handler run

        self.marked, self.below = Flags.empty(rows, lanes), Flags.empty(rows, lanes)
        self.least = Least(f, lanes)
        self.rank = Rank(rows, lanes)
        self.write = np.empty((rows, lanes), dtype=self.rank.dtype)

        block = max(1, BLOCK // (lanes * sockets)) * sockets  # whole turns round the sockets
        blocks = [slice(begin, min(begin + block, rows)) for begin in range(0, rows, block)]
        room = Room.empty(min(block, rows), lanes)
        state = (self.reachable, self.cpus, self.senders)
        self.receivers = [
            Receivers(rows, *state, cost, self.shape, self.policy, room, self.marked, self.below) for rows in blocks
        ]

    @property
    def compute_end(self) -> np.ndarray:
        """The begin of the next flush event of each sender, [cpu, lane]; any time before now if it is in one."""
        return self.senders.start

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self.cpus, self.senders = keep(self.cpus, lanes), keep(self.senders, lanes)
        self.served, self.tally = keep(self.served, lanes), self.tally[lanes]
        self.ended, self.slow = aligned(self.ended[lanes]), self.slow[lanes]
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._lay_out(len(lanes))

    def _flat(self, row: np.ndarray) -> np.ndarray:
        """Flat indices of a row in each lane; rows are CPUs or kinds."""
        return row * self.lanes + self.lane

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        """The next flush event of `cpu` begins at `start`."""
        senders, at, kind_at = self.senders, self._flat(cpu), self._flat(kind)
        work = self.source.bookkeeping_ns.take(kind_at) + self.cost["mask_scan_ns"]
        if self.policy.local is Local.FIRST:  # local flush
            work = work + self.source.local_ns.take(kind_at)
        put(senders.start, at, start)
        put(senders.loop_end, at, start + work + self.others * self.cost["enqueue_ns"])
        put(senders.kind, at, kind)

    def step(self) -> None:
        """Serve the CPU whose sending loop ends first, in every lane."""
        # smp_call_function_many(): the next end of a loop over targets
        sender = self._end_loop()
        # llist_add(): a request joins a run that has not taken the queue yet, or needs an interrupt if there is none
        self._queue(sender)
        # arch_send_call_function_ipi_mask(): ICR writes for the marked targets
        rank = self.rank(self.marked)
        write = self._icr_write(rank)
        sent = sender.now + write[-1] * self.cost["ipi_send_ns"]
        if self.policy.local is Local.AFTER_SENDS:  # local flush
            sent = sent + sender.local_ns
        # flush_smp_call_function_queue(): handler runs on the targets
        work = self._work(sender)
        requests = self._requests(sender, write, work)
        self._count(rank, [receivers.run(requests) for receivers in self.receivers], work, requests)
        # csd_lock_wait(): acks
        acked, last_done = self._read_acks(sender, sent)
        if self.shape.busy > 1:
            self._watch_window(sender)
        # local flush, and the next compute
        self._finish(sender, sent, acked, last_done)

    def _end_loop(self) -> Sender:
        """The sender whose loop ends next; ties go to the lowest CPU."""
        cpus, senders, served, source = self.cpus, self.senders, self.served, self.source
        cpu, now = self.least(senders.loop_end)
        at = self._flat(cpu)
        served.now = self.ended = now
        served.wait_ns = senders.acked.take(at) + senders.own.take(at) - senders.began.take(at)  # final now
        began = senders.start.take(at)
        put(senders.began, at, began)
        kind_at, local = self._flat(senders.kind.take(at)), self.policy.local
        full, at_end = source.full.take(kind_at), local in (Local.AFTER_SENDS, Local.AFTER_ACKS)
        sender = Sender(
            cpu=cpu,
            at=at,
            kind_at=kind_at,
            now=now,
            began=began,
            socket=self.socket_of.take(cpu),
            full=full,
            local_ns=source.local_ns.take(kind_at) if at_end else np.zeros(self.lanes),
            local_full=full & (local is not Local.NEVER),
            local_flushes=np.full(self.lanes, local is not Local.NEVER),
            run_begin=cpus.run_begin.take(at),
            run_end=cpus.run_end.take(at),
            full_run=cpus.full_run.take(at),
        )
        # The row of the sender takes part below, without effect: it does not compute, and has flushed already.
        put(senders.start, at, NEVER)
        put(cpus.full_run, at, np.maximum(sender.run_begin, 0.0))
        return sender

    def _queue(self, sender: Sender) -> None:
        """Mark the targets with an empty queue."""
        np.less(self.cpu, sender.cpu.astype(np.int16), out=self.below.set)
        limit = sender.now - self.cost["irq_entry_ns"]
        for receivers in self.receivers:
            receivers.mark(limit)
        self.marked.clear(sender.cpu)

    def _icr_write(self, rank: np.ndarray) -> np.ndarray:
        """The number of the ICR write to each marked CPU, from 1; `rank` counts the marked CPUs up to each CPU."""
        reach = self.shape.reach
        if reach == 1:
            return rank
        if reach >= self.reachable:
            return np.minimum(rank, 1, out=self.write)
        np.add(rank, reach - 1, out=self.write, dtype=self.write.dtype)
        return np.right_shift(self.write, reach.bit_length() - 1, out=self.write)

    def _work(self, sender: Sender) -> Work:
        """The lengths of the handler runs of a flush event."""
        cost, first = self.cost, self.policy.run is Run.FIRST_FULLY
        flush_ns = self.run_all_ns if first else self.run_local_ns.take(sender.kind_at)
        joined = cost["handler_ns"] + (0.0 if first else flush_ns)
        new = cost["irq_entry_ns"] + cost["take_ns"] + cost["handler_ns"] + flush_ns + cost["irq_exit_ns"]
        return Work(joined, new, new - joined)

    def _requests(self, sender: Sender, write: np.ndarray, work: Work) -> Requests:
        """The data of a flush event for its targets."""
        cost = self.cost
        near = self.socket == sender.socket  # [socket, lane]
        full = np.full(self.lanes, True) if self.policy.run is Run.FIRST_FULLY else sender.full
        miss_ns = np.where(full, cost["refill_ns"], cost["user_refill_ns"])
        return Requests(
            write=write,
            taken=np.where(near, cost["ipi_latency_ns"], cost["ipi_latency_cross_ns"]) + sender.now,
            join_work=work.joined,
            extra_work=work.extra.view(np.int64),
            range_miss=~full,
            miss_ns=miss_ns.view(np.int64) if miss_ns.any() else None,
            full=np.flatnonzero(full),
        )

    def _count(self, rank: np.ndarray, delayed: list[Delayed], work: Work, requests: Requests) -> None:
        """Count interrupts, refills, and handler time on busy CPUs, in total and on computing CPUs."""
        tally, f, busy = self.tally, self.shape.flushers, self.shape.busy
        tally.interrupts += rank[-1]
        new = rank[busy - 1].astype(float)
        new_computing = new - rank[f - 1] + sum(block.disturbed for block in delayed)
        computing = busy - f + sum(block.computing for block in delayed)  # busy CPUs other than senders always compute
        tally.refills += sum(block.refills for block in delayed)
        tally.handler_ns += new * work.new + (busy - 1 - new) * work.joined
        tally.handler_compute_ns += new_computing * work.new + (computing - new_computing) * work.joined
        tally.range_misses += new_computing * requests.range_miss - sum(block.upgrades for block in delayed)

    def _read_acks(self, sender: Sender, sent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When the sender has read all acks, without delays by handler runs, and when the last request is done."""
        # The row of the sender is no target.
        put(self.cpus.run_begin if self.policy.done is Done.RUN_BEGUN else self.cpus.run_end, sender.at, NEVER)
        acks = [receivers.acks() for receivers in self.receivers]
        last_done = reduce(np.maximum, (done for done, _ in acks))
        read = reduce(np.maximum, (read for _, read in acks))
        put(self.senders.last_done, sender.at, last_done)
        return np.maximum(sent + self.others * self.cost["ack_ns"], read), last_done

    def _watch_window(self, sender: Sender) -> None:
        """Set the stale window of another busy CPU, each one in turn."""
        marked = sender.began + self.source.bookkeeping_ns.take(sender.kind_at)
        self.turn = (self.turn + 1) % (self.shape.busy - 1)
        watched = sender.cpu + (1 + self.turn)
        watched = self._flat(np.where(watched < self.shape.busy, watched, watched - self.shape.busy))
        flushed = self.cpus.run_end.take(watched) - self.cost["irq_exit_ns"]
        if self.policy.run is Run.FIRST_FULLY:
            begin = self.cpus.run_begin.take(watched)
            flushed = (
                begin + self.cost["irq_entry_ns"] + self.cost["take_ns"] + self.cost["handler_ns"] + self.run_all_ns
            )
        self.served.window_ns = flushed - marked

    def _finish(self, sender: Sender, sent: np.ndarray, acked: np.ndarray, last_done: np.ndarray) -> None:
        """The local flush of the sender, a handler run that waited for interrupts, and the next flush event."""
        cpus, senders, at = self.cpus, self.senders, sender.at
        begin, length = sender.run_begin, sender.run_end - sender.run_begin
        waiting = begin >= sender.now
        resume = np.maximum(begin, sent)
        reading = waiting & (resume < acked)
        delay = np.maximum(resume + length - np.maximum(resume, last_done), 0.0)
        acked = acked + np.where(reading, delay, 0.0)
        own = sender.local_ns if self.policy.local is Local.AFTER_ACKS else np.zeros(self.lanes)
        free = acked + own
        afterwards = waiting & ~reading
        resume = np.where(afterwards, np.maximum(resume, free), resume)
        shift = np.where(waiting, resume - begin, 0.0)
        shifted = begin + shift
        put(cpus.full_run, at, np.where(sender.full_run == begin, shifted, np.nan))
        put(cpus.run_begin, at, shifted)
        put(cpus.run_end, at, np.maximum(sender.run_end + shift, sent))  # no other handler run before interrupts are on
        put(senders.acked, at, acked)
        put(senders.own, at, own)

        start, kind = self._compute(sender, free)
        in_compute = afterwards & (resume < start)
        self.tally.handler_compute_ns += np.where(in_compute, length, 0.0)
        self._schedule(sender.cpu, start + np.where(in_compute, length, 0.0), kind)
        loop_end = senders.loop_end.take(at)
        in_next_loop = afterwards & ~in_compute & (resume < loop_end)
        put(senders.loop_end, at, loop_end + np.where(in_next_loop, length, 0.0))

    def _compute(self, sender: Sender, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The start and kind of the sender's next flush event, after a drawn compute that misses lengthen."""
        senders, cost = self.senders, self.cost
        compute, kind = self.source.draw(sender.cpu)
        refill = senders.refills_next.take(sender.at) | sender.local_full
        range_miss = sender.local_flushes & ~refill
        put(senders.refills_next, sender.at, False)
        put(senders.refilled, sender.at, refill)
        self.tally.refills += refill
        self.tally.range_misses += range_miss
        misses_ns = np.where(refill, cost["refill_ns"], np.where(range_miss, cost["user_refill_ns"], 0.0))
        return free + compute + misses_ns, kind


def _mean_costs(
    shape: Shape, cost: Mapping[str, np.ndarray], reachable: int, slow: np.ndarray
) -> dict[str, np.ndarray]:
    """The costs of requests, acks and handler runs with the mean time of cache lines over senders and targets, [lane].

    `slow` is the slowdown of handler runs.
    """
    pairs = distances(shape)[: shape.flushers, :reachable]
    line = mean_line_ns(pairs[pairs != SAME], line_times_ns(shape, cost)) if reachable > 1 else 0.0
    slow_sender = shape.mean_slowdown(shape.busy, cost["smt_slowdown"])
    return {
        "enqueue_ns": cost["enqueue_fixed_ns"] * slow_sender + (cost["queue_lines"] + cost["csd_lines"]) * line,
        "ack_ns": cost["ack_lines"] * line,
        "irq_entry_ns": cost["irq_entry_ns"] * slow,
        "take_ns": cost["queue_lines"] * line,  # the target takes its queue
        "handler_ns": cost["handler_fixed_ns"] * slow + cost["request_lines"] * line,
        "irq_exit_ns": cost["irq_exit_ns"] * slow,
    }
