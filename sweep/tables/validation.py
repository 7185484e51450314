"""What others measured beside what is predicted of it, and how far the model errs on machines it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics import METRICS
from sweep.inputs.likelihood import estimate_discrepancy, shown_again, spread
from sweep.inputs.measured import Measured, Row, Table
from sweep.tables.draws import posterior_draws, representative

SHARES = (0.05, 0.5, 0.95)
ARITHMETIC = ("interrupts_per_flush",)  # metrics that no cost moves, so that the model errs in none of them


@dataclass(frozen=True)
class Prediction:
    """What a run predicts of a measured row under each draw of the costs, every array [draw].

    The metric is `base + added`, or `rate` over that: a time without flush events, and what they add.
    """

    table: Table
    row: Row
    machine: str
    policy: str
    costs: str
    cores: float
    base: np.ndarray
    added: np.ndarray
    rate: float | None

    def from_total(self, total: Any) -> Any:
        """The metric at a total, or the total at a value of the metric."""
        return total if self.rate is None else self.rate / total

    @property
    def measured_added(self) -> np.ndarray:
        """What flush events added when it was measured, under each draw."""
        return np.asarray(self.from_total(self.row.measured) - self.base)

    @property
    def is_of_the_model(self) -> bool:
        """Whether the row says how far the model errs: it was predicted, and costs move it."""
        known = bool((self.measured_added > 0.0).all() and (self.added > 0.0).all())
        return self.row.role == "predict" and self.row.metric not in ARITHMETIC and known


def validation(results: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """Measured values beside 5/50/95 % of what a measurement would show, draws of the costs and the model's error in.

    On a machine that the costs were fitted to the model errs by `discrepancy` of `conf/likelihood.yaml`; on any other
    by what the tables of all machines but that one and the fitted ones say, under the same costs. `inside_90` is
    whether the measured value lies in the interval, null where it went into the point.
    """
    predictions = _predictions(results, measured)
    fitted = measured.fitted_machines
    rows = []
    for each in predictions:
        others = [
            other for other in predictions if other.costs == each.costs and other.machine not in {each.machine, *fitted}
        ]
        rows.append(_as_row(each, _discrepancy(each, others, fitted)))
    table = pd.DataFrame(rows)
    return table.assign(inside_90=table["inside_90"].astype("boolean")) if len(table) else table


def discrepancy_elsewhere(results: pd.DataFrame, measured: Measured, costs: str) -> float:
    """The model's error on machines that no row was fitted on, from the rows of all of them; NaN without one."""
    fitted = measured.fitted_machines
    some = [each for each in _predictions(results, measured) if each.costs == costs and each.machine not in fitted]
    return estimate_discrepancy(_groups(some))


def validation_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Of each table of `validation` and of all: predicted rows, those inside, median error, median 95 % over 5 %."""
    predicted = table[table["role"] == "predict"]
    predicted = pd.concat([predicted, predicted.assign(table="all")])
    keys = ["costs", "table"]
    width = predicted["predicted_95"] / predicted["predicted_05"]
    found = predicted.assign(width=width, off=predicted["error_pct"].abs()).groupby(keys, sort=False)
    out = found.agg(
        rows=("off", "size"), inside=("inside_90", "sum"), error_pct=("off", "median"), width=("width", "median")
    ).reset_index()
    return out.assign(inside=out["inside"].astype(int)).sort_values("costs", kind="stable", ignore_index=True)


def _predictions(results: pd.DataFrame, measured: Measured) -> list[Prediction]:
    """Every row of every table under every costs of the run that has its point."""
    out = []
    for table in measured.tables:
        for row in table.rows:
            for costs, mine in _at(results, row.point).groupby("costs", sort=False):
                less = None if row.less is None else _at(results, row.less)
                out.append(_prediction(table, row, str(costs), mine, less))
    return out


def _at(results: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a point of a table."""
    same = np.ones(len(results), dtype=bool)
    for name, value in point.items():
        same &= (results[name] == value).to_numpy() if name in results else False
    return results[same]


def _prediction(table: Table, row: Row, costs: str, mine: pd.DataFrame, less: pd.DataFrame | None) -> Prediction:
    """A row under the draws of some costs; under the representative one where there are no others."""
    first = mine.iloc[0]
    draws = _by_draw(mine, row.metric)
    value = draws["value"].to_numpy() * table.times
    base, rate = np.zeros(len(value)), None
    if row.metric == "system_time_s":
        base = draws["base_system_s"].to_numpy()
    elif row.metric == "ratio":
        base = np.ones(len(value))
    elif row.metric == "operations_per_s":
        total = draws["operation_ns_total"].to_numpy()
        base, value, rate = total / draws["elongation"].to_numpy(), total, float((total * value).mean())
    if less is not None:
        value = value - _by_draw(less[less["costs"] == costs], row.metric)["value"].to_numpy() * table.times
    names = str(first["machine"]), str(first["policy"]), costs
    return Prediction(table, row, *names, float(first["cores"]), base, value - base, rate)


def _by_draw(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Means over replicas, a row per draw."""
    others = posterior_draws(rows)
    names = ["base_system_s", "operation_ns_total", "elongation"]
    means = (others if len(others) else representative(rows)).groupby("draw")
    return means[[name for name in names if name in rows]].mean().assign(value=means[metric].mean())


def _discrepancy(each: Prediction, others: list[Prediction], fitted: set[str]) -> float:
    """The model's error in what is added."""
    known = spread()
    if each.row.metric in ARITHMETIC:
        return 0.0
    estimated = np.nan if each.machine in fitted else estimate_discrepancy(_groups(others))
    if np.isnan(estimated):
        return known.discrepancy(each.cores, each.machine in fitted)
    return estimated * known.wider(each.cores)


def _groups(predictions: list[Prediction]) -> list[tuple[np.ndarray, float]]:
    """Rows of one policy on one machine together: by how much the measured values lie above, as logarithms."""
    groups: dict[tuple[str, str, int], list[Prediction]] = {}
    for each in predictions:
        if each.is_of_the_model:
            groups.setdefault((each.machine, each.policy, len(each.added)), []).append(each)
    out = []
    for rows in groups.values():
        above = np.mean([np.log(row.measured_added / row.added) for row in rows], axis=0)
        # A measurement varies by `run` of its total, and so by more of what was added.
        run = [spread().run * row.from_total(row.row.measured) / np.median(row.measured_added) for row in rows]
        wider = spread().wider(rows[0].cores)
        out.append((above / wider, float(np.sqrt(np.mean(np.square(run)) / len(run))) / wider))
    return out


def _as_row(each: Prediction, discrepancy: float) -> dict[str, Any]:
    """One line of the table."""
    row, measured = each.row, each.row.measured
    shown = np.asarray(each.from_total(shown_again(each.base, each.added, discrepancy)))
    low, middle, high = np.quantile(shown, SHARES)
    least, most = row.between or (measured, measured)
    inside = {"predict": low <= most and least <= high, "at_least": high >= least, "input": None}[row.role]
    usual = float(np.median(each.measured_added))
    added_error = float(np.median(each.added)) / usual - 1.0 if usual > 0.0 else np.nan
    return {
        "table": each.table.name,
        "costs": each.costs,
        "machine": each.machine,
        "policy": each.policy,
        "cores": int(each.cores),
        "at": float(row.point[each.table.curve]) if each.table.curve else np.nan,
        "metric": row.metric,
        "unit": METRICS[row.metric][0],
        "measured": measured,
        "predicted_05": low,
        "predicted_50": middle,
        "predicted_95": high,
        "error_pct": 100.0 * (middle / measured - 1.0),
        "added_error_pct": 100.0 * added_error,
        "inside_90": inside,
        "role": row.role,
        "discrepancy": discrepancy,
        "note": row.note,
    }
