"""The sender of a broadcast: a flush event, from the bookkeeping to the local flush.

Kernel: kernel/smp.c  on_each_cpu(), smp_call_function_many(), llist_add(), csd_lock_wait(); arch/x86/mm/tlb.c

Each function that the loop calls returns the next phase of the CPU, and the end of that phase.
"""

from __future__ import annotations

from math import inf, nan

from sim.machine.compiled.cpus import (
    BOOKKEEPING,
    COMPUTE,
    ENQUEUE,
    FULL,
    HOLD,
    INTERRUPT,
    LOCK,
    MUTEX,
    NOTHING,
    RANGE,
    READ,
    RETURN,
    RUN_AGAIN,
    SCAN,
    SEND,
    WAIT,
    Lane,
    count_up,
    is_away,
    line_between,
    missed,
    set_take,
    take_queue,
)
from sim.machine.compiled.jit import called, compiled
from sim.machine.compiled.lane import hold
from sim.machine.compiled.lock import acquire, ask, release, sections_due, unlock
from sim.machine.compiled.lock import hold as hold_lock
from sim.machine.compiled.receiver import take_idle
from sim.machine.compiled.ring import join


@compiled
def prepare(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """The phases before the first request: locks, bookkeeping, local flush, mutex, and the walk over the mask."""
    phase = lane.cpus[k].phase
    if phase == COMPUTE:
        return _begin_sections(lane, k, now) if lane.words.locks else _begin_event(lane, k, now)
    if phase == LOCK:
        return hold_lock(lane, k, now)
    if phase == HOLD:
        return _end_section(lane, k, now)
    if phase == BOOKKEEPING:
        now += _begin_flush(lane, k, now)
        if lane.words.local_first:  # local flush, interrupts off
            now += _flush(lane, k, now, now)
            lane.cpus[k].closed_until = now
        if lane.words.mutex:
            now = acquire(lane, len(lane.locks) - 1, k, now)
            if now == inf:
                return MUTEX, inf
        return SCAN, now + lane.cost.mask_scan
    if phase == MUTEX:
        return SCAN, now + lane.cost.mask_scan
    return _first_request(lane, k, now)


@compiled
def _begin_sections(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """The lock sections of an operation begin."""
    sender = lane.senders[k]
    sender.sections_left, sender.asked_first = sections_due(lane, k), now
    return ask(lane, k, now) if sender.sections_left > 0 else _begin_event(lane, k, now)


@compiled
def _end_section(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """A lock section ends; the next one begins, or the flush event."""
    sender = lane.senders[k]
    unlock(lane, k, now)
    sender.sections_left -= 1
    if sender.sections_left > 0:
        return ask(lane, k, now)
    lane.counts.lock_ns += now - sender.asked_first
    return _begin_event(lane, k, now)


@compiled
def _begin_event(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """A flush event begins; without flush events it ends at once."""
    sender = lane.senders[k]
    sender.began = now
    if lane.words.no_flush:
        sender.position = lane.words.reachable
        return SEND, now
    if lane.words.no_wait:
        _next_requests(lane, k, now)
    return BOOKKEEPING, now + lane.draws.kinds[sender.kind].bookkeeping


@compiled
def _first_request(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """smp_call_function_many(): the loop over the targets begins."""
    sender = lane.senders[k]
    sender.marks = 0
    lane.requests[sender.request].flushed = nan
    if not lane.words.no_wait:
        for target in range(lane.words.reachable):
            lane.done[k, target] = inf
    _watch(lane, k)
    first = 1 if k == 0 else 0
    if first >= lane.words.reachable:  # no targets
        return _send(lane, k, now)
    sender.position = first
    return ENQUEUE, now


@compiled
def _next_requests(lane: Lane, k: int, now: float) -> None:
    """The requests of a new flush event; requests of the last event may still be queued, but none of earlier ones."""
    sender = lane.senders[k]
    sender.request = k + lane.words.flushers if sender.request == k else k
    lane.requests[sender.request].marked = now + lane.draws.kinds[sender.kind].bookkeeping


@compiled
def _begin_flush(lane: Lane, k: int, now: float) -> float:
    """Set the request of a flush event; return the time to increment the generation of its address space."""
    sender = lane.senders[k]
    request, kind = lane.requests[sender.request], lane.draws.kinds[sender.kind]
    request.flush = kind.local
    request.drops = FULL if kind.full else RANGE
    if not lane.words.catch_up:
        return 0.0
    counting = count_up(lane, k, now)
    request.generation = lane.state.newest
    return counting


@compiled
def _flush(lane: Lane, k: int, now: float, begin: float) -> float:
    """The local flush that starts at `begin`, with generations as of `now`; return its length."""
    number, cpu = lane.senders[k].request, lane.cpus[k]
    drops, length = lane.requests[number].drops, lane.requests[number].flush
    if lane.words.catch_up:
        drops, reading = missed(lane, k, number, now, begin)
        length = reading + (0.0 if drops == NOTHING else lane.cost.flush_mm if drops == FULL else length)
        if drops != NOTHING:
            cpu.caught_up_at = begin + length
    cpu.dropped = max(cpu.dropped, drops)
    return length


@compiled
def _watch(lane: Lane, k: int) -> None:
    """Watch the stale window of another busy CPU, each one in turn."""
    busy = lane.words.busy
    if busy == 1:
        return
    turn = lane.state.turn + 1
    lane.state.turn = turn if turn < busy - 1 else 0
    watched = k + 1 + lane.state.turn
    lane.requests[lane.senders[k].request].watched = watched if watched < busy else watched - busy


@compiled
def csd_lock(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """csd_lock(): a sender reuses the memory of a request once its last request to that target is done."""
    target = lane.senders[k].position
    done = lane.done[k, target]
    if done <= now:
        lane.done[k, target] = inf
        return ENQUEUE, now
    if done == inf:
        lane.senders[k].waits_for = target
    return WAIT, done


@compiled
def enqueue(lane: Lane, k: int, now: float) -> None:
    """Begin one request. The transfers of its lines begin at the start, so its cost is known then."""
    cost, target = lane.cost, lane.senders[k].position
    own = cost.enqueue_fixed * lane.cpus[k].slow_sender + cost.csd_lines * line_between(lane, target, k)
    cpu = lane.cpus[k]
    cpu.phase, cpu.work_end = ENQUEUE, take_queue(lane, target, k, now) + own
    join(lane.at_request, k, cpu.work_end)


@compiled
def llist_add(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """llist_add(): add the request; a sender that finds the queue empty sends the interrupt.

    A handler run may have taken the queue during the request, so the test is at its end.
    """
    sender = lane.senders[k]
    target = sender.position
    if lane.words.marks and _is_absent(lane, target, now):
        _mark_pending(lane, k, target, now)
    else:
        place, marks = lane.cpus[target].queued, sender.marks
        lane.marked[k, marks] = target  # counts if the queue is empty
        sender.marks = marks + (place == 0)
        lane.queue[target, place] = sender.request
        lane.cpus[target].queued = place + 1
    target += 1
    if target == k:
        target += 1
    if target < lane.words.reachable:
        sender.position = target
        return ENQUEUE, now
    return _send(lane, k, now)


@compiled
def _is_absent(lane: Lane, j: int, now: float) -> bool:
    """Whether CPU j is marked pending, by an earlier mark or by a draw in place of an interrupt.

    A CPU with requests in its queue was not away when the first one came, and takes its interrupt. A CPU in user mode
    enters the kernel at the latest for its own next flush event.
    """
    cpu = lane.cpus[j]
    if cpu.to_take == RUN_AGAIN:
        return True
    if cpu.queued > 0:
        return False
    if lane.words.user_mode and cpu.phase != COMPUTE:
        cpu.ran = now
        return False
    held = hold(lane.draws, j, is_away(lane, j, now - cpu.ran), cpu.away)
    if lane.words.user_mode and j < lane.words.flushers:
        held = min(held, max(cpu.work_end - now, 0.0))
    cpu.ran = now + held
    if held > 0.0:
        set_take(lane, j, RUN_AGAIN, now + held)
    return held > 0.0


@compiled
def _mark_pending(lane: Lane, k: int, j: int, now: float) -> None:
    """kvm_flush_tlb_multi(): the sender does not wait for CPU j, which flushes first when it returns."""
    lane.done[k, j] = now
    lane.counts.marks += 1
    request = lane.requests[lane.senders[k].request]
    if request.watched == j:
        request.flushed = lane.cpus[j].ran + lane.cost.flush_all


@called
def _send(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """arch_send_call_function_ipi_mask(): ICR writes for the marked targets, interrupts off."""
    words, cost, cpus, sender = lane.words, lane.cost, lane.cpus, lane.senders[k]
    room, begun = 0, now
    for place in range(sender.marks):
        target = lane.marked[k, place]
        if room == 0:
            now, room = now + cost.ipi_send, words.reach
        room -= 1
        now += cost.deliver if target < words.busy else cost.wake_send
        near = cpus[target].socket == cpus[k].socket
        interrupt = now + (cost.ipi_latency if near else cost.ipi_latency_cross)
        if words.preempts and not words.marks:
            interrupt += hold(lane.draws, target, cost.held_share, cost.held)
        if target < words.busy:
            set_take(lane, target, INTERRUPT, interrupt)
        else:
            take_idle(lane, target, interrupt)
        if words.isolated <= target < words.busy:
            lane.counts.interrupts_isolated += 1
    lane.counts.interrupts += sender.marks
    if words.local_after_sends:  # local flush
        now += _flush(lane, k, begun, now)
    cpus[k].closed_until = now
    sender.position = 1 if k == 0 else 0
    return SEND, now


@compiled
def csd_lock_wait(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """csd_lock_wait(): read all acks that are set in one step, and wait at the first one that is not.

    One step is exact, since a handler run that interrupts the reads clears no ack. With a policy that does not wait for
    acks, the event ends, or the memory of the next request has become free.
    """
    if lane.words.no_wait:
        return (ENQUEUE if lane.cpus[k].phase == WAIT else RETURN), now
    sender, reachable = lane.senders[k], lane.words.reachable
    target, read = sender.position, now
    while target < reachable and lane.done[k, target] <= read:
        read += lane.cost.ack_lines * line_between(lane, target, k)
        target += 1
        if target == k:
            target += 1
    moved = target != sender.position
    sender.position = target
    if moved:
        return READ, read
    if target >= reachable:
        return RETURN, now
    done = lane.done[k, target]
    if done == inf:
        sender.waits_for = target
    return WAIT, done


@compiled
def finish(lane: Lane, k: int, now: float) -> float:
    """The end of a flush event: local flush with interrupts off, and release of the mutex."""
    if lane.words.local_after_acks:  # local flush
        now += _flush(lane, k, now, now)
        lane.cpus[k].closed_until = now
    if lane.words.mutex:
        release(lane, len(lane.locks) - 1, k, now)
    return now


@compiled
def window(lane: Lane, k: int) -> float:
    """The stale window of the watched CPU; if the sender does not wait, the window of its last event."""
    sender, number = lane.senders[k], k
    if lane.words.busy == 1 or lane.words.no_flush:
        return nan
    if lane.words.no_wait:
        number = k if sender.request != k else k + lane.words.flushers
        length = lane.requests[number].flushed - lane.requests[number].marked
    else:
        length = lane.requests[k].flushed - (sender.began + lane.draws.kinds[sender.kind].bookkeeping)
    if lane.requests[number].watched >= lane.words.isolated:
        lane.windows[int(lane.counts.windows_isolated) % len(lane.windows)] = length
        lane.counts.windows_isolated += 1
    return length
