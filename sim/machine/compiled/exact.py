"""A broadcast by interrupts as it really goes: one event per request. The exact rule.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), llist_add(), csd_lock_wait(),
     generic_smp_call_function_single_interrupt(), flush_smp_call_function_queue(); arch/x86/mm/tlb.c
Ref: docs/model.md

A CPU has at most two things to come: the end of its own work, and the interrupt or handler run that it is to take.
Nothing becomes due earlier than once said: a handler run, a refill and interrupts being off only delay. So work that
comes up before its CPU's `work_end` is put back, and no event is ever cancelled. Ties go to the lowest CPU, and on one
CPU the run goes before work. Times are absolute and in ns.

Most events are requests, and one that begins later than another of the same cost also ends later: CPUs at a request
stand in two lines (`line.py`). All else that is to come plays knock-outs (`knockout.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import numpy as np

from sim.abi import Flush
from sim.arrays import fill
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.compiled.exact_receiver import take
from sim.machine.compiled.exact_sender import csd_lock, csd_lock_wait, enqueue, finish, llist_add, prepare, window
from sim.machine.compiled.exact_state import (
    COMPUTE,
    ENQUEUE,
    IDLE,
    INTERRUPT,
    RETURN,
    SEND,
    State,
    miss,
    set_work,
)
from sim.machine.compiled.interrupts import COSTS, FULL, NOTHING, RANGE, Cost, Words, cost_of_lane, words_of
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.knockout import knockout, play_again
from sim.machine.compiled.line import Lines, empty_lines, leave
from sim.machine.compiled.state import NEVER, Clock, Machine, Source, Tally, draw, rows

NO_LINE = -1


def exact(shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, events: FlushEvents, lanes: int) -> Machine:
    """`cost` holds the parameters that the policy reads, each [lane]; `events` draws the flush events."""
    words = words_of(shape, flush, events.holds.any)
    f, cpus = shape.flushers, max(words.reachable, shape.busy)
    slots = 2 * f if words.no_wait else f

    work_due, first_work = knockout(lanes, f)
    take_due, first_take = knockout(lanes, cpus)
    lines = empty_lines(lanes, 2, f)
    state = State(
        phase=fill((lanes, cpus), IDLE, np.int8),
        work_end=fill((lanes, cpus), inf),
        work_due=work_due,
        closed_until=fill((lanes, cpus), 0.0),
        run_end=fill((lanes, cpus), 0.0),
        take=fill((lanes, cpus), INTERRUPT, np.int8),
        take_due=take_due,
        ran=fill((lanes, cpus), NEVER),
        queue=fill((lanes, cpus, f), 0, np.int16),
        queued=fill((lanes, cpus), 0, np.int16),
        dropped=fill((lanes, cpus), NOTHING, np.int8),
        caught_up=fill((lanes, cpus), 0, np.int64),
        caught_up_at=fill((lanes, cpus), 0.0),
        kind=fill((lanes, f), 0, np.int64),
        slot=np.tile(np.arange(f, dtype=np.int16), (lanes, 1)),
        flush=fill((lanes, slots), 0.0),
        drops=fill((lanes, slots), NOTHING, np.int8),
        generation=fill((lanes, slots), 0, np.int64),
        watched=fill((lanes, slots), -1, np.int16),
        flushed=fill((lanes, slots), 0.0),
        posted=fill((lanes, slots), 0.0),
        began=fill((lanes, f), 0.0),
        position=fill((lanes, f), 0, np.int16),
        done=fill((lanes, f, cpus), NEVER),
        waits_for=fill((lanes, f), -1, np.int16),
        marked=fill((lanes, f, cpus), 0, np.int16),
        marks=fill((lanes, f), 0, np.int16),
        first_work=first_work,
        first_take=first_take,
        line_due=lines.due,
        line_cpu=lines.cpu,
        line_first=lines.first,
        line_end=lines.end,
        newest=fill((lanes, 1), 0, np.int64),
        turn=fill((lanes, 1), 0, np.int64),
        holds=fill((lanes, 1), 0, bool),
        mutex_free=fill((lanes, 1), NEVER),
        waiting=fill((lanes, f if flush.mutex else 1), 0, np.int64),
        waiters=fill((lanes, 1), 0, np.int64),
        begun=fill((lanes, 1), 0, bool),
    )
    return Machine(serve_exact, words, rows(cost, COSTS, lanes), events, state, compute_end)


def compute_end(cpus: State) -> np.ndarray:
    """When CPUs make their next flush events, [lane, cpu]; before any time of who is in one."""
    senders = cpus.kind.shape[1]
    return np.where(cpus.phase[:, :senders] == COMPUTE, cpus.work_end[:, :senders], NEVER)


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
) -> tuple[bool, bool, bool]:
    """Serve flush events, lane after lane, a row each; whether a lane first has to draw more of what."""
    short, short_interrupts, lines = False, False, Lines(cpus.line_due, cpus.line_cpu, cpus.line_first, cpus.line_end)
    for lane in range(len(costs)):
        cost, replica = cost_of_lane(words, costs, lane, 1.0), clock.replica[lane]
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
                phase, end = llist_add(words, cost, source, cpus, tally, lane, replica, k, now)
            elif phase >= SEND:
                phase, end = csd_lock_wait(words, cost, cpus, lane, k, now)
                if phase == RETURN:
                    end = finish(words, cost, cpus, lane, k, now)
                    waits[row, lane] = end - cpus.began[lane, k]
                    windows[row, lane] = window(words, source, cpus, lane, k)
                    row += 1
                    clock.served[lane], clock.now[lane] = row, now
            elif phase == RETURN:
                if source.used[lane, k] >= source.compute.shape[2]:
                    short = True
                    break
                if words.holds and source.most[lane] + words.flushers > source.held.shape[2]:  # each may send one
                    short_interrupts = True
                    break
                compute, cpus.kind[lane, k] = draw(source, replica, lane, k)
                phase, end = COMPUTE, now + compute + _refill(cost, cpus, tally, lane, k)
            else:
                phase, end = prepare(words, cost, source, cpus, tally, lane, replica, k, phase, now)
            if words.no_wait and phase == ENQUEUE:
                phase, end = csd_lock(cpus, lane, k, end)
            if phase != ENQUEUE:
                set_work(cpus, lane, k, phase, end)
                continue
            enqueue(cost, cpus, lines, lane, k, end)
            if line == NO_LINE:
                play_again(cpus.first_work, cpus.work_due, lane, k, inf)
    return short, False, short_interrupts


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


@compiled
def _refill(cost: Cost, cpus: State, tally: Tally, lane: int, k: int) -> float:
    """What was dropped since the last compute lengthens the one that begins."""
    dropped, cpus.dropped[lane, k] = cpus.dropped[lane, k], NOTHING
    tally.refills[lane] += dropped == FULL
    tally.range_misses[lane] += dropped == RANGE
    return miss(cost, dropped)
