"""The sender of the exact rule: a flush event from its bookkeeping to its own flush.

C:   kernel/smp.c  on_each_cpu(), smp_call_function_many(), llist_add(), csd_lock_wait(); arch/x86/mm/tlb.c

Each function answers what the CPU does next, and when that ends.
"""

from __future__ import annotations

from math import inf, nan

from sim.machine.compiled.exact_receiver import take_idle
from sim.machine.compiled.exact_state import (
    BOOKKEEPING,
    COMPUTE,
    ENQUEUE,
    INTERRUPT,
    MUTEX,
    READ,
    RETURN,
    RUN_AGAIN,
    SCAN,
    SEND,
    WAIT,
    State,
    missed,
    set_take,
    set_work,
    slot_of,
)
from sim.machine.compiled.interrupts import FULL, NOTHING, RANGE, Cost, Words, held_since
from sim.machine.compiled.jit import called, compiled
from sim.machine.compiled.line import Lines, join
from sim.machine.compiled.state import Source, Tally, hold


@compiled
def prepare(
    words: Words,
    cost: Cost,
    source: Source,
    cpus: State,
    tally: Tally,
    lane: int,
    replica: int,
    k: int,
    phase: int,
    now: float,
) -> tuple[int, float]:
    """From the end of compute to the first request: bookkeeping, own flush, mutex, the walk over the mask."""
    if phase == COMPUTE:
        cpus.began[lane, k] = now
        if words.no_wait:
            _next_slot(words, source, cpus, lane, k, now)
        return BOOKKEEPING, now + source.bookkeeping_ns[lane, cpus.kind[lane, k]]
    if phase == BOOKKEEPING:
        _count_up(words, source, cpus, lane, k)
        if words.own_before:  # own flush, interrupts off
            now += _flush(words, cost, cpus, lane, k, now)
            cpus.closed_until[lane, k] = now
        if words.mutex and not _lock(cpus, lane, k, now):
            return MUTEX, inf
        if words.mutex:
            now = max(now, cpus.mutex_free[lane, 0])
        return SCAN, now + cost.mask_scan
    if phase == MUTEX:
        return SCAN, now + cost.mask_scan
    # smp_call_function_many(): the loop over the targets
    cpus.marks[lane, k] = 0
    cpus.flushed[lane, slot_of(words, cpus, lane, k)] = nan
    if not words.no_wait:
        for target in range(words.reachable):
            cpus.done[lane, k, target] = inf
    _watch(words, cpus, lane, k)
    first = 1 if k == 0 else 0
    if first >= words.reachable:  # nobody to tell
        return _send(words, cost, source, cpus, tally, lane, replica, k, now)
    cpus.position[lane, k] = first
    return ENQUEUE, now


@compiled
def _next_slot(words: Words, source: Source, cpus: State, lane: int, k: int, now: float) -> None:
    """Requests of a new flush event: those of the last one may still be queued, and none of the one before."""
    cpus.slot[lane, k] = k + words.flushers if cpus.slot[lane, k] == k else k
    cpus.posted[lane, cpus.slot[lane, k]] = now + source.bookkeeping_ns[lane, cpus.kind[lane, k]]


@compiled
def _count_up(words: Words, source: Source, cpus: State, lane: int, k: int) -> None:
    """inc_mm_tlb_gen(): a flush event begins, and what it asks of every CPU is known."""
    kind, slot = cpus.kind[lane, k], slot_of(words, cpus, lane, k)
    cpus.flush[lane, slot] = source.local_ns[lane, kind]
    cpus.drops[lane, slot] = FULL if source.full[lane, kind] else RANGE
    if words.catch_up:
        cpus.newest[lane, 0] += 1
        cpus.generation[lane, slot] = cpus.newest[lane, 0]


@compiled
def _flush(words: Words, cost: Cost, cpus: State, lane: int, k: int, now: float) -> float:
    """The own flush: how long it takes from now on."""
    slot = slot_of(words, cpus, lane, k)
    drops, length = cpus.drops[lane, slot], cpus.flush[lane, slot]
    if words.catch_up:
        drops = missed(cpus, lane, k, slot, now)
        length = 0.0 if drops == NOTHING else cost.flush_mm if drops == FULL else length
        if drops != NOTHING:
            cpus.caught_up_at[lane, k] = now + length
    cpus.dropped[lane, k] = max(cpus.dropped[lane, k], drops)
    return length


@compiled
def _watch(words: Words, cpus: State, lane: int, k: int) -> None:
    """One of the other busy CPUs, each in its turn, shows how long the old mapping can be used."""
    if words.busy == 1:
        return
    turn = cpus.turn[lane, 0] + 1
    cpus.turn[lane, 0] = turn if turn < words.busy - 1 else 0
    watched = k + 1 + cpus.turn[lane, 0]
    cpus.watched[lane, slot_of(words, cpus, lane, k)] = watched if watched < words.busy else watched - words.busy


@compiled
def csd_lock(cpus: State, lane: int, k: int, now: float) -> tuple[int, float]:
    """csd_lock(): the memory of a request is used again once the last one to that target is done."""
    target = cpus.position[lane, k]
    done = cpus.done[lane, k, target]
    if done <= now:
        cpus.done[lane, k, target] = inf
        return ENQUEUE, now
    if done == inf:
        cpus.waits_for[lane, k] = target
    return WAIT, done


@compiled
def enqueue(cost: Cost, cpus: State, lines: Lines, lane: int, k: int, now: float) -> None:
    """Begin one request. Its line is fetched at the start, so that is where its cost is decided."""
    busy = cpus.queued[lane, cpus.position[lane, k]] > 0
    end = now + (cost.enqueue_busy if busy else cost.enqueue)
    cpus.phase[lane, k], cpus.work_end[lane, k] = ENQUEUE, end
    join(lines, lane, 1 if busy else 0, k, end)


@compiled
def llist_add(
    words: Words, cost: Cost, source: Source, cpus: State, tally: Tally, lane: int, replica: int, k: int, now: float
) -> tuple[int, float]:
    """llist_add(): the request is in, and who finds the queue empty now owes the interrupt.

    Whatever the request cost: a run may have taken the queue meanwhile.
    """
    target = cpus.position[lane, k]
    if words.notes and _is_held(words, cost, source, cpus, lane, replica, target, now):
        _leave_note(words, cost, cpus, tally, lane, k, target, now)
    else:
        place, marks = cpus.queued[lane, target], cpus.marks[lane, k]
        cpus.marked[lane, k, marks] = target  # counts if the queue is empty
        cpus.marks[lane, k] = marks + (place == 0)
        cpus.queue[lane, target, place] = slot_of(words, cpus, lane, k)
        cpus.queued[lane, target] = place + 1
    target += 1
    if target == k:
        target += 1
    if target < words.reachable:
        cpus.position[lane, k] = target
        return ENQUEUE, now
    return _send(words, cost, source, cpus, tally, lane, replica, k, now)


@compiled
def _is_held(
    words: Words, cost: Cost, source: Source, cpus: State, lane: int, replica: int, j: int, now: float
) -> bool:
    """Whether CPU j is held, so that it is left a note: since an earlier one, or as drawn in place of an interrupt.

    A CPU whose queue is in use ran when its interrupt was owed, and takes it.
    """
    if cpus.take[lane, j] == RUN_AGAIN:
        return True
    if cpus.queued[lane, j] > 0:
        return False
    held = hold(source, replica, lane, j, held_since(words, cost, now - cpus.ran[lane, j]), cost.held)
    cpus.ran[lane, j] = now + held
    if held > 0.0:
        set_take(cpus, lane, j, RUN_AGAIN, now + held)
    return held > 0.0


@compiled
def _leave_note(words: Words, cost: Cost, cpus: State, tally: Tally, lane: int, k: int, j: int, now: float) -> None:
    """kvm_flush_tlb_multi(): nobody waits for CPU j, which flushes before anything else when it runs again."""
    cpus.done[lane, k, j] = now
    tally.notes[lane] += 1
    slot = slot_of(words, cpus, lane, k)
    if cpus.watched[lane, slot] == j:
        cpus.flushed[lane, slot] = cpus.ran[lane, j] + cost.flush_again


@called
def _send(
    words: Words, cost: Cost, source: Source, cpus: State, tally: Tally, lane: int, replica: int, k: int, now: float
) -> tuple[int, float]:
    """arch_send_call_function_ipi_mask(): ICR writes for the marked targets, interrupts off."""
    marks, room = cpus.marks[lane, k], 0
    for place in range(marks):
        target = cpus.marked[lane, k, place]
        if room == 0:
            now, room = now + cost.ipi_send, words.reach
        room -= 1
        now += cost.deliver
        near = words.socket[target] == words.socket[k]
        interrupt = now + (cost.ipi_latency if near else cost.ipi_latency_cross)
        if words.holds and not words.notes:
            interrupt += hold(source, replica, lane, target, cost.held_share, cost.held)
        if target < words.busy:
            set_take(cpus, lane, target, INTERRUPT, interrupt)
        else:
            take_idle(words, cost, cpus, lane, target, interrupt)
    tally.interrupts[lane] += marks
    if words.own_after_sends:  # own flush
        now += _flush(words, cost, cpus, lane, k, now)
    cpus.closed_until[lane, k] = now
    cpus.position[lane, k] = 1 if k == 0 else 0
    return SEND, now


@compiled
def csd_lock_wait(words: Words, cost: Cost, cpus: State, lane: int, k: int, now: float) -> tuple[int, float]:
    """csd_lock_wait(): read the acks that are there in one piece, and wait at the first that is not.

    One piece is exact: a run that interrupts the reading undoes none of the requests ahead. Where nobody waits for
    acks, the event is over, or what was waited for was the memory of the next request.
    """
    if words.no_wait:
        return (ENQUEUE if cpus.phase[lane, k] == WAIT else RETURN), now
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
def finish(words: Words, cost: Cost, cpus: State, lane: int, k: int, now: float) -> float:
    """The end of a flush event: own flush, interrupts off, and the mutex handed over."""
    if words.own_after_acks:  # own flush
        now += _flush(words, cost, cpus, lane, k, now)
        cpus.closed_until[lane, k] = now
    if words.mutex:
        _unlock(cost, cpus, lane, now)
    return now


@compiled
def window(words: Words, source: Source, cpus: State, lane: int, k: int) -> float:
    """How long the watched CPU could use the old mapping; where nobody waits, that of the sender's last event."""
    if words.busy == 1:
        return nan
    if words.no_wait:
        last = k if cpus.slot[lane, k] != k else k + words.flushers
        return cpus.flushed[lane, last] - cpus.posted[lane, last]
    return cpus.flushed[lane, k] - (cpus.began[lane, k] + source.bookkeeping_ns[lane, cpus.kind[lane, k]])


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
