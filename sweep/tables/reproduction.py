"""The published system times beside those simulated."""

import numpy as np
import pandas as pd

from sweep.inputs.costs import LITERATURE
from sweep.inputs.likelihood import measured_again
from sweep.tables.coordinates import coordinates
from sweep.tables.replicas import half_width
from sweep.tables.selection import posterior_draws, representative
from sweep.tables.words import Answer, Tables, enumerated, number

KEYS = ["machine", "workload", "policy", "cores", "jobs", "base_system_s"]  # the measured settings of a point


def reproduction(results: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The published system times beside those simulated under each of the sweep's costs, fitted ones first.

    A measurement belongs to a point of the same machine, workload, policy, cores, jobs and vanilla baseline; if several
    points of the sweep match, each has a row. With cost samples the interval is the 90 % prediction interval of a
    measurement, run spread and the model's error included; else it is that of the mean over replicas (95 %).
    """
    others = [name for name in coordinates(representative(results)).own if name not in (*KEYS, "costs")]
    names = sorted(results["costs"].unique(), key=lambda name: (name == LITERATURE, name))
    measured = measured.rename(columns={"vanilla_s": "base_system_s"})
    results = results[np.logical_and.reduce([results[key].isin(measured[key]) for key in KEYS])]
    rows = []
    for row in measured.to_dict("records"):
        here = results[np.logical_and.reduce([results[key] == row[key] for key in KEYS])]
        measured_s, base_s = row["measured_s"], row["base_system_s"]
        for setting, mine in here.groupby([*others, "machine"], sort=False, dropna=False):
            out = {name: row[name] for name in ("machine", "policy")} | {"cores": int(row["cores"])}
            out |= {"jobs": int(row["jobs"]), **dict(zip(others, setting, strict=False)), "measured_s": measured_s}
            ratios = {"measured_ratio": measured_s / base_s}
            for name in names:
                if len(group := mine[mine["costs"] == name]):
                    mean, low, high = _prediction(group, base_s)
                    out |= {f"{name}_s": mean, f"{name}_lo_s": low, f"{name}_hi_s": high}
                    out |= {f"{name}_error_pct": 100.0 * (mean / measured_s - 1.0)}
                    ratios[f"{name}_ratio"] = mean / base_s
            rows.append(out | ratios)
    return pd.DataFrame(rows)


def _prediction(group: pd.DataFrame, vanilla_s: float) -> tuple[float, float, float]:
    """A point's prediction, and the ends of its interval.

    The prediction is the mean under the representative draw of fitted costs; for literature costs with draws it is the
    median over draws, since their central values were not chosen together.
    """
    single, others = representative(group), posterior_draws(group)
    mean, half = single["system_time_s"].mean(), half_width(single["system_time_s"])
    if others.empty or group["policy"].iloc[0] == "vanilla":
        return mean, mean - half, mean + half
    added = others.groupby("draw")["added_s"].mean().to_numpy()
    low, middle, high = np.nanquantile(measured_again(vanilla_s, added, group["cores"].iloc[0]), [0.05, 0.5, 0.95])
    return middle if group["costs"].iloc[0] == LITERATURE else mean, low, high


def answer(tables: Tables) -> Answer:
    """Each measured system time beside the simulated one, if the run has such points."""
    table = tables["reproduction"]
    best, *others = [name.removesuffix("_error_pct") for name in map(str, table) if name.endswith("_error_pct")]
    asked = table[(table["policy"] != "vanilla") & table[f"{best}_s"].notna()]
    if asked.empty:
        return Answer([])
    said = [
        f"{row['policy']} on {row['machine']} {number(row[f'{best}_s'])} s simulated, {number(row['measured_s'])} s "
        f"measured ({row[f'{best}_error_pct']:+.1f} %)"
        for row in asked.to_dict("records")
    ]
    sentences = [f"With costs={best}: {enumerated(said)}."]
    for name in others:
        sentences.append(f"With costs={name} the largest error is {asked[f'{name}_error_pct'].abs().max():.0f} %.")
    ends = {f"{name}_{end}_s": f"{name}_s_{at}" for name in (best, *others) for end, at in (("lo", "05"), ("hi", "95"))}
    times = [name for name in map(str, table) if not name.endswith(("_pct", "_ratio", "_measured"))]
    return Answer(sentences, table[[*times, *table.columns.difference(times, sort=False)]].rename(columns=ends))
