"""A broadcast by interrupts, one CPU at a time: the coarse rule as a kernel engineer reads it.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), flush_smp_call_function_queue(); arch/x86/mm/tlb.c
Ref: docs/model.md; `sim/machine/vectorized/broadcast.py` states the rule, and says the same for all lanes at once with
     the same comments at the six places of a flush event. Both give the same bits, so both add up in one order.

What the rule leaves out of what really happens (`exact.py`), a comment that begins with "rule:" says. CPUs
0..flushers-1 make flush events, CPUs up to busy-1 compute, the others are idle. Times are absolute and in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import NamedTuple

import numpy as np

from sim.abi import Flush
from sim.arrays import fill
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.compiled.interrupts import Cost, Words, cost_of_lane, costs_of, words_of
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.state import NEVER, Clock, Machine, Source, Tally, draw

STARTS = 2  # rule: no more loops than this get their length in one step


class State(NamedTuple):
    """The CPUs of all lanes, every field [lane, cpu]. One is in its sending loop where `start` is NEVER."""

    # the last handler run
    run_begin: np.ndarray
    run_end: np.ndarray  # of that run, or of the CPU's ICR writes after it: no run begins before
    full_run: np.ndarray  # begin of the last run that flushed fully; NaN: none
    # the flush event to come, or whose sending loop is in progress
    kind: np.ndarray
    start: np.ndarray
    loop_begin: np.ndarray
    loop_end: np.ndarray
    busy_targets: np.ndarray  # requests of this loop that find a non-empty queue
    # the flush event whose loop ended last
    began: np.ndarray
    last_done: np.ndarray  # last request done
    acked: np.ndarray  # all acks read
    own: np.ndarray  # length of the own flush that ends it
    # misses
    refilled: np.ndarray  # the compute after that event refills already
    refills_next: np.ndarray  # flushed fully while sending: the compute after that refills
    # of the lane, [lane, 1]
    ended: np.ndarray  # end of the last loop
    turn: np.ndarray  # which of the other busy CPUs is watched
    begun: np.ndarray  # the CPUs have drawn their first flush events


class Event(NamedTuple):
    """The flush event that is served."""

    sender: int
    kind: int
    now: float  # end of its loop
    began: float
    local: float
    full: bool  # its range is a full flush
    runs_fully: bool  # handler runs flush fully for it
    joined: float  # what a request adds to a run that it joins,
    new: float  # and the length of a run of its own
    miss: float  # misses after a run of its own


class Sums(NamedTuple):
    """What the targets of a flush event add up to."""

    marked: int  # targets that get an interrupt,
    marked_senders: int  # those among them that make flush events,
    marked_others: int  # and the other busy ones
    writes: int  # ICR writes
    computing: int  # CPUs that make flush events, found computing by a run,
    disturbed: int  # and by a run of their own
    refills: int
    last_done: float
    acked: float


def broadcast(shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, events: FlushEvents, lanes: int) -> Machine:
    """`cost` holds the parameters that the policy reads, each [lane]; `events` draws the flush events."""
    words = words_of(shape, flush)
    cpus, f = words.reachable, shape.flushers

    return Machine(
        serve_broadcast,
        words,
        costs_of(shape, cost, lanes),
        events,
        State(
            run_begin=fill((lanes, cpus), NEVER),
            run_end=fill((lanes, cpus), NEVER),
            full_run=fill((lanes, cpus), nan),
            kind=fill((lanes, f), 0, np.int64),
            start=fill((lanes, f), 0.0),
            loop_begin=fill((lanes, f), 0.0),
            loop_end=fill((lanes, f), 0.0),
            busy_targets=fill((lanes, f), 0.0),
            began=fill((lanes, f), 0.0),
            last_done=fill((lanes, f), NEVER),
            acked=fill((lanes, f), 0.0),
            own=fill((lanes, f), 0.0),
            refilled=fill((lanes, f), 0, bool),
            refills_next=fill((lanes, f), 0, bool),
            ended=fill((lanes, 1), NEVER),
            turn=fill((lanes, 1), 0, np.int64),
            begun=fill((lanes, 1), 0, bool),
        ),
    )


@entry
def serve_broadcast(
    words: Words,
    costs: np.ndarray,
    source: Source,
    cpus: State,
    clock: Clock,
    tally: Tally,
    waits: np.ndarray,
    windows: np.ndarray,
) -> tuple[bool, bool]:
    """Serve flush events, lane after lane, a row each; whether a lane first has to draw more of them, or entries."""
    short = False
    for lane in range(len(costs)):
        cost, replica = cost_of_lane(words, costs, lane), clock.replica[lane]
        if not cpus.begun[lane, 0] and len(waits):
            cpus.begun[lane, 0] = True
            for k in range(words.flushers):
                compute, kind = draw(source, replica, lane, k)
                _compute(words, cost, source, cpus, lane, k, compute, kind)
        most = 0
        for k in range(words.flushers):
            most = max(most, source.used[lane, k])
        for row in range(clock.served[lane], len(waits)):
            if most >= source.compute.shape[2]:
                short = True
                break
            event, waits[row, lane] = _end_loop(words, cost, source, cpus, lane)
            sums = _deliver(words, cost, cpus, lane, event)
            _count(words, tally, lane, event, sums)
            windows[row, lane] = _watch_window(words, cost, source, cpus, lane, event) if words.busy > 1 else nan
            most = max(most, _finish(words, cost, source, cpus, tally, lane, replica, event, sums))
            clock.now[lane], clock.served[lane] = event.now, row + 1
    return short, False


@compiled
def _compute(words: Words, cost: Cost, source: Source, cpus: State, lane: int, k: int, until: float, kind: int) -> None:
    """CPU k runs user code until its next flush event, whose loop ends as if all queues will be empty."""
    work = source.bookkeeping_ns[lane, kind] + cost.mask_scan
    if words.own_before:  # own flush; rule: interrupts are on in it
        work = work + source.local_ns[lane, kind]
    cpus.start[lane, k] = until
    cpus.loop_end[lane, k] = until + work + (words.reachable - 1) * cost.enqueue
    cpus.kind[lane, k] = kind
    cpus.busy_targets[lane, k] = 0.0


@compiled
def _begin_loops(words: Words, cost: Cost, cpus: State, lane: int) -> None:
    """Flush events that start before the next loop ends learn how many of their requests find a queue in use.

    The first request does until the loop ahead has ended and its interrupts were taken; then the interrupts run ahead
    of the loop, one ICR write per `reach` targets against one `enqueue_busy` a target.
    """
    others = words.reachable - 1.0
    horizon, in_progress = np.inf, 0.0  # rule: the horizon is not moved by the loops that begin here
    for k in range(words.flushers):
        horizon = min(horizon, cpus.loop_end[lane, k])
        if cpus.start[lane, k] < 0.0:
            in_progress = max(in_progress, cpus.loop_end[lane, k])
    ahead = max(in_progress if in_progress > 0.0 else NEVER, cpus.ended[lane, 0])
    for _ in range(STARTS):
        j, start = 0, np.inf
        for k in range(words.flushers):
            if 0.0 <= cpus.start[lane, k] < start:
                j, start = k, cpus.start[lane, k]
        if start > horizon:
            return
        shorter = cpus.loop_end[lane, j]
        busy = (ahead + cost.empties - (shorter - others * cost.enqueue)) / cost.gains
        busy = min(max(busy, 0.0), others)
        loop_end = shorter + busy * (cost.enqueue_busy - cost.enqueue)
        if shorter <= cpus.run_begin[lane, j] < loop_end:  # a run that would have begun after the shorter loop
            loop_end += cpus.run_end[lane, j] - cpus.run_begin[lane, j]
        cpus.loop_end[lane, j] = loop_end
        ahead = max(ahead, loop_end)
        cpus.busy_targets[lane, j] += busy
        cpus.loop_begin[lane, j], cpus.start[lane, j] = start, NEVER


@compiled
def _end_loop(words: Words, cost: Cost, source: Source, cpus: State, lane: int) -> tuple[Event, float]:
    """The flush event that is served, and how long its sender's last one took: final only now."""
    # smp_call_function_many(): whose loop over its targets ends next
    if not words.mutex:
        _begin_loops(words, cost, cpus, lane)
    i, first = 0, np.inf
    for k in range(words.flushers):  # ties go to the lowest CPU
        end = cpus.start[lane, k] if words.mutex else cpus.loop_end[lane, k]
        if end < first:
            i, first = k, end
    wait = cpus.acked[lane, i] + cpus.own[lane, i] - cpus.began[lane, i]
    now, kind = cpus.loop_end[lane, i], cpus.kind[lane, i]
    cpus.ended[lane, 0] = now
    cpus.began[lane, i] = cpus.loop_begin[lane, i] if cpus.start[lane, i] < 0.0 else cpus.start[lane, i]
    local, full = source.local_ns[lane, kind], source.full[lane, kind]
    flush = cost.flush_all if words.first_fully else 0.0 if words.nothing else local * cost.slow
    joined = cost.handler + (0.0 if words.first_fully else flush)
    new = cost.irq_entry + cost.handler + flush + cost.irq_exit
    runs_fully = words.first_fully or (full and not words.nothing)
    miss = 0.0 if words.nothing else cost.refill if runs_fully else cost.user_refill
    return Event(i, kind, now, cpus.began[lane, i], local, full, runs_fully, joined, new, miss), wait


@compiled
def _deliver(words: Words, cost: Cost, cpus: State, lane: int, event: Event) -> Sums:
    """Requests, interrupts and handler runs, target after target, and when the acks are read."""
    sender, now, sockets = event.sender, event.now, words.sockets
    near, saving = sender % sockets, cost.ack_cross - cost.ack
    on_socket = (words.reachable - 1 - near) // sockets + 1  # CPUs of the sender's socket, itself included
    interrupt_near, interrupt_cross = cost.ipi_latency + now, cost.ipi_latency_cross + now
    # A run that took its queue by these times had done so before the last request, if all requests from its own on find
    # empty queues, or queues in use.
    empty = now - cost.irq_entry
    in_use = empty + (words.reachable - 1 - cpus.busy_targets[lane, sender]) * (cost.enqueue_busy - cost.enqueue)
    ack_less, empty_below, in_use_below = cost.ack, empty + cost.enqueue, in_use + cost.enqueue_busy
    is_done = cost.irq_entry if words.run_begun else -cost.irq_exit
    marked = marked_senders = marked_others = writes = room = computing = disturbed = refills = 0
    last_done = acked = NEVER
    socket, saved = -1, 0.0  # the CPU's socket; acks saved in all turns round the sockets before
    left = words.reachable + 1.0  # CPUs from this one on
    for k in range(words.reachable):
        socket, left = socket + 1, left - 1.0
        if socket == sockets:
            socket, saved = 0, k // sockets * saving
        if k == sender:  # those above it have the sender itself among the CPUs from them on
            ack_less, empty_below, in_use_below = 0.0, empty, in_use
            continue
        # llist_add(): a request joins the run that is still to take the queue, or finds it empty and needs an interrupt
        begin, after = cpus.run_begin[lane, k], left - 1.0  # requests after it
        mark = begin + after * cost.enqueue <= empty_below
        dear = begin + after * cost.enqueue_busy <= in_use_below
        mark = mark & dear if cost.enqueue_busy >= cost.enqueue else mark | dear
        resume = max(cpus.run_end[lane, k], 0.0)
        # arch_send_call_function_ipi_mask(): ICR writes for the marked targets
        if mark:
            if room == 0:
                writes, room = writes + 1, words.reach
            marked, room = marked + 1, room - 1
            interrupt = writes * cost.ipi_send + (interrupt_near if socket == near else interrupt_cross)
            if k >= words.busy and cpus.run_end[lane, k] <= interrupt:
                interrupt += cost.idle_exit
            resume = max(interrupt, cpus.run_end[lane, k])
        # flush_smp_call_function_queue(): handler runs on the targets
        if k < words.flushers:
            delayed, filled = _run_on_sender(words, cost, cpus, lane, event, k, mark, resume)
            marked_senders += mark
            computing += delayed
            disturbed += delayed and mark
            refills += filled
        else:
            _run(cpus, lane, event, k, mark, resume)
            if k < words.busy:
                marked_others += mark
                refills += event.runs_fully and _flushes_fully(words, cpus, lane, k, mark)
        # csd_lock_wait(): acks, later ones all read once this one is
        done = cpus.run_begin[lane, k] if words.run_begun else cpus.run_end[lane, k]
        last_done = max(last_done, done)
        read = done + (left * cost.ack_cross + saved) - ack_less
        acked = max(acked, read + is_done - (on_socket - (near < socket)) * saving)
    return Sums(
        marked, marked_senders, marked_others, writes, computing, disturbed, refills, last_done + is_done, acked
    )


@compiled
def _run(cpus: State, lane: int, event: Event, k: int, mark: bool, resume: float) -> None:
    """A handler run of its own, or one that it joins, ends later by what the request takes."""
    cpus.run_end[lane, k] = (event.new - event.joined + event.joined if mark else event.joined) + resume
    if mark:
        cpus.run_begin[lane, k] = resume


@compiled
def _run_on_sender(
    words: Words, cost: Cost, cpus: State, lane: int, event: Event, k: int, mark: bool, resume: float
) -> tuple[bool, bool]:
    """A run on a CPU that makes flush events delays compute, the sending loop, or the reading of acks.

    Whether it was computing, and whether a compute refills after a full flush.
    """
    reading = resume < cpus.acked[lane, k]
    free = cpus.acked[lane, k] + cpus.own[lane, k]
    if not reading:  # interrupts are off in its own flush
        resume = max(resume, free)
    _run(cpus, lane, event, k, mark, resume)
    delay = max(
        cpus.run_end[lane, k] - max(resume, cpus.last_done[lane, k]), 0.0
    )  # a reader blocked until then loses no more
    if reading:
        cpus.acked[lane, k] += delay
    computing = not reading and resume < cpus.start[lane, k]
    refills = False
    if computing and mark:
        delay += event.miss
    if event.runs_fully and _flushes_fully(words, cpus, lane, k, mark):
        if computing:
            refills = True
            if not mark:
                delay += cost.refill - cost.user_refill
        elif resume > free:
            cpus.refills_next[lane, k] = True
        elif not cpus.refilled[lane, k]:  # the compute after the event is drawn already, with the misses of a range
            cpus.refilled[lane, k] = refills = True
            delay += cost.refill - cost.user_refill
    if resume < cpus.start[lane, k]:
        cpus.start[lane, k] += delay
    if resume < cpus.loop_end[lane, k]:  # rule: the begin of the event in this loop stays, even where the run is older
        cpus.loop_end[lane, k] += delay
    return computing, refills


@compiled
def _flushes_fully(words: Words, cpus: State, lane: int, k: int, mark: bool) -> bool:
    """Whether a full request is the first of its run to flush fully."""
    if not mark and (words.first_fully or cpus.full_run[lane, k] == cpus.run_begin[lane, k]):
        return False
    cpus.full_run[lane, k] = cpus.run_begin[lane, k]
    return True


@compiled
def _count(words: Words, tally: Tally, lane: int, event: Event, sums: Sums) -> None:
    """Interrupts, refills, and handler time on busy CPUs: all of it, and what it takes from compute."""
    new = float(sums.marked_senders + sums.marked_others)
    tally.interrupts[lane] += sums.marked
    tally.handler_ns[lane] += new * event.new + (words.busy - 1 - new) * event.joined
    new = float(sums.marked_others + sums.disturbed)
    every = float(words.busy - words.flushers + sums.computing)
    tally.handler_compute_ns[lane] += new * event.new + (every - new) * event.joined
    tally.refills[lane] += sums.refills


@compiled
def _watch_window(words: Words, cost: Cost, source: Source, cpus: State, lane: int, event: Event) -> float:
    """How long one of the other busy CPUs, each in its turn, could use the old mapping."""
    cpus.turn[lane, 0] += 1
    if cpus.turn[lane, 0] >= words.busy - 1:
        cpus.turn[lane, 0] = 0
    watched = event.sender + 1 + cpus.turn[lane, 0]
    if watched >= words.busy:
        watched -= words.busy
    flushed = cpus.run_end[lane, watched] - cost.irq_exit
    if words.first_fully:
        flushed = cpus.run_begin[lane, watched] + cost.irq_entry + cost.handler + cost.flush_all
    return flushed - (event.began + source.bookkeeping_ns[lane, event.kind])


@compiled
def _finish(
    words: Words,
    cost: Cost,
    source: Source,
    cpus: State,
    tally: Tally,
    lane: int,
    replica: int,
    event: Event,
    sums: Sums,
) -> int:
    """The end of a flush event: the acks, a run of the sender's own that waited for it, its own flush, the next one.

    Returns how many flush events its sender has drawn.
    """
    i, now, others = event.sender, event.now, words.reachable - 1
    sent = now + sums.writes * cost.ipi_send
    if words.own_after_sends:  # own flush
        sent = sent + event.local
    saving = cost.ack_cross - cost.ack
    near = (others - i % words.sockets) // words.sockets  # targets on the sender's socket
    acked = max(sent + (others * cost.ack_cross - near * saving), sums.acked)
    begin, length = cpus.run_begin[lane, i], cpus.run_end[lane, i] - cpus.run_begin[lane, i]
    waiting = begin >= now
    resume = max(begin, sent)
    reading = waiting and resume < acked
    if reading:
        acked += max(resume + length - max(resume, sums.last_done), 0.0)
    own = event.local if words.own_after_acks else 0.0
    free = acked + own
    afterwards = waiting and not reading
    if afterwards:
        resume = max(resume, free)
    shift = resume - begin if waiting else 0.0  # rule: who reads acks of this run already knows nothing of it
    cpus.full_run[lane, i] = begin + shift if cpus.full_run[lane, i] == begin else nan
    cpus.run_begin[lane, i] = begin + shift
    cpus.run_end[lane, i] = max(cpus.run_end[lane, i] + shift, sent)  # no other run before interrupts are on
    cpus.last_done[lane, i], cpus.acked[lane, i], cpus.own[lane, i] = sums.last_done, acked, own

    compute, kind = draw(source, replica, lane, i)
    flushed = words.own_before or words.own_after_sends or words.own_after_acks
    refill = cpus.refills_next[lane, i] or (event.full and flushed)
    cpus.refills_next[lane, i], cpus.refilled[lane, i] = False, refill
    tally.refills[lane] += refill
    start = free + compute + (cost.refill if refill else cost.user_refill if flushed else 0.0)
    in_compute = afterwards and resume < start
    if in_compute:
        tally.handler_compute_ns[lane] += length
        start += length
    _compute(words, cost, source, cpus, lane, i, start, kind)
    if afterwards and not in_compute and resume < cpus.loop_end[lane, i]:
        cpus.loop_end[lane, i] += length
    if words.mutex:
        _hand_over(words, cost, cpus, lane, free)
    return source.used[lane, i]


@compiled
def _hand_over(words: Words, cost: Cost, cpus: State, lane: int, free: float) -> None:
    """The mutex is free: who waits for it scans once the event is over and no run is on there."""
    scan = cost.mask_scan + (words.reachable - 1) * cost.enqueue
    for k in range(words.flushers):
        cpus.loop_end[lane, k] = max(cpus.loop_end[lane, k], max(free, cpus.run_end[lane, k]) + scan)
