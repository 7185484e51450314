"""The receiver of a broadcast: interrupts, handler runs, and their delays of other work on the CPU.

Kernel: kernel/smp.c  generic_smp_call_function_single_interrupt(), llist_del_all(), flush_smp_call_function_queue()
"""

from __future__ import annotations

from math import inf

from sim.machine.compiled.cpus import (
    BEGIN,
    COMPUTE,
    FULL,
    INTERRUPT,
    LOCK,
    MUTEX,
    NOTHING,
    RANGE,
    RUN_AGAIN,
    TAKE,
    WAIT,
    Lane,
    line_between,
    miss,
    missed,
    sender_of,
    set_take,
    set_work,
    take_queue,
)
from sim.machine.compiled.jit import compiled


@compiled
def take(lane: Lane, j: int, now: float) -> None:
    """CPU j takes an interrupt, begins a handler run, takes its queue in the run, or returns after it was away."""
    cpu = lane.cpus[j]
    if cpu.to_take == TAKE:
        _llist_del_all(lane, j, now)
    elif cpu.to_take == RUN_AGAIN:
        _run_again(lane, j, now)
    elif cpu.closed_until > now or cpu.irqs_off:  # pending until interrupts are on and no run is in progress
        set_take(lane, j, BEGIN, inf if cpu.irqs_off else cpu.closed_until)
    else:
        entered = now + lane.cost.irq_entry * cpu.slow
        if cpu.phase == COMPUTE:
            entered += lane.cost.leave_guest
        cpu.run_begin = now
        _delay(lane, j, now, entered)
        set_take(lane, j, TAKE, entered)


@compiled
def take_idle(lane: Lane, j: int, interrupt: float) -> None:
    """Schedule the handler run of an idle CPU after an interrupt; only an earlier run can delay it."""
    cpu = lane.cpus[j]
    begin = cpu.closed_until if cpu.closed_until > interrupt else interrupt + lane.cost.idle_exit
    set_take(lane, j, TAKE, begin + lane.cost.irq_entry * cpu.slow)


@compiled
def _llist_del_all(lane: Lane, j: int, now: float) -> None:
    """flush_smp_call_function_queue(): all requests in the queue now; the time at which each is done is known at once.

    Generations also have their current values: a later one comes with its own request.
    """
    words, cost, cpu = lane.words, lane.cost, lane.cpus[j]
    first_fully = now  # end of the flush at the first request
    dropped, at = NOTHING, take_queue(lane, j, j, now)
    begun = at
    for place in range(cpu.queued):
        number = lane.queue[j, place]
        request, sender = lane.requests[number], sender_of(lane, number)
        handler = cost.handler_fixed * cpu.slow + cost.request_lines * line_between(lane, sender, j)
        if words.first_fully:
            at += handler + (0.0 if place else cost.flush_all * cpu.slow)
            first_fully = first_fully if place else at
            drops = FULL
        elif words.catch_up:
            drops, reading = missed(lane, j, number, now, at + handler)
            flush = 0.0 if drops == NOTHING else cost.flush_mm if drops == FULL else request.flush
            at += handler + reading + flush * cpu.slow
            if drops != NOTHING:
                cpu.caught_up_at = at
        elif words.nothing:
            at += handler
            drops = NOTHING
        else:
            at += handler + request.flush * cpu.slow
            drops = request.drops
        dropped = max(dropped, drops)
        if request.watched == j:
            flushed = cpu.caught_up_at if words.catch_up else at
            request.flushed = first_fully if words.first_fully else flushed
        _is_done(lane, sender, j, begun if words.run_begun else at)
    cpu.queued = 0
    set_take(lane, j, INTERRUPT, inf)
    end = at + cost.irq_exit * cpu.slow
    _delay(lane, j, now, end)
    _disturbed_once(lane, j, end - cpu.run_begin)
    if j < words.busy:
        _drop(lane, j, dropped)


@compiled
def _is_done(lane: Lane, k: int, j: int, done: float) -> None:
    """csd_unlock(): CPU j has done a request of CPU k, which may wait for it."""
    lane.done[k, j] = done
    if lane.senders[k].waits_for == j:
        lane.senders[k].waits_for = -1
        set_work(lane, k, WAIT, max(done, lane.cpus[k].run_end))


@compiled
def _run_again(lane: Lane, j: int, now: float) -> None:
    """KVM_VCPU_FLUSH_TLB: CPU j flushes its whole TLB before it resumes any work, including a handler run.

    A CPU that was in user mode flushes at its kernel entry.
    """
    cpu, flush = lane.cpus[j], lane.cost.flush_all
    set_take(lane, j, INTERRUPT, inf)
    end = max(cpu.closed_until, now) + flush
    cpu.closed_until, cpu.run_end = end, end
    if j >= lane.words.busy:
        return
    lane.counts.entry_flushes += lane.words.user_mode
    if j >= lane.words.isolated:
        lane.counts.disturbed_isolated_ns += flush
    _disturbed_once(lane, j, flush)
    if cpu.phase in (WAIT, MUTEX, LOCK):
        cpu.work_end = max(cpu.work_end, end)
    else:
        cpu.work_end += flush
    if cpu.phase < LOCK:
        lane.counts.entry_ns += flush
    _drop(lane, j, FULL)


@compiled
def _drop(lane: Lane, j: int, dropped: int) -> None:
    """The TLB entries that busy CPU j dropped lengthen its current compute, or else the next one."""
    cpu = lane.cpus[j]
    if cpu.phase == COMPUTE:
        cpu.work_end += miss(lane.cost, dropped)
        lane.counts.refills += dropped == FULL
        lane.counts.range_misses += dropped == RANGE
    else:
        cpu.dropped = max(cpu.dropped, dropped)


@compiled
def _delay(lane: Lane, j: int, now: float, end: float) -> None:
    """A handler run occupies CPU j until `end` and delays its work, except a wait for an ack, a lock or the mutex."""
    cpu = lane.cpus[j]
    cpu.closed_until, cpu.run_end = end, end
    if j >= lane.words.busy:
        return
    if cpu.phase in (WAIT, MUTEX, LOCK):
        cpu.work_end = max(cpu.work_end, end)
    else:
        cpu.work_end += end - now
    lane.counts.handler_ns += end - now
    if j >= lane.words.isolated:
        lane.counts.disturbed_isolated_ns += end - now
    if cpu.phase < LOCK:
        lane.counts.handler_compute_ns += end - now


@compiled
def _disturbed_once(lane: Lane, j: int, length: float) -> None:
    """Keep the longest disturbance of isolated CPUs."""
    if lane.words.isolated <= j < lane.words.busy:
        lane.counts.longest_isolated_ns = max(lane.counts.longest_isolated_ns, length)
