"""The exact simulation of a broadcast by interrupts: one event per request.

Kernel: kernel/smp.c  on_each_cpu(), smp_call_function_many(), llist_add(), csd_lock_wait(),
        generic_smp_call_function_single_interrupt(), flush_smp_call_function_queue(); arch/x86/mm/tlb.c
Ref:    docs/model.md

A CPU has at most two future events: the end of its own work, and its next interrupt or handler run. No event ever moves
to an earlier time, since handler runs, refills and disabled interrupts only delay. So work that comes up before the
`work_end` of its CPU is scheduled again, and no event is ever cancelled. Ties go to the lowest CPU; on one CPU the
handler run comes before work. Times are absolute and in ns.

A request is a few transfers of cache lines (`sim/cache_lines.py`). Senders and the target take the line of the target's
call_single_queue one at a time, in order of arrival. CPUs that increment the generation of an address space, and
handlers without a copy of it, take the line of the generation in the same way.

Most events are requests, and most of these end in the order in which they begin, so CPUs at a request are in a ring
and all other events are in knock-outs (`queues.py`).
"""

from collections.abc import Mapping
from math import inf, nan

import numpy as np

from sim.cache_lines import distances, line_times_ns
from sim.counts import Record, Records
from sim.events import FlushEvents
from sim.machine.compiled.cpus import (
    COMPUTE,
    CPU,
    ENQUEUE,
    IDLE,
    INTERRUPT,
    LOCK_OF,
    NOTHING,
    REQUEST,
    RETURN,
    SEND,
    SENDER,
    STATE,
    Cost,
    Lane,
    Words,
    miss,
    set_work,
)
from sim.machine.compiled.jit import compiled, entry
from sim.machine.compiled.lane import (
    ENOUGH,
    NEVER,
    SHORT_OF_EVENTS,
    SHORT_OF_INTERRUPTS,
    Drawn,
    Machine,
    costs_of,
    draw,
    end_of_event,
    records,
)
from sim.machine.compiled.queues import knockout, leave, play_again, ring
from sim.machine.compiled.smp import csd_lock, csd_lock_wait, enqueue, finish, llist_add, prepare, take, window
from sim.policy import Done, Local, Policy, Run, Targets
from sim.preemption import away
from sim.topology import Shape

WINDOWS = 8192  # most windows of isolated CPUs that are kept


def broadcast(
    shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, events: FlushEvents, locks: bool = False
) -> Machine:
    """`cost` has the parameters that the policy reads, each [lane]; `events` draws the flush events.

    With `locks`, operations take locks; with a policy without interrupts they do nothing else.
    """
    words = _words_of(shape, policy, events, locks)
    lanes, f, cpus = len(events.replica_row), shape.senders, words.reachable
    away_share, away_ns = away(shape, cost, policy, lanes, cpus)
    of_sockets = shape.sockets if words.lock_sockets else 1
    costs, line_ns, apart = costs_of(Cost, cost, lanes), line_times_ns(shape, cost), distances(shape)
    states = records(STATE, lanes, now=NEVER)
    with_sibling, busy_sibling = shape.with_sibling(cpus), np.zeros(cpus, dtype=bool)
    busy_sibling[: shape.busy] = shape.with_sibling(shape.busy)

    def new_lane(draws: Drawn, counts: Record, number: int) -> Lane:
        slow, slow_sender = (np.where(some, cost["smt_slowdown"][number], 1.0) for some in (with_sibling, busy_sibling))
        idle = {"phase": IDLE, "work_end": inf, "to_take": INTERRUPT, "dropped": NOTHING, "ran": NEVER}
        return Lane(
            words=words,
            cost=costs[number],
            draws=draws,
            counts=counts,
            state=states[number],
            cpus=records(
                CPU,
                cpus,
                **idle,
                slow=slow,
                slow_sender=slow_sender,
                socket=shape.socket[:cpus],
                queue_owner=np.arange(cpus),
                queue_free=NEVER,
                away_share=away_share[number],
                away=away_ns[number],
            ),
            senders=records(SENDER, f, waits_for=-1, request=np.arange(f)),
            requests=records(REQUEST, 2 * f if words.no_wait else f, watched=-1),
            queue=np.zeros((cpus, f), dtype=np.uint16),
            done=np.full((f, cpus), NEVER),
            marked=np.zeros((f, cpus), dtype=np.uint16),
            locks=records(LOCK_OF, of_sockets + 1, free=NEVER, owner=-1),
            waiting=np.zeros((of_sockets + 1, f if policy.mutex or locks else 1), dtype=np.int64),
            windows=np.full(WINDOWS if shape.isolated else 1, nan),
            work=knockout(f),
            takes=knockout(cpus),
            at_request=ring(f),
            apart=apart,
            line=line_ns[number],
        )

    return Machine(serve_broadcast, new_lane, events, _compute_end, _windows_isolated)


def _words_of(shape: Shape, policy: Policy, events: FlushEvents, locks: bool) -> Words:
    """The fields of the policy and the locks that the loop needs."""
    return Words(
        reachable=shape.busy if policy.targets is Targets.OTHER_BUSY else shape.cores,
        busy=shape.busy,
        senders=shape.senders,
        reach=shape.reach,
        local_first=policy.local is Local.FIRST,
        local_after_sends=policy.local is Local.AFTER_SENDS,
        local_after_acks=policy.local is Local.AFTER_ACKS,
        first_fully=policy.run is Run.FIRST_FULLY,
        nothing=policy.run is Run.NOTHING,
        catch_up=policy.run.catches_up,
        reads=policy.run is Run.CATCH_UP_READING,
        run_begun=policy.done is Done.RUN_BEGUN,
        no_wait=policy.done is Done.SENT,
        mutex=policy.mutex,
        preempts=events.preemption.any,
        marks=events.preemption.any and policy.targets.marks,
        user_mode=policy.targets.looks_for_user_mode,
        isolated=shape.busy - shape.isolated,
        locks=locks,
        lock_sockets=locks and shape.lock_per == "socket",
        lock_irqs_off=locks and shape.lock_irqs == "off",
        no_flush=locks and not policy.targets.interrupts,
    )


def _compute_end(lane: Lane) -> np.ndarray:
    """The begin of the next flush event of each sender, [cpu]; NEVER for a CPU in a flush event."""
    senders = lane.cpus[: len(lane.senders)]
    return np.where(senders.phase == COMPUTE, senders.work_end, NEVER)


def _windows_isolated(lane: Lane) -> np.ndarray:
    """The last windows of isolated CPUs."""
    return lane.windows[: int(lane.counts.windows_isolated)]


@entry
def serve_broadcast(lane: Lane, waits: np.ndarray, windows: np.ndarray, batches: Records, row: int) -> tuple[int, int]:
    """Serve flush events of a lane from `row` on; return the next row, and which draws are missing first, if any.

    The counts are copied at the end of each batch of equal length.
    """
    words, cpus, draws = lane.words, lane.cpus, lane.draws
    if not lane.state.begun and len(waits):
        _begin(lane)
    while row < len(waits):
        k, now, requests = _first_work(lane)
        if lane.takes[1].due < now or (lane.takes[1].due == now and lane.takes[1].cpu <= k):
            take(lane, lane.takes[1].cpu, lane.takes[1].due)
            continue
        if requests:
            leave(lane.at_request, lane.state)
        phase, end = cpus[k].phase, cpus[k].work_end
        if end > now:  # a handler run delayed it
            set_work(lane, k, phase, end)
            continue
        if phase == ENQUEUE:
            phase, end = llist_add(lane, k, now)
        elif phase >= SEND:
            phase, end = csd_lock_wait(lane, k, now)
            if phase == RETURN:
                end = finish(lane, k, now)
                waits[row], windows[row] = end - lane.senders[k].began, window(lane, k)
                row = end_of_event(lane.counts, batches, len(waits), row)
                lane.state.now = now
        elif phase == RETURN:
            if draws.used[k] >= draws.compute.shape[1]:
                return row, SHORT_OF_EVENTS
            if words.preempts and lane.state.most + words.senders > draws.held.shape[1]:  # one for each sender
                return row, SHORT_OF_INTERRUPTS
            compute, lane.senders[k].kind = draw(draws, k)
            phase, end = COMPUTE, now + compute + miss(lane, cpus[k].dropped)
            cpus[k].dropped = NOTHING
        else:
            phase, end = prepare(lane, k, now)
        if words.no_wait and phase == ENQUEUE:
            phase, end = csd_lock(lane, k, end)
        if phase == ENQUEUE:
            enqueue(lane, k, end)
            if not requests:
                play_again(lane.work, k, inf)
        else:
            set_work(lane, k, phase, end)
    return row, ENOUGH


@compiled
def _first_work(lane: Lane) -> tuple[int, float, bool]:
    """The CPU with the first work, the time of that, and whether the CPU is at a request."""
    k, now = lane.work[1].cpu, lane.work[1].due
    first = lane.at_request[lane.state.first]
    if first.due < now or (first.due == now and first.cpu < k):
        return first.cpu, first.due, True
    return k, now, False


@compiled
def _begin(lane: Lane) -> None:
    """All busy CPUs begin to compute, senders until their first flush event."""
    lane.state.begun = True
    for k in range(lane.words.busy):
        lane.cpus[k].phase = COMPUTE
    for k in range(lane.words.senders):
        compute, lane.senders[k].kind = draw(lane.draws, k)
        set_work(lane, k, COMPUTE, compute)
