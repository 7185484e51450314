"""The plots of a calibration: predictions of rows left out, the posterior, and the costs that matter."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sim.metrics import METRICS
from sweep.inputs.prior import Z95
from sweep.report.plot import Plot

MOST = 14  # parameters of one plot


def plots(tables: Mapping[str, pd.DataFrame]) -> list[Plot]:
    """From the tables of `sweep.calibrate.tables`."""
    return [*predictions(tables["validation"]), posterior(tables["posterior"]), indices(tables["total_indices"]),
            ranks(tables["ranks"]), table(tables["posterior"])]  # fmt: skip


def predictions(validation: pd.DataFrame) -> list[Plot]:
    """Measured values beside the predictions of each fit, a plot for each metric."""
    note = (
        "Median and 90 % prediction interval, run spread and the model's error included. Literature alone is the "
        "prior; a fit to all rows leaves none out."
    )
    made = []
    for metric in validation["metric"].unique():
        rows, each = [], validation[validation["metric"] == metric]
        alike = each.groupby(["machine", "policy"])["setting"].nunique() > 1  # differ only in their settings
        for row in each.to_dict("records"):
            setting = f", {row['setting']}" if alike[row["machine"], row["policy"]] else ""
            what = f"{row['policy']} on {row['machine']}{setting}, from {row['fitted_on']}"
            keep = {"machine": row["machine"], "policy": row["policy"], "what": what}
            ends = {f"{metric}_lo": row["predicted_05"], f"{metric}_hi": row["predicted_95"]}
            rows.append(keep | {"source": "measured", metric: row["measured"]})
            rows.append(keep | {"source": "predicted", metric: row["predicted_50"]} | ends)
        frame = pd.DataFrame(rows).sort_values(["machine", "policy"], kind="stable", ignore_index=True)
        label = "system time of the build, s" if metric == "system_time_s" else f"{metric}, {METRICS[metric].unit}"
        made.append(Plot(
            f"predictions_{metric}", f"Predicted by each fit, and measured: {metric}", note, "dots", frame, metric,
            "what", labels={metric: label}, series="source", log=(metric,),
        ))  # fmt: skip
    return made


def posterior(table: pd.DataFrame) -> Plot:
    """The costs that the data moved, over their prior medians."""
    chosen = table[(table["verdict"] != "still its prior") & table["prior_05"].notna()].head(MOST)
    rows = [
        {"what": f"{row['parameter']}, {row['machine']}", "source": when}
        | {over: row[f"{when}_{share}"] / row["prior_50"] for over, share in
           (("over", "50"), ("over_lo", "05"), ("over_hi", "95"))}
        for _, row in chosen.iterrows()
        for when in ("prior", "posterior")
    ]  # fmt: skip
    return Plot(
        "posterior", "The costs that the data moved", "Median and 90 % interval, before and after the fit.", "dots",
        pd.DataFrame(rows), "over", "what", labels={"over": "relative to prior median"}, series="source", log=("over",),
    )  # fmt: skip


def indices(table: pd.DataFrame) -> Plot:
    """Sobol total indices of the time added by flush events, the largest of each row."""
    chosen = table.groupby(["machine", "policy", "setting"], sort=False).head(MOST // 2).copy()
    chosen["what"] = chosen["parameter"] + ", " + chosen["of"]
    chosen["source"] = chosen["policy"] + " on " + chosen["machine"] + ", " + chosen["setting"]
    note = "Share of the prior variance of added time (log) in which a parameter takes part, by the emulator."
    return Plot(
        "total_indices", "Costs that matter", note, "dots", chosen[["what", "source", "total_index"]], "total_index",
        "what", labels={"total_index": "Sobol total index"}, series="source",
    )  # fmt: skip


def ranks(table: pd.DataFrame) -> Plot:
    """Rank histograms of the simulation-based calibration, over all parameters."""
    counts = table.filter(like="rank_")
    expected = counts.to_numpy().sum(axis=1).mean() / counts.shape[1]
    band = Z95 * np.sqrt(expected * (1 - 1 / counts.shape[1]))
    low, high = counts.quantile([0.05, 0.95]).to_numpy()
    frame = pd.DataFrame({
        "machine": "", "workload": "", "policy": "all parameters", "setting": "", "rank": range(counts.shape[1]),
        "count": counts.mean().to_numpy(), "count_lo": low, "count_hi": high,
    })  # fmt: skip
    note = (
        f"Counts of each rank of a known parameter among draws of its posterior: mean and 5 to 95 % over parameters. "
        f"Expected: {expected:.0f}; 5 to 95 % by chance: {expected - band:.0f} to {expected + band:.0f}."
    )
    return Plot(
        "ranks", "Simulation-based calibration", note, "lines", frame, "rank", "count",
        labels={"rank": "rank of the truth", "count": "times"},
    )  # fmt: skip


def table(posterior: pd.DataFrame) -> Plot:
    """Every parameter, before and after the fit."""
    note = "For a choice of two names: the probability of the alternative."
    whose = posterior.rename(columns={"machine": "whose"})
    return Plot("parameters", "All parameters", note, "table", whose, series="verdict")
