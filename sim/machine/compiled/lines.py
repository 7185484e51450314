"""Notes on cache lines that CPUs read before they write: each line is modified in one CPU, or shared by several.

C:   after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8), with cpumask_test_cpu()
     before cpumask_or() and cpumask_test_and_clear_cpu()

A flush event visits every line, its own socket's first: it reads the line, and where a note that it leaves is clear it
writes. A look reads the line of its own socket and writes, since its note is set. A read by a CPU with a valid copy
takes `line_hit_ns` and waits for nobody. One without waits for the line, occupies it for `line_fill_ns`, and has its
copy after `mask_line_ns` or `mask_line_cross_ns`, by the socket of the last writer. A write waits too, occupies the
line for all of that time, and takes every other copy away. Visits are served in order of arrival, so a write that
still waits has taken the copies already.

Looks are events of the loop: each takes the copies away and makes flush events write again. They are Poisson, as many a
second as the CPU's switches, ticks and migrations. A look that finds its note clear changes nothing and is not drawn:
the next look of a CPU is drawn when its note is set, which is the same, since the exponential forgets. What looks cost
their CPUs is on the slow time scale (`sim/accounting.py`); here they only use the line.

`sim/machine/vectorized/lines.py` says the same for all lanes at once, and gives the same bits. Times are absolute,
in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import NamedTuple

import numpy as np

from sim.abi import Flush, Line, Own
from sim.arrays import fill
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.knockout import knockout, play_again
from sim.machine.compiled.state import Clock, Machine, Source, Tally, draw, rows

COSTS = "mask_line_ns mask_line_cross_ns line_hit_ns line_fill_ns refill_ns user_refill_ns looks_per_s".split()


class Words(NamedTuple):
    """What all lanes share: the machine's shape, and what the policy says."""

    sockets: int
    busy: int
    flushers: int
    lines: int  # one, or one per socket
    own_before: bool  # own flush before anybody is told


class Cost(NamedTuple):
    """Costs of one lane."""

    mask_line: float
    mask_line_cross: float
    hit: float
    fill: float
    refill: float
    user_refill: float
    gap: float  # between the looks of a CPU, mean


class State(NamedTuple):
    """The CPUs and lines of all lanes."""

    # the flush event to come of each CPU that makes them, or in progress, [lane, cpu]
    kind: np.ndarray
    start: np.ndarray
    arrival: np.ndarray  # at the line that it reads or writes next
    stage: np.ndarray  # twice the lines that it has done with, and one more where it is about to write
    first: np.ndarray  # who arrives first,
    first_arrival: np.ndarray  # and when, as `play_again` keeps both
    # the busy CPUs as they look, [lane, cpu]
    look: np.ndarray  # next arrival at the line; infinite while the note is clear
    clearing: np.ndarray  # has read, and is about to write
    used: np.ndarray  # draws of looks used
    cleared: np.ndarray  # the generation of its line in which it cleared its note: the note is clear in that one
    first_looker: np.ndarray
    first_look: np.ndarray
    most: np.ndarray  # draws of looks that any CPU used, [lane, 1]
    # the lines, [lane, line]
    owner: np.ndarray  # last writer
    free: np.ndarray  # end of the last occupation
    version: np.ndarray  # writes so far
    generation: np.ndarray  # writes that set notes so far
    clear: np.ndarray  # CPUs whose note is clear
    copy: np.ndarray  # version of which each busy CPU has a copy, [lane, line * busy + cpu]
    begun: np.ndarray  # the CPUs have drawn their first flush events, [lane, 1]


def lines(shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, events: FlushEvents, lanes: int) -> Machine:
    """`cost` has the parameters that the policy reads and looks_per_s, [lane]; `events` draws events and looks."""
    f, busy = shape.flushers, shape.busy
    count = shape.sockets if flush.post is not None and flush.post.line is Line.NODE else 1
    first_arrival, first = knockout(lanes, f)
    first_look, first_looker = knockout(lanes, busy)
    return Machine(
        serve_lines,
        Words(shape.sockets, busy, f, count, flush.own is Own.BEFORE),
        rows(cost, COSTS, lanes),
        events,
        State(
            kind=fill((lanes, f), 0, np.int64),
            start=fill((lanes, f), 0.0),
            arrival=fill((lanes, f), 0.0),
            stage=fill((lanes, f), 0, np.int64),
            first=first,
            first_arrival=first_arrival,
            look=fill((lanes, busy), inf),
            clearing=fill((lanes, busy), 0, bool),
            used=fill((lanes, busy), 0, np.int64),
            cleared=fill((lanes, busy), 0, np.int64),
            first_looker=first_looker,
            first_look=first_look,
            most=fill((lanes, 1), 0, np.int64),
            owner=fill((lanes, count), 0, np.int64),
            free=fill((lanes, count), 0.0),
            version=fill((lanes, count), 0, np.int64),
            generation=fill((lanes, count), 0, np.int64),
            clear=fill((lanes, count), shape.cores // count, np.int64),  # nobody has posted yet
            copy=fill((lanes, count * busy), -1, np.int64),
            begun=fill((lanes, 1), 0, bool),
        ),
    )


@entry
def serve_lines(
    words: Words,
    costs: np.ndarray,
    source: Source,
    state: State,
    clock: Clock,
    tally: Tally,
    waits: np.ndarray,
    windows: np.ndarray,
) -> tuple[bool, bool, bool]:
    """Serve flush events, lane after lane, a row each; whether a lane first has to draw more of them, or looks."""
    short = short_looks = False
    for lane in range(len(costs)):
        c, replica = costs[lane], clock.replica[lane]
        cost = Cost(c[0], c[1], c[2], c[3], c[4], c[5], 1e9 / c[6] if c[6] > 0.0 else inf)
        if not state.begun[lane, 0] and len(waits):
            state.begun[lane, 0] = True
            for k in range(words.flushers):
                compute, kind = draw(source, replica, lane, k)
                _compute(words, source, state, lane, k, compute, kind)
        most = 0
        for k in range(words.flushers):
            most = max(most, source.used[lane, k])
        row = clock.served[lane]
        while row < len(waits):
            if most >= source.compute.shape[2]:
                short = True
                break
            if state.most[lane, 0] >= source.entry.shape[2]:
                short_looks = True
                break
            if state.first_look[lane, 1] < state.first_arrival[lane, 1]:
                _look(words, cost, state, tally, lane)
                continue
            k = state.first[lane, 1]  # ties go to the lowest CPU
            clock.now[lane] = state.arrival[lane, k]
            end = _visit(words, cost, source, state, tally, lane, replica, k)
            if state.stage[lane, k] < 2 * words.lines:
                state.arrival[lane, k] = end
                play_again(state.first, state.first_arrival, lane, k, end)
                continue
            waits[row, lane], windows[row, lane] = end - state.start[lane, k], nan
            _return(words, cost, source, state, tally, lane, replica, k, end)
            most = max(most, source.used[lane, k])
            row += 1
        clock.served[lane] = row
    return short, short_looks, False


@compiled
def _compute(words: Words, source: Source, state: State, lane: int, k: int, until: float, kind: int) -> None:
    """CPU k runs user code until its next flush event."""
    work = source.bookkeeping_ns[lane, kind]
    if words.own_before:  # own flush
        work = work + source.local_ns[lane, kind]
    state.start[lane, k], state.arrival[lane, k], state.kind[lane, k] = until, until + work, kind
    state.stage[lane, k] = 0
    play_again(state.first, state.first_arrival, lane, k, state.arrival[lane, k])


@compiled
def _transfer(words: Words, cost: Cost, state: State, lane: int, line: int, k: int) -> float:
    """How long the line takes to reach CPU k."""
    near = k % words.sockets == state.owner[lane, line] % words.sockets
    return cost.mask_line if near else cost.mask_line_cross


@compiled
def _read(words: Words, cost: Cost, state: State, lane: int, line: int, k: int, grant: float) -> float:
    """CPU k, which has no copy, reads the line: the end of that. Reads of others go on behind its occupation."""
    transfer = _transfer(words, cost, state, lane, line, k)
    state.free[lane, line] = grant + min(cost.fill, transfer)
    state.copy[lane, line * words.busy + k] = state.version[lane, line]
    return grant + transfer


@compiled
def _write(words: Words, cost: Cost, state: State, lane: int, line: int, k: int, grant: float) -> float:
    """CPU k writes the line, and its copy is the only one: the end of that."""
    end = grant + _transfer(words, cost, state, lane, line, k)
    state.free[lane, line], state.owner[lane, line] = end, k
    state.version[lane, line] += 1
    state.copy[lane, line * words.busy + k] = state.version[lane, line]
    return end


@compiled
def _visit(
    words: Words, cost: Cost, source: Source, state: State, tally: Tally, lane: int, replica: int, k: int
) -> float:
    """A flush event of CPU k reads a line, or writes it; the end of that. Its stage says what it does next."""
    at, stage = state.arrival[lane, k], state.stage[lane, k]
    line = (k + stage // 2) % words.lines
    mine = line == k % words.lines and state.cleared[lane, k] == state.generation[lane, line]
    others = state.clear[lane, line] - mine  # notes that are clear
    grant = max(at, state.free[lane, line])
    if stage % 2:  # cpumask_or()
        end = _write(words, cost, state, lane, line, k, grant)
        tally.queue_ns[lane] += grant - at
        tally.line_writes[lane] += 1
        if others:
            _arm(words, cost, source, state, lane, replica, line, k, end)
        state.generation[lane, line] += 1
        state.clear[lane, line] = mine
        if mine:  # it leaves itself no note
            state.cleared[lane, k] = state.generation[lane, line]
        state.stage[lane, k] = stage + 1
        return end
    if state.copy[lane, line * words.busy + k] == state.version[lane, line]:
        end = at + cost.hit
    else:
        end = _read(words, cost, state, lane, line, k, grant)
        tally.queue_ns[lane] += grant - at
        tally.line_misses[lane] += 1
    state.stage[lane, k] = stage + (1 if others else 2)
    return end


@compiled
def _arm(
    words: Words, cost: Cost, source: Source, state: State, lane: int, replica: int, line: int, k: int, end: float
) -> None:
    """The notes of all others on the line are set: those that were clear will be found by their CPUs' next looks."""
    for other in range(line, words.busy, words.lines):
        if other != k and state.cleared[lane, other] == state.generation[lane, line]:
            at = state.used[lane, other]
            state.look[lane, other] = end + source.entry[replica, other, at] * cost.gap
            state.used[lane, other] = at + 1
            state.most[lane, 0] = max(state.most[lane, 0], at + 1)
            play_again(state.first_looker, state.first_look, lane, other, state.look[lane, other])


@compiled
def _look(words: Words, cost: Cost, state: State, tally: Tally, lane: int) -> None:
    """The next look reads its line, or clears its note there."""
    k = state.first_looker[lane, 1]
    at, line = state.look[lane, k], k % words.lines
    grant = max(at, state.free[lane, line])
    if state.clearing[lane, k]:  # cpumask_test_and_clear_cpu()
        _write(words, cost, state, lane, line, k, grant)
        tally.line_clears[lane] += 1
        state.cleared[lane, k] = state.generation[lane, line]
        state.clear[lane, line] += 1
        state.clearing[lane, k] = False
        state.look[lane, k] = inf
    else:
        state.clearing[lane, k] = True
        if state.copy[lane, line * words.busy + k] == state.version[lane, line]:
            state.look[lane, k] = at + cost.hit
        else:
            state.look[lane, k] = _read(words, cost, state, lane, line, k, grant)
    play_again(state.first_looker, state.first_look, lane, k, state.look[lane, k])


@compiled
def _return(
    words: Words, cost: Cost, source: Source, state: State, tally: Tally, lane: int, replica: int, k: int, end: float
) -> None:
    """The flush event of CPU k is over: what it flushed is missed in the next compute."""
    full, misses = source.full[lane, state.kind[lane, k]], 0.0
    compute, next_kind = draw(source, replica, lane, k)
    if words.own_before:
        tally.refills[lane] += full
        tally.range_misses[lane] += not full
        misses = cost.refill if full else cost.user_refill
    _compute(words, source, state, lane, k, end + compute + misses, next_kind)
