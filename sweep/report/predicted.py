"""Measurements of others beside their predictions: all rows in one plot, and curves."""

from __future__ import annotations

import pandas as pd

from sweep.report.plot import Plot

COUNTED = "90 % prediction intervals, with cost samples, run spread and the model's error."


def predicted(validation: pd.DataFrame) -> list[Plot]:
    """The plots of the table `validation`, under its first costs."""
    one = validation[validation["costs"] == validation["costs"].iloc[0]]
    curves = [_curve(str(name), table) for name, table in one[one["at"].notna()].groupby("table", sort=False)]
    some = one[one["role"] == "predict"]
    return [*([_all_rows(some)] if len(some) else []), *curves, _listing(validation)]


def _all_rows(some: pd.DataFrame) -> Plot:
    """Predictions against measurements, each in its own unit."""
    inside = some["inside_90"].sum()
    rows = some[["machine", "policy", "table", "metric", "unit", "measured"]].assign(
        workload="",
        predicted=some["predicted_50"],
        predicted_lo=some["predicted_05"],
        predicted_hi=some["predicted_95"],
    )
    note = (
        f"{inside} of {len(some)} measured values lie inside their prediction intervals. Bars are {COUNTED} Each value "
        "is in its own unit, and none of them was fitted."
    )
    return Plot(
        "predicted", "Predicted and measured", note, "scatter", rows.reset_index(drop=True), "measured", "predicted",
        labels={"measured": "measured, in its own unit", "predicted": "predicted, in the same unit"}, series="table",
        log=("measured", "predicted"),
    )  # fmt: skip


def _curve(name: str, table: pd.DataFrame) -> Plot:
    """Measured points on the band of their predictions."""
    metric = str(table["metric"].iloc[0])
    unit = str(table["unit"].iloc[0])
    keep = table[["machine", "policy", "at"]].assign(workload=name, setting="")
    shown = keep.assign(source="predicted", **{metric: table["predicted_50"]})
    shown = shown.assign(**{f"{metric}_lo": table["predicted_05"], f"{metric}_hi": table["predicted_95"]})
    rows = pd.concat([shown, keep.assign(source="measured", **{metric: table["measured"]})], ignore_index=True)
    note = f"The band shows {COUNTED} The first point is an input of the prediction."
    return Plot(
        name, f"{name}: {metric} by threads", note, "lines", rows, "at", metric,
        labels={"at": "threads", metric: f"{metric}, {unit}"}, series="source",
    )  # fmt: skip


def _listing(validation: pd.DataFrame) -> Plot:
    """The table itself."""
    words = validation["inside_90"].map({True: "yes", False: "no"}).astype(object).fillna("")
    return Plot("validation", "Every measured value", "", "table", validation.assign(inside_90=words), series="table")
