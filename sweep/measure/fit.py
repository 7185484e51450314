"""The costs of a measured machine: least squares on log latencies, with literature priors.

Maximum a posteriori: every cost is log-normal around its literature value with its published interval, every measured
p50 log-normal around the simulated one; the intervals are Laplace's, with the noise of the residuals if that exceeds
the stated one. The measurement determines only the sum of some costs, which they share by the widths of their priors:
use each one's interval, not only its centre, and simulate under joint draws.
Ref: Tarantola, Inverse Problem Theory (2005), 3.2.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import ndtri

from sweep.errors import BadInput
from sweep.inputs.catalog import Quantity
from sweep.inputs.measured import FITTED_HERE
from sweep.inputs.prior import Z95, sobol
from sweep.measure.experiment import FitSettings, Interval
from sweep.measure.machine import Facts
from sweep.measure.simulate import COSTS, CROSS, OF_GUEST, experiments
from sweep.measure.topology import Latencies

KERNEL = ("queue_lines", "csd_lines", "request_lines", "ack_lines", "line_hit_ns", "line_fill_ns")
NO_LINES: Latencies = {}
HARDLY = "prior, hardly moved by the measurement"
DRAWS = 512  # of the costs together
ROBUST = 3.0  # standard deviations beyond which a point, probably disturbed, counts less than by its square
STEPS, LONGEST = 40, 0.5  # Gauss-Newton steps of a draw, and the longest one in logarithms
LEAST = 0.1  # share of a simulated latency below which the sum of a draw is unreliable
STEP = 0.1  # of the logarithms, for differences: a p50 moves in small jumps when requests coalesce
AWAY_PER_CALL = (0.9, 1.3)  # absences of spinners per call, for which their median is the handler run
INTERRUPTS = ("ipi_send_ns", "ipi_latency_ns", "ipi_latency_cross_ns", "irq_entry_ns", "irq_exit_ns")
FIXED = ("ceiling", "smt_slowdown", "idle_exit_ns", "line_sibling_ns", *KERNEL)


@dataclass(frozen=True)
class Fitted:
    """The result of a fit."""

    costs: Mapping[str, Quantity]  # of source FITTED_HERE, or hardly moved from their priors
    draws: np.ndarray  # of the costs together, [draw, cost]
    known: Mapping[str, float]  # costs that are fixed in the fit
    table: pd.DataFrame  # a row a point: measured beside simulated
    residual: float  # root mean square of the fitted log p50s over the stated noise


def priors(
    settings: FitSettings, machine: Facts, calls: set[str], measured: Collection[str] = ()
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of the logarithms of fitted costs, without `measured` ones."""
    quantities = settings.prior_of(machine).quantities
    out = {}
    for name in (*COSTS, *(OF_GUEST if machine.leaves else ())):
        if name not in measured and not (name in CROSS and machine.host.sockets == 1):
            wider = settings.virtual if machine.hypervisor and name in INTERRUPTS else 1.0
            out[name] = _logarithm(quantities[name], wider)
    for call in sorted(calls):
        own = next((own for name, own in settings.calls.items() if name == call), None)
        if own is None:
            raise BadInput(f"fit: calls: {call} is measured, but its own time has no prior")
        out |= {f"{call}.{name}": _logarithm(interval) for name, interval in own if interval is not None}
    return out


def _logarithm(cost: Quantity | Interval, wider: float = 1.0) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of a cost with an interval."""
    assert cost.low is not None
    assert cost.high is not None
    return np.log(cost.central), np.log(cost.high / cost.low) / (2 * Z95) * wider


def held_out(points: pd.DataFrame, every: int) -> np.ndarray:
    """The points left out of the fit: every n-th of each curve, in order of think time and pages."""
    order = points.sort_values(["call", "callers", "spinners", "pages", "asked_think_ns"], kind="stable")
    rank = order.groupby(["call", "callers", "spinners"]).cumcount()
    return (rank.reindex(points.index) % every == every - 1).to_numpy()


def fit(points: pd.DataFrame, settings: FitSettings, machine: Facts, lines: Latencies = NO_LINES) -> Fitted:
    """Fit the points that are not held out, and simulate all; times of cache lines are fixed as measured."""
    known = priors(settings, machine, set(points["call"]), lines)
    mean, deviation = prior = np.array(list(known.values())).T
    apart = held_out(points, settings.held_out)
    used = points[~apart]
    per_call = used["away_count"] / used["call_count"] / used["spinners"].clip(lower=1)
    of_handlers = (used["callers"] == 1) & (used["spinners"] > 0) & per_call.between(*AWAY_PER_CALL)
    away = of_handlers.to_numpy()
    measured = np.log(np.concatenate([used["measured_p50_ns"], used["away_p50_ns"][away]]))
    data = slice(len(measured))  # of residuals, which end with those of the priors
    quantities = {**settings.prior_of(machine).quantities, **lines}
    fixed = {name: float(quantities[name].central) for name in {*FIXED, *lines}}

    def simulated(some: pd.DataFrame, logs: np.ndarray) -> dict[str, np.ndarray]:  # logs [set, cost]
        sets = [fixed | dict(zip(known, np.exp(row).tolist(), strict=True)) for row in logs]
        sets = [{name: each[near] for name, near in CROSS.items()} | each for each in sets]
        return experiments(some, sets, machine, settings.window_events)

    @lru_cache(maxsize=1)
    def at(logs: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Residuals and their slopes, [residual, cost]."""
        found = simulated(used, np.vstack([logs, logs + STEP * np.eye(len(logs))]))
        model = np.log(np.hstack([found["flush_wait_p50_ns"], found["away_ns"][:, away]]))
        slopes = (model[1:] - model[0]).T / STEP
        return (
            np.concatenate([(model[0] - measured) / settings.noise, (logs - mean) / deviation]),
            np.vstack([slopes / settings.noise, np.diag(1.0 / deviation)]),
        )

    found = least_squares(
        lambda logs: at(tuple(logs))[0], mean, jac=lambda logs: at(tuple(logs))[1],
        xtol=1e-3, ftol=1e-3, max_nfev=15, loss="soft_l1", f_scale=ROBUST,
    )  # fmt: skip
    residual = float(np.sqrt(np.mean(found.fun[data] ** 2)))
    wider = max(1.0, residual)
    slope = found.jac[data] / wider
    spread = np.sqrt(np.diag(np.linalg.inv(slope.T @ slope + np.diag(deviation**-2.0))))
    moved = (spread <= settings.moved * deviation) | (np.abs(found.x - mean) >= deviation)
    ends = np.exp(found.x + np.outer([-Z95, 0.0, Z95], spread))
    costs = {
        name: Quantity(central=central, low=low, high=high, unit="ns", source=FITTED_HERE if far else HARDLY)
        for name, low, central, high, far in zip(known, *ends.tolist(), moved.tolist(), strict=True)
    }
    table = compare(points, simulated(points, found.x[None, :]), apart, settings.tolerance)
    residuals, slopes = at(tuple(found.x))
    simulated_now, slopes = measured + settings.noise * residuals[data], settings.noise * slopes[data]
    draws = _draws(measured, simulated_now, slopes, found.x, prior, settings.noise * wider)
    return Fitted(costs, np.exp(draws), fixed, table, residual)


def _draws(
    measured: np.ndarray, simulated: np.ndarray, slopes: np.ndarray, centre: np.ndarray, prior: np.ndarray, noise: float
) -> np.ndarray:
    """Joint draws of the costs' logarithms, [draw, cost], each of which reproduces the measured curves within noise.

    Randomised maximum likelihood: each draw is the best fit to the measurements and to the priors, both perturbed by
    their own noise. Near the fit a latency is a sum of costs, so it is linear in them, not in their logarithms.
    Ref: Oliver, Reynolds, Liu, Inverse Theory for Petroleum Reservoir Characterization (2008), 10.7.

    All arguments are logarithms. `slopes` are of `simulated` at `centre`, [point, cost]; `prior` has mean and standard
    deviation of every cost, [2, cost].
    """
    mean, deviation = prior
    scores = ndtri(sobol(len(measured) + len(mean), DRAWS, 0))
    target = measured + noise * scores[:, : len(measured)]
    believed = mean + deviation * scores[:, len(measured) :]
    latency, each = np.exp(simulated), np.exp(centre)
    linear = slopes * latency[:, None] / each
    logs = np.tile(centre, (DRAWS, 1))
    for _ in range(STEPS):
        costs = np.exp(logs)
        found = np.maximum(latency + (costs - each) @ linear.T, LEAST * latency)
        slope = linear * costs[:, None, :] / found[:, :, None] / noise
        away = (np.log(found) - target) / noise
        gradient = np.einsum("dpc,dp->dc", slope, away) + (logs - believed) / deviation**2
        curvature = slope.transpose(0, 2, 1) @ slope + np.diag(deviation**-2.0)
        logs -= np.clip(np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0], -LONGEST, LONGEST)
    return logs


def compare(points: pd.DataFrame, found: Mapping[str, np.ndarray], apart: np.ndarray, tolerance: float) -> pd.DataFrame:
    """measured_vs_simulated: a row per point; points left out of the fit are marked as predicted."""
    error = 100.0 * (found["flush_wait_p50_ns"][0] / points["measured_p50_ns"] - 1.0)
    return points[["call", "callers", "spinners", "think_ns", "pages"]].assign(
        used=np.where(apart, "predicted", "fitted"),
        measured_p50_ns=points["measured_p50_ns"], simulated_p50_ns=found["flush_wait_p50_ns"][0],
        error_pct=error, within=np.where(error.abs() <= 100.0 * tolerance, "yes", "no"),
        measured_p99_ns=points["measured_p99_ns"], simulated_p99_ns=found["flush_wait_p99_ns"][0],
        measured_calls_per_s=points["calls_per_s"], simulated_calls_per_s=1e9 / found["flush_interval_ns"][0],
        measured_interrupts_per_call=points["cal_per_call"],
        simulated_interrupts_per_call=found["interrupts_per_flush"][0],
        measured_away_p50_ns=points["away_p50_ns"], simulated_away_ns=found["away_ns"][0],
    )  # fmt: skip
