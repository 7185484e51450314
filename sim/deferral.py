"""Deferred flushes: marks come every microsecond, and each CPU checks its mark only every few milliseconds.

Kernel: arch/x86/mm/tlb.c  switch_mm_irqs_off(): cpumask_test_and_clear_cpu(), __flush_tlb_all()  (XPFO v8 13/14)
Ref:    hyperexponential with balanced means (Tijms, Stochastic Models, appendix B); renewal theory: the probability
        that a mark falls into an interval L between checks is proportional to L, so the mean window is
        E[L^2] / (2 E[L])

Flush events are far more frequent than checks, so the marks by other CPUs are a Poisson process here. The intervals
between checks are drawn, with the same draws for every policy; all results are expectations over them. The first part
treats one CPU of one lane, with plain numbers and arrays [check]; the second part has the cost of an access to the
line of the mark, and the number of marks that a plain write erases, [lane].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf
from typing import NamedTuple

import numpy as np

from sim.cache_lines import distances, line_times_ns, mean_line_ns
from sim.draws import OVERDUE, SWITCH, stream
from sim.elementary import excess, exp_minus, log
from sim.policy import Check, Line, Write
from sim.scenario import Scenario
from sim.topology import Shape

Columns = Mapping[str, np.ndarray]
CHECKS = 4096  # approximate number of intervals that a lane draws
RARE = 1e-8  # events per interval below which the first term of a series is more precise than a difference


@dataclass(frozen=True)
class Rates:
    """Rates on one busy CPU, per second."""

    switches: float  # checks at a switch to a user task
    switch_cv2: float
    ticks: float  # checks at the periodic tick
    others: float  # checks at kernel entries or migrations, a Poisson process
    marks: float  # marks by other CPUs
    own_full: float  # local full flushes, a Poisson process
    deadline_s: float = inf  # age of a mark by which the CPU has flushed, after an interrupt

    @property
    def checks(self) -> float:
        return self.switches + self.ticks + self.others


class Windows(NamedTuple):
    """The distribution of stale windows, the times from a mark to the next full flush of its CPU."""

    window_ns: float  # mean
    window_p50_ns: float
    window_p99_ns: float
    beyond: Callable[[float], float]  # share of marks with a window longer than the argument, in seconds
    longest_s: float
    never: float = 0.0  # share of marks that no flush ever follows


@dataclass(frozen=True)
class Pending:
    """The cost and the stale windows of marks on a busy CPU."""

    checks_per_s: float
    flushes_per_s: float  # checks that find the mark pending
    overdue_per_s: float  # interrupts for marks that are too old
    pending_share: float  # share of time with the mark pending
    marks_per_flush: float  # marks by other CPUs between two clears
    sender_pending_share: float  # pending_share of a sender
    windows: Windows


def switches_per_s(lanes: Columns) -> np.ndarray:
    """Switches to a user task per second of a busy CPU, with time slices if jobs outnumber CPUs."""
    shared = np.clip((lanes["jobs"] - lanes["cores"]) / lanes["cores"], 0.0, 1.0)
    return lanes["user_switches_per_s"] + 1000.0 / lanes["timeslice_ms"] * shared


def checks_by_place(checks: Mapping[str, Check], lanes: Columns) -> dict[str, np.ndarray]:
    """Checks per second of a busy CPU by place, each [lane]; 0 where the policy does not check."""
    zero = np.zeros_like(lanes["cores"])
    names = {"tick": "tick_hz", "kernel_entry": "kernel_entries_per_s", "migration": "migrations_per_s"}
    return {
        "switch_to_user": switches_per_s(lanes) if "switch_to_user" in checks else zero,
        **{place: lanes[name] if place in checks else zero for place, name in names.items()},
    }


def on_isolated_cpus(lanes: Columns) -> dict[str, np.ndarray]:
    """The parameters of lanes for isolated CPUs: no tick, no migration, few switches and kernel entries."""
    zero = np.zeros_like(lanes["cores"])
    return {
        **lanes,
        "jobs": lanes["cores"],
        "user_switches_per_s": lanes.get("isolated_switches_per_s", zero),
        "kernel_entries_per_s": lanes.get("isolated_entries_per_s", zero),
        "tick_hz": zero,
        "migrations_per_s": zero,
    }


def pending_on_an_equal(rates: Rates, seed: int, replica: int) -> Pending:
    """The results of checks on a busy CPU, if all busy CPUs have the same rates."""
    return pending_on_busy_cpus(rates, rates, 1, 1, seed, replica)


def pending_on_busy_cpus(sender: Rates, other: Rates, senders: int, busy: int, seed: int, replica: int) -> Pending:
    """The results of checks on a busy CPU, as means over `senders` senders and `busy - senders` other busy CPUs.

    Both kinds have the same rate of checks and deadline. There is a window for each mark and each other busy CPU, of
    which `senders - 1` are senders.
    """
    part, without = senders / busy, (busy - senders) / (busy - 1) if senders < busy else 0.0
    found = overdue = pending_share = marks = sender_pending = 0.0
    for rates, share in ((sender, part), (other, 1.0 - part)):
        if not share:
            continue
        if rates.deadline_s < inf:
            late = _overdue(rates, seed, replica)
            its_found, of_time = late.found, float((late.times * late.pending_s).sum()) / late.total_s
            overdue += share * late.overdue / late.total_s
            windows = _windows_until(late, rates.marks, sender.own_full, without)
        else:
            gaps = _gaps(rates, seed, replica)
            its_found, of_time = _found(rates.marks, gaps)
        found += share * its_found
        pending_share += share * of_time
        marks += share * rates.marks
        sender_pending = of_time if rates is sender else sender_pending
    flushes = sender.checks * found
    if sender.deadline_s < inf:
        marks_per_flush = marks / (flushes + overdue) if flushes + overdue else 0.0
    else:
        windows = _windows(gaps, sender.own_full, without)
        marks_per_flush = _marks_per_flush(marks, gaps, found)
    return Pending(sender.checks, flushes, overdue, pending_share, marks_per_flush, sender_pending, windows)


def with_isolated(housekeeping: Pending, isolated: Pending, count: int, busy: int) -> Pending:
    """The results of checks on a busy CPU if `count` of `busy` are isolated; windows exclude the sender."""
    share, among_others = count / busy, count / (busy - 1)
    names = ["checks_per_s", "flushes_per_s", "overdue_per_s", "pending_share"]
    if isolated.marks_per_flush == isolated.marks_per_flush:  # not NaN, which means that isolated CPUs never check
        names.append("marks_per_flush")
    means = {name: (1.0 - share) * getattr(housekeeping, name) + share * getattr(isolated, name) for name in names}
    windows = _mixed([(1.0 - among_others, housekeeping.windows), (among_others, isolated.windows)])
    return replace(housekeeping, **means, windows=windows)


def _mixed(parts: Sequence[tuple[float, Windows]]) -> Windows:
    """The windows of several kinds of CPUs, weighted by their shares."""
    never, longest = sum(share * each.never for share, each in parts), max(each.longest_s for _, each in parts)

    def beyond(x: float) -> float:
        return sum(share * each.beyond(x) for share, each in parts)

    def quantile(wanted: float) -> float:
        if wanted <= never:
            return inf
        high = longest
        if high == inf:
            high = 1.0
            while beyond(high) > wanted:
                high *= 2.0
        return _solve(beyond, wanted, high) * 1e9

    mean_ns = sum(share * each.window_ns for share, each in parts if share)
    return Windows(mean_ns, quantile(0.5), quantile(0.01), beyond, longest, never)


def _found(marks_per_s: float, gaps: np.ndarray) -> tuple[float, float]:
    """The share of checks that find the mark pending, and the share of time with the mark pending."""
    if not len(gaps):
        return 0.0, 1.0 if marks_per_s else 0.0
    mean = gaps.mean()
    if marks_per_s * gaps.max() < RARE:  # 1 - exp(-x) would lose its digits
        return marks_per_s * mean, marks_per_s * (gaps**2).mean() / (2.0 * mean)
    none = exp_minus(marks_per_s * gaps)  # no mark by another CPU since the last check
    unset_s = ((1.0 - none) / marks_per_s).mean()
    return 1.0 - none.mean(), max(0.0, 1.0 - unset_s / mean)


def _marks_per_flush(marks_per_s: float, gaps: np.ndarray, set_share: float) -> float:
    """Marks by other CPUs between two clears; NaN if no CPU ever clears the mark."""
    if not len(gaps):
        return np.nan if marks_per_s else 0.0
    return marks_per_s * gaps.mean() / set_share if set_share else 0.0


@lru_cache(maxsize=64)
def _luck(seed: int, replica: int) -> tuple[np.ndarray, ...]:
    generator = stream(seed, replica, 0, SWITCH)
    return generator.standard_exponential(CHECKS), generator.random(CHECKS)


def _gaps(rates: Rates, seed: int, replica: int) -> np.ndarray:
    """Intervals between the checks of a CPU, in seconds; none if it never checks."""
    if not rates.checks:
        return np.empty(0)
    unit, phase = _luck(seed, replica)
    irregular = rates.switches + rates.others
    if irregular == 0.0:
        return np.full(CHECKS, 1.0 / rates.ticks)
    if (rates.ticks == 0.0 and rates.switches == 0.0) or rates.others > 10.0 * (rates.switches + rates.ticks):
        return unit / rates.checks  # a Poisson process, at least approximately
    number = max(64, int(CHECKS * irregular / rates.checks))
    unit, phase = unit[:number], phase[:number]
    if rates.others:  # switches are then part of the Poisson process
        gaps = unit / irregular
    else:
        cv2 = rates.switch_cv2
        short = 0.5 * (1.0 + np.sqrt((cv2 - 1.0) / (cv2 + 1.0)))
        gaps = unit / (2.0 * rates.switches * np.where(phase < short, short, 1.0 - short))
    if rates.ticks == 0.0:
        return gaps
    at = np.cumsum(gaps)
    ticks = np.arange(int(min(CHECKS, at[-1] * rates.ticks))) / rates.ticks
    if len(ticks) < 2:  # too rare to matter
        return gaps
    return np.diff(np.sort(np.concatenate([at[at <= ticks[-1]], ticks])))


def _windows(intervals_s: np.ndarray, own_full_per_s: float, without: float = 0.0) -> Windows:
    """The time from a mark to the next full flush of another CPU.

    A mark falls anywhere in the intervals between checks; a local full flush may come before the check. The share
    `without` of these CPUs has no local flushes.
    """
    if not len(intervals_s):
        return _windows_without_checks(own_full_per_s, without)
    total, own = intervals_s.sum(), own_full_per_s
    mean = plain = (intervals_s**2).sum() / (2.0 * total)
    if own * intervals_s.max() > RARE:  # else excess() loses its digits, and local flushes hardly ever come first
        mean = (excess(own * intervals_s) / own**2).sum() / total
    if without:
        mean = (1.0 - without) * mean + without * plain
    ascending = np.sort(intervals_s)
    longer = np.concatenate([np.cumsum(ascending[::-1])[::-1], [0.0]])  # sum of the intervals from k on

    def beyond(x: float) -> float:
        """The share of marks with a window longer than x seconds."""
        k = int(np.searchsorted(ascending, x, side="right"))
        no_own = (1.0 - without) * exp_minus(own * x) + without
        return float((longer[k] - x * (len(ascending) - k)) / total * no_own)

    p50, p99 = (_solve(beyond, share, ascending[-1]) * 1e9 for share in (0.5, 0.01))
    return Windows(mean * 1e9, p50, p99, beyond, ascending[-1])


def _windows_without_checks(own_full_per_s: float, without: float) -> Windows:
    """Windows without checks: exponential on a CPU with local full flushes, for ever on any other CPU."""
    mean = 1e9 / own_full_per_s if own_full_per_s else np.inf

    def beyond(x: float) -> float:
        """Share of marks whose window is longer than x seconds."""
        return (1.0 - without) * exp_minus(own_full_per_s * x) + without

    def quantile(beyond: float) -> float:
        """The window that this share of the marks exceeds."""
        return mean * log((1.0 - without) / (beyond - without)) if beyond > without else np.inf

    never = without if own_full_per_s else 1.0
    return Windows(np.inf if without else mean, quantile(0.5), quantile(0.01), beyond, inf, never)


def _solve(beyond: Callable[[float], float], share: float, high: float) -> float:
    """The argument at which the falling function `beyond` is `share`, by bisection between 0 and `high`."""
    low = 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) > share else (low, middle)
    return high


# Marks with a deadline

CYCLES = 64  # most cycles of mark and interrupt drawn between two checks; all others have the mean length


class Overdue(NamedTuple):
    """The marks of a CPU with a deadline, between its checks."""

    pending_s: np.ndarray  # time from the first mark to the flush
    times: np.ndarray  # number of flushes after that time
    found: float  # share of checks that find the mark pending
    overdue: float  # number of interrupts
    total_s: float


def _overdue(rates: Rates, seed: int, replica: int) -> Overdue:
    """The marks of a CPU until its next check or their deadline, whichever comes first."""
    marks_per_s, deadline_s = rates.marks, rates.deadline_s
    cycle_s = 1.0 / marks_per_s + deadline_s if marks_per_s else 1.0
    gaps = _gaps(rates, seed, replica) if rates.checks else np.full(CHECKS, CYCLES * cycle_s)
    total = float(gaps.sum())
    if not marks_per_s:
        return Overdue(np.zeros(0), np.zeros(0), 0.0, 0.0, total)
    skipped = np.maximum(np.floor(gaps / cycle_s) - CYCLES, 0.0)
    left, generator = gaps - skipped * cycle_s, stream(seed, replica, 0, OVERDUE)
    pending, found, overdue = [np.full(len(gaps), deadline_s)], 0.0, float(skipped.sum())
    times = [skipped]
    while len(left):
        left = left - generator.standard_exponential(len(gaps))[: len(left)] / marks_per_s  # after this mark
        left = left[left > 0.0]
        pending.append(np.minimum(left, deadline_s))
        times.append(np.ones(len(left)))
        found += np.count_nonzero(left <= deadline_s)
        overdue += np.count_nonzero(left > deadline_s)
        left = left[left > deadline_s] - deadline_s
    return Overdue(np.concatenate(pending), np.concatenate(times), found / len(gaps), overdue, total)


def _windows_until(late: Overdue, marks_per_s: float, own_full_per_s: float, without: float) -> Windows:
    """Windows of all marks before a flush: the whole time for the first mark, a uniform part of it for the others."""
    pending, times, own = late.pending_s, late.times, own_full_per_s
    marks = float((times * (1.0 + marks_per_s * pending)).sum())
    if not marks:
        return Windows(0.0, 0.0, 0.0, lambda x: 0.0, 0.0)
    longest = float(pending.max())
    mean = plain = float((times * (pending + marks_per_s * pending**2 / 2.0)).sum()) / marks
    if own * longest > RARE:
        reached = exp_minus(own * pending)
        first = (1.0 - reached) / own
        mean = float((times * (first + marks_per_s * excess(own * pending) / own**2)).sum()) / marks
    mean = (1.0 - without) * mean + without * plain

    def beyond(x: float) -> float:
        """Share of marks whose window is longer than x seconds."""
        longer = np.where(pending > x, times * (1.0 + marks_per_s * (pending - x)), 0.0)
        return float(longer.sum()) / marks * ((1.0 - without) * exp_minus(own * x) + without)

    p50, p99 = (_solve(beyond, share, longest) * 1e9 for share in (0.5, 0.01))
    return Windows(mean * 1e9, p50, p99, beyond, longest)


# The line of the mark


def line_access_ns(scenario: Scenario, mean: Columns, pending: Columns) -> np.ndarray:
    """The time of a check on the line of the mark, including the wait; 0 if the policy marks no CPU."""
    if not scenario.policy.mark:
        return np.zeros_like(scenario.events)
    if scenario.policy.reads_line:
        return read_and_clear_ns(scenario, mean, pending)
    return line_ns(scenario.lanes, scenario.shape) + mean["queue_ns"]


def read_and_clear_ns(scenario: Scenario, mean: Columns, pending: Columns) -> np.ndarray:
    """The time to read the line of the mark, and to write to it if the mark is pending.

    A sender has a valid copy as often as the reads of flush events find one. Any other CPU has none, since the last
    mark invalidated its copy.
    """
    shape = scenario.shape
    reads = shape.sockets if scenario.policy.mark and scenario.policy.mark.line is Line.NODE else 1  # per flush event
    taken = mean["line_misses"] + mean["line_writes"]
    access_ns = line_ns(scenario.lanes, shape) + np.divide(
        mean["queue_ns"], taken, out=np.zeros_like(taken), where=taken > 0.0
    )
    hits = (1.0 - mean["line_misses"] / reads) * shape.senders / shape.busy
    return hits * scenario.lanes["line_hit_ns"] + (1.0 - hits + pending["found_share"]) * access_ns


def line_ns(lanes: Columns, shape: Shape) -> np.ndarray:
    """The time of one access to a line with any busy CPU as last owner."""
    return mean_line_ns(distances(shape)[: shape.busy, : shape.busy], line_times_ns(shape, lanes))


def flag_writes_ns(scenario: Scenario, mean: Columns, pending: Columns) -> np.ndarray:
    """The time per flush event to set clear flags: each flag is set once between two checks of its CPU."""
    if not scenario.policy.mark or scenario.policy.mark.line is not Line.PER_CPU:
        return np.zeros_like(scenario.events)
    flags = scenario.shape.busy * pending["flushes_per_s"] * mean["interval_ns"] * 1e-9
    return flags * line_access_ns(scenario, mean, pending)


def marks_ahead(scenario: Scenario, mean: Columns) -> np.ndarray:
    """The mean number of marks by other CPUs between the read and the write of a mark; 0 if no mark is lost.

    These are the marks ahead of it in the queue for the line, by Little's law for one of `senders` customers.
    """
    mark, shape, interval_ns = scenario.policy.mark, scenario.shape, mean["interval_ns"]
    if mark is None:
        return np.full_like(interval_ns, np.nan)
    if mark.line is not Line.GLOBAL or mark.write is not Write.PLAIN:
        return np.zeros_like(interval_ns)
    return (1.0 - 1.0 / shape.senders) * (mean["queue_ns"] + line_ns(scenario.lanes, shape)) / interval_ns
