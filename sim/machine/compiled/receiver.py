"""The receiver of a broadcast: interrupts, handler runs, and what they delay on their CPU.

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
    """CPU j takes the interrupt, begins a handler run, or takes its queue in it; or it was away and is there again."""
    cpu = lane.cpus[j]
    if cpu.to_take == TAKE:
        _llist_del_all(lane, j, now)
    elif cpu.to_take == RUN_AGAIN:
        _run_again(lane, j, now)
    elif cpu.closed_until > now or cpu.irqs_off:  # pending until interrupts are on and no run is on
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
    """An idle CPU will take an interrupt that is sent: nothing but runs, of which none begins before, is in its way."""
    cpu = lane.cpus[j]
    begin = cpu.closed_until if cpu.closed_until > interrupt else interrupt + lane.cost.idle_exit
    set_take(lane, j, TAKE, begin + lane.cost.irq_entry * cpu.slow)


@compiled
def _llist_del_all(lane: Lane, j: int, now: float) -> None:
    """flush_smp_call_function_queue(): the requests of the queue as it is now; when each is done is known at once.

    Generations count as they are now too: one that begins while the run is on is met by its own request.
    """
    words, cost, cpu = lane.words, lane.cost, lane.cpus[j]
    first_fully = now  # when everything is flushed, where that is at the first request
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
    """csd_unlock(): CPU j has done a request of CPU k, which may wait for just that."""
    lane.done[k, j] = done
    if lane.senders[k].waits_for == j:
        lane.senders[k].waits_for = -1
        set_work(lane, k, WAIT, max(done, lane.cpus[k].run_end))


@compiled
def _run_again(lane: Lane, j: int, now: float) -> None:
    """KVM_VCPU_FLUSH_TLB: all of CPU j's TLB is flushed before it goes on with whatever it was at, a run included.

    A CPU that was in user mode flushes as it enters the kernel.
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
    """What busy CPU j dropped from its TLB lengthens the compute that it is in, or else the next."""
    cpu = lane.cpus[j]
    if cpu.phase == COMPUTE:
        cpu.work_end += miss(lane.cost, dropped)
        lane.counts.refills += dropped == FULL
        lane.counts.range_misses += dropped == RANGE
    else:
        cpu.dropped = max(cpu.dropped, dropped)


@compiled
def _delay(lane: Lane, j: int, now: float, end: float) -> None:
    """A run has CPU j until `end`: its own work stands still; only waiting for an ack or the mutex goes on."""
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
    """A CPU did not compute for so long at a time: the longest of isolated CPUs is remembered."""
    if lane.words.isolated <= j < lane.words.busy:
        lane.counts.longest_isolated_ns = max(lane.counts.longest_isolated_ns, length)
