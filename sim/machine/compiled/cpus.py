"""What a lane with a broadcast by interrupts remembers: its CPUs, its senders and their requests, and what is next."""

from __future__ import annotations

from math import exp
from typing import NamedTuple

import numpy as np

from sim.cache_lines import SAME
from sim.counts import Record, Records
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.knockout import play_again
from sim.machine.compiled.lane import Drawn
from sim.machine.compiled.ring import Ring

# What a busy CPU does. LOCK: it waits for a lock, or takes it; HOLD: it has it. From BOOKKEEPING on it is inside a
# flush event; RETURN: that is over, and a run which waited for interrupts to be on goes before the next compute.
IDLE, COMPUTE, RETURN, LOCK, HOLD, BOOKKEEPING, MUTEX, SCAN, ENQUEUE, SEND, READ, WAIT = range(12)
# What a CPU is to take. One that is away, preempted or in user mode, has an empty queue and a mark in its place; it is
# to run again, or to enter the kernel.
INTERRUPT, BEGIN, TAKE, RUN_AGAIN = range(4)
# What flushes drop from a TLB, the greater including the less.
NOTHING, RANGE, FULL = range(3)


class Words(NamedTuple):
    """What the machine's shape and the policy say, the same in all lanes of a group."""

    reachable: int  # CPUs that requests can reach
    busy: int
    flushers: int
    reach: int  # marked targets of one ICR write
    local_first: bool  # local flush: before anybody is notified,
    local_after_sends: bool  # after the last ICR write,
    local_after_acks: bool  # or after the acks
    first_fully: bool  # a run flushes everything at its first request,
    nothing: bool  # or nothing at all,
    catch_up: bool  # or what the CPU has missed, by generation,
    reads: bool  # after reading the newest one, also where it has missed nothing
    run_begun: bool  # a request is done when the run that takes it begins
    no_wait: bool  # the sender does not wait until it is done
    mutex: bool
    preempts: bool  # some CPU cannot take some interrupt when it arrives,
    marks: bool  # and is marked pending instead,
    user_mode: bool  # as it is in user mode
    isolated: int  # the first isolated CPU, or the number of busy CPUs
    locks: bool  # operations have lock sections,
    lock_sockets: bool  # each of its socket's lock,
    lock_irqs_off: bool  # with interrupts off
    no_flush: bool  # and nothing else: their flush events are none


class Cost(NamedTuple):
    """The costs of one lane; in a guest, those of `sim/delivery.py`."""

    mask_scan: float
    enqueue_fixed: float
    queue_lines: float
    csd_lines: float
    ipi_send: float
    ipi_latency: float
    ipi_latency_cross: float
    irq_entry: float
    handler_fixed: float
    request_lines: float
    irq_exit: float
    ack_lines: float
    idle_exit: float
    leave_guest: float
    flush_all: float
    flush_mm: float
    refill: float
    user_refill: float
    deliver: float
    wake_send: float
    held_share: float
    held: float
    line_fill: float
    events_per_operation: float
    locks_per_operation: float
    lock_hold: float
    lock_lines: float


STATE = np.dtype([
    ("now", np.float64),  # time of the last flush event
    ("newest", np.int64),  # generation of the address space, on a cache line
    ("counter", np.int64), ("counter_free", np.float64),  # that this CPU wrote last, and that is occupied until then
    ("turn", np.int64),  # which of the other busy CPUs is watched next
    ("begun", np.bool_),  # the CPUs compute
])  # fmt: skip
CPU = np.dtype([
    ("phase", np.int64),
    ("work_end", np.float64),  # when the phase ends, unless something delays it; infinite: open
    ("closed_until", np.float64),  # no run begins before: interrupts are off, or a run is on
    ("run_begin", np.float64), ("run_end", np.float64),
    ("to_take", np.int64),  # what it is to take
    ("queued", np.int64),  # requests in its call_single_queue
    ("dropped", np.int64),  # from its TLB since its last compute began
    ("slow", np.float64),  # the instructions of its handler runs take so many times as long,
    ("slow_sender", np.float64),  # and so those of its requests
    ("socket", np.int64),
    ("queue_owner", np.int64), ("queue_free", np.float64),  # its call_single_queue's line: last owner, occupied until
    ("caught_up", np.int64),  # the generation up to which it has flushed the address space,
    ("caught_up_at", np.float64),  # and when it did
    ("read", np.int64),  # the generation of which it has a copy of the line
    # Only where CPUs that are away are marked pending:
    ("ran", np.float64),  # when it was last known to be there; ahead where it is away
    ("away_share", np.float64), ("away", np.float64),  # of its time, and for how long at a time, mean
    ("irqs_off", np.bool_),  # until it has released a lock
])  # fmt: skip
SENDER = np.dtype([  # its flush event
    ("kind", np.int64), ("began", np.float64),
    ("position", np.int64),  # target to enqueue next, then to read next
    ("waits_for", np.int64),  # target whose request nobody has taken yet; -1: none
    ("marks", np.int64),  # targets that get an interrupt
    ("request", np.int64),  # the number of its requests
    ("events", np.int64), ("sections", np.int64),  # flush events and lock sections begun,
    ("sections_left", np.int64),  # those that come before the next flush event,
    ("asked", np.float64), ("asked_first", np.float64),  # when it asked for this section's lock, and for the first one
])  # fmt: skip
LOCK_OF = np.dtype([("held", np.bool_), ("free", np.float64), ("owner", np.int64), ("waiters", np.int64)])
# The requests of a flush event. A sender has one event at a time, so its number stands for them; where nobody waits,
# requests of the last one may still be queued, and a sender has two numbers in turn, `sender` and `sender + flushers`.
REQUEST = np.dtype([
    ("flush", np.float64),  # how long its range takes to flush, if not slowed down,
    ("drops", np.int64),  # and what that drops from a TLB
    ("generation", np.int64),  # of the address space, which this flush event counted up to
    ("watched", np.int64),  # the busy CPU whose old mapping is watched,
    ("flushed", np.float64),  # when that is gone,
    ("marked", np.float64),  # and since when it should be; only where nobody waits
])  # fmt: skip


class Lane(NamedTuple):
    """One lane."""

    words: Words
    cost: Cost
    draws: Drawn
    counts: Record
    state: Record
    cpus: Records
    senders: Records
    requests: Records
    queue: np.ndarray  # call_single_queue: numbers of requests in order of llist_add(), [cpu, place]
    done: np.ndarray  # when a request is done, or never used; infinite until that is known, [sender, target]
    marked: np.ndarray  # targets that get an interrupt, [sender, place]
    locks: Records  # those of sockets, or of the machine, and last the mutex
    waiting: np.ndarray  # who waits for each of them, in order, [lock, place]
    windows: np.ndarray  # windows of isolated CPUs, the last so many; how many there were is in `counts`
    work: Records  # knock-out of when to look at each sender's work, at the latest,
    takes: Records  # and of when each CPU is to take what it is to take
    at_request: Ring  # who is at a request; in `work` they are infinite
    apart: np.ndarray  # how far CPUs are apart, [cpu, cpu] of SAME to CROSS in `sim/cache_lines.py`,
    line: np.ndarray  # and how long a cache line takes over each of these distances, [distance]


@compiled
def set_work(lane: Lane, k: int, phase: int, end: float) -> None:
    lane.cpus[k].phase = phase
    lane.cpus[k].work_end = end
    play_again(lane.work, k, end)


@compiled
def set_take(lane: Lane, j: int, what: int, due: float) -> None:
    lane.cpus[j].to_take = what
    play_again(lane.takes, j, due)


@compiled
def sender_of(lane: Lane, number: int) -> int:
    """Whose a request is, by its number."""
    return number - lane.words.flushers if number >= lane.words.flushers else number


@compiled
def line_between(lane: Lane, owner: int, taker: int) -> float:
    """How long a cache line takes from one CPU to another."""
    return lane.line[lane.apart[owner, taker]]


@compiled
def take_queue(lane: Lane, j: int, k: int, now: float) -> float:
    """CPU k takes the line of CPU j's call_single_queue, after all who asked before it: when it has the line."""
    cpu = lane.cpus[j]
    begin = now if now > cpu.queue_free else cpu.queue_free
    end = begin + lane.cost.queue_lines * line_between(lane, cpu.queue_owner, k)
    cpu.queue_owner, cpu.queue_free = k, end
    return end


@compiled
def count_up(lane: Lane, k: int, now: float) -> float:
    """inc_mm_tlb_gen(): CPU k writes the line of the address space's generation: how long that takes from now on."""
    state = lane.state
    end = max(now, state.counter_free) + line_between(lane, state.counter, k)
    state.counter, state.counter_free = k, end
    state.newest += 1
    lane.cpus[k].read = state.newest
    return end - now


@compiled
def read_generation(lane: Lane, j: int, now: float, at: float) -> float:
    """CPU j reads the newest generation of the address space at a time that is known now: how long that takes.

    Reads of others go on behind it.
    """
    state, cpu = lane.state, lane.cpus[j]
    if cpu.read == state.newest:
        return lane.line[SAME]
    transfer, begin = line_between(lane, state.counter, j), max(now, state.counter_free)
    state.counter_free = begin + min(lane.cost.line_fill, transfer)
    cpu.read = state.newest
    return max(begin - at, 0.0) + transfer


@compiled
def missed(lane: Lane, j: int, request: int, now: float, at: float) -> tuple[int, float]:
    """flush_tlb_func(): what CPU j flushes for a request, by generation, and how long it then reads the newest one.

    Nothing where it has flushed since that generation began; the range where it missed only this one and there is no
    newer one; else all of the address space, which leads up to the newest.
    """
    cpu, generation, newest = lane.cpus[j], lane.requests[request].generation, lane.state.newest
    caught_up = cpu.caught_up
    if caught_up >= generation:
        return NOTHING, read_generation(lane, j, now, at) if lane.words.reads else 0.0
    cpu.caught_up, cpu.caught_up_at = newest, now
    drops = lane.requests[request].drops if caught_up + 1 == generation == newest else FULL
    return drops, read_generation(lane, j, now, at)


@compiled
def miss(cost: Cost, dropped: int) -> float:
    """What misses after a flush cost the next compute."""
    return cost.refill if dropped == FULL else cost.user_refill if dropped == RANGE else 0.0


@compiled
def is_away(lane: Lane, j: int, since: float) -> float:
    """With which probability CPU j is away that was there `since` ago, as `sim/preemption.py` says."""
    share = lane.cpus[j].away_share
    forget = lane.cpus[j].away * (1.0 - share)
    if not forget > 0.0:
        return share
    return share * (1.0 - exp(-max(since, 0.0) / forget))
