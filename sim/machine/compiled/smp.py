"""A broadcast by interrupts: its sender, from the bookkeeping to the local flush, and the handler runs of its targets.

Kernel: kernel/smp.c  on_each_cpu(), smp_call_function_many(), llist_add(), csd_lock_wait(),
        generic_smp_call_function_single_interrupt(), llist_del_all(), flush_smp_call_function_queue();
        arch/x86/mm/tlb.c

Each function of the sender that the loop calls returns the next phase of the CPU, and the end of that phase.
"""

from math import inf, nan

from sim.machine.compiled.cpus import (
    BEGIN,
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
    TAKE,
    WAIT,
    Lane,
    count_up,
    flush_for,
    hold,
    is_away,
    line_between,
    miss,
    sender_of,
    set_take,
    set_work,
    take_queue,
)
from sim.machine.compiled.jit import called, compiled
from sim.machine.compiled.locks import acquire, ask, begin_sections, end_section, has_acquired, release
from sim.machine.compiled.queues import join

# The sender


@compiled
def prepare(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """The phases before the first request: locks, bookkeeping, local flush, mutex, and the walk over the mask."""
    phase, sender = lane.cpus[k].phase, lane.senders[k]
    if phase == LOCK:
        return has_acquired(lane, k, now)
    if phase in (COMPUTE, HOLD):
        if phase == HOLD:
            end_section(lane, k, now)
        elif lane.words.locks:
            begin_sections(lane, k, now)
        return ask(lane, k, now) if sender.sections_left > 0 else _begin_event(lane, k, now)
    if phase == BOOKKEEPING:
        now += _begin_flush(lane, k, now)
        if lane.words.local_first:
            now = _flush(lane, k, now, now)
        if lane.words.mutex:
            now = acquire(lane, len(lane.locks) - 1, k, now)
            if now == inf:
                return MUTEX, inf
    return _first_request(lane, k, now) if phase == SCAN else (SCAN, now + lane.cost.mask_scan)


@compiled
def _begin_event(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """A flush event begins; without flush events it ends at once."""
    sender = lane.senders[k]
    sender.began = now
    if lane.words.no_flush:
        sender.position = lane.words.reachable
        return SEND, now
    end = now + lane.draws.kinds[sender.kind].bookkeeping
    if lane.words.no_wait:  # the last request may still be in queues, but none of earlier ones
        sender.request = k + lane.words.senders if sender.request == k else k
        lane.requests[sender.request].marked = end
    return BOOKKEEPING, end


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
    """The local flush that starts at `begin`, with generations as of `now`, interrupts off; return its end."""
    cpu = lane.cpus[k]
    drops, flush, reading = flush_for(lane, k, lane.senders[k].request, now, begin)
    end = begin + (reading + flush)
    if drops != NOTHING:
        cpu.caught_up_at = end
    cpu.dropped = max(cpu.dropped, drops)
    cpu.closed_until = end
    return end


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
    if lane.done[k, target] > now:
        return _wait(lane, k, target)
    lane.done[k, target] = inf
    return ENQUEUE, now


@compiled
def _wait(lane: Lane, k: int, target: int) -> tuple[int, float]:
    """CPU k waits until its request to the target is done; if the time is unknown yet, the target ends the wait."""
    done = lane.done[k, target]
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
    join(lane.at_request, lane.state, k, cpu.work_end)


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
    target = _after(target, k)
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
    held = hold(lane, j, is_away(lane, j, now - cpu.ran), cpu.away)
    if lane.words.user_mode and j < lane.words.senders:
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
            interrupt += hold(lane, target, cost.preempted_share, cost.preempted)
        if target < words.busy:
            set_take(lane, target, INTERRUPT, interrupt)
        else:
            take_idle(lane, target, interrupt)
        if words.isolated <= target < words.busy:
            lane.counts.interrupts_isolated += 1
    lane.counts.interrupts += sender.marks
    cpus[k].closed_until = now
    if words.local_after_sends:
        now = _flush(lane, k, begun, now)
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
        target = _after(target, k)
    moved = target != sender.position
    sender.position = target
    if moved:
        return READ, read
    if target >= reachable:
        return RETURN, now
    return _wait(lane, k, target)


@compiled
def _after(target: int, k: int) -> int:
    """The next target of CPU k."""
    return target + 2 if target + 1 == k else target + 1


@compiled
def finish(lane: Lane, k: int, now: float) -> float:
    """The end of a flush event: local flush, and release of the mutex."""
    if lane.words.local_after_acks:
        now = _flush(lane, k, now, now)
    if lane.words.mutex:
        release(lane, len(lane.locks) - 1, k, now)
    return now


@compiled
def window(lane: Lane, k: int) -> float:
    """The stale window of the watched CPU; if the sender does not wait, the window of its last event."""
    sender = lane.senders[k]
    if lane.words.busy == 1 or lane.words.no_flush:
        return nan
    number, begin = k, sender.began + lane.draws.kinds[sender.kind].bookkeeping
    if lane.words.no_wait:
        number = k if sender.request != k else k + lane.words.senders
        begin = lane.requests[number].marked
    length = lane.requests[number].flushed - begin
    if lane.requests[number].watched >= lane.words.isolated:
        lane.windows[int(lane.counts.windows_isolated) % len(lane.windows)] = length
        lane.counts.windows_isolated += 1
    return length


# The receiver


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
        _run(lane, j, now, entered)
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
    first = now  # end of the flush at the first request
    dropped, at = NOTHING, take_queue(lane, j, j, now)
    begun = at
    for place in range(cpu.queued):
        number = lane.queue[j, place]
        request, sender = lane.requests[number], sender_of(lane, number)
        handler = cost.handler_fixed * cpu.slow + cost.request_lines * line_between(lane, sender, j)
        drops, flush, reading = flush_for(lane, j, number, now, at + handler)
        if words.first_fully:
            drops, flush = FULL, 0.0 if place else cost.flush_all
        elif words.nothing:
            drops, flush = NOTHING, 0.0
        at += handler + reading + flush * cpu.slow
        first = first if place else at
        if drops != NOTHING:
            cpu.caught_up_at = at
        dropped = max(dropped, drops)
        if request.watched == j:
            flushed = cpu.caught_up_at if words.catch_up else at
            request.flushed = first if words.first_fully else flushed
        _is_done(lane, sender, j, begun if words.run_begun else at)
    cpu.queued = 0
    set_take(lane, j, INTERRUPT, inf)
    end = at + cost.irq_exit * cpu.slow
    _run(lane, j, now, end)
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
    _occupy(lane, j, max(cpu.closed_until, now) + flush, flush)
    if j < lane.words.busy:
        lane.counts.entry_flushes += lane.words.user_mode
        _disturbed_once(lane, j, flush)
        if cpu.phase < LOCK:
            lane.counts.entry_ns += flush
        _drop(lane, j, FULL)


@compiled
def _run(lane: Lane, j: int, now: float, end: float) -> None:
    """CPU j is in a handler run until `end`."""
    _occupy(lane, j, end, end - now)
    if j < lane.words.busy:
        lane.counts.handler_ns += end - now
        if lane.cpus[j].phase < LOCK:
            lane.counts.handler_compute_ns += end - now


@compiled
def _occupy(lane: Lane, j: int, end: float, length: float) -> None:
    """Handlers occupy CPU j until `end` and delay its work, except a wait for an ack, a lock or the mutex."""
    cpu = lane.cpus[j]
    cpu.closed_until, cpu.run_end = end, end
    if j >= lane.words.busy:
        return
    if cpu.phase in (WAIT, MUTEX, LOCK):
        cpu.work_end = max(cpu.work_end, end)
    else:
        cpu.work_end += length
    if j >= lane.words.isolated:
        lane.counts.disturbed_isolated_ns += length


@compiled
def _disturbed_once(lane: Lane, j: int, length: float) -> None:
    """Keep the longest disturbance of isolated CPUs."""
    if lane.words.isolated <= j < lane.words.busy:
        lane.counts.longest_isolated_ns = max(lane.counts.longest_isolated_ns, length)


@compiled
def _drop(lane: Lane, j: int, dropped: int) -> None:
    """The TLB entries that busy CPU j dropped lengthen its current compute, or else the next one."""
    cpu = lane.cpus[j]
    if cpu.phase == COMPUTE:
        cpu.work_end += miss(lane, dropped)
    else:
        cpu.dropped = max(cpu.dropped, dropped)
