"""Marks and hardware broadcasts: the loop over visits to cache lines or to a broadcast fabric, CPU by CPU.

Kernel entries check a mark in order of arrival, and flush if it is pending. `coherence.py` has the visits to lines that
CPUs read before they write.

Kernel: arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(): local flush, then cpumask_or(&pending_xpfo_flush, ...)  (v8)
Ref:    arm64 TLBI ... IS with DSB ISH, AMD INVLPGB with TLBSYNC: one broadcast at a time, the sender waits

`sim/machine/vectorized/` simulates the same for all lanes at once, and gives the same bits. Times are absolute and in
ns.
"""

from collections.abc import Mapping
from math import inf, nan

import numpy as np

from sim.cache_lines import distances, flags_ns, line_times_ns
from sim.counts import Record, Records
from sim.events import FlushEvents
from sim.machine.compiled.coherence import check_line, visit_next_line
from sim.machine.compiled.jit import compiled, entry
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
)  # fmt: skip
from sim.machine.compiled.queues import by_group, knockout
from sim.machine.compiled.visits import (
    CHECKER,
    LINE,
    SENDER,
    STATE,
    Cost,
    Lane,
    Words,
    arrive,
    draw_check,
    next_in_line,
    own,
    schedule_check,
    transfer,
)  # fmt: skip
from sim.policy import Line, Local, Policy, Targets
from sim.topology import Shape


def server(shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, events: FlushEvents) -> Machine:
    """`cost` has the parameters that the policy reads, each [lane]; `events` draws flush events and checks."""
    hardware, line = policy.targets is Targets.HARDWARE, policy.mark.line if policy.mark else None
    on_a_line = line in (Line.GLOBAL, Line.NODE)
    lanes, checkers = len(events.replica_row), shape.busy if events.checking else 0
    tree, places, clusters = by_group(shape.cluster, shape.senders)
    words = Words(
        busy=shape.busy,
        senders=shape.senders,
        lines=shape.sockets if line is Line.NODE else 1,
        clusters=clusters,
        reads_line=policy.reads_line,
        hardware=hardware,
        shared=hardware or on_a_line,
        per_cpu=line is Line.PER_CPU,
        local_first=policy.local is Local.FIRST,
    )
    nothing = np.zeros(lanes)
    costs = costs_of(
        Cost,
        cost,
        lanes,
        leave=cost["exit_ns"] if hardware and shape.delivery != "apic" else nothing,
        line_burst=cost["line_burst"] if on_a_line else nothing,
    )
    line_ns = line_times_ns(shape, cost) if on_a_line else np.empty((lanes, 0))
    flags = flags_ns(shape, cost).T.copy() if words.per_cpu else np.empty((lanes, 0))
    apart = distances(shape) if on_a_line else np.broadcast_to(np.uint8(0), (0, 0))  # read-only too: one type
    gap = _gaps_ns(shape, cost, lanes, "checks_per_s" if words.reads_line else "entries_per_s")
    states = records(STATE, lanes, now=NEVER, latest=NEVER, other=NEVER)
    own_line = shape.socket % words.lines
    clear = np.bincount(own_line, minlength=words.lines)  # no CPU is marked yet

    def new_lane(draws: Drawn, counts: Record, number: int) -> Lane:
        return Lane(
            words=words,
            cost=costs[number],
            draws=draws,
            counts=counts,
            state=states[number],
            senders=records(SENDER, shape.senders, place=places),
            checkers=records(
                CHECKER, checkers, line=own_line[:checkers], check=inf, checked=NEVER, gap=gap[number, :checkers]
            ),
            lines=records(LINE, words.lines, clear=clear),
            copies=np.full((words.lines, shape.busy if words.reads_line else 0), -1),
            arrivals=tree.copy(),
            checks=knockout(checkers),
            cluster=shape.cluster.astype(np.uint32),
            apart=apart,
            line=line_ns[number],
            flags=flags[number],
        )

    return Machine(serve_server, new_lane, events, lambda lane: lane.senders.start)


def _gaps_ns(shape: Shape, cost: Mapping[str, np.ndarray], lanes: int, name: str) -> np.ndarray:
    """The mean time between checks of a busy CPU, in ns, [lane, cpu]; infinite without checks."""
    per_s, first_isolated = np.zeros((lanes, shape.busy)), shape.busy - shape.isolated
    housekeeping = name if name == "checks_per_s" else f"kernel_{name}"
    per_s[:, :first_isolated] = cost.get(housekeeping, np.zeros(lanes))[:, None]
    per_s[:, first_isolated:] = cost.get(f"isolated_{name}", np.zeros(lanes))[:, None]
    return np.divide(1e9, per_s, out=np.full_like(per_s, inf), where=per_s > 0.0)


@entry
def serve_server(lane: Lane, waits: np.ndarray, windows: np.ndarray, batches: Records, row: int) -> tuple[int, int]:
    """Serve flush events of a lane from `row` on; return the next row, and which draws are missing first, if any.

    The counts are copied at the end of each batch of equal length.
    """
    if not lane.state.begun and len(waits):
        _begin(lane)
    while row < len(waits):
        if lane.state.most >= lane.draws.entry.shape[1]:
            return row, SHORT_OF_ENTRIES
        if lane.checks[1].due < lane.arrivals[1].due:
            _check(lane, lane.checks[1].cpu)
            continue
        k = next_in_line(lane)
        if lane.draws.used[k] >= lane.draws.compute.shape[1]:
            return row, SHORT_OF_EVENTS
        if lane.words.reads_line:
            end = visit_next_line(lane, k)
            if lane.senders[k].stage < 2 * lane.words.lines:
                arrive(lane, k, end)
                continue
        else:
            end = _mark_or_broadcast(lane, k)
        waits[row], windows[row] = end - lane.senders[k].start, nan
        if lane.words.hardware:  # 0 where rounding leaves less than nothing
            windows[row] = max(waits[row] - lane.draws.kinds[lane.senders[k].kind].bookkeeping, 0.0)
        _return(lane, k, end)
        row = end_of_event(lane.counts, batches, len(waits), row)
    return row, ENOUGH


@compiled
def _begin(lane: Lane) -> None:
    """Schedule the first flush event and the first kernel entry of every CPU."""
    lane.state.begun = True
    for k in range(lane.words.senders):
        compute, kind = draw(lane.draws, k)
        _compute(lane, k, compute, kind)
    if not lane.words.reads_line:
        for k in range(len(lane.checkers)):
            draw_check(lane, k, 0.0)


@compiled
def _compute(lane: Lane, k: int, until: float, kind: int) -> None:
    """CPU k runs user code until its next flush event."""
    sender, costs = lane.senders[k], lane.draws.kinds[kind]
    work = costs.bookkeeping + lane.cost.leave
    if lane.words.local_first:  # local flush
        work = work + costs.local
    sender.start, sender.kind, sender.stage = until, kind, 0
    arrive(lane, k, until + work)


@compiled
def _return(lane: Lane, k: int, end: float) -> None:
    """The flush event of CPU k ends; misses after a flush lengthen the next compute."""
    words, cost, sender, misses = lane.words, lane.cost, lane.senders[k], 0.0
    if words.hardware or words.local_first:
        refill = lane.draws.kinds[sender.kind].full or sender.refills_next
        sender.refills_next = False
        lane.counts.refills += refill
        lane.counts.range_misses += not (refill or words.hardware)
        misses = cost.refill if refill else 0.0 if words.hardware else cost.user_refill
    compute, kind = draw(lane.draws, k)
    _compute(lane, k, end + compute + misses, kind)


@compiled
def _mark_or_broadcast(lane: Lane, k: int) -> float:
    """CPU k marks the other CPUs, or broadcasts its flush; return the end."""
    state, arrival, kind = lane.state, lane.senders[k].arrival, lane.senders[k].kind
    # cpumask_or(), or the fabric: one CPU at a time
    grant = max(arrival, lane.lines[0].free) if lane.words.shared else arrival
    end = grant + _service(lane, k, kind)
    own(lane, 0, k, end)
    state.now = grant
    lane.counts.queue_ns += grant - arrival
    if lane.words.hardware and lane.draws.kinds[kind].full:
        _refill_all(lane, k, end)
    if len(lane.checkers):  # the next kernel entry of this CPU is after the mark
        schedule_check(lane, k, max(lane.checkers[k].check, end))
        if k != state.marker:
            state.other = state.latest
        state.latest, state.marker = end, k
    return end


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
        return transfer(lane, 0, k)
    return lane.flags[k] if words.per_cpu else 0.0


@compiled
def _slower(lane: Lane, k: int) -> float:
    """The factor by which waiters behind CPU k lengthen its broadcast."""
    per_waiter, waiters = lane.cost.broadcast_per_waiter, 0
    if per_waiter > 0.0:
        grant = max(lane.senders[k].arrival, lane.lines[0].free)
        for other in range(lane.words.senders):
            waiters += lane.senders[other].arrival <= grant
        waiters -= 1
    return 1.0 + per_waiter * waiters


@compiled
def _check(lane: Lane, k: int) -> None:
    """A check of CPU k: of a line with copies, or at a kernel entry."""
    if lane.words.reads_line:
        check_line(lane, k)
    else:
        _enter(lane, k)


@compiled
def _enter(lane: Lane, k: int) -> None:
    """A kernel entry checks the mark, and flushes fully if another CPU has marked it since the last check."""
    state, checker, cost, counts = lane.state, lane.checkers[k], lane.cost, lane.counts
    entered = checker.check
    end = max(entered, lane.lines[0].free) + transfer(lane, 0, k)
    found = (state.other if k == state.marker else state.latest) > checker.checked
    checker.checked = end
    own(lane, 0, k, end)
    length = end - entered + (cost.flush_all if found else 0.0)
    counts.entries += 1
    counts.entry_ns += length
    counts.entry_flushes += found
    counts.refills += found
    if k < lane.words.senders:
        _delay(lane, k, entered, length + (cost.refill if found else 0.0))
    draw_check(lane, k, entered + length)


@compiled
def _refill_all(lane: Lane, k: int, end: float) -> None:
    """A broadcast of a full flush empties the TLB of every busy CPU, and lengthens its current or next compute once."""
    lane.counts.refills += lane.words.busy - lane.words.senders
    for other in range(lane.words.senders):
        if other == k:
            continue
        if lane.senders[other].start > end:
            lane.counts.refills += 1
            _delay(lane, other, end, lane.cost.refill)
        else:
            lane.senders[other].refills_next = True


@compiled
def _delay(lane: Lane, k: int, now: float, length: float) -> None:
    """Delay the next flush event of CPU k, or its arrival at the line if it is in its flush event already."""
    sender = lane.senders[k]
    if sender.start > now:
        sender.start += length
    arrive(lane, k, sender.arrival + length)
