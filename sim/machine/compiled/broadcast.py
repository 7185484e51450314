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

import numpy as np

from sim.abi import Flush
from sim.arrays import fill
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.compiled.broadcast_receivers import deliver
from sim.machine.compiled.broadcast_state import Event, State, Sums
from sim.machine.compiled.interrupts import COSTS, FULL, NOTHING, RANGE, SLOW, Cost, Words, cost_of_lane, words_of
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.state import NEVER, Clock, Machine, Source, Tally, draw, rows

STARTS = 2  # rule: no more loops than this get their length in one step


def broadcast(shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, events: FlushEvents, lanes: int) -> Machine:
    """`cost` holds the parameters that the policy reads, each [lane]; `events` draws the flush events."""
    words = words_of(shape, flush, events.holds.any)
    cpus, f = words.reachable, shape.flushers
    slow = shape.mean_slowdown(cpus, cost["smt_slowdown"])  # rule: all handler runs are slowed down alike

    return Machine(
        serve_broadcast,
        words,
        rows({**cost, "smt_slowdown": slow}, COSTS, lanes),
        events,
        State(
            run_begin=fill((lanes, cpus), NEVER),
            run_end=fill((lanes, cpus), NEVER),
            full_run=fill((lanes, cpus), nan),
            caught_up=fill((lanes, cpus), 0, np.int64),
            run_again=fill((lanes, cpus), nan),
            ran=fill((lanes, cpus), NEVER),
            kind=fill((lanes, f), 0, np.int64),
            start=fill((lanes, f), 0.0),
            loop_begin=fill((lanes, f), 0.0),
            loop_end=fill((lanes, f), 0.0),
            busy_targets=fill((lanes, f), 0.0),
            generation=fill((lanes, f), 0, np.int64),
            began=fill((lanes, f), 0.0),
            last_done=fill((lanes, f), NEVER),
            acked=fill((lanes, f), 0.0),
            own=fill((lanes, f), 0.0),
            unlocked=fill((lanes, f), NEVER),
            unlocked_end=fill((lanes, f), NEVER),
            refilled=fill((lanes, f), 0, bool),
            refills_next=fill((lanes, f), 0, bool),
            newest=fill((lanes, 1), 0, np.int64),
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
) -> tuple[bool, bool, bool]:
    """Serve flush events, lane after lane, a row each; whether a lane first has to draw more of what."""
    short = short_interrupts = False
    for lane in range(len(costs)):
        cost, replica = cost_of_lane(words, costs, lane, costs[lane, SLOW]), clock.replica[lane]
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
            if words.holds and source.most[lane] >= source.held.shape[2]:  # one event sends each CPU one at most
                short_interrupts = True
                break
            event, waits[row, lane] = _end_loop(words, cost, source, cpus, lane)
            sums = deliver(words, cost, source, cpus, lane, replica, event)
            _count(words, cost, tally, lane, event, sums)
            windows[row, lane] = _watch_window(words, cost, source, cpus, lane, event) if words.busy > 1 else nan
            most = max(most, _finish(words, cost, source, cpus, tally, lane, replica, event, sums))
            clock.now[lane], clock.served[lane] = event.now, row + 1
    return short, False, short_interrupts


@compiled
def _compute(words: Words, cost: Cost, source: Source, cpus: State, lane: int, k: int, until: float, kind: int) -> None:
    """CPU k runs user code until its next flush event, whose loop ends as if all queues will be empty."""
    work = source.bookkeeping_ns[lane, kind] + cost.mask_scan
    if words.own_before:  # own flush; rule: interrupts are on in it, and it flushes the range, whatever was missed
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
    _lock_slots(words, cpus, lane)
    ends = cpus.unlocked_end if words.no_wait else cpus.loop_end
    horizon, in_progress = np.inf, 0.0  # rule: the horizon is not moved by the loops that begin here
    for k in range(words.flushers):
        horizon = min(horizon, ends[lane, k])
        if cpus.start[lane, k] < 0.0:
            in_progress = max(in_progress, ends[lane, k])
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
        if words.no_wait:
            ahead = max(ahead, cpus.unlocked[lane, j])
        cpus.busy_targets[lane, j] += busy
        cpus.loop_begin[lane, j], cpus.start[lane, j] = start, NEVER
        if words.catch_up:
            _count_up(words, cpus, lane, j)


@compiled
def _lock_slots(words: Words, cpus: State, lane: int) -> None:
    """Where nobody waits, when loops really end: csd_lock() waits in them for the requests of the event before.

    rule: a run that falls into that wait delays nothing.
    """
    if words.no_wait:
        for k in range(words.flushers):
            cpus.unlocked_end[lane, k] = max(cpus.loop_end[lane, k], cpus.unlocked[lane, k])


@compiled
def _count_up(words: Words, cpus: State, lane: int, k: int) -> None:
    """inc_mm_tlb_gen(): a flush event of an address space begins."""
    cpus.newest[lane, 0] += 1
    cpus.generation[lane, k] = cpus.newest[lane, 0]
    if words.own_before:
        cpus.caught_up[lane, k] = cpus.newest[lane, 0]


@compiled
def _end_loop(words: Words, cost: Cost, source: Source, cpus: State, lane: int) -> tuple[Event, float]:
    """The flush event that is served, and how long its sender's last one took: final only now."""
    # smp_call_function_many(): whose loop over its targets ends next
    if not words.mutex:
        _begin_loops(words, cost, cpus, lane)
    _lock_slots(words, cpus, lane)
    ends = cpus.unlocked_end if words.no_wait else cpus.loop_end
    i, first = 0, np.inf
    for k in range(words.flushers):  # ties go to the lowest CPU
        end = cpus.start[lane, k] if words.mutex else ends[lane, k]
        if end < first:
            i, first = k, end
    wait = cpus.acked[lane, i] + cpus.own[lane, i] - cpus.began[lane, i]
    now, kind = ends[lane, i], cpus.kind[lane, i]
    cpus.ended[lane, 0] = now
    cpus.began[lane, i] = cpus.loop_begin[lane, i] if cpus.start[lane, i] < 0.0 else cpus.start[lane, i]
    if words.catch_up and cpus.start[lane, i] >= 0.0:
        _count_up(words, cpus, lane, i)
    local, full = source.local_ns[lane, kind], source.full[lane, kind]
    flush = cost.flush_all if words.first_fully else 0.0 if words.nothing else local * cost.slow
    joined = cost.handler + (0.0 if words.first_fully or words.catch_up else flush)
    new = cost.irq_entry + cost.handler + flush + cost.irq_exit
    extra = cost.irq_entry + cost.irq_exit if words.catch_up else new - joined
    runs_fully = words.first_fully or (full and not words.nothing)
    miss = 0.0 if words.nothing else cost.refill if runs_fully else cost.user_refill
    generation, newest = cpus.generation[lane, i], cpus.newest[lane, 0]
    own, own_drops = _own_flush(words, cost, cpus, lane, i, generation, newest, local, full)
    return Event(
        i, kind, now, cpus.began[lane, i], full, own, own_drops, runs_fully, joined, new, extra, miss,
        generation, newest, local * cost.slow, cost.flush_mm * cost.slow,
    ), wait  # fmt: skip


@compiled
def _own_flush(
    words: Words, cost: Cost, cpus: State, lane: int, i: int, generation: int, newest: int, local: float, full: bool
) -> tuple[float, int]:
    """How long the own flush takes at the end of a flush event, and what it drops there, or dropped at the begin."""
    if words.own_before:
        return 0.0, FULL if full else RANGE
    if not (words.own_after_sends or words.own_after_acks):
        return 0.0, NOTHING
    if not words.catch_up:
        return local, FULL if full else RANGE
    caught_up = cpus.caught_up[lane, i]
    if caught_up >= generation:
        return 0.0, NOTHING
    cpus.caught_up[lane, i] = newest
    if caught_up + 1 == generation == newest:
        return local, FULL if full else RANGE
    return cost.flush_mm, FULL


@compiled
def _count(words: Words, cost: Cost, tally: Tally, lane: int, event: Event, sums: Sums) -> None:
    """Interrupts, notes, refills, and handler time on busy CPUs: all of it, and what it takes from compute."""
    tally.interrupts[lane] += sums.marked
    tally.notes[lane] += sums.notes
    tally.entry_ns[lane] += sums.notes_computing * cost.flush_again
    tally.refills[lane] += sums.refills
    tally.range_misses[lane] += sums.range_misses
    new, every = (
        float(sums.marked_senders + sums.marked_others),
        words.busy - 1 - sums.notes_senders - sums.notes_others,
    )
    new_computing = float(sums.marked_others + sums.disturbed)
    computing = float(words.busy - words.flushers - sums.notes_others + sums.computing)
    if words.catch_up:
        flushes = sums.ranges * event.range_flush + sums.fulls * event.full_flush
        tally.handler_ns[lane] += new * event.extra + every * event.joined + flushes
        flushes = sums.computing_ranges * event.range_flush + sums.computing_fulls * event.full_flush
        tally.handler_compute_ns[lane] += new_computing * event.extra + computing * event.joined + flushes
        return
    tally.handler_ns[lane] += new * event.new + (every - new) * event.joined
    tally.handler_compute_ns[lane] += new_computing * event.new + (computing - new_computing) * event.joined


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
    if cpus.run_again[lane, watched] == cpus.run_begin[lane, watched]:
        flushed = cpus.run_end[lane, watched]
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
    sent = now + sums.writes * cost.ipi_send + sums.marked * cost.deliver
    if words.own_after_sends:  # own flush
        sent = sent + event.own
    saving = cost.ack_cross - cost.ack
    near = (others - i % words.sockets) // words.sockets  # targets on the sender's socket
    acked = max(sent + (others * cost.ack_cross - near * saving), sums.acked)
    last_done = sums.last_done
    if words.no_wait:
        cpus.unlocked[lane, i], acked, last_done = acked, sent, NEVER
    begin, length = cpus.run_begin[lane, i], cpus.run_end[lane, i] - cpus.run_begin[lane, i]
    waiting = begin >= now
    resume = max(begin, sent)
    reading = waiting and resume < acked
    if reading:
        acked += max(resume + length - max(resume, last_done), 0.0)
    own = event.own if words.own_after_acks else 0.0
    free = acked + own
    afterwards = waiting and not reading
    if afterwards:
        resume = max(resume, free)
    shift = resume - begin if waiting else 0.0  # rule: who reads acks of this run already knows nothing of it
    runs_again = cpus.run_again[lane, i] == begin
    cpus.run_again[lane, i] = begin + shift if runs_again else nan
    cpus.full_run[lane, i] = begin + shift if cpus.full_run[lane, i] == begin else nan
    cpus.run_begin[lane, i] = begin + shift
    cpus.run_end[lane, i] = max(cpus.run_end[lane, i] + shift, sent)  # no other run before interrupts are on
    cpus.last_done[lane, i], cpus.acked[lane, i], cpus.own[lane, i] = last_done, acked, own

    compute, kind = draw(source, replica, lane, i)
    refill = cpus.refills_next[lane, i] or event.own_drops == FULL
    cpus.refills_next[lane, i], cpus.refilled[lane, i] = False, refill
    tally.refills[lane] += refill
    tally.range_misses[lane] += event.own_drops != NOTHING and not refill
    start = free + compute + (cost.refill if refill else cost.user_refill if event.own_drops != NOTHING else 0.0)
    in_compute = afterwards and resume < start
    if in_compute:
        tally.entry_ns[lane] += length * runs_again
        tally.handler_compute_ns[lane] += length * (not runs_again)
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
