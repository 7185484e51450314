"""The loop over batches: warm-up, window, and the removal of lanes that have reached their precision.

Ref: batch means (Law, Simulation Modeling and Analysis, 9.5.3): the window is cut into batches of equal length whose
     means are nearly independent; a lane stops when their 95 % interval is narrow enough.
"""

from collections.abc import Mapping

import numpy as np

from sim.counts import Machine, Weights, weighted_counts
from sim.elementary import quantile, sum_rows

BATCHES = 32  # of a full window
LEAST_BATCHES = 8  # before a lane may stop


def student_t(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t (Ref: Abramowitz and Stegun 26.7.5); error below 0.01 from 7 degrees."""
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def run(
    machine: Machine, times: Mapping[str, Weights], warmup: int, window: int, precision: np.ndarray
) -> dict[str, np.ndarray]:
    """Simulate every lane to its precision or to `window` events; means per flush event, [lane].

    A lane stops when the 95 % half-width of the first of `times` is at most `precision` [lane] of its mean; 0: never.
    Keys: wait_ns, wait_p50_ns, wait_p99_ns, window_ns with the same quantiles, wait_p999_ns, wait_max_ns, interval_ns,
    events, compute_ns (drawn by senders; NaN if all busy CPUs are senders), one for each name of `times` (the 95 %
    half-width of that time per event) and one for each count.
    """
    length = max(1, window // BATCHES)
    lane = np.arange(machine.lanes)  # original index of each remaining lane
    weights = [each.by_count for each in times.values()]
    fixed = next(iter(times.values())).fixed_ns
    lanes = machine.lanes
    out: dict[str, np.ndarray] = {}
    waits, windows = (np.empty((BATCHES * length, lanes), order="F") for _ in range(2))  # a lane's values are adjacent
    for served in range(0, warmup, len(waits)):
        rows = slice(min(warmup - served, len(waits)))
        machine.serve(waits[rows], windows[rows])
    machine.reset()
    batches = [np.empty((BATCHES, lanes)) for _ in times]  # each time per event, for each batch
    begin, computed, before = machine.now, machine.computed_ns, weighted_counts(machine.counts)
    done = 0
    while len(lane):
        ahead = BATCHES - done  # number of batches before the next check of the precision
        if (precision > 0.0).any():
            ahead = 1 if done else LEAST_BATCHES
        rows = slice(done * length, (done + ahead) * length)
        for counts in machine.serve(waits[rows], windows[rows], ahead):
            counted = weighted_counts(counts)
            wait_ns = _mean_over_rows(waits[done * length : (done + 1) * length])
            for batches_of, weights_of in zip(batches, weights, strict=True):
                batches_of[done] = _batch_time(wait_ns, weights_of, counted - before, length)
            before = counted
            done += 1
        half_ns = [_half_width(batches_of[:done]) for batches_of in batches]
        mean = _mean_over_rows(batches[0][:done])
        stop = ((precision > 0.0) & (half_ns[0] <= precision * (fixed + mean))) | (done == BATCHES)
        if not stop.any():
            continue
        leave, stay = np.flatnonzero(stop), np.flatnonzero(~stop)
        means = _means(machine, begin, computed, waits[: rows.stop], windows[: rows.stop], leave)
        means |= {name: half[leave] for name, half in zip(times, half_ns, strict=True)}
        for name, values in means.items():
            out.setdefault(name, np.full(lanes, np.nan))[lane[leave]] = values
        lane, begin, computed, precision, fixed = (kept[stay] for kept in (lane, begin, computed, precision, fixed))
        weights, before = [weights_of[:, stay] for weights_of in weights], before[:, stay]
        waits, windows = (np.asfortranarray(kept[:, stay]) for kept in (waits, windows))
        batches = [kept[:, stay] for kept in batches]
        if len(stay):
            machine.keep(stay)
    return out


def _half_width(batches: np.ndarray) -> np.ndarray:
    """Half-width of the 95 % interval of the mean of batches, [batch, lane]."""
    degrees = len(batches) - 1
    return student_t(degrees) * np.sqrt(_mean_over_rows((batches - _mean_over_rows(batches)) ** 2) / degrees)


def _batch_time(wait_ns: np.ndarray, weights: np.ndarray, counted: np.ndarray, events: int) -> np.ndarray:
    """The mean time of an event of a batch: its wait and the weighted counts, [lane]."""
    time_ns = wait_ns
    for weight, count in zip(weights, counted, strict=True):  # term by term, so that lanes do not affect each other
        time_ns = time_ns + weight * count / events
    return time_ns


def _means(
    machine: Machine, begin: np.ndarray, computed: np.ndarray, waits: np.ndarray, windows: np.ndarray, leave: np.ndarray
) -> dict[str, np.ndarray]:
    """Means per flush event of the lanes that leave (indices); `begin`, `computed`: values at the window's start.

    Waits and windows are [event, lane].
    """
    events = len(waits)
    spans = {"interval_ns": machine.now - begin, "compute_ns": machine.computed_ns - computed}
    means = {name: span[leave] / events for name, span in spans.items()}
    means["events"] = np.full(len(leave), float(events))
    means["window_p99_isolated_ns"] = machine.window_p99_isolated_ns[leave]
    for name, samples in (("wait", waits), ("window", windows)):
        ascending = np.sort(samples[:, leave], axis=0)
        means[f"{name}_ns"] = _mean_over_rows(samples[:, leave])
        means[f"{name}_p50_ns"], means[f"{name}_p99_ns"] = quantile(ascending, 0.5), quantile(ascending, 0.99)
        if name == "wait":
            means["wait_p999_ns"], means["wait_max_ns"] = quantile(ascending, 0.999), ascending[-1]
    counts = machine.counts
    return means | {name: counts[name][leave] / events for name in counts.dtype.names}


def _mean_over_rows(values: np.ndarray) -> np.ndarray:
    return sum_rows(values) / len(values)
