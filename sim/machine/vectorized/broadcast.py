"""An approximation of a broadcast by interrupts on bare metal: two events per flush event, in all lanes at once.

Kernel: kernel/smp.c  on_each_cpu(), smp_call_function_many(), flush_smp_call_function_queue()
        arch/x86/mm/tlb.c  do_flush_tlb_all(), do_kernel_range_flush()

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

`compiled/broadcast.py` is the exact simulation, request by request; `benchmarks/distance.py` measures the distance
between the two. Arrays are [cpu, lane], or [lane] unless noted; times are absolute.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.cache_lines import SAME, distances, line_times_ns, mean_line_ns
from sim.events import FlushEvents
from sim.machine.vectorized.state import NEVER, Steps, first_least
from sim.policy import Done, Local, Policy, Run, Targets
from sim.topology import Shape


@dataclass
class Cpus:
    """The last handler run of every CPU that requests can reach; every field is [cpu, lane]."""

    run_begin: np.ndarray  # begin of the run, which takes the queue `irq_entry_ns` later
    run_end: np.ndarray  # end of the run, or of later ICR writes: no run begins before
    full_run: np.ndarray  # begin of the last run with a full flush; NaN: none


@dataclass
class Senders:
    """The senders; every field is [sender, lane]."""

    # the flush event that is next or in its sending loop
    kind: np.ndarray  # index of its kind
    start: np.ndarray
    loop_end: np.ndarray
    # the last flush event after its loop
    began: np.ndarray
    last_done: np.ndarray  # end of its last request
    acked: np.ndarray  # end of the reads of acks
    own: np.ndarray  # length of the local flush that ends it
    # misses
    refilled: np.ndarray  # whether the compute after that event refills already
    refills_next: np.ndarray  # flushed fully during the sending loop, so the next compute refills


@dataclass(frozen=True)
class Sender:
    """The sender of the served flush event in each lane."""

    cpu: np.ndarray
    at: tuple[np.ndarray, np.ndarray]  # its place in arrays [cpu, lane]
    kind_at: tuple[np.ndarray, np.ndarray]  # place of the kind of its flush event in arrays [kind, lane]
    now: np.ndarray  # end of its loop
    began: np.ndarray
    local_ns: np.ndarray  # length of the local flush after the loop
    run_begin: np.ndarray  # begin of the last handler run on the sender
    run_end: np.ndarray
    full_run: np.ndarray


class Broadcast(Steps):
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    STATE = ("cpus", "senders")

    def __init__(self, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, source: FlushEvents) -> None:
        """`cost` has the parameters that the policy reads, each [lane]; `source` draws the flush events."""
        # CPUs that requests can reach
        self.reachable = shape.busy if policy.targets is Targets.OTHER_BUSY else shape.cores
        super().__init__(shape, dict(cost) | _mean_costs(shape, cost, self.reachable), policy, source)
        never, zero = np.full((self.reachable, self.lanes), NEVER), np.zeros((shape.senders, self.lanes))
        self.cpus = Cpus(run_begin=never, run_end=never.copy(), full_run=np.full_like(never, np.nan))
        self.senders = Senders(
            kind=zero.astype(int), start=zero, loop_end=zero.copy(), began=zero.copy(), last_done=zero + NEVER,
            acked=zero.copy(), own=zero.copy(), refilled=zero.astype(bool), refills_next=zero.astype(bool),
        )  # fmt: skip
        self.turn = 0  # offset of the watched CPU from the sender
        self._draw_first()

    def _lay_out(self, lanes: int) -> None:
        super()._lay_out(lanes)
        cost = self.cost
        self.cpu = np.arange(self.reachable)[:, None]
        self.socket = self.shape.socket[: self.reachable, None]
        self.run_local_ns = self.source.local_ns * cost["slowdown"]  # [kind, lane] range flush in a handler run
        self.run_all_ns = cost["flush_all_ns"] * cost["slowdown"]  # full flush in a handler run
        # Time from a request to the end of the loop, and time to read the acks from a CPU on, both without the sender.
        self.requests_ns = (self.reachable - 1.0 - self.cpu) * cost["enqueue_ns"]
        self.acks_ns = (self.reachable - self.cpu) * cost["ack_ns"]

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        senders, at, kind_at = self.senders, (cpu, self.lane), (kind, self.lane)
        work = self.source.bookkeeping_ns[kind_at] + self.cost["mask_scan_ns"]
        if self.policy.local is Local.FIRST:  # local flush
            work = work + self.source.local_ns[kind_at]
        senders.start[at], senders.kind[at] = start, kind
        senders.loop_end[at] = start + work + (self.reachable - 1) * self.cost["enqueue_ns"]

    def step(self) -> None:
        """Serve the CPU whose sending loop ends first, in every lane."""
        # smp_call_function_many(): the next end of a loop over targets
        sender = self._end_loop()
        # llist_add(): a request joins a run that has not taken the queue yet, or needs an interrupt if there is none
        below = self.cpu < sender.cpu
        marked = self._queue(sender, below)
        # arch_send_call_function_ipi_mask(): ICR writes for the marked targets, numbered from 1
        rank = marked.cumsum(axis=0)
        write = (rank + self.shape.reach - 1) // self.shape.reach
        sent = sender.now + write[-1] * self.cost["ipi_send_ns"]
        if self.policy.local is Local.AFTER_SENDS:  # local flush
            sent = sent + sender.local_ns
        # flush_smp_call_function_queue(): handler runs on the targets
        self._run(sender, marked, rank, write)
        # csd_lock_wait(): acks
        acked, last_done = self._read_acks(sender, sent, below)
        if self.shape.busy > 1:
            self._watch_window(sender)
        # local flush, and the next compute
        self._finish(sender, sent, acked, last_done)

    def _end_loop(self) -> Sender:
        """The sender whose loop ends next; ties go to the lowest CPU."""
        cpus, senders, served = self.cpus, self.senders, self.served
        cpu = first_least(senders.loop_end)
        at = (cpu, self.lane)
        served.now = now = senders.loop_end[at]
        served.wait_ns = senders.acked[at] + senders.own[at] - senders.began[at]  # final now
        began = senders.began[at] = senders.start[at]
        kind_at, at_end = (senders.kind[at], self.lane), self.policy.local in (Local.AFTER_SENDS, Local.AFTER_ACKS)
        local_ns = self.source.local_ns[kind_at] if at_end else np.zeros(self.lanes)
        runs = (cpus.run_begin[at], cpus.run_end[at], cpus.full_run[at])
        # The row of the sender takes part below, without effect: it does not compute, and has flushed already.
        senders.start[at], cpus.full_run[at] = NEVER, np.maximum(cpus.run_begin[at], 0.0)
        return Sender(cpu, at, kind_at, now, began, local_ns, *runs)

    def _queue(self, sender: Sender, below: np.ndarray) -> np.ndarray:
        """Mark the CPUs whose last handler run took its queue before the request came, [cpu, lane].

        The CPUs `below` the sender have one target fewer after them.
        """
        limit = sender.now - self.cost["irq_entry_ns"]
        marked = self.cpus.run_begin + self.requests_ns <= np.where(below, limit + self.cost["enqueue_ns"], limit)
        marked[sender.at] = False
        return marked

    def _run(self, sender: Sender, marked: np.ndarray, rank: np.ndarray, write: np.ndarray) -> None:
        """Schedule and count the handler runs of a flush event, and delay the current work of their CPUs.

        `rank` counts the marked CPUs up to each CPU.
        """
        cost, cpus, senders, tally = self.cost, self.cpus, self.senders, self.tally
        busy, f, first = self.shape.busy, self.shape.senders, self.policy.run is Run.FIRST_FULLY
        full = self.source.full[sender.kind_at] | first
        flush_ns = self.run_all_ns if first else self.run_local_ns[sender.kind_at]
        joined_ns = cost["handler_ns"] + (0.0 if first else flush_ns)  # addition to a run that another request began
        new_ns = cost["irq_entry_ns"] + cost["take_ns"] + cost["handler_ns"] + flush_ns + cost["irq_exit_ns"]

        near = self.socket == self.shape.socket[sender.cpu]
        taken = np.where(near, cost["ipi_latency_ns"], cost["ipi_latency_cross_ns"]) + sender.now
        arrival = write * cost["ipi_send_ns"] + taken
        arrival[busy:] += np.where(cpus.run_end[busy:] <= arrival[busy:], cost["idle_exit_ns"], 0.0)
        # The work of a request is added at `resume`: the begin of a new run, or the end of a joined run.
        resume = np.maximum(np.where(marked, arrival, 0.0), cpus.run_end)
        # A run interrupts the reads of acks, or waits until the local flush ends.
        reading, free = resume[:f] < senders.acked, senders.acked + senders.own
        resume[:f] = np.maximum(resume[:f], np.where(reading, 0.0, free))
        cpus.run_end = np.where(marked, new_ns - joined_ns, 0.0) + joined_ns + resume
        cpus.run_begin = np.maximum(cpus.run_begin, np.where(marked, resume, 0.0))

        # The delay of a sender: of its reads of acks, its compute or its sending loop.
        resume = resume[:f]
        computing = ~reading & (resume < senders.start)
        disturbed = computing & marked[:f]
        delay = np.maximum(cpus.run_end[:f] - np.maximum(resume, senders.last_done), 0.0)
        senders.acked += np.where(reading, delay, 0.0)
        delay += np.where(disturbed, np.where(full, cost["refill_ns"], cost["user_refill_ns"]), 0.0)
        if full.any():
            delay += self._refill(marked, full, computing, resume <= free)
        in_compute, in_loop = resume < senders.start, resume < senders.loop_end
        senders.start += np.where(in_compute, delay, 0.0)
        senders.loop_end += np.where(in_loop, delay, 0.0)

        new, all_computing = rank[busy - 1], busy - f + computing.sum(axis=0)  # other busy CPUs always compute
        new_computing = new - rank[f - 1] + disturbed.sum(axis=0)
        tally.interrupts += rank[-1]
        tally.handler_ns += new * new_ns + (busy - 1 - new) * joined_ns
        tally.handler_compute_ns += new_computing * new_ns + (all_computing - new_computing) * joined_ns
        tally.range_misses += new_computing * ~full

    def _refill(self, marked: np.ndarray, full: np.ndarray, computing: np.ndarray, in_event: np.ndarray) -> np.ndarray:
        """Count the misses after `full` flushes in handler runs; return what they add to the delay, [sender, lane].

        During a flush event such misses lengthen the next compute once. A run with earlier range flushes and one full
        flush counts as a full flush.
        """
        cost, senders, f, busy = self.cost, self.senders, self.shape.senders, self.shape.busy
        new, begin, full_run = marked[:busy] & full, self.cpus.run_begin[:busy], self.cpus.full_run[:busy]
        turns = full & ~new & (full_run != begin)  # runs with range flushes so far
        if self.policy.run is Run.FIRST_FULLY:
            turns[:] = False
        flushes = new | turns
        np.copyto(full_run, begin, where=flushes)
        elsewhere = flushes[:f] & ~computing
        drawn = elsewhere & in_event & ~senders.refilled  # the next compute is drawn already
        flushes[:f] &= computing
        senders.refilled |= drawn
        senders.refills_next |= elsewhere & ~in_event
        self.tally.refills += flushes.sum(axis=0) + drawn.sum(axis=0)
        self.tally.range_misses -= (turns & flushes).sum(axis=0) + drawn.sum(axis=0)  # counted as such already
        more = cost["refill_ns"] - cost["user_refill_ns"]
        return np.where(turns[:f] & computing, more, 0.0) + np.where(drawn, more, 0.0)

    def _read_acks(self, sender: Sender, sent: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When the sender has read all acks, without delays by handler runs, and when the last request is done."""
        cost, done, is_done_ns = self.cost, self.cpus.run_end, -self.cost["irq_exit_ns"]
        if self.policy.done is Done.RUN_BEGUN:
            done, is_done_ns = self.cpus.run_begin, cost["irq_entry_ns"] + cost["take_ns"]
        done[sender.at] = NEVER  # the row of the sender is no target
        last_done = self.senders.last_done[sender.at] = done.max(axis=0) + is_done_ns
        read = (done + self.acks_ns - np.where(below, cost["ack_ns"], 0.0)).max(axis=0) + is_done_ns
        return np.maximum(sent + (self.reachable - 1) * cost["ack_ns"], read), last_done

    def _watch_window(self, sender: Sender) -> None:
        """Set the stale window of another busy CPU, each one in turn."""
        cost, busy = self.cost, self.shape.busy
        self.turn = (self.turn + 1) % (busy - 1)
        watched = ((sender.cpu + 1 + self.turn) % busy, self.lane)
        if self.policy.run is Run.FIRST_FULLY:
            begin = self.cpus.run_begin[watched]
            flushed = begin + cost["irq_entry_ns"] + cost["take_ns"] + cost["handler_ns"] + self.run_all_ns
        else:
            flushed = self.cpus.run_end[watched] - cost["irq_exit_ns"]
        self.served.window_ns = flushed - (sender.began + self.source.bookkeeping_ns[sender.kind_at])

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
        cpus.full_run[at] = np.where(sender.full_run == begin, shifted, np.nan)
        cpus.run_begin[at] = shifted
        cpus.run_end[at] = np.maximum(sender.run_end + shift, sent)  # no other handler run before interrupts are on
        senders.acked[at], senders.own[at] = acked, own

        start, kind = self._compute(sender, free)
        in_compute = afterwards & (resume < start)
        self.tally.handler_compute_ns += np.where(in_compute, length, 0.0)
        self._schedule(sender.cpu, start + np.where(in_compute, length, 0.0), kind)
        in_next_loop = afterwards & ~in_compute & (resume < senders.loop_end[at])
        senders.loop_end[at] += np.where(in_next_loop, length, 0.0)

    def _compute(self, sender: Sender, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The start and kind of the sender's next flush event, after a drawn compute that misses lengthen."""
        senders, cost, flushes = self.senders, self.cost, self.policy.local is not Local.NEVER
        compute, kind = self.source.draw(sender.cpu)
        refill = senders.refills_next[sender.at] | (self.source.full[sender.kind_at] & flushes)
        range_miss = ~refill & flushes
        senders.refills_next[sender.at], senders.refilled[sender.at] = False, refill
        self.tally.refills += refill
        self.tally.range_misses += range_miss
        misses_ns = np.where(refill, cost["refill_ns"], np.where(range_miss, cost["user_refill_ns"], 0.0))
        return free + compute + misses_ns, kind


def _mean_costs(shape: Shape, cost: Mapping[str, np.ndarray], reachable: int) -> dict[str, np.ndarray]:
    """The costs of requests, acks and handler runs with the mean time of cache lines over senders and targets, [lane].

    `slowdown` is that of handler runs by busy siblings.
    """
    pairs = distances(shape)[: shape.senders, :reachable]
    line = mean_line_ns(pairs[pairs != SAME], line_times_ns(shape, cost)) if reachable > 1 else 0.0
    slow_sender = shape.mean_slowdown(shape.busy, cost["smt_slowdown"])
    slow = shape.mean_slowdown(reachable, cost["smt_slowdown"])
    return {
        "slowdown": slow,
        "enqueue_ns": cost["enqueue_fixed_ns"] * slow_sender + (cost["queue_lines"] + cost["csd_lines"]) * line,
        "ack_ns": cost["ack_lines"] * line,
        "irq_entry_ns": cost["irq_entry_ns"] * slow,
        "take_ns": cost["queue_lines"] * line,  # the target takes its queue
        "handler_ns": cost["handler_fixed_ns"] * slow + cost["request_lines"] * line,
        "irq_exit_ns": cost["irq_exit_ns"] * slow,
    }
