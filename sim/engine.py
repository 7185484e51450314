"""The loop over steps: warm-up, batches, stopping at the wanted precision, finished lanes leave.

Ref: batch means (Law, Simulation Modeling and Analysis, 9.5.3): the window is cut into batches of equal length whose
     means are nearly independent; a lane stops when their 95 % interval is narrow enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from sim.arrays import fit_buffer
from sim.metrics import Counts, Machine, Price, priced_counts

BATCHES = 32  # of a full window
LEAST_BATCHES = 8  # before a lane may stop
COUNTS = tuple(field.name for field in fields(Counts))


def student_t(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t (Ref: Abramowitz and Stegun 26.7.5); error below 0.01 from 7 degrees."""
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def run(
    machine: Machine, prices: Mapping[str, Price], warmup: int, window: int, precision: np.ndarray
) -> dict[str, np.ndarray]:
    """Simulate every lane to its precision or to `window` events; means per flush event, [lane].

    A lane stops where the 95 % half-width of the first price is at most `precision` [lane] of its mean; 0 is never.
    Keys: wait_ns, wait_p50_ns, wait_p99_ns, the same of window_ns, wait_p999_ns, wait_max_ns, interval_ns, events,
    compute_ns (of CPUs that make flush events, as drawn; NaN where all busy CPUs do), one per name of `prices` (the
    95 % half-width of that price per event) and one per field of `Counts`.
    """
    with np.errstate():  # the buffer fitted below is of this call alone
        return _run(machine, prices, warmup, window, precision)


def _run(
    machine: Machine, prices: Mapping[str, Price], warmup: int, window: int, precision: np.ndarray
) -> dict[str, np.ndarray]:
    fit_buffer(machine.lanes)
    length = max(1, window // BATCHES)
    lane = np.arange(machine.lanes)  # original index of each lane that is still here
    weights = [price.weights for price in prices.values()]
    fixed = next(iter(prices.values())).fixed_ns
    lanes = machine.lanes
    out: dict[str, np.ndarray] = {}
    waits = np.empty((BATCHES * length, machine.lanes))
    windows = np.empty_like(waits)
    for served in range(0, warmup, len(waits)):
        rows = slice(min(warmup - served, len(waits)))
        machine.serve(waits[rows], windows[rows])
    machine.reset()
    batches = [np.empty((BATCHES, lanes)) for _ in prices]  # each price per event of each batch
    begin, computed, before = machine.now, machine.computed_ns, priced_counts(machine.counts)
    for batch in range(BATCHES):
        rows = slice(batch * length, (batch + 1) * length)
        machine.serve(waits[rows], windows[rows])
        counted = priced_counts(machine.counts)
        wait_ns = _mean_over_rows(waits[rows])
        for batches_of, weights_of in zip(batches, weights, strict=True):
            batches_of[batch] = _price_batch(wait_ns, weights_of, counted - before, length)
        before = counted
        done = batch + 1
        if done < LEAST_BATCHES and done < BATCHES:
            continue
        half_ns = [_half_width(batches_of[:done]) for batches_of in batches]
        mean = _mean_over_rows(batches[0][:done])
        stop = ((precision > 0.0) & (half_ns[0] <= precision * (fixed + mean))) | (done == BATCHES)
        if not stop.any():
            continue
        leave, stay = np.flatnonzero(stop), np.flatnonzero(~stop)
        means = _means(machine, begin, computed, waits[: rows.stop], windows[: rows.stop], leave)
        means |= {name: half[leave] for name, half in zip(prices, half_ns, strict=True)}
        for name, values in means.items():
            out.setdefault(name, np.full(lanes, np.nan))[lane[leave]] = values
        if not len(stay):
            break
        lane, begin, computed, precision, fixed = (kept[stay] for kept in (lane, begin, computed, precision, fixed))
        weights, before = [weights_of[:, stay] for weights_of in weights], before[:, stay]
        waits, windows, *batches = (np.ascontiguousarray(kept[:, stay]) for kept in (waits, windows, *batches))
        machine.keep(stay)
        fit_buffer(machine.lanes)
    return out


def _half_width(batches: np.ndarray) -> np.ndarray:
    """Half-width of the 95 % interval of the mean of batches, [batch, lane]."""
    degrees = len(batches) - 1
    return student_t(degrees) * np.sqrt(_mean_over_rows((batches - _mean_over_rows(batches)) ** 2) / degrees)


def _price_batch(wait_ns: np.ndarray, weights: np.ndarray, counted: np.ndarray, events: int) -> np.ndarray:
    """The price of an event of a batch: its mean wait and what was counted in it, [lane]."""
    price_ns = wait_ns
    for weight, count in zip(weights, counted, strict=True):  # term by term: a lane does not notice its neighbours
        price_ns = price_ns + weight * count / events
    return price_ns


def _means(
    machine: Machine, begin: np.ndarray, computed: np.ndarray, waits: np.ndarray, windows: np.ndarray, leave: np.ndarray
) -> dict[str, np.ndarray]:
    """Means per flush event since `begin`, when CPUs had `computed`, of the lanes that leave (indices).

    Waits and windows are [event, lane].
    """
    events = len(waits)
    spans = {"interval_ns": machine.now - begin, "compute_ns": machine.computed_ns - computed}
    means = {name: span[leave] / events for name, span in spans.items()}
    means["events"] = np.full(len(leave), float(events))
    for name, samples in (("wait", waits), ("window", windows)):
        ascending = np.sort(samples[:, leave], axis=0)
        means[f"{name}_ns"] = _mean_over_rows(samples[:, leave])
        means[f"{name}_p50_ns"], means[f"{name}_p99_ns"] = quantile(ascending, 0.5), quantile(ascending, 0.99)
        if name == "wait":
            means["wait_p999_ns"], means["wait_max_ns"] = quantile(ascending, 0.999), ascending[-1]
    return means | {name: getattr(machine.counts, name)[leave] / events for name in COUNTS}


def _mean_over_rows(values: np.ndarray) -> np.ndarray:
    """Mean over axis 0, added up row by row whatever the number of lanes: numpy's own order depends on it."""
    total = np.zeros(values.shape[1])
    for row in values:
        total += row
    return total / len(values)


def quantile(ascending: np.ndarray, share: float) -> np.ndarray:
    """Linear quantile over axis 0 of values sorted along it."""
    at = share * (len(ascending) - 1)
    low = int(at)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (at - low) * (ascending[high] - ascending[low])
