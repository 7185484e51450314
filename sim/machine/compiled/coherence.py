"""Marks on cache lines that CPUs read before they write: each line is modified in one CPU, or shared by several.

Kernel: after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8), with cpumask_test_cpu()
        before cpumask_or() and cpumask_test_and_clear_cpu()

A flush event visits every line, first that of its own socket: it reads the line, and writes it if a bit to set is
clear. A check reads the line of its own socket and writes it, since its mark is pending. A read by a CPU with a valid
copy takes `line_hit_ns` and never waits. A read without a copy waits for the line, occupies it for `line_fill_ns`, and
ends after a transfer from the last writer. A write waits too, occupies the line for a whole transfer, and invalidates
all other copies. Visits are served in order of arrival, except that a waiter of the cluster of the line's owner goes
first, up to `line_burst` times in a row. So a write that still waits has invalidated the copies already.

Checks are events of the loop: each invalidates the copies, so that flush events write again. They are a Poisson process
with the rate of the switches, ticks and migrations of the CPU. A check of a clear mark changes nothing and is not
drawn: the next check of a CPU is drawn when it is marked pending, which is equivalent, since an exponential has no
memory. The cost of checks to their CPUs is on the slow time scale (`sim/accounting.py`); here they only use the line.
"""

from math import inf

from sim.cache_lines import SAME
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.visits import Lane, draw_check, line_of, own, schedule_check, take_turn, transfer


@compiled
def visit_next_line(lane: Lane, k: int) -> float:
    """A flush event of CPU k reads or writes a line, and its stage advances; return the end."""
    sender, checker, counts = lane.senders[k], lane.checkers[k], lane.counts
    at, line = sender.arrival, line_of(lane, k)
    lane.state.now = max(lane.state.now, at)
    held = lane.lines[line]
    mine = line == checker.line and checker.cleared == held.generation
    others = held.clear - mine  # clear marks of other CPUs
    grant = max(at, held.free)
    if sender.stage % 2:  # cpumask_or()
        end = _write(lane, line, k, grant)
        counts.queue_ns += grant - at
        counts.line_writes += 1
        if others:
            _mark_others(lane, line, k, end)
        held.generation += 1
        held.clear = mine
        if mine:  # no CPU marks itself
            checker.cleared = held.generation
        sender.stage += 1
        return end
    hit = lane.copies[line, k] == held.version
    end = _read(lane, line, k, at)
    if not hit:
        counts.queue_ns += grant - at
        counts.line_misses += 1
    sender.stage += 1 if others else 2
    return end


@compiled
def check_line(lane: Lane, k: int) -> None:
    """The next check of CPU k reads its line, or clears its mark."""
    checker, line = lane.checkers[k], lane.checkers[k].line
    held, at = lane.lines[line], checker.check
    if checker.clearing:  # cpumask_test_and_clear_cpu()
        _write(lane, line, k, max(at, held.free))
        lane.counts.line_clears += 1
        checker.cleared = held.generation
        held.clear += 1
        schedule_check(lane, k, inf)
    else:
        schedule_check(lane, k, _read(lane, line, k, at))
    checker.clearing = not checker.clearing


@compiled
def _read(lane: Lane, line: int, k: int, at: float) -> float:
    """CPU k reads the line; return the end. Other reads can begin before it, after the occupation of the line."""
    held = lane.lines[line]
    if lane.copies[line, k] == held.version:
        return at + lane.line[SAME]
    grant, length = max(at, held.free), transfer(lane, line, k)
    take_turn(lane, line, k)
    held.free = grant + min(lane.cost.line_fill, length)
    lane.copies[line, k] = held.version
    return grant + length


@compiled
def _write(lane: Lane, line: int, k: int, grant: float) -> float:
    """CPU k writes the line, and then has the only copy; return the end."""
    end = grant + transfer(lane, line, k)
    own(lane, line, k, end)
    lane.lines[line].version += 1
    lane.copies[line, k] = lane.lines[line].version
    return end


@compiled
def _mark_others(lane: Lane, line: int, k: int, end: float) -> None:
    """Mark all other CPUs of the line, and draw the next check of each CPU with a clear mark."""
    for other in range(lane.words.busy):
        checker = lane.checkers[other]
        if other != k and checker.line == line and checker.cleared == lane.lines[line].generation:
            draw_check(lane, other, end)
