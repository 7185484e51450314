"""The costs of a measured machine: least squares on log latencies, with literature priors.

Maximum a posteriori: every cost is log-normal around its literature value with its published interval, every measured
p50 log-normal around the simulated one; the intervals are Laplace's, with the noise of the residuals if that exceeds
the stated one. The measurement determines only the sum of some costs, which they share by the widths of their priors:
use each one's interval, not only its centre, and simulate under joint draws.
Ref: Tarantola, Inverse Problem Theory (2005), 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import Entry, catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.door import admit
from sweep.inputs.prior import Z95
from sweep.inputs.reader import names_in
from sweep.measure.experiment import FitSettings
from sweep.measure.machine import Facts
from sweep.measure.simulate import COSTS, CROSS, OF_GUEST, experiments
from sweep.measure.together import draw_together
from sweep.measure.topology import Latencies

KERNEL = ("queue_lines", "csd_lines", "request_lines", "ack_lines", "line_hit_ns", "line_fill_ns")
NO_LINES: Latencies = {}
DRAWS = 512  # of the costs together
ROBUST = 3.0  # standard deviations beyond which a point, probably disturbed, counts less than by its square
STEP = 0.1  # of the logarithms, for differences: a p50 moves in small jumps when requests coalesce
AWAY_PER_CALL = (0.9, 1.3)  # absences of spinners per call, for which their median is the handler run
INTERRUPTS = ("ipi_send_ns", "ipi_latency_ns", "ipi_latency_cross_ns", "irq_entry_ns", "irq_exit_ns")
FIXED = ("ceiling", "smt_slowdown", "idle_exit_ns", "line_sibling_ns", *KERNEL)


@dataclass(frozen=True)
class Settings:
    """The `fit` part of an experiment's file, checked."""

    prior: Entry
    guest_prior: Entry  # for guests whose interrupts exit
    noise: float
    moved: float
    virtual: float
    window_events: int
    held_out: int
    tolerance: float
    calls: Mapping[str, Mapping[str, tuple[float, float, float]]]  # low, central, high of a system call's own time

    def prior_of(self, machine: Facts) -> Entry:
        """The machine with the prior costs of this one."""
        return self.guest_prior if machine.leaves else self.prior


@dataclass(frozen=True)
class Cost:
    """One cost with its interval."""

    low: float
    central: float
    high: float
    fitted: bool  # else hardly moved from its prior


@dataclass(frozen=True)
class Fitted:
    """The result of a fit."""

    costs: Mapping[str, Cost]
    draws: np.ndarray  # of the costs together, [draw, cost]
    known: Mapping[str, float]  # costs that are fixed in the fit
    table: pd.DataFrame  # a row a point: measured beside simulated
    residual: float  # root mean square of the fitted log p50s over the stated noise


def read_settings(content: Any, where: str) -> Settings:
    """Checked settings; BadInput with key, value and allowed values."""
    given = admit(FitSettings, content, where)
    known = names_in(conf_dir() / "machine")
    entries = {"prior": given.prior, "guest_prior": given.guest_prior}
    for key, name in entries.items():
        if name not in known:
            raise BadInput(f"{where}: {key}={name!r}: no such machine{did_you_mean(name, known)}")
    machines = catalog([conf_dir()])["machine"]
    guest = machines[given.guest_prior].quantities
    if missing := [name for name in OF_GUEST if name not in guest or not guest[name].low]:
        raise BadInput(
            f"{where}: guest_prior={given.guest_prior!r}: has no interval of {missing[0]}; give a guest's machine"
        )
    calls: dict[str, dict[str, tuple[float, float, float]]] = {
        call: {name: (each.low, each.central, each.high) for name, each in own if each is not None}
        for call, own in given.calls.items()
    }
    return Settings(
        prior=machines[given.prior],
        guest_prior=machines[given.guest_prior],
        **{name: getattr(given, name) for name in Settings.__dataclass_fields__ if name not in (*entries, "calls")},
        calls=calls,
    )


def priors(
    settings: Settings, machine: Facts, calls: set[str], measured: Collection[str] = ()
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of the logarithms of fitted costs, without `measured` ones."""
    out = {}
    quantities = settings.prior_of(machine).quantities
    for name in (*COSTS, *(OF_GUEST if machine.leaves else ())):
        if name in measured or (name in CROSS and machine.sockets == 1):
            continue
        quantity = quantities[name]
        assert quantity.low, name
        assert quantity.high, name
        wider = settings.virtual if machine.hypervisor and name in INTERRUPTS else 1.0
        out[name] = (np.log(quantity.central), np.log(quantity.high / quantity.low) / (2 * Z95) * wider)
    for call in sorted(calls):
        if call not in settings.calls:
            raise BadInput(f"fit: calls: {call} is measured, but its own time has no prior")
        for name, (low, central, high) in settings.calls[call].items():
            out[f"{call}.{name}"] = (np.log(central), np.log(high / low) / (2 * Z95))
    return out


def held_out(points: pd.DataFrame, every: int) -> np.ndarray:
    """The points left out of the fit: every n-th of each curve, in order of think time and pages."""
    order = points.sort_values(["call", "callers", "spinners", "pages", "asked_think_ns"], kind="stable")
    rank = order.groupby(["call", "callers", "spinners"]).cumcount()
    return (rank.reindex(points.index) % every == every - 1).to_numpy()


def fit(points: pd.DataFrame, settings: Settings, machine: Facts, lines: Latencies = NO_LINES) -> Fitted:
    """Fit the points that are not held out, and simulate all; times of cache lines are fixed as measured."""
    known = priors(settings, machine, set(points["call"]), lines)
    names = list(known)
    mean, deviation = np.array(list(known.values())).T
    apart = held_out(points, settings.held_out)
    used = points[~apart]
    away = _away(used)
    measured = np.log(np.concatenate([used["measured_p50_ns"], used["away_p50_ns"][away]]))
    fixed = {name: float(settings.prior_of(machine).quantities[name].central) for name in FIXED}
    fixed |= {name: central for name, (_, central, _) in lines.items()}

    def simulated(some: pd.DataFrame, logs: np.ndarray) -> dict[str, np.ndarray]:  # logs [set, cost]
        sets = [fixed | dict(zip(names, np.exp(row).tolist(), strict=True)) for row in logs]
        for each in sets:
            for name, near in CROSS.items():
                each.setdefault(name, each[near])
        return experiments(some, sets, machine, settings.window_events)

    last: dict[str, Any] = {}

    def residuals(logs: np.ndarray) -> np.ndarray:
        if "at" not in last or not np.array_equal(last["at"], logs):
            found = simulated(used, np.vstack([logs, logs + STEP * np.eye(len(logs))]))
            model = np.log(np.hstack([found["flush_wait_p50_ns"], found["away_ns"][:, away]]))
            slopes = (model[1:] - model[0]).T / STEP
            last["at"] = logs.copy()
            last["residuals"] = np.concatenate([(model[0] - measured) / settings.noise, (logs - mean) / deviation])
            last["slopes"] = np.vstack([slopes / settings.noise, np.diag(1.0 / deviation)])
        return last["residuals"]

    def slopes(logs: np.ndarray) -> np.ndarray:
        residuals(logs)
        return last["slopes"]

    found = least_squares(
        residuals, mean, jac=slopes, xtol=1e-3, ftol=1e-3, max_nfev=15, loss="soft_l1", f_scale=ROBUST
    )
    data = found.fun[: len(measured)]
    residual = float(np.sqrt(np.mean(data**2)))
    wider = max(1.0, residual)
    slope = found.jac[: len(measured)] / wider
    spread = np.sqrt(np.diag(np.linalg.inv(slope.T @ slope + np.diag(deviation**-2.0))))
    moved = (spread <= settings.moved * deviation) | (np.abs(found.x - mean) >= deviation)
    low, central, high = np.exp(found.x + np.outer([-Z95, 0.0, Z95], spread))
    known_now = zip(names, low.tolist(), central.tolist(), high.tolist(), moved.tolist(), strict=True)
    costs = {name: Cost(*each) for name, *each in known_now}
    table = compare(points, simulated(points, found.x[None, :]), apart, settings.tolerance)
    model = measured + settings.noise * residuals(found.x)[: len(measured)]
    slope = settings.noise * slopes(found.x)[: len(measured)]
    draws = draw_together(measured, model, slope, found.x, (mean, deviation), settings.noise * wider, DRAWS)
    return Fitted(costs, np.exp(draws), fixed, table, residual)


def _away(points: pd.DataFrame) -> np.ndarray:
    """Points at which the spinners' absences are the handler runs: about one per call."""
    per_call = points["away_count"] / points["call_count"] / points["spinners"].clip(lower=1)
    low, high = AWAY_PER_CALL
    return ((points["callers"] == 1) & (points["spinners"] > 0) & (per_call >= low) & (per_call <= high)).to_numpy()


def compare(points: pd.DataFrame, found: Mapping[str, np.ndarray], apart: np.ndarray, tolerance: float) -> pd.DataFrame:
    """measured_vs_simulated: a row per point; points left out of the fit are marked as predicted."""
    table = points[["call", "callers", "spinners", "think_ns", "pages"]].copy()
    table["used"] = np.where(apart, "predicted", "fitted")
    table["measured_p50_ns"], table["simulated_p50_ns"] = points["measured_p50_ns"], found["flush_wait_p50_ns"][0]
    table["error_pct"] = 100.0 * (table["simulated_p50_ns"] / table["measured_p50_ns"] - 1.0)
    table["within"] = np.where(table["error_pct"].abs() <= 100.0 * tolerance, "yes", "no")
    table["measured_p99_ns"], table["simulated_p99_ns"] = points["measured_p99_ns"], found["flush_wait_p99_ns"][0]
    table["measured_calls_per_s"], table["simulated_calls_per_s"] = (
        points["calls_per_s"],
        1e9 / found["flush_interval_ns"][0],
    )
    table["measured_interrupts_per_call"] = points["cal_per_call"]
    table["simulated_interrupts_per_call"] = found["interrupts_per_flush"][0]
    table["measured_away_p50_ns"], table["simulated_away_ns"] = points["away_p50_ns"], found["away_ns"][0]
    return table
