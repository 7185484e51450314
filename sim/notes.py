"""The slow time scale: notes left every microsecond, looked at milliseconds apart.

C:   arch/x86/mm/tlb.c  switch_mm_irqs_off(): cpumask_test_and_clear_cpu(), __flush_tlb_all()  (XPFO v8 13/14)
Ref: hyperexponential with balanced means (Tijms, Stochastic Models, appendix B); renewal theory: a post falls into an
     interval L between looks with a chance proportional to L, so the mean window is E[L^2] / (2 E[L])

Flush events are so much more frequent than looks that foreign posts are Poisson here. Looks are drawn as intervals, the
same draws for every policy; everything else is expectation over them. One lane at a time: plain numbers and [look].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sim.abi import Look
from sim.draws import SWITCH, stream

LOOKS = 4096  # intervals that a lane draws, about
RARE = 1e-8  # events per interval: below, the difference of two doubles says less than the first term of the series


@dataclass(frozen=True)
class Rates:
    """How often things happen on one busy CPU, per second."""

    switches: float  # looks at a switch to a user task
    switch_cv2: float
    ticks: float  # looks at the periodic tick
    others: float  # looks at kernel entries or migrations, Poisson
    posts: float  # foreign posts
    own_full: float  # its own full flushes, Poisson

    @property
    def looks(self) -> float:
        return self.switches + self.ticks + self.others


@dataclass(frozen=True)
class Pending:
    """What a note costs and leaves exposed on a busy CPU."""

    looks_per_s: float
    flushes_per_s: float  # looks that find the note set
    pending_share: float  # of time, note set
    posts_per_flush: float  # foreign posts between two clears
    window_ns: float  # from a post to this CPU's next full flush: mean
    window_p50_ns: float
    window_p99_ns: float
    flusher_pending_share: float  # pending_share of a CPU that makes flush events


def switches_per_s(lane: Mapping[str, float]) -> float:
    """Switches to a user task per busy CPU second: the workload's, and time slices if jobs outnumber CPUs."""
    shared = min(1.0, max(0.0, (lane["jobs"] - lane["cores"]) / lane["cores"]))
    return lane["user_switches_per_s"] + 1000.0 / lane["timeslice_ms"] * shared


def all_looks_per_s(looks: Mapping[str, Look], lanes: Mapping[str, np.ndarray]) -> np.ndarray:
    """How often a busy CPU looks at a note, wherever that is, [lane]; `lanes` holds parameters, all numbers."""
    by_lane = ({name: float(column[lane]) for name, column in lanes.items()} for lane in range(len(lanes["cores"])))
    return np.array([sum(looks_by_place(looks, parameters).values()) for parameters in by_lane])


def looks_by_place(looks: Mapping[str, Look], parameters: Mapping[str, float]) -> dict[str, float]:
    """How often a busy CPU looks at a note, by the policy's function; 0 where the policy has none."""
    return {
        "switch_to_user": switches_per_s(parameters) if "switch_to_user" in looks else 0.0,
        "tick": parameters["tick_hz"] if "tick" in looks else 0.0,
        "kernel_entry": parameters["kernel_entries_per_s"] if "kernel_entry" in looks else 0.0,
        "migration": parameters["migrations_per_s"] if "migration" in looks else 0.0,
    }


def pending(rates: Rates, seed: int, replica: int) -> Pending:
    """Draw a busy CPU's looks and say what they find, where every busy CPU is like this one."""
    return pending_on_busy_cpus(rates, rates, 1, 1, seed, replica)


def pending_on_busy_cpus(flusher: Rates, other: Rates, flushers: int, busy: int, seed: int, replica: int) -> Pending:
    """What looks find on a busy CPU, mean over `flushers` that make flush events and `busy - flushers` that never do.

    Both kinds look equally often. A window is one of a post and another busy CPU: of a flusher's posts, `flushers - 1`
    are of the first kind.
    """
    gaps = _gaps(flusher, seed, replica) if flusher.looks else np.empty(0)  # [look], seconds
    set_share, flusher_pending = _found(flusher.posts, gaps)
    flushes, pending_share, posts = flusher.looks * set_share, flusher_pending, flusher.posts
    if flushers < busy:
        part, (other_set, other_pending) = flushers / busy, _found(other.posts, gaps)
        set_share = part * set_share + (1.0 - part) * other_set
        flushes = flusher.looks * set_share
        pending_share = part * flusher_pending + (1.0 - part) * other_pending
        posts = part * flusher.posts + (1.0 - part) * other.posts
    window = _windows(gaps, flusher.own_full, (busy - flushers) / (busy - 1) if flushers < busy else 0.0)
    return Pending(
        looks_per_s=flusher.looks,
        flushes_per_s=flushes,
        pending_share=pending_share,
        posts_per_flush=_posts_per_flush(posts, gaps, set_share),
        window_ns=window[0],
        window_p50_ns=window[1],
        window_p99_ns=window[2],
        flusher_pending_share=flusher_pending,
    )


def _found(posts_per_s: float, gaps: np.ndarray) -> tuple[float, float]:
    """Share of a CPU's looks that find its note set, and share of its time with the note set."""
    if not len(gaps):
        return 0.0, 1.0 if posts_per_s else 0.0
    mean = gaps.mean()
    if posts_per_s * gaps.max() < RARE:  # so seldom that 1 - exp(-x) is rounded away
        return posts_per_s * mean, posts_per_s * (gaps**2).mean() / (2.0 * mean)
    missed = np.exp(-posts_per_s * gaps)  # no foreign post since the look before
    unset_s = ((1.0 - missed) / posts_per_s).mean()
    return 1.0 - missed.mean(), max(0.0, 1.0 - unset_s / mean)


def _posts_per_flush(posts_per_s: float, gaps: np.ndarray, set_share: float) -> float:
    """Foreign posts between two clears of a note; NaN where it is never cleared."""
    if not len(gaps):
        return np.nan if posts_per_s else 0.0
    return posts_per_s * gaps.mean() / set_share if set_share else 0.0


@lru_cache(maxsize=64)
def _luck(seed: int, replica: int) -> tuple[np.ndarray, ...]:
    generator = stream(seed, replica, 0, SWITCH)
    return generator.standard_exponential(LOOKS), generator.random(LOOKS)


def _gaps(rates: Rates, seed: int, replica: int) -> np.ndarray:
    """Intervals between a CPU's looks, in seconds."""
    unit, phase = _luck(seed, replica)
    irregular = rates.switches + rates.others
    if irregular == 0.0:
        return np.full(LOOKS, 1.0 / rates.ticks)
    if (rates.ticks == 0.0 and rates.switches == 0.0) or rates.others > 10.0 * (rates.switches + rates.ticks):
        return unit / rates.looks  # Poisson, or as good as
    number = max(64, int(LOOKS * irregular / rates.looks))
    unit, phase = unit[:number], phase[:number]
    if rates.others:  # a switch is one of the irregular looks
        gaps = unit / irregular
    else:
        cv2 = rates.switch_cv2
        short = 0.5 * (1.0 + np.sqrt((cv2 - 1.0) / (cv2 + 1.0)))
        gaps = unit / (2.0 * rates.switches * np.where(phase < short, short, 1.0 - short))
    if rates.ticks == 0.0:
        return gaps
    at = np.cumsum(gaps)
    ticks = np.arange(int(min(LOOKS, at[-1] * rates.ticks))) / rates.ticks
    if len(ticks) < 2:  # too rare among the others to be seen
        return gaps
    return np.diff(np.sort(np.concatenate([at[at <= ticks[-1]], ticks])))


def _windows(intervals_s: np.ndarray, own_full_per_s: float, without: float = 0.0) -> tuple[float, float, float]:
    """Mean, median and 99th percentile in ns of the time from a post to the next full flush of another CPU.

    A post falls anywhere in the intervals between looks; the CPU's own full flushes may come first. The share `without`
    of these CPUs has no own flushes.
    """
    if not len(intervals_s):
        return _windows_without_looks(own_full_per_s, without)
    total, own = intervals_s.sum(), own_full_per_s
    mean = plain = (intervals_s**2).sum() / (2.0 * total)
    if own * intervals_s.max() > RARE:  # else x + expm1(-x) is rounded away, and own flushes hardly ever come first
        x = own * intervals_s
        mean = ((x + np.expm1(-x)) / own**2).sum() / total
    if without:
        mean = (1.0 - without) * mean + without * plain
    ascending = np.sort(intervals_s)
    longer = np.concatenate([np.cumsum(ascending[::-1])[::-1], [0.0]])  # sum of the intervals from k on

    def beyond(x: float) -> float:
        """Share of posts whose window is longer than x."""
        k = int(np.searchsorted(ascending, x, side="right"))
        no_own = (1.0 - without) * np.exp(-own * x) + without
        return float((longer[k] - x * (len(ascending) - k)) / total * no_own)

    return mean * 1e9, _solve(beyond, 0.5, ascending[-1]) * 1e9, _solve(beyond, 0.01, ascending[-1]) * 1e9


def _windows_without_looks(own_full_per_s: float, without: float) -> tuple[float, float, float]:
    """The same where nobody looks: exponential where a CPU flushes fully by itself, for ever where it does not."""
    mean = 1e9 / own_full_per_s if own_full_per_s else np.inf

    def quantile(beyond: float) -> float:
        """The window that this share of the posts goes beyond."""
        return mean * np.log((1.0 - without) / (beyond - without)) if beyond > without else np.inf

    return np.inf if without else mean, quantile(0.5), quantile(0.01)


def _solve(beyond, share: float, high: float) -> float:  # type: ignore[no-untyped-def]
    """Where the falling function `beyond` is `share`, by bisection between 0 and `high`."""
    low = 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) > share else (low, middle)
    return high
