"""Results of a calibration: tables of the posterior, of predictions and of checks, and costs for later runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sweep.calibrate.emulator import Emulator
from sweep.calibrate.rows import Fit, Pool, left_out
from sweep.inputs.catalog import QUANTITIES
from sweep.inputs.costs import Costs
from sweep.inputs.likelihood import log_likelihood, measured_again, measured_once, spread
from sweep.inputs.prior import sobol, values_at
from sweep.inputs.weights import crps, median_error, quantiles, resample
from sweep.inputs.written_costs import files
from sweep.store.folder import Folder
from sweep.tables.words import Answer, enumerated, number

MOVED_SHIFT, MOVED_SHRINKAGE = 0.25, 0.15  # of a prior standard deviation; of its variance
RANKS, TRUTHS = 16, 1024  # of the simulation-based calibration: bins, and known parameters tried
BASE = 12  # 2**BASE points for the Sobol indices
MOST_NAMED = 4  # costs that a sentence names


def tables(pool: Pool, fits: Mapping[str, Fit], emulators: Sequence[Emulator]) -> dict[str, pd.DataFrame]:
    """Every table, the main one first."""
    weights = np.where(np.arange(len(pool.chance)) < pool.first, 1.0 / pool.first, 0.0)
    prior = Fit("literature alone", weights, float(pool.first), -np.inf)
    return {
        "validation": validation(pool, {prior.name: prior, **fits}),
        "posterior": posterior(pool, prior, fits["all rows"]),
        "ranks": ranks(pool),
        "total_indices": total_indices(pool, emulators),
    }


def answer(made: Mapping[str, pd.DataFrame]) -> Answer:
    """The predictions of rows left out of a fit, and the costs moved by the data."""
    rows, costs = made["validation"], made["posterior"]
    prior, fitted = rows["fitted_on"] == "literature alone", rows["fitted_on"] == "all rows"
    sentences = []
    left_out = rows[~prior & ~fitted]
    if len(left_out):
        sentences.append(f"Of the rows left out of a fit, {_inside(left_out)}; {_worst(left_out)}.")
    sentences.append(f"With literature costs {_inside(rows[prior])}; with all rows fitted {_worst(rows[fitted])}.")
    moved = costs[costs["verdict"] == "moved by the data"]
    most = moved.sort_values("shift", key=abs, ascending=False, kind="stable")
    named = [
        f"{row['parameter']} of {row['machine']} ({number(row['prior_50'])} to {number(row['posterior_50'])})"
        for _, row in most.iterrows()
    ]
    which = f": {enumerated(named, MOST_NAMED)}" if named else ""
    sentences.append(f"The data moved {len(moved)} of {len(costs)} uncertain quantities{which}.")
    ends = {"predicted_50": "predicted", "predicted_05": "predicted_05", "predicted_95": "predicted_95"}
    shown = ["fitted_on", "machine", "policy", "measured", *ends, "error_pct", "setting"]
    return Answer(sentences, rows[shown].rename(columns=ends))


def _inside(rows: pd.DataFrame) -> str:
    return f"{rows['inside_90'].sum()} of {len(rows)} lie inside their 90 % prediction intervals"


def _worst(rows: pd.DataFrame) -> str:
    row = rows.iloc[int(rows["error_pct"].abs().argmax())]
    fit = "" if row["fitted_on"] == "all rows" else f", predicted from {row['fitted_on']}"
    setting = f", {row['setting']}" if row["setting"] else ""
    return f"the largest error is {row['error_pct']:+.1f} % ({row['policy']} on {row['machine']}{setting}{fit})"


def validation(pool: Pool, fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Predictions of the rows left out of each fit, run spread and model error included.

    `inside_90` is by the 90 % interval; `crps` is in the row's unit, for the fit and for literature alone. `error` is
    the standard error of `predicted_50` from the number of draws.
    """
    records = []
    for name, predicted in left_out(pool.rows, pool.read).items():
        fit = fits[name]
        keep, prior = np.flatnonzero(fit.weights > 1e-9 * fit.weights.max()), slice(0, pool.first)
        for at in np.flatnonzero(predicted).tolist():
            row = pool.rows[at]
            shown, expected = (measured_again(row.base, pool.added[at, some], row.cores) for some in (keep, prior))
            per = np.repeat(fit.weights[keep] / shown.shape[1], shown.shape[1])
            low, middle, high = quantiles(shown.ravel(), per)
            records.append({
                "fitted_on": name, "machine": row.machine, "policy": row.policy, "setting": row.setting,
                "metric": row.metric, "unit": row.unit, "measured": row.measured,
                "predicted_05": low, "predicted_50": middle, "predicted_95": high,
                "error_pct": 100.0 * (middle / row.measured - 1.0),
                "inside_90": bool(low <= row.measured <= high),
                "crps": crps(shown.ravel(), per, row.measured),
                "crps_prior": crps(expected.ravel(), np.ones(expected.size), row.measured),
                "error": median_error(row.base + pool.added[at, keep], fit.weights[keep]),
                "effective_draws": fit.size, "pareto_k": fit.k,
            })  # fmt: skip
    return pd.DataFrame(records)


def posterior(pool: Pool, prior: Fit, fit: Fit) -> pd.DataFrame:
    """Each uncertain quantity before and after the fit; for two names, the probability of the alternative.

    `shrinkage` is the lost share of the prior's variance (of the logarithm), `shift` the change of the mean, in prior
    standard deviations. `error` is the standard error of `posterior_50` from the number of draws.
    """
    records = []
    for at, (key, quantity) in enumerate(pool.known.items()):
        owner, _, name = key.partition("/")
        values = pool.values[:, at]
        if quantity.alternative is None:
            logs, unit = np.log(np.maximum(values, 1e-9)), QUANTITIES[name].unit
            before, after = (quantiles(values, each.weights) for each in (prior, fit))
            error = median_error(values, fit.weights)
        else:
            logs, unit = values, f"probability of {quantity.alternative}"
            before, after = (np.array([np.nan, values @ each.weights, np.nan]) for each in (prior, fit))
            error = float(np.sqrt(after[1] * (1 - after[1]) / fit.size))
        (mean, sd), (mean_after, sd_after) = (_moments(logs, each.weights) for each in (prior, fit))
        shift, shrinkage = (mean_after - mean) / sd, 1.0 - (sd_after / sd) ** 2
        moved = abs(shift) > MOVED_SHIFT or shrinkage > MOVED_SHRINKAGE
        verdict = "moved by the data" if moved else "still its prior"
        records.append([name, owner, *before, *after, error, unit, shift, shrinkage, verdict])
    table = pd.DataFrame(records, columns=[
        "parameter", "machine", "prior_05", "prior_50", "prior_95", "posterior_05", "posterior_50", "posterior_95",
        "error", "unit", "shift", "shrinkage", "verdict",
    ])  # fmt: skip
    return table.sort_values("shrinkage", ascending=False, kind="stable", ignore_index=True)


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    mean = float(values @ weights / weights.sum())
    return mean, float(np.sqrt((values - mean) ** 2 @ weights / weights.sum()))


def ranks(pool: Pool) -> pd.DataFrame:
    """Simulation-based calibration over the first round: ranks of known parameters among their posterior's draws.

    Each truth is a draw of the prior; its rows, measured with noise, are fitted by all other draws. The rank of
    the truth among 15 draws of that posterior is uniform if likelihood and weights are correct.
    Ref: Talts, Betancourt, Simpson, Vehtari, Gelman. `p` is of a chi-squared test, not corrected for many parameters.
    """
    from scipy.stats import chisquare

    random = np.random.default_rng(0)
    truths = random.permutation(pool.first)[:TRUTHS]
    counts = np.zeros((len(pool.known), RANKS), dtype=int)
    added, values = pool.added[:, : pool.first], pool.values[: pool.first]
    shown = [measured_once(row.base, added[at, truths], row.cores, random) for at, row in enumerate(pool.rows)]
    for trial, truth in enumerate(truths):
        log = sum(log_likelihood(shown[at][trial], row.base, added[at], row.cores) for at, row in enumerate(pool.rows))
        keys = log + random.gumbel(size=len(added[0]))  # the largest are a weighted sample without replacement
        keys[truth] = -np.inf
        drawn = values[np.argpartition(keys, -(RANKS - 1))[-(RANKS - 1) :]]
        below = (drawn < values[truth]).sum(axis=0)
        ties = (drawn == values[truth]).sum(axis=0)
        counts[np.arange(len(below)), below + random.integers(0, ties + 1)] += 1
    records = []
    for key, row in zip(pool.known, counts, strict=True):
        owner, _, name = key.partition("/")
        records.append(
            {"parameter": name, "machine": owner, "p": float(chisquare(row).pvalue)}
            | {f"rank_{at}": int(count) for at, count in enumerate(row)}
        )
    return pd.DataFrame(records)


def total_indices(pool: Pool, emulators: Sequence[Emulator]) -> pd.DataFrame:
    """Sobol total indices of the logarithm of added time over the priors, by the emulator.

    The share of the variance in which a parameter takes part; `explained` is the emulator's R^2 on draws left out.
    """
    keys = list(pool.known)
    base = sobol(2 * len(keys), 1 << BASE, 0)
    a, b = values_at(pool.known, base[:, : len(keys)]), values_at(pool.known, base[:, len(keys) :])
    records = []
    for row, emulator in zip(pool.rows, emulators, strict=True):
        at_a = emulator.log_added(a)
        variance = np.concatenate([at_a, emulator.log_added(b)]).var()
        for column in emulator.columns:
            mixed = a.copy()
            mixed[:, column] = b[:, column]
            total = 0.5 * np.mean((at_a - emulator.log_added(mixed)) ** 2) / variance  # Jansen's estimator
            owner, _, name = keys[column].partition("/")
            records.append(
                {"machine": row.machine, "policy": row.policy, "setting": row.setting, "parameter": name, "of": owner}
                | {"total_index": total, "explained": emulator.explained}
            )
    table = pd.DataFrame(records)
    order = ["machine", "policy", "setting", "total_index"]
    return table.sort_values(order, ascending=[True, True, True, False], ignore_index=True)


def write_costs(
    folder: Folder, name: str, keep: int, pool: Pool, fit: Fit, single: np.ndarray, stamp: Mapping[str, Any]
) -> None:
    """costs/NAME.yaml and .parquet: `single` [key] in row 0, then draws of the posterior of equal weight."""
    chosen = resample(fit.weights, keep, int(stamp["seed"]))
    content = {
        "fitted_on": [
            f"{row.source}: {row}: {row.measured:.10g} {row.unit}" + f" on {row.base:.10g} {row.unit}" * (row.base > 0)
            for row in pool.rows
        ],
        "run_spread": spread().run,
        "discrepancy": spread().discrepancy_up_to,
        "effective_draws": round(fit.size),
        "pareto_k": round(fit.k, 3),
        "draws": keep,
        **stamp,
    }
    costs = Costs(name, tuple(pool.known), np.concatenate([single[None], pool.values[chosen]]), content)
    made_by = "Costs fitted to published measurements by `sweep +grid=calibrate`"
    for suffix, written in files(costs, pool.known, made_by).items():
        folder.write(f"costs/{name}.{suffix}", written)
