"""How much work does stopping a lane at its precision save? `python -m benchmarks.precision [--quick]`.

A sample of points of `+grid=large` stops at the grid's precision, or runs a fixed window: the shortest one with the
same 90th percentile of relative half-widths. Then many replicas that stop are compared with long runs, for a bias of
the mean.
"""

import sys
import time
from functools import cache
from typing import Any

import numpy as np

from benchmarks import plans
from benchmarks.plans import parameters
from sim import simulate

TARGET = 3.0
PRECISION = 0.02  # of +grid=large, as its longest window is
WINDOW = 1024
FIXED = range(256, 2049, 32)  # possible windows, of whole batches
SHARE = 90  # percentile of half-widths that must be equal


def lanes(points: list[dict[str, Any]], replicas: int, **changes: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Relative half-widths and events, [point, replica], and CPU seconds."""
    half, events, begun = [], [], time.process_time()
    for point in points:
        found = simulate(**point | changes, replicas=replicas)
        half.append(found["system_time_half_s"] / found["system_time_s"])
        events.append(found["events_simulated"])
    return np.concatenate(half), np.concatenate(events), time.process_time() - begun


def sample(quick: bool) -> list[dict[str, Any]]:
    """A sample of the grid's points up to 64 CPUs, without vanilla, which has no events."""
    plan = plans.large()
    step = len(plan) // (24 if quick else 150)
    points = [parameters(plan, point) for point in range(step // 2, len(plan), step | 1)]
    return [each for each in points if each["policy"] != ["vanilla"] and each["cores"][0] <= 64]


@cache
def saved(quick: bool) -> dict[str, float]:
    """Events and CPU time of the fixed window over those of stopping, of equal accuracy."""
    points = sample(quick)
    lanes(points[:3], 3, precision=[PRECISION], window_events=[64])  # makes draws and imports
    half, events, cpu_s = lanes(points, 3, precision=[PRECISION], window_events=[WINDOW])
    wanted = np.nanpercentile(half, SHARE)
    low, high = 0, len(FIXED) - 1
    while low < high:
        middle = (low + high) // 2
        fixed_half, _, _ = lanes(points, 3, precision=[0.0], window_events=[FIXED[middle]])
        low, high = (low, middle) if np.nanpercentile(fixed_half, SHARE) <= wanted else (middle + 1, high)
    window = FIXED[high]
    _, fixed_events, fixed_s = lanes(points, 3, precision=[0.0], window_events=[window])
    return {
        "points": float(len(points)), "half": float(wanted), "window": float(window),
        "stopped": float(np.nansum(events)), "fixed": float(np.nansum(fixed_events)),
        "stopped s": cpu_s, "fixed s": fixed_s,
    }  # fmt: skip


@cache
def bias(quick: bool) -> list[tuple[str, float, float]]:
    """By point: policy, relative difference of means of stopped lanes and long runs, and its 95 % half-width."""
    out = []
    plan = plans.of(
        {"policy": ["xpfo_deferred", "xpfo", "xpfo_deferred_percpu", "xpfo_kernel_entry"], "cores": 8, "jobs": 8,
         "sockets": 1, "threads_per_core": 2}, machine="xeon_8160",
    )  # fmt: skip
    for at in range(2 if quick else len(plan)):
        point = parameters(plan, at)
        stopped = simulate(
            **point | {"precision": [PRECISION], "window_events": [WINDOW]}, replicas=200 if quick else 400
        )
        long = simulate(**point | {"precision": [0.0], "window_events": [8 * WINDOW]}, replicas=100 if quick else 200)
        means = [each["system_time_s"].reshape(-1) for each in (stopped, long)]
        error = np.sqrt(sum(each.var(ddof=1) / len(each) for each in means))
        middle = means[1].mean()
        out.append((point["policy"][0], float(means[0].mean() / middle - 1), float(1.96 * error / middle)))
    return out


def ratios(quick: bool = True) -> dict[str, float]:
    """Events and CPU time of a fixed window over those of stopping."""
    found = saved(quick)
    return {"events": found["fixed"] / found["stopped"], "CPU time": found["fixed s"] / found["stopped s"]}


def main() -> None:
    quick = "--quick" in sys.argv
    found, ratio = saved(quick), ratios(quick)
    print(
        f"{found['points']:.0f} points of +grid=large, 3 replicas; half-width {100 * found['half']:.2f} % (p{SHARE})\n"
    )
    print("                        events   CPU s")
    print(f"stopped at {PRECISION:g}       {found['stopped']:9.0f} {found['stopped s']:7.2f}")
    print(f"fixed window of {found['window']:5.0f} {found['fixed']:9.0f} {found['fixed s']:7.2f}")
    print(f"ratio                {ratio['events']:9.2f} {ratio['CPU time']:7.2f}\n")
    for policy, difference, half in bias(quick):
        print(f"{policy:22} mean moved by {100 * difference:+.3f} % +- {100 * half:.3f} %")
    fair = all(abs(difference) <= half for _, difference, half in bias(quick))
    met = ratio["events"] >= TARGET
    moved = "does not move" if fair else "moves"
    print(
        f"\nStopping saves {ratio['events']:.2f} times the events at equal accuracy, and {moved} the mean by more than "
        f"chance; the target, {TARGET:g} times, is {'met' if met else 'missed'}."
    )


if __name__ == "__main__":
    main()
