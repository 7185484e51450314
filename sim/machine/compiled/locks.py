"""Locks: first come first served, with a handover from owner to owner.

Kernel: kernel/locking/qspinlock.c  queued_spin_lock_slowpath(); kernel/locking/mutex.c  mutex_lock()

The lock sections of an operation come before its flush events. A CPU that finds the lock free takes its line from the
last owner in one transfer; if another CPU holds the lock, the handover takes `lock_lines` transfers between the two. If
interrupts are off, they are off from the lock request to the release.
"""

from math import floor, inf

from sim.machine.compiled.cpus import BEGIN, HOLD, LOCK, Lane, line_between, set_take, set_work
from sim.machine.compiled.jit import compiled


@compiled
def begin_sections(lane: Lane, k: int, now: float) -> None:
    """The lock sections of the operations that begin with the next flush event of CPU k."""
    sender, cost = lane.senders[k], lane.cost
    operations = floor(sender.events / cost.events_per_operation) + 1
    sender.events += 1
    sender.sections_left = floor(operations * cost.locks_per_operation) - sender.sections
    sender.sections += sender.sections_left
    sender.asked_first = now


@compiled
def ask(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """CPU k requests the lock of its next section; return the phase and the time of the acquisition."""
    number, sender = _lock_of(lane, k), lane.senders[k]
    sender.asked = now
    lane.cpus[k].irqs_off = lane.words.lock_irqs_off
    owner = lane.locks[number].owner
    free = acquire(lane, number, k, now)
    return LOCK, free + (0.0 if owner == k or owner < 0 else line_between(lane, owner, k))


@compiled
def has_acquired(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """CPU k has acquired the lock; return the phase and the end of its lock section."""
    lane.counts.lock_wait_ns += now - lane.senders[k].asked
    lane.counts.lock_sections += 1
    return HOLD, now + lane.cost.lock_hold * lane.cpus[k].slow_sender


@compiled
def end_section(lane: Lane, k: int, now: float) -> None:
    """The lock section ends; interrupts are on again, and the CPU takes a pending one."""
    sender, cpu = lane.senders[k], lane.cpus[k]
    release(lane, _lock_of(lane, k), k, now)
    if cpu.irqs_off:
        cpu.irqs_off, cpu.closed_until = False, now
        if cpu.to_take == BEGIN:
            set_take(lane, k, BEGIN, now)
    sender.sections_left -= 1
    if sender.sections_left == 0:
        lane.counts.lock_ns += now - sender.asked_first


@compiled
def _lock_of(lane: Lane, k: int) -> int:
    """The lock that CPU k takes."""
    return lane.cpus[k].socket if lane.words.lock_sockets else 0


@compiled
def acquire(lane: Lane, number: int, k: int, now: float) -> float:
    """Request a lock; return the time of the acquisition, infinite while another CPU holds the lock."""
    lock = lane.locks[number]
    if lock.held:
        lane.waiting[number, lock.waiters] = k
        lock.waiters += 1
        return inf
    lock.held = True
    return max(now, lock.free)


@compiled
def release(lane: Lane, number: int, k: int, now: float) -> None:
    """The lock goes to the longest waiter, after a handler run that is in progress on that CPU."""
    lock = lane.locks[number]
    lock.owner = k
    if lock.waiters == 0:
        lock.held, lock.free = False, now
        return
    first = lane.waiting[number, 0]
    for place in range(1, lock.waiters):
        lane.waiting[number, place - 1] = lane.waiting[number, place]
    lock.waiters -= 1
    end = max(now, lane.cpus[first].run_end)
    if number < len(lane.locks) - 1:  # not the mutex
        end += lane.cost.lock_lines * line_between(lane, k, first)
    set_work(lane, first, lane.cpus[first].phase, end)
