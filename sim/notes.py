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

from sim.draws import SWITCH, stream

LOOKS = 4096  # intervals that a lane draws, about


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


def switches_per_s(lane: Mapping[str, float]) -> float:
    """Switches to a user task per busy CPU second: the workload's, and time slices if jobs outnumber CPUs."""
    shared = min(1.0, max(0.0, (lane["jobs"] - lane["cores"]) / lane["cores"]))
    return lane["user_switches_per_s"] + 1000.0 / lane["timeslice_ms"] * shared


def pending(rates: Rates, seed: int, replica: int) -> Pending:
    """Draw a busy CPU's looks and say what they find."""
    if rates.looks == 0.0:
        window = _windows(np.empty(0), rates.own_full)
        return Pending(0.0, 0.0, 1.0 if rates.posts else 0.0, np.inf if rates.posts else 0.0, *window)
    gaps = _gaps(rates, seed, replica)  # [look], seconds
    missed = np.exp(-rates.posts * gaps)  # no foreign post since the look before
    mean = gaps.mean()
    set_share = 1.0 - missed.mean()
    unset_s = ((1.0 - missed) / rates.posts).mean() if rates.posts else mean
    window = _windows(gaps, rates.own_full)  # whatever look comes next after a post finds it
    return Pending(
        looks_per_s=rates.looks,
        flushes_per_s=rates.looks * set_share,
        pending_share=1.0 - unset_s / mean,
        posts_per_flush=rates.posts * mean / set_share if set_share else 0.0,
        window_ns=window[0],
        window_p50_ns=window[1],
        window_p99_ns=window[2],
    )


@lru_cache(maxsize=64)
def _luck(seed: int, replica: int) -> tuple[np.ndarray, ...]:
    generator = stream(seed, replica, 0, SWITCH)
    return generator.standard_exponential(LOOKS), generator.random(LOOKS)


def _gaps(rates: Rates, seed: int, replica: int) -> np.ndarray:
    """Intervals between a CPU's looks, in seconds."""
    unit, phase = _luck(seed, replica)
    irregular = rates.switches + rates.others
    if (rates.ticks == 0.0 and rates.switches == 0.0) or rates.others > 10.0 * rates.switches:
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
    ticks = np.arange(min(LOOKS, int(at[-1] * rates.ticks))) / rates.ticks
    both = np.sort(np.concatenate([at[at <= ticks[-1]], ticks])) if len(ticks) else at
    return np.diff(both)


def _windows(intervals_s: np.ndarray, own_full_per_s: float) -> tuple[float, float, float]:
    """Mean, median and 99th percentile in ns of the time from a post to the next full flush.

    A post falls anywhere in the intervals between looks; the CPU's own full flushes may come first.
    """
    total = intervals_s.sum()
    if total == 0.0:
        mean = 1e9 / own_full_per_s if own_full_per_s else np.inf
        return mean, mean * np.log(2.0), mean * np.log(100.0)
    own = own_full_per_s
    if own:
        x = own * intervals_s
        mean = ((x + np.expm1(-x)) / own**2).sum() / total
    else:
        mean = (intervals_s**2).sum() / (2.0 * total)
    ascending = np.sort(intervals_s)
    longer = np.concatenate([np.cumsum(ascending[::-1])[::-1], [0.0]])  # sum of the intervals from k on

    def beyond(x: float) -> float:
        """Share of posts whose window is longer than x."""
        k = int(np.searchsorted(ascending, x, side="right"))
        return float((longer[k] - x * (len(ascending) - k)) / total * np.exp(-own * x))

    return mean * 1e9, _solve(beyond, 0.5, ascending[-1]) * 1e9, _solve(beyond, 0.01, ascending[-1]) * 1e9


def _solve(beyond, share: float, high: float) -> float:  # type: ignore[no-untyped-def]
    """Where the falling function `beyond` is `share`, by bisection between 0 and `high`."""
    low = 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) > share else (low, middle)
    return high
