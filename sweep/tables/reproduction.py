"""The published system times beside those simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweep.inputs.costs import LITERATURE
from sweep.inputs.likelihood import measured_again
from sweep.tables.coordinates import coordinates
from sweep.tables.draws import posterior_draws, representative
from sweep.tables.replicas import half_width
from sweep.tables.sentences import Answer, Tables
from sweep.tables.words import enumerated, number

KEYS = ["machine", "workload", "policy", "cores", "jobs", "base_system_s"]  # the measured settings of a point


def reproduction(results: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The published system times beside those simulated under each of the sweep's costs, fitted ones first.

    A measurement belongs to a point of the same machine, workload, policy, cores, jobs and vanilla baseline; if several
    points of the sweep match, each has a row. With cost samples the interval is the 90 % prediction interval of a
    measurement, run spread and the model's error included; else it is that of the mean over replicas (95 %).
    """
    others = [name for name in coordinates(representative(results)).own if name not in (*KEYS, "costs")]
    names = sorted(results["costs"].unique(), key=lambda name: (name == LITERATURE, name))
    of_points = measured[[*KEYS[:-1], "vanilla_s"]].set_axis(KEYS, axis=1)
    rows_of = np.logical_and.reduce([results[key].isin(of_points[key]) for key in KEYS])
    groups = dict(list(results[rows_of].groupby([*KEYS, *others, "costs"], sort=False, dropna=False)))
    rows = []
    for _, row in measured.iterrows():
        point = (*(row[key] for key in KEYS[:-1]), row["vanilla_s"])
        settings = dict.fromkeys(key[len(KEYS) : -1] for key in groups if key[: len(KEYS)] == point)
        for setting in settings:
            simulated = {name: groups[*point, *setting, name] for name in names if (*point, *setting, name) in groups}
            rows.append(_row(row, dict(zip(others, setting, strict=True)), simulated))
    return pd.DataFrame(rows)


def _row(row: pd.Series, setting: Mapping[str, Any], simulated: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """One measurement beside its simulations, by the costs' names."""
    out: dict[str, Any] = {name: row[name] for name in ("machine", "policy")}
    out |= {"cores": int(row["cores"]), "jobs": int(row["jobs"]), **setting, "measured_s": row["measured_s"]}
    for name, group in simulated.items():
        mean, low, high = _prediction(group, row["vanilla_s"])
        out |= {f"{name}_s": mean, f"{name}_lo_s": low, f"{name}_hi_s": high}
        out |= {f"{name}_error_pct": 100.0 * (mean / row["measured_s"] - 1.0)}
    out["measured_ratio"] = row["measured_s"] / row["vanilla_s"]
    return out | {f"{name}_ratio": out[f"{name}_s"] / row["vanilla_s"] for name in simulated}


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


def answer(tables: Tables) -> Answer | None:
    """Each measured system time beside the simulated one, if the run has such points."""
    table = tables.get("reproduction")
    if table is None:
        return None
    names = [str(name).removesuffix("_error_pct") for name in table.columns if str(name).endswith("_error_pct")]
    if not names:
        return None
    best = names[0]
    asked = table[(table["policy"] != "vanilla") & table[f"{best}_s"].notna()]
    if asked.empty:
        return None
    said = [
        f"{row['policy']} on {row['machine']} {number(row[f'{best}_s'])} s simulated, {number(row['measured_s'])} s "
        f"measured ({row[f'{best}_error_pct']:+.1f} %)"
        for _, row in asked.iterrows()
    ]
    sentences = [f"With costs={best}: {enumerated(said)}."]
    for name in names[1:]:
        sentences.append(f"With costs={name} the largest error is {asked[f'{name}_error_pct'].abs().max():.0f} %.")
    return Answer(sentences)
