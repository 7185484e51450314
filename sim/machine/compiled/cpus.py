"""The state of a lane with a broadcast by interrupts: its CPUs, its senders, their requests, and the next events."""

from math import exp
from typing import NamedTuple

import numpy as np

from sim.cache_lines import SAME
from sim.counts import Record, Records
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.lane import Drawn
from sim.machine.compiled.queues import play_again

# The phases of a busy CPU. LOCK: it waits for a lock or takes it. HOLD: it has the lock. From BOOKKEEPING on it is in a
# flush event. RETURN: the event is over, and a handler run that waited for interrupts comes before the next compute.
IDLE, COMPUTE, RETURN, LOCK, HOLD, BOOKKEEPING, MUTEX, SCAN, ENQUEUE, SEND, READ, WAIT = range(12)
# The next event that a CPU is to take. A CPU that is away (preempted or in user mode) has a mark in place of requests;
# its next event is that it runs again or enters the kernel.
INTERRUPT, BEGIN, TAKE, RUN_AGAIN = range(4)
# The entries that flushes drop from a TLB; each value includes the lower ones.
NOTHING, RANGE, FULL = range(3)


class Words(NamedTuple):
    """Fields of the machine's shape and the policy, the same in all lanes of a group."""

    reachable: int  # CPUs that requests can reach
    busy: int
    senders: int
    reach: int  # marked targets of one ICR write
    local_first: bool  # local flush before other CPUs are notified
    local_after_sends: bool  # local flush after the last ICR write
    local_after_acks: bool  # local flush after the acks
    first_fully: bool  # a handler run flushes everything at its first request
    nothing: bool  # a handler run flushes nothing
    catch_up: bool  # a handler run flushes the generations that its CPU has missed
    reads: bool  # each request reads the newest generation
    run_begun: bool  # a request is done when its handler run begins
    no_wait: bool  # the sender does not wait for acks
    mutex: bool
    preempts: bool  # some CPUs cannot take some interrupts when these arrive
    marks: bool  # such a CPU is marked pending instead
    user_mode: bool  # CPUs in user mode are marked pending
    isolated: int  # the first isolated CPU, or the number of busy CPUs
    locks: bool  # operations have lock sections
    lock_sockets: bool  # each socket has a lock
    lock_irqs_off: bool  # lock sections have interrupts off
    no_flush: bool  # operations have only lock sections, no flush events


class Cost(NamedTuple):
    """The costs of one lane; in a guest, those from `sim/machine/engines.py`."""

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
    preempted_share: float
    preempted: float
    line_fill: float
    events_per_operation: float
    locks_per_operation: float
    lock_hold: float
    lock_lines: float


STATE = np.dtype([
    ("now", np.float64),  # time of the last flush event
    ("most", np.int64),  # most draws of interrupts that a CPU has used
    ("newest", np.int64),  # generation of the address space, on a cache line
    ("counter", np.int64), ("counter_free", np.float64),  # last writer of that line, and end of its occupation
    ("turn", np.int64),  # offset of the watched CPU from the sender
    ("first", np.uint32), ("end", np.uint32),  # ends of the ring of CPUs at a request
    ("begun", np.bool_),  # whether the first computes have begun
])  # fmt: skip
CPU = np.dtype([
    ("phase", np.uint32),
    ("work_end", np.float64),  # end of the phase, before further delays; infinite if unknown
    ("closed_until", np.float64),  # no handler run begins before: interrupts are off, or a run is in progress
    ("run_begin", np.float64), ("run_end", np.float64),
    ("to_take", np.uint32),  # next event to take
    ("queued", np.uint32),  # requests in its call_single_queue
    ("dropped", np.uint32),  # TLB entries dropped since its last compute began
    ("slow", np.float64),  # slowdown of the instructions of its handler runs
    ("slow_sender", np.float64),  # slowdown of the instructions of its requests
    ("socket", np.uint32),
    ("queue_owner", np.uint32), ("queue_free", np.float64),  # line of its call_single_queue: owner, end of occupation
    ("caught_up", np.int64),  # generation up to which it has flushed the address space
    ("caught_up_at", np.float64),  # time of that flush
    ("read", np.int64),  # newest generation in its copy of the line
    # Only for policies that mark CPUs that are away:
    ("ran", np.float64),  # last time at which it was known to run; in the future if it is away
    ("away_share", np.float64), ("away", np.float64),  # share of time away, and mean length in ns
    ("irqs_off", np.bool_),  # interrupts are off until it releases a lock
])  # fmt: skip
SENDER = np.dtype([  # its flush event
    ("kind", np.int64), ("began", np.float64),
    ("position", np.uint32),  # next target to enqueue, then next ack to read
    ("waits_for", np.int64),  # target that has not taken its request yet; -1: none
    ("marks", np.uint32),  # number of targets that get an interrupt
    ("request", np.uint32),  # the number of its requests
    ("events", np.int64), ("sections", np.int64),  # flush events and lock sections begun
    ("sections_left", np.int64),  # lock sections before the next flush event
    ("asked", np.float64), ("asked_first", np.float64),  # times of the lock requests of this section and the first one
])  # fmt: skip
LOCK_OF = np.dtype([("held", np.bool_), ("free", np.float64), ("owner", np.int64), ("waiters", np.int64)])
# The requests of a flush event. A sender has one event at a time, so they have its number. A sender that does not wait
# may still have requests of its last event in queues, so it has two numbers in turn, `sender` and `sender + senders`.
REQUEST = np.dtype([
    ("flush", np.float64),  # time to flush its range, without slowdown
    ("drops", np.int64),  # TLB entries that this flush drops
    ("generation", np.int64),  # generation of the address space after this flush event
    ("watched", np.int64),  # the busy CPU with the watched window
    ("flushed", np.float64),  # end of that window
    ("marked", np.float64),  # begin of that window, if the sender does not wait
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
    done: np.ndarray  # when a request is done; infinite while unknown, NEVER before its first use, [sender, target]
    marked: np.ndarray  # targets that get an interrupt, [sender, place]
    locks: Records  # the locks of the sockets or the machine, and last the mutex
    waiting: np.ndarray  # waiters for each lock, in order, [lock, place]
    windows: np.ndarray  # the last windows of isolated CPUs; their number is in `counts`
    work: Records  # knock-out of senders, by the time at which their work is examined
    takes: Records  # knock-out of the events that CPUs are to take
    at_request: Records  # ring of CPUs at a request; their time in `work` is infinite
    apart: np.ndarray  # distances between CPUs, [cpu, cpu] of SAME to CROSS in `sim/cache_lines.py`
    line: np.ndarray  # time of a transfer over each of these distances, [distance]


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
    """The sender of the request with this number."""
    return number - lane.words.senders if number >= lane.words.senders else number


@compiled
def line_between(lane: Lane, owner: int, taker: int) -> float:
    """The time of a transfer of a cache line from one CPU to another."""
    return lane.line[lane.apart[taker, owner]]


@compiled
def take_queue(lane: Lane, j: int, k: int, now: float) -> float:
    """CPU k takes the line of CPU j's call_single_queue, in order of arrival; return the end of the transfer."""
    cpu = lane.cpus[j]
    begin = now if now > cpu.queue_free else cpu.queue_free
    end = begin + lane.cost.queue_lines * line_between(lane, cpu.queue_owner, k)
    cpu.queue_owner, cpu.queue_free = k, end
    return end


@compiled
def count_up(lane: Lane, k: int, now: float) -> float:
    """inc_mm_tlb_gen(): CPU k increments the generation of the address space; return the time from now on."""
    state = lane.state
    end = max(now, state.counter_free) + line_between(lane, state.counter, k)
    state.counter, state.counter_free = k, end
    state.newest += 1
    lane.cpus[k].read = state.newest
    return end - now


@compiled
def read_generation(lane: Lane, j: int, now: float, at: float) -> float:
    """CPU j reads the newest generation of the address space at time `at`; return the time that the read takes.

    The read occupies the line only for `line_fill_ns`.
    """
    state, cpu = lane.state, lane.cpus[j]
    if cpu.read == state.newest:
        return lane.line[SAME]
    transfer, begin = line_between(lane, state.counter, j), max(now, state.counter_free)
    state.counter_free = begin + min(lane.cost.line_fill, transfer)
    cpu.read = state.newest
    return max(begin - at, 0.0) + transfer


@compiled
def flush_for(lane: Lane, j: int, number: int, now: float, at: float) -> tuple[int, float, float]:
    """flush_tlb_func(): the flush of CPU j for a request, its time, and the time to read the newest generation.

    With generations, CPU j flushes nothing if it has flushed up to the request's generation already, the range if this
    is the only one that it has missed, and else the whole address space, up to the newest generation.
    """
    request, cpu, newest = lane.requests[number], lane.cpus[j], lane.state.newest
    if not lane.words.catch_up:
        return request.drops, request.flush, 0.0
    caught_up = cpu.caught_up
    if caught_up >= request.generation:
        return NOTHING, 0.0, read_generation(lane, j, now, at) if lane.words.reads else 0.0
    cpu.caught_up = newest
    reading = read_generation(lane, j, now, at)
    if caught_up + 1 == request.generation == newest:
        return request.drops, request.flush, reading
    return FULL, lane.cost.flush_mm, reading


@compiled
def miss(lane: Lane, dropped: int) -> float:
    """Count the misses after a flush; return the time that they add to a compute."""
    lane.counts.refills += dropped == FULL
    lane.counts.range_misses += dropped == RANGE
    return lane.cost.refill if dropped == FULL else lane.cost.user_refill if dropped == RANGE else 0.0


@compiled
def hold(lane: Lane, j: int, share: float, mean: float) -> float:
    """The time in ns for which CPU j cannot take its next interrupt, mostly 0."""
    draws, at = lane.draws, lane.draws.interrupts[j]
    draws.interrupts[j] = at + 1
    lane.state.most = max(lane.state.most, at + 1)
    return draws.hold[j, at] * mean if draws.held[j, at] < share else 0.0


@compiled
def is_away(lane: Lane, j: int, since: float) -> float:
    """The probability that CPU j is away if it ran `since` ago, by the equation in `sim/preemption.py`."""
    share = lane.cpus[j].away_share
    forget = lane.cpus[j].away * (1.0 - share)
    if not forget > 0.0:
        return share
    return share * (1.0 - exp(-max(since, 0.0) / forget))
