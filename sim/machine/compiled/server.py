"""One server that CPUs visit one at a time: the cache line of a mask, or a broadcast fabric; simulated CPU by CPU.

A contended line goes to the waiters of its owner's cluster, in order of arrival, and after `line_burst` turns in a row
inside one cluster to the longest waiter. Kernel entries take the line in order of arrival, as all visits to the fabric.

Kernel: arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): local flush, then cpumask_or(&pending_xpfo_flush, ...)  (v8)
Ref:    arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

`sim/machine/vectorized/server.py` simulates the same for all lanes at once, and gives the same bits. Times are absolute
and in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan
from typing import NamedTuple

import numpy as np

from sim.cache_lines import distances, flags_ns, line_times_ns
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
from sim.policy import Line, Local, Policy, Targets
from sim.topology import Shape


class Words(NamedTuple):
    """Fields of the machine's shape and the policy, the same in all lanes of a group."""

    busy: int
    flushers: int
    clusters: int  # place of the winner of the first cluster in the knock-out of arrivals
    hardware: bool  # the server is a broadcast fabric
    shared: bool  # the server takes one CPU at a time
    per_cpu: bool  # the sender reads a flag of every other CPU
    local_first: bool  # local flush before the marks
    flushes: bool  # the flush event flushes the TLB of its sender
    checks: bool  # kernel entries check the mark


class Cost(NamedTuple):
    """The costs of one lane."""

    burst: float  # turns in a row of the line inside one cluster; 0: in order of arrival
    broadcast: float
    broadcast_page: float
    broadcast_all: float
    broadcast_per_waiter: float
    broadcast_repeats: float
    leave: float  # exit to the hypervisor and back, before a broadcast
    flush_all: float
    refill: float
    user_refill: float


STATE = np.dtype([
    ("now", np.float64), ("begun", np.bool_),
    ("owner", np.int64), ("free", np.float64),  # last visitor of the server, and end of that visit
    ("turns", np.int64),  # visits in a row inside one cluster
    ("latest", np.float64),  # end of the latest mark
    ("marker", np.int64),  # CPU of the latest mark
    ("other", np.float64),  # end of the latest mark by another CPU
])  # fmt: skip
SENDER = np.dtype([  # the next flush event of a sender
    ("kind", np.int64), ("start", np.float64),
    ("arrival", np.float64),  # at the server
    ("refills_next", np.bool_),  # flushed by another CPU during a flush event, so the next compute refills
])  # fmt: skip
CHECKER = np.dtype([  # the checks of a busy CPU at kernel entries
    ("entry", np.float64), ("gap", np.float64),  # next kernel entry; mean time between entries
    ("used", np.int64),  # draws of entries used
    ("checked", np.float64),  # last check
])  # fmt: skip


class Lane(NamedTuple):
    """One lane."""

    words: Words
    cost: Cost
    draws: Drawn
    counts: Record
    state: Record
    senders: Records
    checkers: Records  # empty if kernel entries do not check
    arrivals: Records  # knock-out of arrivals at the server, cluster by cluster
    entries: Records  # knock-out of kernel entries
    places: np.ndarray  # place of each sender in `arrivals`, [cpu]
    cluster: np.ndarray  # [cpu]
    apart: np.ndarray  # distances between CPUs, [cpu, cpu] of SAME to CROSS in `sim/cache_lines.py`
    line: np.ndarray  # time of a transfer over each of these distances, [distance]
    flags: np.ndarray  # time to read the flags of all other CPUs, in ns, [cpu]; empty without flags


def server(shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, events: FlushEvents) -> Machine:
    """`cost` has the parameters that the policy reads, each [lane]; `events` draws flush events and kernel entries."""
    hardware, line = policy.targets is Targets.HARDWARE, policy.mark.line if policy.mark else None
    lanes, checkers = len(events.replica_row), shape.busy if events.checking else 0
    tree, places, clusters = by_group(shape.cluster, shape.flushers)
    words = Words(
        busy=shape.busy,
        flushers=shape.flushers,
        clusters=clusters,
        hardware=hardware,
        shared=hardware or line is Line.GLOBAL,
        per_cpu=line is Line.PER_CPU,
        local_first=policy.local is Local.FIRST,
        flushes=hardware or policy.local is not Local.NEVER,
        checks=events.checking,
    )
    on_a_line, nothing = line is Line.GLOBAL, np.zeros(lanes)
    gap = by_class(shape, cost, lanes, "kernel_entries_per_s", "isolated_entries_per_s")
    leave = cost["exit_ns"] if hardware and shape.delivery != "apic" else nothing
    costs = costs_of(Cost, cost, lanes, leave=leave, burst=cost["line_burst"] if on_a_line else nothing)
    line_ns = line_times_ns(shape, cost) if on_a_line else np.empty((lanes, 0))
    flags = flags_ns(shape, cost).T.copy() if line is Line.PER_CPU else np.empty((lanes, 0))
    apart = distances(shape) if on_a_line else np.empty((0, 0), dtype=np.uint8)
    states = records(STATE, lanes, now=NEVER, latest=NEVER, other=NEVER)

    def new_lane(draws: Drawn, counts: Record, number: int) -> Lane:
        return Lane(
            words=words,
            cost=costs[number],
            draws=draws,
            counts=counts,
            state=states[number],
            senders=records(SENDER, shape.flushers),
            checkers=records(CHECKER, checkers, checked=NEVER, gap=gap[number, :checkers]),
            arrivals=tree.copy(),
            entries=knockout(checkers),
            places=places,
            cluster=shape.cluster,
            apart=apart,
            line=line_ns[number],
            flags=flags[number],
        )

    return Machine(serve_server, new_lane, events, lambda lane: lane.senders.start)


def by_class(shape: Shape, cost: Mapping[str, np.ndarray], lanes: int, housekeeping: str, isolated: str) -> np.ndarray:
    """The mean time between checks of a busy CPU, in ns, [lane, cpu]; both names are names of rates."""
    gap = np.empty((lanes, shape.busy))
    first = shape.busy - shape.isolated
    for members, name in ((slice(0, first), housekeeping), (slice(first, None), isolated)):
        gap[:, members] = gaps_ns(cost.get(name, np.zeros(lanes)))[:, None]
    return gap


def gaps_ns(per_s: np.ndarray) -> np.ndarray:
    """The mean time between events at this rate; infinite for a rate of 0."""
    return np.divide(1e9, per_s, out=np.full(len(per_s), inf), where=per_s > 0.0)


@entry
def serve_server(lane: Lane, waits: np.ndarray, windows: np.ndarray, batches: Records, row: int) -> tuple[int, int]:
    """Serve flush events of a lane from `row` on; return the next row, and which draws are missing first, if any.

    The counts are copied at the end of each batch of equal length.
    """
    if not lane.state.begun and len(waits):
        _begin(lane)
    while row < len(waits):
        if lane.words.checks and not _serve_entries(lane):
            return row, SHORT_OF_ENTRIES
        sender = next_in_line(lane)
        if lane.draws.used[sender] >= lane.draws.compute.shape[1]:
            return row, SHORT_OF_EVENTS
        waits[row], windows[row] = _visit(lane, sender)
        row = end_of_event(lane.counts, batches, len(waits), row)
    return row, ENOUGH


@compiled
def _begin(lane: Lane) -> None:
    """Schedule the first flush event and the first kernel entry of every CPU."""
    lane.state.begun = True
    for k in range(lane.words.flushers):
        compute, kind = draw(lane.draws, k)
        _compute(lane, k, compute, kind)
    for k in range(len(lane.checkers)):
        _next_entry(lane, k, 0.0)


@compiled
def _compute(lane: Lane, k: int, until: float, kind: int) -> None:
    """CPU k runs user code until its next flush event."""
    sender, costs = lane.senders[k], lane.draws.kinds[kind]
    work = costs.bookkeeping + lane.cost.leave
    if lane.words.local_first:  # local flush
        work = work + costs.local
    sender.start, sender.arrival, sender.kind = until, until + work, kind
    play_at(lane.arrivals, lane.places[k], k, sender.arrival)


@compiled
def next_in_line(lane: Lane) -> int:
    """The next visitor of the server: a waiter of the owner's cluster during its turns, else the first to arrive."""
    state, first = lane.state, lane.arrivals[1].cpu  # ties go to the lowest CPU
    near = lane.arrivals[lane.words.clusters + lane.cluster[state.owner]]
    return near.cpu if near.due <= state.free and state.turns < lane.cost.burst else first


@compiled
def _own(lane: Lane, k: int, end: float) -> None:
    """CPU k has visited the server."""
    state = lane.state
    again = lane.cluster[k] == lane.cluster[state.owner] and state.turns < lane.cost.burst
    state.turns = state.turns + 1 if again else 1
    state.free, state.owner = end, k


@compiled
def _next_entry(lane: Lane, k: int, after: float) -> None:
    """Schedule the next kernel entry of CPU k."""
    checker = lane.checkers[k]
    checker.entry = after + lane.draws.entry[k, checker.used] * checker.gap
    checker.used += 1
    play_again(lane.entries, k, checker.entry)


@compiled
def _service(lane: Lane, k: int, kind: int) -> float:
    """The service time of CPU k."""
    words, cost = lane.words, lane.cost
    if words.hardware:
        once = cost.broadcast_all
        if not lane.draws.kinds[kind].full:
            once = cost.broadcast + lane.draws.kinds[kind].pages * cost.broadcast_page
        return once * cost.broadcast_repeats * _slower(lane, k)
    if words.shared:
        return lane.line[lane.apart[lane.state.owner, k]]
    return lane.flags[k] if words.per_cpu else 0.0


@compiled
def _slower(lane: Lane, k: int) -> float:
    """The factor by which waiters behind CPU k lengthen its broadcast."""
    per_waiter, waiters = lane.cost.broadcast_per_waiter, 0
    if per_waiter > 0.0:
        grant = max(lane.senders[k].arrival, lane.state.free)
        for other in range(lane.words.flushers):
            waiters += lane.senders[other].arrival <= grant
        waiters -= 1
    return 1.0 + per_waiter * waiters


@compiled
def _serve_entries(lane: Lane) -> bool:
    """Serve the kernel entries before the next mark; return whether there were draws for all of them."""
    while True:
        k = lane.entries[1].cpu
        if lane.checkers[k].entry >= lane.arrivals[1].due:
            return True
        if lane.checkers[k].used >= lane.draws.entry.shape[1]:
            return False
        _enter(lane, k)


@compiled
def _enter(lane: Lane, k: int) -> None:
    """A kernel entry checks the mark, and flushes fully if another CPU has marked it since the last check."""
    state, checker, cost, counts = lane.state, lane.checkers[k], lane.cost, lane.counts
    entered = checker.entry
    end = max(entered, state.free) + _service(lane, k, 0)
    marked = state.other if k == state.marker else state.latest
    found = marked > checker.checked
    checker.checked = end
    _own(lane, k, end)
    length = end - entered + (cost.flush_all if found else 0.0)
    counts.entries += 1
    counts.entry_ns += length
    counts.entry_flushes += found
    counts.refills += found
    if k < lane.words.flushers:
        sender = lane.senders[k]
        delay = length + (cost.refill if found else 0.0)
        sender.arrival += delay
        if sender.start > entered:  # else the CPU is in its flush event, before the line
            sender.start += delay
        play_at(lane.arrivals, lane.places[k], k, sender.arrival)
    _next_entry(lane, k, entered + length)


@compiled
def _visit(lane: Lane, k: int) -> tuple[float, float]:
    """Serve one flush event; return its length, and the stale window of another busy CPU."""
    words, state, cost, sender = lane.words, lane.state, lane.cost, lane.senders[k]
    arrival, began, kind = sender.arrival, sender.start, sender.kind
    # cpumask_or(), or the fabric: one CPU at a time
    grant = max(arrival, state.free) if words.shared else arrival
    end = grant + _service(lane, k, kind)
    _own(lane, k, end)
    state.now = grant
    lane.counts.queue_ns += grant - arrival
    wait, window, full = end - began, nan, lane.draws.kinds[kind].full
    if words.hardware:
        window = max(wait - lane.draws.kinds[kind].bookkeeping, 0.0)  # where rounding leaves less than nothing
        if full:
            _refill_all(lane, k, end)
    if words.checks:
        _mark(lane, k, end)
    compute, next_kind = draw(lane.draws, k)
    misses = 0.0
    if words.flushes:
        refill = full or sender.refills_next
        sender.refills_next = False
        lane.counts.refills += refill
        lane.counts.range_misses += not (refill or words.hardware)
        misses = cost.refill if refill else 0.0 if words.hardware else cost.user_refill
    _compute(lane, k, end + compute + misses, next_kind)
    return wait, window


@compiled
def _mark(lane: Lane, k: int, end: float) -> None:
    """Keep a mark for the checks at kernel entries; the next kernel entry of its CPU is after the mark."""
    state, checker = lane.state, lane.checkers[k]
    checker.entry = max(checker.entry, end)
    play_again(lane.entries, k, checker.entry)
    if k != state.marker:
        state.other = state.latest
    state.latest, state.marker = end, k


@compiled
def _refill_all(lane: Lane, k: int, end: float) -> None:
    """A broadcast of a full flush empties the TLB of every busy CPU, and lengthens its current or next compute once."""
    lane.counts.refills += lane.words.busy - lane.words.flushers
    for other in range(lane.words.flushers):
        sender = lane.senders[other]
        if other == k:
            continue
        if sender.start > end:
            lane.counts.refills += 1
            sender.start += lane.cost.refill
            sender.arrival += lane.cost.refill
            play_at(lane.arrivals, lane.places[other], other, sender.arrival)
        else:
            sender.refills_next = True
