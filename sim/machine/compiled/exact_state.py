"""What a lane of the exact rule remembers: of every CPU, of every sender's flush event, and of who comes next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.machine.compiled.interrupts import FULL, NOTHING, RANGE, Cost, Words
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.knockout import play_again

# What a busy CPU does. From BOOKKEEPING on it is inside a flush event; RETURN: that is over, and a run which waited for
# interrupts to be on goes before the next compute.
IDLE, COMPUTE, RETURN, BOOKKEEPING, MUTEX, SCAN, ENQUEUE, SEND, READ, WAIT = range(10)
# What a CPU is to take. One that is held has an empty queue and a note in its place; it is to run again.
INTERRUPT, BEGIN, TAKE, RUN_AGAIN = range(4)


class State(NamedTuple):
    """The CPUs of all lanes, every field [lane, cpu] where unsaid; of busy CPUs, the senders' of those who flush."""

    # every CPU
    phase: np.ndarray
    work_end: np.ndarray  # when the phase ends, unless something delays it; infinite: open
    work_due: np.ndarray  # when to look at that, at the latest; of CPUs that make flush events
    closed_until: np.ndarray  # no run begins before: interrupts are off, or a run is on
    run_end: np.ndarray
    take: np.ndarray  # what it is to take,
    take_due: np.ndarray  # and when
    ran: np.ndarray  # when it was last known to run; ahead where it is held. Only where notes are left
    queue: np.ndarray  # call_single_queue: senders in order of llist_add(), [lane, cpu, place]
    queued: np.ndarray  # how many
    dropped: np.ndarray  # from its TLB since its last compute began
    caught_up: np.ndarray  # the generation up to which it has flushed the address space,
    caught_up_at: np.ndarray  # and when it did
    # a sender's flush event; it has one at a time, so the sender's number stands for the request
    kind: np.ndarray
    # Where nobody waits, requests of the last one may still be queued: then those of a sender have two numbers in turn,
    # `sender` and `sender + flushers`, and so have the next fields, up to `posted`.
    slot: np.ndarray  # the number of the sender's requests
    flush: np.ndarray  # how long its range takes to flush, if not slowed down,
    drops: np.ndarray  # and what that drops from a TLB
    generation: np.ndarray  # of the address space, which this flush event counted up to
    watched: np.ndarray  # the busy CPU whose old mapping is watched,
    flushed: np.ndarray  # when that is gone,
    posted: np.ndarray  # and since when it should be; only where nobody waits
    began: np.ndarray
    position: np.ndarray  # target to enqueue next, then to read next
    # when the request is done, or its memory was never used; infinite until that is known, [lane, sender, target]
    done: np.ndarray
    waits_for: np.ndarray  # target whose request nobody has taken yet; -1: none
    marked: np.ndarray  # targets that get an interrupt, [lane, sender, place]
    marks: np.ndarray  # how many
    # who comes next
    first_work: np.ndarray
    first_take: np.ndarray
    # who is at a request: two lines (`line.py`), of those whose request costs `enqueue_ns` and `enqueue_busy_ns`; their
    # `work_due` is infinite
    line_due: np.ndarray
    line_cpu: np.ndarray
    line_first: np.ndarray
    line_end: np.ndarray
    # of the lane, [lane, 1] and, who waits for the mutex, [lane, place]
    newest: np.ndarray  # generation of the address space
    turn: np.ndarray  # which of the other busy CPUs is watched next
    holds: np.ndarray  # the mutex is held,
    mutex_free: np.ndarray  # and else free from then on
    waiting: np.ndarray  # who waits for it, in order
    waiters: np.ndarray  # how many
    begun: np.ndarray  # the CPUs compute


@compiled
def set_work(cpus: State, lane: int, k: int, phase: int, end: float) -> None:
    cpus.phase[lane, k] = phase
    cpus.work_end[lane, k] = end
    play_again(cpus.first_work, cpus.work_due, lane, k, end)


@compiled
def set_take(cpus: State, lane: int, j: int, what: int, due: float) -> None:
    cpus.take[lane, j] = what
    play_again(cpus.first_take, cpus.take_due, lane, j, due)


@compiled
def slowdown(words: Words, cost: Cost, j: int) -> float:
    """How many times as long handler runs of CPU j take: its sibling runs one too, if it is a target too."""
    return cost.slow if words.with_sibling[j] else 1.0


@compiled
def slot_of(words: Words, cpus: State, lane: int, k: int) -> int:
    """The number of CPU k's requests."""
    return cpus.slot[lane, k] if words.no_wait else k


@compiled
def missed(cpus: State, lane: int, j: int, slot: int, now: float) -> int:
    """flush_tlb_func(): what CPU j flushes for a request, by generation; what it drops then from its TLB.

    Nothing where it has flushed since that generation began; the range where it missed only this one and there is no
    newer one; else all of the address space, which leads up to the newest.
    """
    generation, newest, caught_up = cpus.generation[lane, slot], cpus.newest[lane, 0], cpus.caught_up[lane, j]
    if caught_up >= generation:
        return NOTHING
    cpus.caught_up[lane, j], cpus.caught_up_at[lane, j] = newest, now
    return cpus.drops[lane, slot] if caught_up + 1 == generation == newest else FULL


@compiled
def miss(cost: Cost, dropped: int) -> float:
    return cost.refill if dropped == FULL else cost.user_refill if dropped == RANGE else 0.0
