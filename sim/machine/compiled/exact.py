"""A broadcast by interrupts as it really goes: one event per request. The exact rule.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), llist_add(), csd_lock_wait(),
     generic_smp_call_function_single_interrupt(), flush_smp_call_function_queue(); arch/x86/mm/tlb.c
Ref: docs/model.md

A CPU has at most two things to come: the end of its own work, and the interrupt or handler run that it is to take.
Nothing becomes due earlier than once said: a handler run, a refill and interrupts being off only delay. So work that
comes up before its CPU's `work_end` is put back, and no event is ever cancelled. Ties go to the lowest CPU, and on one
CPU the run goes before work. Times are absolute and in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan

import numpy as np

from sim.abi import Flush
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.compiled.exact_receiver import take, take_idle
from sim.machine.compiled.exact_state import (
    BOOKKEEPING,
    COMPUTE,
    ENQUEUE,
    FULL,
    IDLE,
    INTERRUPT,
    MUTEX,
    NOTHING,
    RANGE,
    READ,
    RETURN,
    SCAN,
    SEND,
    WAIT,
    State,
    miss,
    set_take,
    set_work,
)
from sim.machine.compiled.interrupts import Cost, Words, cost_of_lane, costs_of, words_of
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.knockout import knockout, play_again
from sim.machine.compiled.line import Lines, empty_lines, join, leave
from sim.machine.compiled.state import NEVER, Clock, Machine, Source, Tally, draw

NO_LINE = -1


def exact(shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, events: FlushEvents, lanes: int) -> Machine:
    """`cost` holds the parameters that the policy reads, each [lane]; `events` draws the flush events."""
    words = words_of(shape, flush)
    f, cpus = shape.flushers, max(words.reachable, shape.busy)

    def fill(value: float, *shape: int, kind: type = float) -> np.ndarray:
        return np.full((lanes, *shape), value, dtype=kind)

    work_due, first_work = knockout(lanes, f)
    take_due, first_take = knockout(lanes, cpus)
    lines = empty_lines(lanes, 2, f)
    state = State(
        phase=fill(IDLE, cpus, kind=np.int8),
        work_end=fill(inf, cpus),
        work_due=work_due,
        closed_until=fill(0.0, cpus),
        run_end=fill(0.0, cpus),
        take=fill(INTERRUPT, cpus, kind=np.int8),
        take_due=take_due,
        queue=fill(0, cpus, f, kind=np.int16),
        queued=fill(0, cpus, kind=np.int16),
        dropped=fill(NOTHING, cpus, kind=np.int8),
        kind=fill(0, f, kind=np.int64),
        request=fill(0.0, f),
        drops=fill(NOTHING, f, kind=np.int8),
        began=fill(0.0, f),
        position=fill(0, f, kind=np.int16),
        done=fill(inf, f, cpus),
        waits_for=fill(-1, f, kind=np.int16),
        watched=fill(-1, f, kind=np.int16),
        flushed=fill(nan, f),
        marked=fill(0, f, cpus, kind=np.int16),
        marks=fill(0, f, kind=np.int16),
        first_work=first_work,
        first_take=first_take,
        line_due=lines.due,
        line_cpu=lines.cpu,
        line_first=lines.first,
        line_end=lines.end,
        turn=fill(0, 1, kind=np.int64),
        holds=fill(0, 1, kind=bool),
        mutex_free=fill(NEVER, 1),
        waiting=fill(0, f if flush.mutex else 1, kind=np.int64),
        waiters=fill(0, 1, kind=np.int64),
        begun=fill(0, 1, kind=bool),
    )
    return Machine(serve_exact, words, costs_of(shape, cost, lanes), events, state)


@entry
def serve_exact(
    words: Words,
    costs: np.ndarray,
    source: Source,
    cpus: State,
    clock: Clock,
    tally: Tally,
    waits: np.ndarray,
    windows: np.ndarray,
) -> tuple[bool, bool]:
    """Serve flush events, lane after lane, a row each; whether a lane first has to draw more of them."""
    short, lines = False, Lines(cpus.line_due, cpus.line_cpu, cpus.line_first, cpus.line_end)
    for lane in range(len(costs)):
        cost, replica = cost_of_lane(words, costs, lane), clock.replica[lane]
        if not cpus.begun[lane, 0] and len(waits):
            cpus.begun[lane, 0] = True
            _begin(words, source, cpus, lane, replica)
        row = clock.served[lane]
        while row < len(waits):
            k, now, line = _first_work(cpus, lines, lane)
            j, at = cpus.first_take[lane, 1], cpus.take_due[lane, 1]
            if at < now or (at == now and j <= k):
                take(words, cost, source, cpus, tally, lane, j, at)
                continue
            if line != NO_LINE:
                leave(lines, lane, line)
            phase, end = cpus.phase[lane, k], cpus.work_end[lane, k]
            if end > now:  # delayed meanwhile
                set_work(cpus, lane, k, phase, end)
                continue
            if phase == ENQUEUE:
                phase, end = _llist_add(words, cost, source, cpus, tally, lane, k, now)
            elif phase >= SEND:
                phase, end = _csd_lock_wait(words, cost, cpus, lane, k, now)
                if phase == RETURN:
                    end = _end(words, cost, source, cpus, lane, k, now)
                    waits[row, lane] = end - cpus.began[lane, k]
                    posted = cpus.began[lane, k] + source.bookkeeping_ns[lane, cpus.kind[lane, k]]
                    windows[row, lane] = cpus.flushed[lane, k] - posted if words.busy > 1 else nan
                    row += 1
                    clock.served[lane], clock.now[lane] = row, now
            elif phase == RETURN:
                if source.used[lane, k] >= source.compute.shape[2]:
                    short = True
                    break
                compute, cpus.kind[lane, k] = draw(source, replica, lane, k)
                phase, end = COMPUTE, now + compute + _refill(cost, cpus, tally, lane, k)
            else:
                phase, end = _prepare(words, cost, source, cpus, tally, lane, k, phase, now)
            if phase != ENQUEUE:
                set_work(cpus, lane, k, phase, end)
                continue
            _enqueue(cost, cpus, lines, lane, k, end)
            if line == NO_LINE:
                play_again(cpus.first_work, cpus.work_due, lane, k, inf)
    return short, False


@compiled
def _first_work(cpus: State, lines: Lines, lane: int) -> tuple[int, float, int]:
    """The CPU whose work is to be looked at first, when that is, and the line in which it stands."""
    k, now, line = cpus.first_work[lane, 1], cpus.work_due[lane, 1], NO_LINE
    for each in range(2):
        first = lines.first[lane, each]
        due, cpu = lines.due[lane, each, first], lines.cpu[lane, each, first]
        if due < now or (due == now and cpu < k):
            k, now, line = cpu, due, each
    return k, now, line


@compiled
def _begin(words: Words, source: Source, cpus: State, lane: int, replica: int) -> None:
    """Busy CPUs begin to compute, those that make flush events until the first of them."""
    for k in range(words.busy):
        cpus.phase[lane, k] = COMPUTE
    for k in range(words.flushers):
        compute, cpus.kind[lane, k] = draw(source, replica, lane, k)
        set_work(cpus, lane, k, COMPUTE, compute)


# The sender. Each function answers what the CPU does next, and when that ends.


@compiled
def _refill(cost: Cost, cpus: State, tally: Tally, lane: int, k: int) -> float:
    """What was dropped since the last compute lengthens the one that begins."""
    dropped, cpus.dropped[lane, k] = cpus.dropped[lane, k], NOTHING
    tally.refills[lane] += dropped == FULL
    return miss(cost, dropped)


@compiled
def _prepare(
    words: Words, cost: Cost, source: Source, cpus: State, tally: Tally, lane: int, k: int, phase: int, now: float
) -> tuple[int, float]:
    """From the end of compute to the first request: bookkeeping, own flush, mutex, the walk over the mask."""
    if phase == COMPUTE:
        cpus.began[lane, k] = now
        return BOOKKEEPING, now + source.bookkeeping_ns[lane, cpus.kind[lane, k]]
    if phase == BOOKKEEPING:
        if words.own_before:  # own flush, interrupts off
            now += source.local_ns[lane, cpus.kind[lane, k]]
            cpus.closed_until[lane, k] = now
        if words.mutex and not _lock(cpus, lane, k, now):
            return MUTEX, inf
        if words.mutex:
            now = max(now, cpus.mutex_free[lane, 0])
        return SCAN, now + cost.mask_scan
    if phase == MUTEX:
        return SCAN, now + cost.mask_scan
    # smp_call_function_many(): the loop over the targets
    kind = cpus.kind[lane, k]
    cpus.request[lane, k] = cost.handler + (0.0 if words.nothing else source.local_ns[lane, kind] * cost.slow)
    cpus.drops[lane, k] = NOTHING if words.nothing else FULL if source.full[lane, kind] else RANGE
    cpus.marks[lane, k] = 0
    cpus.flushed[lane, k] = nan
    _watch(words, cpus, lane, k)
    first = 1 if k == 0 else 0
    if first >= words.reachable:  # nobody to tell
        return _send(words, cost, source, cpus, tally, lane, k, now)
    cpus.position[lane, k] = first
    return ENQUEUE, now


@compiled
def _watch(words: Words, cpus: State, lane: int, k: int) -> None:
    """One of the other busy CPUs, each in its turn, shows how long the old mapping can be used."""
    if words.busy == 1:
        return
    turn = cpus.turn[lane, 0] + 1
    cpus.turn[lane, 0] = turn if turn < words.busy - 1 else 0
    watched = k + 1 + cpus.turn[lane, 0]
    cpus.watched[lane, k] = watched if watched < words.busy else watched - words.busy


@compiled
def _enqueue(cost: Cost, cpus: State, lines: Lines, lane: int, k: int, now: float) -> None:
    """Begin one request. Its line is fetched at the start, so that is where its cost is decided."""
    busy = cpus.queued[lane, cpus.position[lane, k]] > 0
    end = now + (cost.enqueue_busy if busy else cost.enqueue)
    cpus.phase[lane, k], cpus.work_end[lane, k] = ENQUEUE, end
    join(lines, lane, 1 if busy else 0, k, end)


@compiled
def _llist_add(
    words: Words, cost: Cost, source: Source, cpus: State, tally: Tally, lane: int, k: int, now: float
) -> tuple[int, float]:
    """llist_add(): the request is in, and who finds the queue empty now owes the interrupt.

    Whatever the request cost: a run may have taken the queue meanwhile.
    """
    target = cpus.position[lane, k]
    place = cpus.queued[lane, target]
    if place == 0:
        cpus.marked[lane, k, cpus.marks[lane, k]] = target
        cpus.marks[lane, k] += 1
    cpus.queue[lane, target, place] = k
    cpus.queued[lane, target] = place + 1
    cpus.done[lane, k, target] = inf
    target += 1
    if target == k:
        target += 1
    if target < words.reachable:
        cpus.position[lane, k] = target
        return ENQUEUE, now
    return _send(words, cost, source, cpus, tally, lane, k, now)


@compiled
def _send(
    words: Words, cost: Cost, source: Source, cpus: State, tally: Tally, lane: int, k: int, now: float
) -> tuple[int, float]:
    """arch_send_call_function_ipi_mask(): ICR writes for the marked targets, interrupts off."""
    marks, room = cpus.marks[lane, k], 0
    for place in range(marks):
        target = cpus.marked[lane, k, place]
        if room == 0:
            now, room = now + cost.ipi_send, words.reach
        room -= 1
        near = words.socket[target] == words.socket[k]
        interrupt = now + (cost.ipi_latency if near else cost.ipi_latency_cross)
        if target < words.busy:
            set_take(cpus, lane, target, INTERRUPT, interrupt)
        else:
            take_idle(cost, cpus, lane, target, interrupt)
    tally.interrupts[lane] += marks
    if words.own_after_sends:  # own flush
        now += source.local_ns[lane, cpus.kind[lane, k]]
    cpus.closed_until[lane, k] = now
    cpus.position[lane, k] = 1 if k == 0 else 0
    return SEND, now


@compiled
def _csd_lock_wait(words: Words, cost: Cost, cpus: State, lane: int, k: int, now: float) -> tuple[int, float]:
    """csd_lock_wait(): read the acks that are there in one piece, and wait at the first that is not.

    One piece is exact: a run that interrupts the reading undoes none of the requests ahead.
    """
    target, read, socket = cpus.position[lane, k], now, words.socket[k]
    while target < words.reachable and cpus.done[lane, k, target] <= read:
        read += cost.ack if words.socket[target] == socket else cost.ack_cross
        target += 1
        if target == k:
            target += 1
    moved = target != cpus.position[lane, k]
    cpus.position[lane, k] = target
    if moved:
        return READ, read
    if target >= words.reachable:
        return RETURN, now
    done = cpus.done[lane, k, target]
    if done == inf:
        cpus.waits_for[lane, k] = target
    return WAIT, done


@compiled
def _end(words: Words, cost: Cost, source: Source, cpus: State, lane: int, k: int, now: float) -> float:
    """The end of a flush event: own flush, interrupts off, and the mutex handed over."""
    kind = cpus.kind[lane, k]
    if words.own_after_acks:  # own flush
        now += source.local_ns[lane, kind]
        cpus.closed_until[lane, k] = now
    if words.own_before or words.own_after_sends or words.own_after_acks:
        cpus.dropped[lane, k] = max(cpus.dropped[lane, k], FULL if source.full[lane, kind] else RANGE)
    if words.mutex:
        _unlock(cost, cpus, lane, now)
    return now


@compiled
def _lock(cpus: State, lane: int, k: int, now: float) -> bool:
    """Ask for the mutex, at `now`; whether it is the CPU's, from `mutex_free` on."""
    if not cpus.holds[lane, 0]:
        cpus.holds[lane, 0] = True
        return True
    cpus.waiting[lane, cpus.waiters[lane, 0]] = k
    cpus.waiters[lane, 0] += 1
    return False


@compiled
def _unlock(cost: Cost, cpus: State, lane: int, now: float) -> None:
    """The mutex goes to who asked first; a run on that CPU comes first."""
    waiters = cpus.waiters[lane, 0]
    if waiters == 0:
        cpus.holds[lane, 0], cpus.mutex_free[lane, 0] = False, now
        return
    first = cpus.waiting[lane, 0]
    for place in range(1, waiters):
        cpus.waiting[lane, place - 1] = cpus.waiting[lane, place]
    cpus.waiters[lane, 0] = waiters - 1
    set_work(cpus, lane, first, MUTEX, max(now, cpus.run_end[lane, first]))
