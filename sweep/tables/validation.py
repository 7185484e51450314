"""Measurements of others beside their predictions, and the model's error on machines that were not fitted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics import METRICS
from sweep.inputs.likelihood import estimate_discrepancy, shown_again, spread
from sweep.inputs.measured import Measured, Row, Table
from sweep.tables.selection import posterior_draws, representative
from sweep.tables.words import Answer, Tables, share

ARITHMETIC = ("interrupts_per_flush",)  # metrics that depend on no cost: the model has no error in them


@dataclass(frozen=True)
class Prediction:
    """A run's prediction of a measured row under each cost sample; every series is by draw.

    The metric is `base + added`, or `rate` over that: the time without flush events, and the time that they add.
    """

    table: Table
    row: Row
    machine: str
    policy: str
    costs: str
    cores: float
    base: pd.Series
    added: pd.Series
    rate: float | None
    wider: float  # the factor of the model's error at this number of CPUs; 0 for arithmetic metrics

    def from_total(self, total: Any) -> Any:
        """The metric at a total, or the total at a value of the metric."""
        return total if self.rate is None else self.rate / total

    @property
    def measured_added(self) -> pd.Series:
        """The measured time that flush events added, under each draw."""
        return self.from_total(self.row.measured) - self.base

    @property
    def is_of_the_model(self) -> bool:
        """Whether the row shows the model's error: it was predicted, and it depends on costs."""
        known = (self.measured_added > 0.0).all() and (self.added > 0.0).all()
        return self.row.role == "predict" and self.wider > 0.0 and bool(known)


def validation(results: pd.DataFrame, measured: Measured) -> tuple[pd.DataFrame, dict[str, float]]:
    """Measured values beside 5/50/95 % of their predictions, which include cost samples and the model's error.

    On a fitted machine the model's error is `discrepancy` of `conf/likelihood.yaml`. On any other it is estimated under
    the same costs from the tables of all other machines that were not fitted. `inside_90` is whether the measured value
    lies in the interval, null if it went into the point or into a fit.

    Beside the table, by costs: the estimate from all machines that were not fitted; NaN without a row of them.
    """
    predictions, fitted = _predictions(results, measured), measured.fitted_machines
    names = dict.fromkeys(each.costs for each in predictions)
    elsewhere, errors = {costs: _discrepancy(predictions, costs, fitted) for costs in names}, {}
    for costs, machine in dict.fromkeys((each.costs, each.machine) for each in predictions):
        error = spread().discrepancy_up_to
        if machine not in fitted:
            error = _discrepancy(predictions, costs, {machine, *fitted})
            error = spread().elsewhere if np.isnan(error) else error
        errors[costs, machine] = error
    table = pd.DataFrame([_as_row(each, errors[each.costs, each.machine] * each.wider) for each in predictions])
    return (table.assign(inside_90=table["inside_90"].astype("boolean")) if len(table) else table), elsewhere


def validation_summary(table: pd.DataFrame, elsewhere: Mapping[str, float]) -> pd.DataFrame:
    """Of each table of `validation` and of all: predicted rows, those inside, median error, median 95 % over 5 %.

    `discrepancy` is the median of the model's error in the intervals; for the table `all`, `elsewhere` by costs, the
    estimate from all machines that were not fitted.
    """
    predicted = table[table["role"] == "predict"]
    predicted = pd.concat([predicted, predicted.assign(table="all")])
    keys = ["costs", "table"]
    width = predicted["predicted_95"] / predicted["predicted_05"]
    found = predicted.assign(width=width, off=predicted["error_pct"].abs()).groupby(keys, sort=False)
    out = found.agg(
        rows=("off", "size"),
        inside=("inside_90", "sum"),
        error_pct=("off", "median"),
        width=("width", "median"),
        discrepancy=("discrepancy", "median"),
    ).reset_index()
    out["discrepancy"] = out["discrepancy"].mask(out["table"] == "all", out["costs"].map(elsewhere))
    return out.assign(inside=out["inside"].astype(int)).sort_values("costs", kind="stable", ignore_index=True)


def _predictions(results: pd.DataFrame, measured: Measured) -> list[Prediction]:
    """Every row of every table under all costs of the run with its point."""
    out = []
    for table in measured.tables:
        for row in table.rows:
            for costs, mine in _at(results, row.point).groupby("costs", sort=False):
                less = None if row.less is None else _at(results[results["costs"] == costs], row.less)
                prediction = _prediction(table, row, mine, less)
                if len(prediction.added):
                    out.append(prediction)
    return out


def _at(results: pd.DataFrame, point: Mapping[str, Any]) -> pd.DataFrame:
    for name, value in point.items():
        results = results[results[name] == value] if name in results else results[:0]
    return results


def _prediction(table: Table, row: Row, mine: pd.DataFrame, less: pd.DataFrame | None) -> Prediction:
    """A row under the draws of some costs; under the representative one if there are no others."""
    first, draws = mine.iloc[0], _by_draw(mine, row.metric)
    value, rate = draws["value"] * table.times, None
    base = 0.0 * value
    if row.metric == "system_time_s":
        base = draws["base_system_s"]
    elif row.metric == "ratio":
        base = base + 1.0
    elif row.metric == "operations_per_s":
        total = draws["operation_ns_total"]
        base, value, rate = total / draws["elongation"], total, float((total * value).mean())
    if less is not None:
        value = value - _by_draw(less, row.metric)["value"] * table.times
    both = pd.DataFrame({"base": base, "added": value - base}).dropna()  # draws under which no point failed
    machine, policy, costs = (str(first[name]) for name in ("machine", "policy", "costs"))
    cores = float(first["cores"])
    wider = 0.0 if row.metric in ARITHMETIC else spread().wider(cores)
    return Prediction(table, row, machine, policy, costs, cores, both["base"], both["added"], rate, wider)


def _by_draw(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    others = posterior_draws(rows)
    means = (others if len(others) else representative(rows)).groupby("draw")
    return means[["base_system_s", "operation_ns_total", "elongation"]].mean().assign(value=means[metric].mean())


def _discrepancy(predictions: Sequence[Prediction], costs: str, but: Collection[str]) -> float:
    """The model's error under these costs on all but these machines; NaN without a row.

    Rows of one policy on one machine count together: logarithms of measured over predicted.
    """
    rows = [each for each in predictions if each.costs == costs and each.machine not in but and each.is_of_the_model]
    groups = []
    for key in dict.fromkeys((each.machine, each.policy) for each in rows):
        mine = [each for each in rows if (each.machine, each.policy) == key]
        above = pd.concat([(each.measured_added / each.added).map(np.log) for each in mine], axis="columns").dropna()
        # A measurement varies by `run` of its total, and so by a larger share of the added part.
        run = [spread().run * each.from_total(each.row.measured) / each.measured_added.median() for each in mine]
        share_of_run = float(np.sqrt(np.mean(np.square(run)) / len(run)))
        groups.append((above.mean(axis="columns").to_numpy() / mine[0].wider, share_of_run / mine[0].wider))
    return estimate_discrepancy(groups)


def _as_row(each: Prediction, discrepancy: float) -> dict[str, Any]:
    row, measured = each.row, each.row.measured
    shown = each.from_total(shown_again(each.base.to_numpy(), each.added.to_numpy(), discrepancy))
    low, middle, high = np.quantile(shown, (0.05, 0.5, 0.95))
    least, most = row.between or (measured, measured)
    inside = {"predict": low <= most and least <= high, "at_least": high >= least}.get(row.role)
    usual = each.measured_added.median()
    added_error = each.added.median() / usual - 1.0 if usual > 0.0 else np.nan
    return {
        "table": each.table.name,
        "costs": each.costs,
        "machine": each.machine,
        "policy": each.policy,
        "cores": int(each.cores),
        "at": float(row.point[each.table.curve]) if each.table.curve else np.nan,
        "metric": row.metric,
        "unit": METRICS[row.metric].unit,
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


def answer(tables: Tables) -> Answer:
    """The number of measured rows inside their prediction intervals, by costs."""
    said = []
    for costs, mine in tables["validation"].query("role == 'predict'").groupby("costs", sort=False):
        known = mine["inside_90"].dropna()
        inside = f"{known.sum()} of {len(known)} measured values ({share(known.mean())})"
        said.append(f"With costs={costs} {inside} lie inside their 90 % prediction intervals.")
    return Answer(said)
