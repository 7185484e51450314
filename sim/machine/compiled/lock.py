"""Locks: first come first served, handed over from owner to owner.

Kernel: kernel/locking/qspinlock.c  queued_spin_lock_slowpath(); kernel/locking/mutex.c  mutex_lock()

The lock sections of an operation come before its flush events. A CPU that finds the lock free takes its line from the
last owner, one transfer; where another CPU holds it, the handover takes `lock_lines` transfers between the two. Where
interrupts are off, they are from when a CPU asks until it has released the lock.
"""

from __future__ import annotations

from math import floor, inf

from sim.machine.compiled.cpus import BEGIN, HOLD, LOCK, Lane, line_between, set_take, set_work
from sim.machine.compiled.jit import compiled


@compiled
def sections_due(lane: Lane, k: int) -> int:
    """How many lock sections come before the next flush event of CPU k: those of the operations that begin with it."""
    sender, cost = lane.senders[k], lane.cost
    operations = floor(sender.events / cost.events_per_operation) + 1
    sender.events += 1
    due = floor(operations * cost.locks_per_operation) - sender.sections
    sender.sections += due
    return due


@compiled
def ask(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """CPU k asks for the lock of its next section: when it has it."""
    number, sender = _lock_of(lane, k), lane.senders[k]
    sender.asked = now
    lane.cpus[k].irqs_off = lane.words.lock_irqs_off
    owner = lane.locks[number].owner
    free = acquire(lane, number, k, now)
    return LOCK, free + (0.0 if owner == k or owner < 0 else line_between(lane, owner, k))


@compiled
def hold(lane: Lane, k: int, now: float) -> tuple[int, float]:
    """CPU k has the lock."""
    lane.counts.lock_wait_ns += now - lane.senders[k].asked
    lane.counts.lock_sections += 1
    return HOLD, now + lane.cost.lock_hold * lane.cpus[k].slow_sender


@compiled
def unlock(lane: Lane, k: int, now: float) -> None:
    """The section is over; interrupts are on again, and one that came meanwhile is taken."""
    release(lane, _lock_of(lane, k), k, now)
    cpu = lane.cpus[k]
    if cpu.irqs_off:
        cpu.irqs_off, cpu.closed_until = False, now
        if cpu.to_take == BEGIN:
            set_take(lane, k, BEGIN, now)


@compiled
def _lock_of(lane: Lane, k: int) -> int:
    """The lock that CPU k takes."""
    return lane.cpus[k].socket if lane.words.lock_sockets else 0


@compiled
def acquire(lane: Lane, number: int, k: int, now: float) -> float:
    """Ask for a lock: when it is the CPU's, infinite while another one holds it."""
    lock = lane.locks[number]
    if lock.held:
        lane.waiting[number, lock.waiters] = k
        lock.waiters += 1
        return inf
    lock.held = True
    return max(now, lock.free)


@compiled
def release(lane: Lane, number: int, k: int, now: float) -> None:
    """The lock goes to the CPU that asked first; a run on that CPU comes first."""
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
