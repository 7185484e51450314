"""The loop over steps: warm-up, batches, stopping at the wanted precision, finished lanes leave.

Ref: batch means (Law, Simulation Modeling and Analysis, 9.5.3): the window is cut into batches of equal length whose
     means are nearly independent; a lane stops when their 95 % interval is narrow enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sim.arrays import fit_buffer

BATCHES = 32  # of a full window
LEAST_BATCHES = 8  # before a lane may stop


class Machine(Protocol):
    """What serves one flush event a step in every lane."""

    now: np.ndarray  # [lane] time of the event served
    wait_ns: np.ndarray  # [lane] length of a flush event that is over
    window_ns: np.ndarray  # [lane] how long another busy CPU could use what was flushed; NaN: not known on this scale
    lanes: int

    def step(self) -> None: ...
    def reset(self) -> None: ...
    def keep(self, lanes: np.ndarray) -> None: ...


COUNTERS = (
    "interrupts",
    "handler_ns",
    "handler_compute_ns",
    "refills",
    "queue_ns",
    "entries",
    "entry_ns",
    "entry_flushes",
)  # sums over steps
TERMS = ("handler_ns", "handler_compute_ns", "refills", "entry_ns")  # what system time is priced by, besides waits


@dataclass(frozen=True)
class Price:
    """System time of one flush event as a sum over what was counted, every weight [lane]."""

    fixed_ns: np.ndarray  # base system time per event
    handler: np.ndarray  # weight of handler time on busy CPUs
    handler_compute: np.ndarray  # weight of handler time taken from compute
    refill_ns: np.ndarray  # per refill


def student_t(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t (Ref: Abramowitz and Stegun 26.7.5); error below 0.01 from 7 degrees."""
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def run(machine: Machine, price: Price, warmup: int, window: int, precision: np.ndarray) -> dict[str, np.ndarray]:
    """Simulate every lane to its precision or to `window` events; means per flush event, [lane].

    Keys: wait_ns, wait_p50_ns, wait_p99_ns, the same of window_ns, interval_ns, events, half_ns (95 % half-width of
    system time per event) and one per counter.
    """
    with np.errstate():  # the buffer fitted below is of this call alone
        return _run(machine, price, warmup, window, precision)


def _run(machine: Machine, price: Price, warmup: int, window: int, precision: np.ndarray) -> dict[str, np.ndarray]:
    fit_buffer(machine.lanes)
    length = max(1, window // BATCHES)
    for _ in range(warmup):
        machine.step()
    machine.reset()
    lane = np.arange(machine.lanes)  # original index of each lane that is still here
    weights = np.array([price.handler, price.handler_compute, price.refill_ns, np.ones(machine.lanes)])  # [term, lane]
    fixed = price.fixed_ns
    out = {name: np.full(machine.lanes, np.nan) for name in _NAMES}
    waits = np.empty((BATCHES * length, machine.lanes))
    windows = np.empty_like(waits)
    batches = np.empty((BATCHES, machine.lanes))  # system time per event of each batch
    begin, before = machine.now, np.zeros((len(TERMS), machine.lanes))
    for batch in range(BATCHES):
        rows = slice(batch * length, (batch + 1) * length)
        for row in range(rows.start, rows.stop):
            machine.step()
            waits[row], windows[row] = machine.wait_ns, machine.window_ns
        zero = np.zeros(machine.lanes)
        counted = np.array([getattr(machine, name, zero) for name in TERMS])
        served = _mean_over_rows(waits[rows])
        for term in range(len(TERMS)):
            served = served + weights[term] * (counted[term] - before[term]) / length
        batches[batch] = served
        before = counted
        done = batch + 1
        if done < LEAST_BATCHES and done < BATCHES:
            continue
        mean = _mean_over_rows(batches[:done])
        half = student_t(done - 1) * np.sqrt(_mean_over_rows((batches[:done] - mean) ** 2) / (done - 1))
        stop = ((precision > 0.0) & (half <= precision * (fixed + mean))) | (done == BATCHES)
        if not stop.any():
            continue
        events = done * length
        here = np.flatnonzero(stop)
        span = machine.now - begin
        result = {
            "interval_ns": span[here] / events,
            "events": np.full(len(here), float(events)),
            "half_ns": half[here],
        }
        for name, samples in (("wait", waits), ("window", windows)):
            ascending = np.sort(samples[:events, here], axis=0)
            result[f"{name}_ns"] = _mean_over_rows(samples[:events, here])
            result[f"{name}_p50_ns"], result[f"{name}_p99_ns"] = quantile(ascending, 0.5), quantile(ascending, 0.99)
        for name in COUNTERS:
            result[name] = getattr(machine, name, zero)[here] / events
        for name, values in result.items():
            out[name][lane[here]] = values
        stay = np.flatnonzero(~stop)
        if not len(stay):
            break
        lane, begin, precision, fixed = lane[stay], begin[stay], precision[stay], fixed[stay]
        weights, before = weights[:, stay], before[:, stay]
        waits, windows, batches = (np.ascontiguousarray(each[:, stay]) for each in (waits, windows, batches))
        machine.keep(stay)
        fit_buffer(machine.lanes)
    return out


_NAMES = (
    "wait_ns", "wait_p50_ns", "wait_p99_ns", "window_ns", "window_p50_ns", "window_p99_ns",
    "interval_ns", "events", "half_ns", *COUNTERS,
)  # fmt: skip


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
