"""The published system times beside those simulated."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inputs.conf import conf_dir
from sweep.inputs.costs import LITERATURE
from sweep.inputs.likelihood import measured_again
from sweep.tables.draws import posterior_draws, representative
from sweep.tables.replicas import half_width


def reproduction(results: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The published system times beside those simulated under each of the sweep's costs, fitted ones first.

    A measurement belongs to a point of the same machine, workload, policy, cores, jobs and vanilla baseline. Under
    draws of the costs an interval is where a measurement would lie (90 %), run spread and the model's error included;
    else it is that of the mean over replicas (95 %).
    """
    keys = ["machine", "workload", "policy", "cores", "jobs", "base_system_s"]
    names = sorted(results["costs"].unique(), key=lambda name: (name == LITERATURE, name))
    groups = dict(list(results.groupby([*keys, "costs"], sort=False)))
    rows = []
    for _, row in measured.iterrows():
        key = (*(row[key] for key in keys[:-1]), row["vanilla_s"])
        found = {name: groups[(*key, name)] for name in names if (*key, name) in groups}
        if not found:
            continue
        made = {name: row[name] for name in ("machine", "policy")}
        made |= {"cores": int(row["cores"]), "jobs": int(row["jobs"]), "measured_s": row["measured_s"]}
        for name, group in found.items():
            mean, low, high = _prediction(group, row["vanilla_s"])
            made |= {f"{name}_s": mean, f"{name}_lo_s": low, f"{name}_hi_s": high}
            made |= {f"{name}_error_pct": 100.0 * (mean / row["measured_s"] - 1.0)}
        made["measured_ratio"] = row["measured_s"] / row["vanilla_s"]
        made |= {f"{name}_ratio": made[f"{name}_s"] / row["vanilla_s"] for name in found}
        rows.append(made)
    return pd.DataFrame(rows)


def _prediction(group: pd.DataFrame, vanilla_s: float) -> tuple[float, float, float]:
    """Of one point: the mean under the representative draw, and the ends of an interval."""
    single, others = representative(group), posterior_draws(group)
    mean, half = single["system_time_s"].mean(), half_width(single["system_time_s"])
    if others.empty or group["policy"].iloc[0] == "vanilla":
        return mean, mean - half, mean + half
    added = others.groupby("draw")["added_s"].mean().to_numpy()
    low, high = np.nanquantile(measured_again(vanilla_s, added, group["cores"].iloc[0]), [0.05, 0.95])
    return mean, low, high


def measurements() -> pd.DataFrame:
    """The published system times, `conf/measurements.csv`."""
    return pd.read_csv(conf_dir() / "measurements.csv")
