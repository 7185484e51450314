"""The receiver of the exact rule: interrupts, handler runs, and what they delay on their CPU.

C:   kernel/smp.c  generic_smp_call_function_single_interrupt(), llist_del_all(), flush_smp_call_function_queue()
"""

from __future__ import annotations

from math import inf

from sim.machine.compiled.exact_state import (
    BEGIN,
    BOOKKEEPING,
    COMPUTE,
    INTERRUPT,
    MUTEX,
    RUN_AGAIN,
    TAKE,
    WAIT,
    State,
    miss,
    missed,
    set_take,
    set_work,
    slowdown,
)
from sim.machine.compiled.interrupts import FULL, NOTHING, RANGE, Cost, Words
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.state import Source, Tally


@compiled
def take(words: Words, cost: Cost, source: Source, cpus: State, tally: Tally, lane: int, j: int, now: float) -> None:
    """CPU j takes the interrupt, begins a handler run, or takes its queue in it; or it was held and runs again."""
    if cpus.take[lane, j] == TAKE:
        _llist_del_all(words, cost, source, cpus, tally, lane, j, now)
        return
    if cpus.take[lane, j] == RUN_AGAIN:
        _run_again(words, cost, cpus, tally, lane, j, now)
        return
    closed = cpus.closed_until[lane, j]
    if closed > now:  # pending until interrupts are on and no run is on
        set_take(cpus, lane, j, BEGIN, closed)
    else:
        entered = now + cost.irq_entry * slowdown(words, cost, j)
        _delay(words, cpus, tally, lane, j, now, entered)
        set_take(cpus, lane, j, TAKE, entered)


@compiled
def take_idle(words: Words, cost: Cost, cpus: State, lane: int, j: int, interrupt: float) -> None:
    """An idle CPU will take an interrupt that is sent: nothing but runs, of which none begins before, is in its way."""
    closed = cpus.closed_until[lane, j]
    begin = closed if closed > interrupt else interrupt + cost.idle_exit
    set_take(cpus, lane, j, TAKE, begin + cost.irq_entry * slowdown(words, cost, j))


@compiled
def _llist_del_all(
    words: Words, cost: Cost, source: Source, cpus: State, tally: Tally, lane: int, j: int, now: float
) -> None:
    """flush_smp_call_function_queue(): the requests of the queue as it is now; when each is done is known at once.

    Generations count as they are now too: one that begins while the run is on is met by its own request.
    """
    dropped, at, slow = NOTHING, now, slowdown(words, cost, j)
    handler = cost.handler * slow
    for place in range(cpus.queued[lane, j]):
        slot = cpus.queue[lane, j, place]
        sender = slot - words.flushers if words.no_wait and slot >= words.flushers else slot
        if words.first_fully:
            at += handler + (0.0 if place else cost.flush_all * slow)
            drops = FULL
        elif words.catch_up:
            drops = missed(cpus, lane, j, slot, now)
            flush = 0.0 if drops == NOTHING else cost.flush_mm if drops == FULL else cpus.flush[lane, slot]
            at += handler + flush * slow
            if drops != NOTHING:
                cpus.caught_up_at[lane, j] = at
        elif words.nothing:
            at += handler
            drops = NOTHING
        else:
            at += handler + cpus.flush[lane, slot] * slow
            drops = cpus.drops[lane, slot]
        dropped = max(dropped, drops)
        if cpus.watched[lane, slot] == j:
            flushed = cpus.caught_up_at[lane, j] if words.catch_up else at
            cpus.flushed[lane, slot] = now + handler + cost.flush_all * slow if words.first_fully else flushed
        done = now if words.run_begun else at
        cpus.done[lane, sender, j] = done
        if cpus.waits_for[lane, sender] == j:
            cpus.waits_for[lane, sender] = -1
            set_work(cpus, lane, sender, WAIT, max(done, cpus.run_end[lane, sender]))
    cpus.queued[lane, j] = 0
    set_take(cpus, lane, j, INTERRUPT, inf)
    _delay(words, cpus, tally, lane, j, now, at + cost.irq_exit * slow)
    if j < words.busy:
        _drop(cost, cpus, tally, lane, j, dropped)


@compiled
def _run_again(words: Words, cost: Cost, cpus: State, tally: Tally, lane: int, j: int, now: float) -> None:
    """KVM_VCPU_FLUSH_TLB: all of CPU j's TLB is flushed before it goes on with whatever it was at, a run included."""
    set_take(cpus, lane, j, INTERRUPT, inf)
    end = max(cpus.closed_until[lane, j], now) + cost.flush_again
    cpus.closed_until[lane, j] = cpus.run_end[lane, j] = end
    if j >= words.busy:
        return
    phase = cpus.phase[lane, j]
    if phase in (WAIT, MUTEX):
        cpus.work_end[lane, j] = max(cpus.work_end[lane, j], end)
    else:
        cpus.work_end[lane, j] += cost.flush_again
    if phase < BOOKKEEPING:
        tally.entry_ns[lane] += cost.flush_again
    _drop(cost, cpus, tally, lane, j, FULL)


@compiled
def _drop(cost: Cost, cpus: State, tally: Tally, lane: int, j: int, dropped: int) -> None:
    """What busy CPU j dropped from its TLB lengthens the compute that it is in, or else the next."""
    if cpus.phase[lane, j] == COMPUTE:
        cpus.work_end[lane, j] += miss(cost, dropped)
        tally.refills[lane] += dropped == FULL
        tally.range_misses[lane] += dropped == RANGE
    else:
        cpus.dropped[lane, j] = max(cpus.dropped[lane, j], dropped)


@compiled
def _delay(words: Words, cpus: State, tally: Tally, lane: int, j: int, now: float, end: float) -> None:
    """A run has CPU j until `end`: its own work stands still; only waiting for an ack or the mutex goes on."""
    cpus.closed_until[lane, j] = cpus.run_end[lane, j] = end
    if j >= words.busy:
        return
    phase = cpus.phase[lane, j]
    if phase in (WAIT, MUTEX):
        cpus.work_end[lane, j] = max(cpus.work_end[lane, j], end)
    else:
        cpus.work_end[lane, j] += end - now
    tally.handler_ns[lane] += end - now
    if phase < BOOKKEEPING:
        tally.handler_compute_ns[lane] += end - now
