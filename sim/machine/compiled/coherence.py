"""Marks on cache lines that CPUs read before they write: each line is modified in one CPU, or shared by several.

Kernel: after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8), with cpumask_test_cpu()
        before cpumask_or() and cpumask_test_and_clear_cpu()

A flush event visits every line, first that of its own socket: it reads the line, and writes it if a bit to set is
clear. A check reads the line of its own socket and writes it, since its mark is pending. A read by a CPU with a valid
copy takes `line_hit_ns` and never waits. A read without a copy waits for the line, occupies it for `line_fill_ns`, and
ends after a transfer from the last writer. A write waits too, occupies the line for a whole transfer, and invalidates
all other copies. Visits are served in order of arrival, except that a waiter of the cluster of the line's owner goes
first, up to `line_burst` times in a row. So a write that still waits has invalidated the copies already.

Checks are events of the loop: each invalidates the copies, so that flush events write again. They are a Poisson process
with the rate of the switches, ticks and migrations of the CPU. A check of a clear mark changes nothing and is not
drawn: the next check of a CPU is drawn when it is marked pending, which is equivalent, since an exponential has no
memory. The cost of checks to their CPUs is on the slow time scale (`sim/accounting.py`); here they only use the line.

`sim/machine/vectorized/coherence.py` simulates the same for all lanes at once, and gives the same bits. Times are
absolute and in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import NamedTuple

import numpy as np

from sim.cache_lines import SAME, distances, line_times_ns
from sim.counts import Record, Records
from sim.events import FlushEvents
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.knockout import by_group, knockout, play_again, play_at
from sim.machine.compiled.lane import (
    ENOUGH,
    NEVER,
    SHORT_OF_ENTRIES,
    SHORT_OF_EVENTS,
    Drawn,
    Machine,
    costs_of,
    draw,
    end_of_event,
    records,
)
from sim.machine.compiled.server import by_class
from sim.policy import Line, Local, Policy
from sim.topology import Shape


class Words(NamedTuple):
    """Fields of the machine's shape and the policy, the same in all lanes of a group."""

    busy: int
    flushers: int
    lines: int  # number of lines: one, or one per socket
    clusters: int  # place of the winner of the first cluster in the knock-out of arrivals
    local_first: bool  # local flush before the marks


class Cost(NamedTuple):
    """The costs of one lane."""

    line_burst: float
    line_fill: float
    refill: float
    user_refill: float


STATE = np.dtype([
    ("now", np.float64), ("begun", np.bool_),
    ("most", np.int64),  # most draws of checks that a CPU has used
])  # fmt: skip
SENDER = np.dtype([  # the next or current flush event of a sender
    ("kind", np.int64), ("start", np.float64),
    ("arrival", np.float64),  # at the next line
    ("stage", np.int64),  # twice the number of finished lines, plus one if a write is next
])  # fmt: skip
CHECKER = np.dtype([  # the checks of a busy CPU
    ("check", np.float64),  # next arrival at the line; infinite while the mark is clear
    ("gap", np.float64),  # mean time between checks
    ("clearing", np.bool_),  # whether the write is next, after the read
    ("used", np.int64),  # draws of checks used
    ("cleared", np.int64),  # generation of its line in which the mark is clear
])  # fmt: skip
LINE = np.dtype([
    ("owner", np.int64),  # last writer
    ("turns", np.int64),  # visits in a row inside one cluster
    ("free", np.float64),  # end of the last occupation
    ("version", np.int64),  # writes so far
    ("generation", np.int64),  # writes that marked CPUs pending so far
    ("clear", np.int64),  # CPUs whose mark is clear
])  # fmt: skip


class Lane(NamedTuple):
    """One lane."""

    words: Words
    cost: Cost
    draws: Drawn
    counts: Record
    state: Record
    senders: Records
    checkers: Records  # busy CPUs
    lines: Records
    copies: np.ndarray  # version of the copy of each busy CPU, [line, cpu]
    arrivals: Records  # knock-out of arrivals at lines, cluster by cluster
    checks: Records  # knock-out of checks
    places: np.ndarray  # place of each sender in `arrivals`, [cpu]
    cluster: np.ndarray  # [cpu]
    socket: np.ndarray  # [cpu]
    apart: np.ndarray  # distances between CPUs, [cpu, cpu] of SAME to CROSS in `sim/cache_lines.py`
    line: np.ndarray  # time of a transfer over each of these distances, [distance]


def coherence(shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, events: FlushEvents) -> Machine:
    """`cost` has the parameters that the policy reads and checks_per_s, [lane]; `events` draws events and checks."""
    count = shape.sockets if policy.mark is not None and policy.mark.line is Line.NODE else 1
    lanes, local_first = len(events.replica_row), policy.local is Local.FIRST
    tree, places, clusters = by_group(shape.cluster, shape.flushers)
    words = Words(
        busy=shape.busy, flushers=shape.flushers, lines=count, clusters=clusters,
        local_first=local_first,
    )  # fmt: skip
    clear = np.bincount(shape.socket % count, minlength=count)
    line_ns, apart = line_times_ns(shape, cost), distances(shape)
    costs, gap = costs_of(Cost, cost, lanes), by_class(shape, cost, lanes, "checks_per_s", "isolated_checks_per_s")
    states = records(STATE, lanes, now=NEVER)

    def new_lane(draws: Drawn, counts: Record, number: int) -> Lane:
        return Lane(
            words=words,
            cost=costs[number],
            draws=draws,
            counts=counts,
            state=states[number],
            senders=records(SENDER, shape.flushers),
            checkers=records(CHECKER, shape.busy, check=inf, gap=gap[number]),
            lines=records(LINE, count, clear=clear),  # no CPU is marked yet
            copies=np.full((count, shape.busy), -1),
            arrivals=tree.copy(),
            checks=knockout(shape.busy),
            places=places,
            cluster=shape.cluster,
            socket=shape.socket,
            apart=apart,
            line=line_ns[number],
        )

    return Machine(serve_coherence, new_lane, events, lambda lane: lane.senders.start)


@entry
def serve_coherence(lane: Lane, waits: np.ndarray, windows: np.ndarray, batches: Records, row: int) -> tuple[int, int]:
    """Serve flush events of a lane from `row` on; return the next row, and which draws are missing first, if any.

    The counts are copied at the end of each batch of equal length.
    """
    if not lane.state.begun and len(waits):
        lane.state.begun = True
        for k in range(lane.words.flushers):
            compute, kind = draw(lane.draws, k)
            _compute(lane, k, compute, kind)
    while row < len(waits):
        if lane.state.most >= lane.draws.entry.shape[1]:
            return row, SHORT_OF_ENTRIES
        if lane.checks[1].due < lane.arrivals[1].due:
            _check(lane, lane.checks[1].cpu)
            continue
        k = _next_in_line(lane)
        if lane.draws.used[k] >= lane.draws.compute.shape[1]:
            return row, SHORT_OF_EVENTS
        sender = lane.senders[k]
        lane.state.now = max(lane.state.now, sender.arrival)
        end = _visit(lane, k)
        if sender.stage < 2 * lane.words.lines:
            sender.arrival = end
            play_at(lane.arrivals, lane.places[k], k, end)
            continue
        waits[row], windows[row] = end - sender.start, nan
        _return(lane, k, end)
        row = end_of_event(lane.counts, batches, len(waits), row)
    return row, ENOUGH


@compiled
def _compute(lane: Lane, k: int, until: float, kind: int) -> None:
    """CPU k runs user code until its next flush event."""
    sender, costs = lane.senders[k], lane.draws.kinds[kind]
    work = costs.bookkeeping
    if lane.words.local_first:  # local flush
        work = work + costs.local
    sender.start, sender.arrival, sender.kind, sender.stage = until, until + work, kind, 0
    play_at(lane.arrivals, lane.places[k], k, sender.arrival)


@compiled
def _line_of(lane: Lane, k: int) -> int:
    """The next line of the flush event of CPU k."""
    return (lane.socket[k] + lane.senders[k].stage // 2) % lane.words.lines


@compiled
def _next_in_line(lane: Lane) -> int:
    """The next visitor of a line: a waiter of the owner's cluster during its turns, else the first to arrive."""
    first = lane.arrivals[1].cpu  # ties go to the lowest CPU
    line = _line_of(lane, first)
    held = lane.lines[line]
    near = lane.arrivals[lane.words.clusters + lane.cluster[held.owner]]
    if near.due <= held.free and held.turns < lane.cost.line_burst and _line_of(lane, near.cpu) == line:
        return near.cpu
    return first


@compiled
def _transfer(lane: Lane, line: int, k: int) -> float:
    """The time of a transfer of the line to CPU k."""
    return lane.line[lane.apart[lane.lines[line].owner, k]]


@compiled
def _take_turn(lane: Lane, line: int, k: int) -> None:
    """CPU k occupies the line: one more turn inside its cluster, or the first one."""
    held = lane.lines[line]
    again = lane.cluster[k] == lane.cluster[held.owner] and held.turns < lane.cost.line_burst
    held.turns = held.turns + 1 if again else 1


@compiled
def _read(lane: Lane, line: int, k: int, grant: float) -> float:
    """CPU k reads the line without a copy; return the end. Other reads can begin before it, after the occupation."""
    transfer = _transfer(lane, line, k)
    _take_turn(lane, line, k)
    lane.lines[line].free = grant + min(lane.cost.line_fill, transfer)
    lane.copies[line, k] = lane.lines[line].version
    return grant + transfer


@compiled
def _write(lane: Lane, line: int, k: int, grant: float) -> float:
    """CPU k writes the line, and then has the only copy; return the end."""
    held, end = lane.lines[line], grant + _transfer(lane, line, k)
    _take_turn(lane, line, k)
    held.free, held.owner = end, k
    held.version += 1
    lane.copies[line, k] = held.version
    return end


@compiled
def _visit(lane: Lane, k: int) -> float:
    """A flush event of CPU k reads or writes a line, and its stage advances; return the end."""
    sender, checker, counts = lane.senders[k], lane.checkers[k], lane.counts
    at, stage = sender.arrival, sender.stage
    line = _line_of(lane, k)
    held = lane.lines[line]
    mine = line == lane.socket[k] % lane.words.lines and checker.cleared == held.generation
    others = held.clear - mine  # clear marks of other CPUs
    grant = max(at, held.free)
    if stage % 2:  # cpumask_or()
        end = _write(lane, line, k, grant)
        counts.queue_ns += grant - at
        counts.line_writes += 1
        if others:
            _arm(lane, line, k, end)
        held.generation += 1
        held.clear = mine
        if mine:  # no CPU marks itself
            checker.cleared = held.generation
        sender.stage = stage + 1
        return end
    if lane.copies[line, k] == held.version:
        end = at + lane.line[SAME]
    else:
        end = _read(lane, line, k, grant)
        counts.queue_ns += grant - at
        counts.line_misses += 1
    sender.stage = stage + (1 if others else 2)
    return end


@compiled
def _arm(lane: Lane, line: int, k: int, end: float) -> None:
    """Mark all other CPUs of the line, and draw the next check of each CPU with a clear mark."""
    for other in range(lane.words.busy):
        checker, mine = lane.checkers[other], lane.socket[other] % lane.words.lines == line
        if mine and other != k and checker.cleared == lane.lines[line].generation:
            checker.check = end + lane.draws.entry[other, checker.used] * checker.gap
            checker.used += 1
            lane.state.most = max(lane.state.most, checker.used)
            play_again(lane.checks, other, checker.check)


@compiled
def _check(lane: Lane, k: int) -> None:
    """The next check of CPU k reads its line, or clears its mark."""
    checker, line = lane.checkers[k], lane.socket[k] % lane.words.lines
    held, at = lane.lines[line], checker.check
    grant = max(at, held.free)
    if checker.clearing:  # cpumask_test_and_clear_cpu()
        _write(lane, line, k, grant)
        lane.counts.line_clears += 1
        checker.cleared = held.generation
        held.clear += 1
        checker.clearing = False
        checker.check = inf
    else:
        checker.clearing = True
        if lane.copies[line, k] == held.version:
            checker.check = at + lane.line[SAME]
        else:
            checker.check = _read(lane, line, k, grant)
    play_again(lane.checks, k, checker.check)


@compiled
def _return(lane: Lane, k: int, end: float) -> None:
    """The flush event of CPU k ends; its misses lengthen the next compute."""
    full, misses = lane.draws.kinds[lane.senders[k].kind].full, 0.0
    compute, next_kind = draw(lane.draws, k)
    if lane.words.local_first:
        lane.counts.refills += full
        lane.counts.range_misses += not full
        misses = lane.cost.refill if full else lane.cost.user_refill
    _compute(lane, k, end + compute + misses, next_kind)
