"""CPUs that visit cache lines or a broadcast fabric, one at a time: the state of a lane, and the order of the visits.

A contended line goes to the waiters of its owner's cluster, in order of arrival, and after `line_burst` turns in a row
inside one cluster to the longest waiter. Checks take the line in order of arrival, as all visits to the fabric.
"""

from typing import NamedTuple

import numpy as np

from sim.counts import Record, Records
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.lane import Drawn
from sim.machine.compiled.queues import play_again, play_at


class Words(NamedTuple):
    """Fields of the machine's shape and the policy, the same in all lanes of a group."""

    busy: int
    senders: int
    lines: int  # number of lines: one, or one per socket; the fabric is one, too
    clusters: int  # place of the winner of the first cluster in the knock-out of arrivals
    reads_line: bool  # CPUs read a line before they write it
    hardware: bool  # there is a broadcast fabric in place of lines
    shared: bool  # the line or fabric takes one CPU at a time
    per_cpu: bool  # the sender reads a flag of every other CPU
    local_first: bool  # local flush before the marks


class Cost(NamedTuple):
    """The costs of one lane."""

    line_burst: float  # turns in a row of the line inside one cluster; 0: in order of arrival
    line_fill: float
    broadcast: float
    broadcast_page: float
    broadcast_all: float
    broadcast_per_waiter: float
    broadcast_repeats: float
    leave: float  # exit to the hypervisor and back, before a broadcast
    flush_all: float
    refill: float
    user_refill: float


STATE = np.dtype([
    ("now", np.float64), ("begun", np.bool_),
    ("most", np.int64),  # most draws of checks that a CPU has used
    ("latest", np.float64),  # end of the latest mark
    ("marker", np.int64),  # CPU of the latest mark
    ("other", np.float64),  # end of the latest mark by another CPU
])  # fmt: skip
SENDER = np.dtype([  # the next or current flush event of a sender
    ("kind", np.uint32), ("start", np.float64),
    ("arrival", np.float64),  # at the next line, or the fabric
    ("stage", np.uint32),  # twice the number of finished lines, plus one if a write is next
    ("place", np.uint32),  # in the knock-out of arrivals
    ("refills_next", np.bool_),  # flushed by another CPU during a flush event, so the next compute refills
])  # fmt: skip
CHECKER = np.dtype([  # the checks of a busy CPU
    ("line", np.uint32),  # the line with its mark
    ("check", np.float64),  # next arrival at the line; infinite while there is none
    ("gap", np.float64),  # mean time between checks
    ("used", np.uint32),  # draws of checks used
    ("checked", np.float64),  # last check
    ("clearing", np.bool_),  # whether the write is next, after the read
    ("cleared", np.int64),  # generation of its line in which the mark is clear
])  # fmt: skip
LINE = np.dtype([
    ("owner", np.uint32),  # last visitor, or last writer if CPUs read the line first
    ("turns", np.uint32),  # visits in a row inside one cluster
    ("free", np.float64),  # end of the last occupation
    ("version", np.int64),  # writes so far
    ("generation", np.int64),  # writes that marked CPUs pending so far
    ("clear", np.int64),  # CPUs whose mark is clear
])  # fmt: skip


class Lane(NamedTuple):
    """One lane."""

    words: Words
    cost: Cost
    draws: Drawn
    counts: Record
    state: Record
    senders: Records
    checkers: Records  # busy CPUs; empty without checks
    lines: Records
    copies: np.ndarray  # version of the copy of each busy CPU, [line, cpu]; empty unless CPUs read lines
    arrivals: Records  # knock-out of arrivals of senders, cluster by cluster
    checks: Records  # knock-out of checks
    cluster: np.ndarray  # [cpu]
    apart: np.ndarray  # distances between CPUs, [cpu, cpu] of SAME to CROSS in `sim/cache_lines.py`
    line: np.ndarray  # time of a transfer over each of these distances, [distance]
    flags: np.ndarray  # time to read the flags of all other CPUs, in ns, [cpu]; empty without flags


@compiled
def arrive(lane: Lane, k: int, at: float) -> None:
    """CPU k arrives at its next line at this time."""
    lane.senders[k].arrival = at
    play_at(lane.arrivals, lane.senders[k].place, k, at)


@compiled
def schedule_check(lane: Lane, k: int, at: float) -> None:
    lane.checkers[k].check = at
    play_again(lane.checks, k, at)


@compiled
def draw_check(lane: Lane, k: int, after: float) -> None:
    """Schedule the next check of CPU k, a drawn time after `after`."""
    checker = lane.checkers[k]
    schedule_check(lane, k, after + lane.draws.entry[k, checker.used] * checker.gap)
    checker.used += 1
    lane.state.most = max(lane.state.most, checker.used)


@compiled
def line_of(lane: Lane, k: int) -> int:
    """The next line of the flush event of CPU k."""
    if lane.words.lines == 1:
        return 0
    return (lane.checkers[k].line + lane.senders[k].stage // 2) % lane.words.lines


@compiled
def next_in_line(lane: Lane) -> int:
    """The next visitor of a line: a waiter of the owner's cluster during its turns, else the first to arrive."""
    first = lane.arrivals[1].cpu  # ties go to the lowest CPU
    line = line_of(lane, first)
    held = lane.lines[line]
    near = lane.arrivals[lane.words.clusters + lane.cluster[held.owner]]
    if near.due <= held.free and held.turns < lane.cost.line_burst and line_of(lane, near.cpu) == line:
        return near.cpu
    return first


@compiled
def transfer(lane: Lane, line: int, k: int) -> float:
    """The time of a transfer of the line to CPU k."""
    return lane.line[lane.apart[k, lane.lines[line].owner]]


@compiled
def take_turn(lane: Lane, line: int, k: int) -> None:
    """CPU k occupies the line: one more turn inside its cluster, or the first one."""
    held = lane.lines[line]
    again = lane.cluster[k] == lane.cluster[held.owner] and held.turns < lane.cost.line_burst
    held.turns = held.turns + 1 if again else 1


@compiled
def own(lane: Lane, line: int, k: int, end: float) -> None:
    """CPU k occupies the line until `end`, and is then its owner."""
    take_turn(lane, line, k)
    lane.lines[line].free, lane.lines[line].owner = end, k
