"""One server that CPUs visit one at a time: the cache line of a mask, or a broadcast fabric; one CPU after another.

C:   arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): own flush, then cpumask_or(&pending_xpfo_flush, ...)  (XPFO v8)
Ref: arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

`sim/machine/vectorized/server.py` says the same for all lanes at once, and gives the same bits. Times are absolute and
in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import NamedTuple

import numpy as np

from sim.abi import Flush, Line, Own, Targets
from sim.arrays import fill
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.knockout import knockout, play_again
from sim.machine.compiled.state import NEVER, Clock, Machine, Source, Tally, draw, rows

COSTS = (
    "mask_line_ns mask_line_cross_ns ack_ns ack_cross_ns broadcast_ns broadcast_page_ns broadcast_all_ns flush_all_ns "
    "refill_ns user_refill_ns kernel_entries_per_s"
).split()


class Words(NamedTuple):
    """What all lanes share: the machine's shape, and what the policy says."""

    cores: int
    sockets: int
    busy: int
    flushers: int
    hardware: bool  # the server is a broadcast fabric
    shared: bool  # one CPU at a time
    per_cpu: bool  # every other CPU has a flag of its own, which is read
    own_before: bool  # own flush before anybody is told
    flushes: bool  # the flush event flushes the CPU that makes it
    looking: bool  # kernel entries look at the note


class Cost(NamedTuple):
    """Costs of one lane."""

    mask_line: float
    mask_line_cross: float
    ack: float
    ack_cross: float
    broadcast: float
    broadcast_page: float
    broadcast_all: float
    flush_all: float
    refill: float
    user_refill: float
    gap: float  # between the kernel entries of a CPU, mean


class State(NamedTuple):
    """The CPUs of all lanes."""

    # the flush event to come of each CPU that makes them, [lane, cpu]
    kind: np.ndarray
    start: np.ndarray
    arrival: np.ndarray  # at the server
    refills_next: np.ndarray  # flushed by others while in a flush event: the next compute refills
    first: np.ndarray  # who arrives first,
    first_arrival: np.ndarray  # and when, as `play_again` keeps both
    # the busy CPUs as they look at the note on kernel entries, [lane, cpu]; none if they do not
    entry: np.ndarray  # next kernel entry
    used: np.ndarray  # draws of entries used
    looked: np.ndarray  # last look
    first_looker: np.ndarray  # whose entry is the next one,
    first_entry: np.ndarray  # and when
    # the server, [lane, 1]
    owner: np.ndarray  # of the last visit
    free: np.ndarray  # its end
    latest: np.ndarray  # end of the latest post,
    poster: np.ndarray  # by whom,
    other: np.ndarray  # and of the latest one by anybody else
    begun: np.ndarray  # the CPUs have drawn their first flush events


def server(shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, events: FlushEvents, lanes: int) -> Machine:
    """`cost` holds the parameters that the policy reads, each [lane]; `events` draws flush events and entries."""
    hardware = flush.tell is Targets.HARDWARE
    lookers = shape.busy if events.looking else 0

    f = shape.flushers
    first_arrival, first = knockout(lanes, f)
    first_entry, first_looker = knockout(lanes, lookers)
    return Machine(
        serve_server,
        Words(
            cores=shape.cores,
            sockets=shape.sockets,
            busy=shape.busy,
            flushers=f,
            hardware=hardware,
            shared=hardware or (flush.post is not None and flush.post.line is Line.GLOBAL),
            per_cpu=flush.post is not None and flush.post.line is Line.PER_CPU,
            own_before=flush.own is Own.BEFORE,
            flushes=hardware or flush.own is not Own.NEVER,
            looking=events.looking,
        ),
        rows(cost, COSTS, lanes),
        events,
        State(
            kind=fill((lanes, f), 0, np.int64),
            start=fill((lanes, f), 0.0),
            arrival=fill((lanes, f), 0.0),
            refills_next=fill((lanes, f), 0, bool),
            first=first,
            first_arrival=first_arrival,
            entry=fill((lanes, lookers), 0.0),
            used=fill((lanes, lookers), 0, np.int64),
            looked=fill((lanes, lookers), NEVER),
            first_looker=first_looker,
            first_entry=first_entry,
            owner=fill((lanes, 1), 0, np.int64),
            free=fill((lanes, 1), 0.0),
            latest=fill((lanes, 1), NEVER),
            poster=fill((lanes, 1), 0, np.int64),
            other=fill((lanes, 1), NEVER),
            begun=fill((lanes, 1), 0, bool),
        ),
    )


@entry
def serve_server(
    words: Words,
    costs: np.ndarray,
    source: Source,
    state: State,
    clock: Clock,
    tally: Tally,
    waits: np.ndarray,
    windows: np.ndarray,
) -> tuple[bool, bool, bool]:
    """Serve flush events, lane after lane, a row each; whether a lane first has to draw more of them, or entries."""
    short = short_entries = False
    for lane in range(len(costs)):
        cost, replica = _cost(costs[lane]), clock.replica[lane]
        if not state.begun[lane, 0] and len(waits):
            state.begun[lane, 0] = True
            _begin(words, cost, source, state, lane, replica)
        most = 0
        for k in range(words.flushers):
            most = max(most, source.used[lane, k])
        for row in range(clock.served[lane], len(waits)):
            if most >= source.compute.shape[2]:
                short = True
                break
            if words.looking and not _serve_entries(words, cost, source, state, tally, lane, replica):
                short_entries = True
                break
            sender = state.first[lane, 1]  # ties go to the lowest CPU
            clock.now[lane] = state.arrival[lane, sender]
            waits[row, lane], windows[row, lane] = _visit(words, cost, source, state, tally, lane, replica, sender)
            most = max(most, source.used[lane, sender])
            clock.served[lane] = row + 1
    return short, short_entries, False


@compiled
def _cost(c: np.ndarray) -> Cost:
    """The costs of a lane by name, in the order of COSTS."""
    return Cost(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], 1e9 / c[10] if c[10] > 0.0 else inf)


@compiled
def _begin(words: Words, cost: Cost, source: Source, state: State, lane: int, replica: int) -> None:
    """The first flush event of every CPU, and its first kernel entry."""
    for k in range(words.flushers):
        compute, kind = draw(source, replica, lane, k)
        _compute(words, source, state, lane, k, compute, kind)
    for k in range(state.used.shape[1]):
        _next_entry(cost, source, state, lane, replica, k, 0.0)


@compiled
def _compute(words: Words, source: Source, state: State, lane: int, k: int, until: float, kind: int) -> None:
    """CPU k runs user code until its next flush event."""
    work = source.bookkeeping_ns[lane, kind]
    if words.own_before:  # own flush
        work = work + source.local_ns[lane, kind]
    state.start[lane, k], state.arrival[lane, k], state.kind[lane, k] = until, until + work, kind
    play_again(state.first, state.first_arrival, lane, k, state.arrival[lane, k])


@compiled
def _next_entry(cost: Cost, source: Source, state: State, lane: int, replica: int, k: int, after: float) -> None:
    """The next kernel entry of CPU k, a drawn time later."""
    state.entry[lane, k] = after + source.entry[replica, k, state.used[lane, k]] * cost.gap
    state.used[lane, k] += 1
    play_again(state.first_looker, state.first_entry, lane, k, state.entry[lane, k])


@compiled
def _service(words: Words, cost: Cost, source: Source, state: State, lane: int, k: int, kind: int) -> float:
    """How long the server is CPU k's."""
    if words.hardware:
        if source.full[lane, kind]:
            return cost.broadcast_all
        return cost.broadcast + source.pages_of[kind] * cost.broadcast_page
    if words.shared:
        near = k % words.sockets == state.owner[lane, 0] % words.sockets
        return cost.mask_line if near else cost.mask_line_cross
    if words.per_cpu:  # reads every other CPU's flag
        others = words.cores - 1
        near = (others - k % words.sockets) // words.sockets
        return near * cost.ack + (others - near) * cost.ack_cross
    return 0.0


@compiled
def _serve_entries(
    words: Words, cost: Cost, source: Source, state: State, tally: Tally, lane: int, replica: int
) -> bool:
    """The kernel entries that come before the next post; whether draws were there for all of them."""
    while True:
        k = state.first_looker[lane, 1]
        if state.entry[lane, k] >= state.first_arrival[lane, 1]:
            return True
        if state.used[lane, k] >= source.entry.shape[2]:
            return False
        _enter(words, cost, source, state, tally, lane, replica, k)


@compiled
def _enter(
    words: Words, cost: Cost, source: Source, state: State, tally: Tally, lane: int, replica: int, k: int
) -> None:
    """A kernel entry looks at the note, and flushes fully if another CPU posted since the last look."""
    entered = state.entry[lane, k]
    end = max(entered, state.free[lane, 0]) + _service(words, cost, source, state, lane, k, 0)
    posted = state.other[lane, 0] if k == state.poster[lane, 0] else state.latest[lane, 0]
    found = posted > state.looked[lane, k]
    state.looked[lane, k] = state.free[lane, 0] = end
    state.owner[lane, 0] = k
    length = end - entered + (cost.flush_all if found else 0.0)
    tally.entries[lane] += 1
    tally.entry_ns[lane] += length
    tally.entry_flushes[lane] += found
    tally.refills[lane] += found
    if k < words.flushers:
        delay = length + (cost.refill if found else 0.0)
        state.arrival[lane, k] += delay
        if state.start[lane, k] > entered:  # else between the begin of its flush event and the line
            state.start[lane, k] += delay
        play_again(state.first, state.first_arrival, lane, k, state.arrival[lane, k])
    _next_entry(cost, source, state, lane, replica, k, entered + length)


@compiled
def _visit(
    words: Words, cost: Cost, source: Source, state: State, tally: Tally, lane: int, replica: int, k: int
) -> tuple[float, float]:
    """One flush event: its length, and for how long another busy CPU could use the old mapping."""
    arrival, began, kind = state.arrival[lane, k], state.start[lane, k], state.kind[lane, k]
    # cpumask_or(), or the fabric: one CPU at a time
    grant = max(arrival, state.free[lane, 0]) if words.shared else arrival
    end = grant + _service(words, cost, source, state, lane, k, kind)
    state.free[lane, 0], state.owner[lane, 0] = end, k
    tally.queue_ns[lane] += grant - arrival
    wait, window = end - began, nan
    if words.hardware:
        window = max(wait - source.bookkeeping_ns[lane, kind], 0.0)  # where rounding leaves less than nothing
    if words.looking:
        state.entry[lane, k] = max(state.entry[lane, k], end)
        play_again(state.first_looker, state.first_entry, lane, k, state.entry[lane, k])
        if k != state.poster[lane, 0]:
            state.other[lane, 0] = state.latest[lane, 0]
        state.latest[lane, 0], state.poster[lane, 0] = end, k
    full = source.full[lane, kind]
    if words.hardware and full:
        _refill_all(words, cost, state, tally, lane, k, end)
    compute, next_kind = draw(source, replica, lane, k)
    misses = 0.0
    if words.flushes:
        refill = full or state.refills_next[lane, k]
        state.refills_next[lane, k] = False
        tally.refills[lane] += refill
        tally.range_misses[lane] += not (refill or words.hardware)
        misses = cost.refill if refill else 0.0 if words.hardware else cost.user_refill
    _compute(words, source, state, lane, k, end + compute + misses, next_kind)
    return wait, window


@compiled
def _refill_all(words: Words, cost: Cost, state: State, tally: Tally, lane: int, sender: int, end: float) -> None:
    """A whole-TLB broadcast empties every busy CPU's TLB: compute in progress grows, else the next one, once."""
    tally.refills[lane] += words.busy - words.flushers
    for k in range(words.flushers):
        if k == sender:
            continue
        if state.start[lane, k] > end:
            tally.refills[lane] += 1
            state.start[lane, k] += cost.refill
            state.arrival[lane, k] += cost.refill
            play_again(state.first, state.first_arrival, lane, k, state.arrival[lane, k])
        else:
            state.refills_next[lane, k] = True
