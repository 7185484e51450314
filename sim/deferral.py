"""Deferred flushes: CPUs are marked pending every microsecond, and check the mark milliseconds apart.

Kernel: arch/x86/mm/tlb.c  switch_mm_irqs_off(): cpumask_test_and_clear_cpu(), __flush_tlb_all()  (XPFO v8 13/14)
Ref:    hyperexponential with balanced means (Tijms, Stochastic Models, appendix B); renewal theory: a mark falls into
        an interval L between checks with a chance proportional to L, so the mean window is E[L^2] / (2 E[L])

Flush events are so much more frequent than checks that the marks by other CPUs are Poisson here. Checks are drawn as
intervals, the same draws for every policy; everything else is expectation over them. First one CPU of one lane, in
plain numbers and [check]; then what an access to the mark's line costs, and how many marks a plain write to it erases,
[lane].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sim.cache_lines import distances, line_times_ns, mean_line_ns
from sim.draws import SWITCH, stream
from sim.elementary import excess, exp_minus, log
from sim.policy import Check, Line, Write
from sim.scenario import Scenario
from sim.topology import Shape

Columns = Mapping[str, np.ndarray]
CHECKS = 4096  # intervals that a lane draws, about
RARE = 1e-8  # events per interval: below, the difference of two doubles says less than the first term of the series


@dataclass(frozen=True)
class Rates:
    """How often things happen on one busy CPU, per second."""

    switches: float  # checks at a switch to a user task
    switch_cv2: float
    ticks: float  # checks at the periodic tick
    others: float  # checks at kernel entries or migrations, Poisson
    marks: float  # by other CPUs
    own_full: float  # its own full flushes, Poisson

    @property
    def checks(self) -> float:
        return self.switches + self.ticks + self.others


@dataclass(frozen=True)
class Pending:
    """What a mark costs and leaves exposed on a busy CPU."""

    checks_per_s: float
    flushes_per_s: float  # checks that find the mark pending
    pending_share: float  # of time, with the mark pending
    marks_per_flush: float  # by other CPUs, between two clears
    window_ns: float  # from a mark to this CPU's next full flush: mean
    window_p50_ns: float
    window_p99_ns: float
    flusher_pending_share: float  # pending_share of a CPU that makes flush events


def switches_per_s(lane: Mapping[str, float]) -> float:
    """Switches to a user task per busy CPU second: the workload's, and time slices if jobs outnumber CPUs."""
    shared = min(1.0, max(0.0, (lane["jobs"] - lane["cores"]) / lane["cores"]))
    return lane["user_switches_per_s"] + 1000.0 / lane["timeslice_ms"] * shared


def all_checks_per_s(checks: Mapping[str, Check], lanes: Mapping[str, np.ndarray]) -> np.ndarray:
    """How often a busy CPU checks its mark, wherever that is, [lane]; `lanes` holds parameters, all numbers."""
    by_lane = ({name: float(column[lane]) for name, column in lanes.items()} for lane in range(len(lanes["cores"])))
    return np.array([sum(checks_by_place(checks, parameters).values()) for parameters in by_lane])


def checks_by_place(checks: Mapping[str, Check], parameters: Mapping[str, float]) -> dict[str, float]:
    """How often a busy CPU checks its mark, by place; 0 where the policy does not check."""
    return {
        "switch_to_user": switches_per_s(parameters) if "switch_to_user" in checks else 0.0,
        "tick": parameters["tick_hz"] if "tick" in checks else 0.0,
        "kernel_entry": parameters["kernel_entries_per_s"] if "kernel_entry" in checks else 0.0,
        "migration": parameters["migrations_per_s"] if "migration" in checks else 0.0,
    }


def pending(rates: Rates, seed: int, replica: int) -> Pending:
    """What a busy CPU's checks find, where every busy CPU is like this one."""
    return pending_on_busy_cpus(rates, rates, 1, 1, seed, replica)


def pending_on_busy_cpus(flusher: Rates, other: Rates, flushers: int, busy: int, seed: int, replica: int) -> Pending:
    """What checks find on a busy CPU, mean over `flushers` that make flush events and `busy - flushers` that never do.

    Both kinds check equally often. A window is one of a mark and another busy CPU: of a sender's marks, `flushers - 1`
    are of the first kind.
    """
    gaps = _gaps(flusher, seed, replica) if flusher.checks else np.empty(0)  # [check], seconds
    pending_found, flusher_pending = _found(flusher.marks, gaps)
    flushes, pending_share, marks = flusher.checks * pending_found, flusher_pending, flusher.marks
    if flushers < busy:
        part, (other_set, other_pending) = flushers / busy, _found(other.marks, gaps)
        pending_found = part * pending_found + (1.0 - part) * other_set
        flushes = flusher.checks * pending_found
        pending_share = part * flusher_pending + (1.0 - part) * other_pending
        marks = part * flusher.marks + (1.0 - part) * other.marks
    window = _windows(gaps, flusher.own_full, (busy - flushers) / (busy - 1) if flushers < busy else 0.0)
    return Pending(
        checks_per_s=flusher.checks,
        flushes_per_s=flushes,
        pending_share=pending_share,
        marks_per_flush=_marks_per_flush(marks, gaps, pending_found),
        window_ns=window[0],
        window_p50_ns=window[1],
        window_p99_ns=window[2],
        flusher_pending_share=flusher_pending,
    )


def _found(marks_per_s: float, gaps: np.ndarray) -> tuple[float, float]:
    """Share of a CPU's checks that find its mark pending, and share of its time with the mark pending."""
    if not len(gaps):
        return 0.0, 1.0 if marks_per_s else 0.0
    mean = gaps.mean()
    if marks_per_s * gaps.max() < RARE:  # so seldom that 1 - exp(-x) is rounded away
        return marks_per_s * mean, marks_per_s * (gaps**2).mean() / (2.0 * mean)
    none = exp_minus(marks_per_s * gaps)  # no mark by another CPU since the check before
    unset_s = ((1.0 - none) / marks_per_s).mean()
    return 1.0 - none.mean(), max(0.0, 1.0 - unset_s / mean)


def _marks_per_flush(marks_per_s: float, gaps: np.ndarray, set_share: float) -> float:
    """Marks by other CPUs between two clears; NaN where the mark is never cleared."""
    if not len(gaps):
        return np.nan if marks_per_s else 0.0
    return marks_per_s * gaps.mean() / set_share if set_share else 0.0


@lru_cache(maxsize=64)
def _luck(seed: int, replica: int) -> tuple[np.ndarray, ...]:
    generator = stream(seed, replica, 0, SWITCH)
    return generator.standard_exponential(CHECKS), generator.random(CHECKS)


def _gaps(rates: Rates, seed: int, replica: int) -> np.ndarray:
    """Intervals between a CPU's checks, in seconds."""
    unit, phase = _luck(seed, replica)
    irregular = rates.switches + rates.others
    if irregular == 0.0:
        return np.full(CHECKS, 1.0 / rates.ticks)
    if (rates.ticks == 0.0 and rates.switches == 0.0) or rates.others > 10.0 * (rates.switches + rates.ticks):
        return unit / rates.checks  # Poisson, or as good as
    number = max(64, int(CHECKS * irregular / rates.checks))
    unit, phase = unit[:number], phase[:number]
    if rates.others:  # a switch is one of the irregular checks
        gaps = unit / irregular
    else:
        cv2 = rates.switch_cv2
        short = 0.5 * (1.0 + np.sqrt((cv2 - 1.0) / (cv2 + 1.0)))
        gaps = unit / (2.0 * rates.switches * np.where(phase < short, short, 1.0 - short))
    if rates.ticks == 0.0:
        return gaps
    at = np.cumsum(gaps)
    ticks = np.arange(int(min(CHECKS, at[-1] * rates.ticks))) / rates.ticks
    if len(ticks) < 2:  # too rare among the others to be seen
        return gaps
    return np.diff(np.sort(np.concatenate([at[at <= ticks[-1]], ticks])))


def _windows(intervals_s: np.ndarray, own_full_per_s: float, without: float = 0.0) -> tuple[float, float, float]:
    """Mean, median and 99th percentile in ns of the time from a mark to the next full flush of another CPU.

    A mark falls anywhere in the intervals between checks; the CPU's local full flushes may come first. The share
    `without` of these CPUs has no local flushes.
    """
    if not len(intervals_s):
        return _windows_without_checks(own_full_per_s, without)
    total, own = intervals_s.sum(), own_full_per_s
    mean = plain = (intervals_s**2).sum() / (2.0 * total)
    if own * intervals_s.max() > RARE:  # else the excess is rounded away, and own flushes hardly ever come first
        mean = (excess(own * intervals_s) / own**2).sum() / total
    if without:
        mean = (1.0 - without) * mean + without * plain
    ascending = np.sort(intervals_s)
    longer = np.concatenate([np.cumsum(ascending[::-1])[::-1], [0.0]])  # sum of the intervals from k on

    def beyond(x: float) -> float:
        """Share of marks whose window is longer than x."""
        k = int(np.searchsorted(ascending, x, side="right"))
        no_own = (1.0 - without) * exp_minus(own * x) + without
        return float((longer[k] - x * (len(ascending) - k)) / total * no_own)

    return mean * 1e9, _solve(beyond, 0.5, ascending[-1]) * 1e9, _solve(beyond, 0.01, ascending[-1]) * 1e9


def _windows_without_checks(own_full_per_s: float, without: float) -> tuple[float, float, float]:
    """The same where no CPU checks: exponential where a CPU flushes fully by itself, for ever where it does not."""
    mean = 1e9 / own_full_per_s if own_full_per_s else np.inf

    def quantile(beyond: float) -> float:
        """The window that this share of the marks goes beyond."""
        return mean * log((1.0 - without) / (beyond - without)) if beyond > without else np.inf

    return np.inf if without else mean, quantile(0.5), quantile(0.01)


def _solve(beyond, share: float, high: float) -> float:  # type: ignore[no-untyped-def]
    """Where the falling function `beyond` is `share`, by bisection between 0 and `high`."""
    low = 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) > share else (low, middle)
    return high


# The line of the mark


def line_access_ns(scenario: Scenario, mean: Columns, pending: Columns) -> np.ndarray:
    """What a check does with the line of the mark, waiting for it included; 0 where the policy marks no CPU."""
    if not scenario.policy.mark:
        return np.zeros_like(scenario.events)
    if scenario.policy.reads_line:
        return read_and_clear_ns(scenario, mean, pending)
    return line_ns(scenario.lanes, scenario.shape) + mean["queue_ns"]


def read_and_clear_ns(scenario: Scenario, mean: Columns, pending: Columns) -> np.ndarray:
    """Reading the line of the mark, and writing to it where that is pending.

    A CPU that makes flush events has a valid copy as often as their reads find one; another one has none, since what
    marked it pending took its copy away.
    """
    shape = scenario.shape
    reads = shape.sockets if scenario.policy.mark and scenario.policy.mark.line is Line.NODE else 1  # of a flush event
    taken = mean["line_misses"] + mean["line_writes"]
    access_ns = line_ns(scenario.lanes, shape) + np.divide(
        mean["queue_ns"], taken, out=np.zeros_like(taken), where=taken > 0.0
    )
    hits = (1.0 - mean["line_misses"] / reads) * shape.flushers / shape.busy
    return hits * scenario.lanes["line_hit_ns"] + (1.0 - hits + pending["found_share"]) * access_ns


def line_ns(lanes: Columns, shape: Shape) -> np.ndarray:
    """One access to a line whose last owner is any busy CPU."""
    return mean_line_ns(distances(shape)[: shape.busy, : shape.busy], line_times_ns(shape, lanes))


def flag_writes_ns(scenario: Scenario, mean: Columns, pending: Columns) -> np.ndarray:
    """Setting the flags that a flush event finds clear, per flush event: each once between two checks of its CPU."""
    if not scenario.policy.mark or scenario.policy.mark.line is not Line.PER_CPU:
        return np.zeros_like(scenario.events)
    flags = scenario.shape.busy * pending["flushes_per_s"] * mean["interval_ns"] * 1e-9
    return flags * line_access_ns(scenario, mean, pending)


def marks_ahead(scenario: Scenario, mean: Columns) -> np.ndarray:
    """Marks by others written between a mark's read and its write, mean: those ahead of it in line; 0 if none is lost.

    By Little's law for the line, as one of `flushers` customers sees it.
    """
    mark, shape, interval_ns = scenario.policy.mark, scenario.shape, mean["interval_ns"]
    if mark is None:
        return np.full_like(interval_ns, np.nan)
    if mark.line is not Line.GLOBAL or mark.write is not Write.PLAIN:
        return np.zeros_like(interval_ns)
    return (1.0 - 1.0 / shape.flushers) * (mean["queue_ns"] + line_ns(scenario.lanes, shape)) / interval_ns
