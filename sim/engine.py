"""The loop over steps: warm-up, batches, stopping at the wanted precision, finished lanes leave.

Ref: batch means (Law, Simulation Modeling and Analysis, 9.5.3): the window is cut into batches of equal length whose
     means are nearly independent; a lane stops when their 95 % interval is narrow enough.
"""

from __future__ import annotations

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


def run(machine: Machine, price: Price, warmup: int, window: int, precision: np.ndarray) -> dict[str, np.ndarray]:
    """Simulate every lane to its precision or to `window` events; means per flush event, [lane].

    A lane stops where the 95 % half-width of system time is at most `precision` [lane] of its mean; 0 is never.
    Keys: wait_ns, wait_p50_ns, wait_p99_ns, the same of window_ns, interval_ns, events, half_ns (95 % half-width of
    system time per event) and one per field of `Counts`.
    """
    with np.errstate():  # the buffer fitted below is of this call alone
        return _run(machine, price, warmup, window, precision)


def _run(machine: Machine, price: Price, warmup: int, window: int, precision: np.ndarray) -> dict[str, np.ndarray]:
    fit_buffer(machine.lanes)
    length = max(1, window // BATCHES)
    lane = np.arange(machine.lanes)  # original index of each lane that is still here
    weights, fixed = price.weights, price.fixed_ns
    out: dict[str, np.ndarray] = {}
    waits = np.empty((BATCHES * length, machine.lanes))
    windows = np.empty_like(waits)
    for served in range(0, warmup, len(waits)):
        rows = slice(min(warmup - served, len(waits)))
        machine.serve(waits[rows], windows[rows])
    machine.reset()
    batches = np.empty((BATCHES, machine.lanes))  # system time per event of each batch
    begin, before = machine.now, priced_counts(machine.counts)
    for batch in range(BATCHES):
        rows = slice(batch * length, (batch + 1) * length)
        machine.serve(waits[rows], windows[rows])
        counted = priced_counts(machine.counts)
        batches[batch] = _price_batch(_mean_over_rows(waits[rows]), weights, counted - before, length)
        before = counted
        done = batch + 1
        if done < LEAST_BATCHES and done < BATCHES:
            continue
        mean = _mean_over_rows(batches[:done])
        half_ns = student_t(done - 1) * np.sqrt(_mean_over_rows((batches[:done] - mean) ** 2) / (done - 1))
        stop = ((precision > 0.0) & (half_ns <= precision * (fixed + mean))) | (done == BATCHES)
        if not stop.any():
            continue
        leave, stay = np.flatnonzero(stop), np.flatnonzero(~stop)
        means = _means(machine, begin, waits[: rows.stop], windows[: rows.stop], leave)
        for name, values in (means | {"half_ns": half_ns[leave]}).items():
            out.setdefault(name, np.full(len(price.fixed_ns), np.nan))[lane[leave]] = values
        if not len(stay):
            break
        lane, begin, precision, fixed = lane[stay], begin[stay], precision[stay], fixed[stay]
        weights, before = weights[:, stay], before[:, stay]
        waits, windows, batches = (np.ascontiguousarray(kept[:, stay]) for kept in (waits, windows, batches))
        machine.keep(stay)
        fit_buffer(machine.lanes)
    return out


def _price_batch(wait_ns: np.ndarray, weights: np.ndarray, counted: np.ndarray, events: int) -> np.ndarray:
    """System time per event of a batch: its mean wait and what was counted in it, [lane]."""
    system_ns = wait_ns
    for weight, count in zip(weights, counted, strict=True):  # term by term: a lane does not notice its neighbours
        system_ns = system_ns + weight * count / events
    return system_ns


def _means(
    machine: Machine, begin: np.ndarray, waits: np.ndarray, windows: np.ndarray, leave: np.ndarray
) -> dict[str, np.ndarray]:
    """Means per flush event since `begin` of the lanes that leave (indices); waits and windows are [event, lane]."""
    events = len(waits)
    span = machine.now - begin
    means = {"interval_ns": span[leave] / events, "events": np.full(len(leave), float(events))}
    for name, samples in (("wait", waits), ("window", windows)):
        ascending = np.sort(samples[:, leave], axis=0)
        means[f"{name}_ns"] = _mean_over_rows(samples[:, leave])
        means[f"{name}_p50_ns"], means[f"{name}_p99_ns"] = quantile(ascending, 0.5), quantile(ascending, 0.99)
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
