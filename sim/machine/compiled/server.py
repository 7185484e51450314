"""One server that CPUs visit one at a time: the cache line of a mask, or a broadcast fabric; one CPU after another.

A line that several CPUs wait for goes to those of its owner's cluster, in order of arrival, and after `line_burst`
turns in a row inside one cluster to the first of all. Kernel entries take it in order of arrival; so does the fabric.

Kernel: arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): local flush, then cpumask_or(&pending_xpfo_flush, ...)  (v8)
Ref:    arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

`sim/machine/vectorized/server.py` says the same for all lanes at once, and gives the same bits. Times are absolute and
in ns.
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
    """What the machine's shape and the policy say, the same in all lanes of a group."""

    busy: int
    flushers: int
    clusters: int  # place of the first cluster's winner in the knock-out of arrivals
    hardware: bool  # the server is a broadcast fabric
    shared: bool  # one CPU at a time
    per_cpu: bool  # every other CPU has a flag of its own, which is read
    local_first: bool  # local flush before anybody is marked
    flushes: bool  # the flush event flushes the CPU that makes it
    checks: bool  # kernel entries check the mark


class Cost(NamedTuple):
    """The costs of one lane."""

    burst: float  # turns of the line in a row inside one cluster; 0: in order of arrival
    broadcast: float
    broadcast_page: float
    broadcast_all: float
    broadcast_per_waiter: float
    broadcast_repeats: float
    leave: float  # for the hypervisor and back, before a broadcast
    flush_all: float
    refill: float
    user_refill: float


STATE = np.dtype([
    ("now", np.float64), ("begun", np.bool_),
    ("owner", np.int64), ("free", np.float64),  # of the server: who visited it last, and when that ended,
    ("turns", np.int64),  # so many times in a row inside one cluster
    ("latest", np.float64),  # end of the latest mark,
    ("marker", np.int64),  # by whom,
    ("other", np.float64),  # and of the latest one by anybody else
])  # fmt: skip
SENDER = np.dtype([  # the flush event to come of a CPU that makes them
    ("kind", np.int64), ("start", np.float64),
    ("arrival", np.float64),  # at the server
    ("refills_next", np.bool_),  # flushed by others while in a flush event: the next compute refills
])  # fmt: skip
CHECKER = np.dtype([  # a busy CPU as it checks the mark on kernel entries
    ("entry", np.float64), ("gap", np.float64),  # next kernel entry; between them, mean
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
    checkers: Records  # none if no kernel entry checks
    arrivals: Records  # knock-out of who arrives at the server next, cluster by cluster,
    entries: Records  # and of whose kernel entry is next
    places: np.ndarray  # of each sender in `arrivals`, [cpu]
    cluster: np.ndarray  # [cpu]
    apart: np.ndarray  # how far CPUs are apart, [cpu, cpu] of SAME to CROSS in `sim/cache_lines.py`,
    line: np.ndarray  # and how long a cache line takes over each of these distances, [distance]
    flags: np.ndarray  # reading every other CPU's flag, in ns, [cpu]; none if there are none


def server(shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, events: FlushEvents) -> Machine:
    """`cost` holds the parameters that the policy reads, each [lane]; `events` draws flush events and entries."""
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
    """The mean time between checks of a busy CPU, in ns, [lane, cpu]; both names are of rates."""
    gap = np.empty((lanes, shape.busy))
    first = shape.busy - shape.isolated
    for members, name in ((slice(0, first), housekeeping), (slice(first, None), isolated)):
        gap[:, members] = gaps_ns(cost.get(name, np.zeros(lanes)))[:, None]
    return gap


def gaps_ns(per_s: np.ndarray) -> np.ndarray:
    """The mean time between things that happen so often; infinite where they never do."""
    return np.divide(1e9, per_s, out=np.full(len(per_s), inf), where=per_s > 0.0)


@entry
def serve_server(lane: Lane, waits: np.ndarray, windows: np.ndarray, batches: Records, row: int) -> tuple[int, int]:
    """Serve flush events of a lane from a row on; the next row, and whether first more has to be drawn of what.

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
    """The first flush event of every CPU, and its first kernel entry."""
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
    """Who visits the server next: a waiter of its owner's cluster, while it is that one's turn, or who came first."""
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
    """The next kernel entry of CPU k, a drawn time later."""
    checker = lane.checkers[k]
    checker.entry = after + lane.draws.entry[k, checker.used] * checker.gap
    checker.used += 1
    play_again(lane.entries, k, checker.entry)


@compiled
def _service(lane: Lane, k: int, kind: int) -> float:
    """How long the server is CPU k's."""
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
    """How many times as long CPU k's broadcast takes for those that wait behind it."""
    per_waiter, waiters = lane.cost.broadcast_per_waiter, 0
    if per_waiter > 0.0:
        grant = max(lane.senders[k].arrival, lane.state.free)
        for other in range(lane.words.flushers):
            waiters += lane.senders[other].arrival <= grant
        waiters -= 1
    return 1.0 + per_waiter * waiters


@compiled
def _serve_entries(lane: Lane) -> bool:
    """The kernel entries that come before the next mark; whether draws were there for all of them."""
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
        if sender.start > entered:  # else between the begin of its flush event and the line
            sender.start += delay
        play_at(lane.arrivals, lane.places[k], k, sender.arrival)
    _next_entry(lane, k, entered + length)


@compiled
def _visit(lane: Lane, k: int) -> tuple[float, float]:
    """One flush event: its length, and for how long another busy CPU could use the old mapping."""
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
    """Remember a mark that kernel entries will check; its CPU enters the kernel after it at the earliest."""
    state, checker = lane.state, lane.checkers[k]
    checker.entry = max(checker.entry, end)
    play_again(lane.entries, k, checker.entry)
    if k != state.marker:
        state.other = state.latest
    state.latest, state.marker = end, k


@compiled
def _refill_all(lane: Lane, k: int, end: float) -> None:
    """A whole-TLB broadcast empties every busy CPU's TLB: compute in progress grows, else the next one, once."""
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
