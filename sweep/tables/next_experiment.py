"""The next measurement: the information of each point of a sweep, once measured, on costs and other points.

A pure function of a run under cost samples, which are equally likely: `sweep next OUT`.
Measured times are linear in the logarithms of the costs, with run-to-run spread and the model's own error.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from sweep.errors import BadInput
from sweep.inputs.likelihood import spread
from sweep.tables.replicas import means
from sweep.tables.selection import (
    LEAST_DRAWS,
    explained,
    logs_of_costs,
    posterior_draws,
    representative,
    setting,
    simulated,
    without_copies,
)
from sweep.tables.setting import LINUX_CEILING
from sweep.tables.words import Answer, Tables, enumerated, number, of_size, share

TOLD = ("policy", "machine", "cores", "jobs", "ceiling", "information_bits", "most_about", "its_share", "others_share")


def next_experiment(results: pd.DataFrame, fitted: Collection[str], predict: int | None = None) -> pd.DataFrame:
    """A row per point that could be measured, the most informative first.

    `information_bits` is about all costs together. `most_about` is the parameter whose variance (of its logarithm) is
    expected to shrink most, by `its_share`. `others_share` is the mean expected shrinkage of the other points'
    predictions, `predicted_share` that of the point `predict`. On machines that are not `fitted` the model errs more.
    BadInput if there are too few draws or no such point.
    """
    others = posterior_draws(simulated(without_copies(results))).query("policy != 'vanilla' and added_s > 0").copy()
    others = others.assign(point=setting(others), log_added=np.log(others["added_s"]))
    signal = others.groupby(["point", "draw"])["log_added"].mean().unstack()  # [point, draw]
    signal = signal.dropna(axis="columns")  # draws under which every point could be simulated
    others = others[others["draw"].isin(signal.columns)]
    draws = signal.shape[1]
    if draws < LEAST_DRAWS:
        raise BadInput(
            f"{LEAST_DRAWS} cost samples or more are needed, and {draws} have no failed point: give the sweep "
            f"draws={2 * LEAST_DRAWS}"
        )
    first = others.drop_duplicates("point").set_index("point").loc[signal.index]
    added, base = np.exp(signal.mean(axis=1)), first["base_system_s"]
    sizes = zip(first["cores"], first["machine"], strict=True)
    errs = [spread().discrepancy(cores, machine in fitted) for cores, machine in sizes]
    noise = np.square(errs) + (spread().run * (base + added) / added) ** 2
    heard = signal.var(axis=1) / (signal.var(axis=1) + noise)  # share of a measurement's variance that is signal
    between = pd.DataFrame(explained(signal.to_numpy(), signal.to_numpy(), draws), signal.index, signal.index)
    if predict is not None and predict not in between:
        raise BadInput(f"predict={predict}: no such point; there are {', '.join(map(str, between.index))}")
    own = between.to_numpy(copy=True)
    np.fill_diagonal(own, 0.0)
    others_share = own.sum(axis=1) / max(len(own) - 1, 1)
    most = []
    for point, rows in others.groupby("point"):
        names, logs = logs_of_costs(rows.drop_duplicates("draw").sort_values("draw"))
        shares = heard[point] * explained(logs, signal.loc[[point]].to_numpy(), draws)[:, 0]
        most.append(max(zip(names, shares, strict=True), key=lambda each: each[1], default=("", np.nan)))
    made = pd.DataFrame(most, signal.index, ["most_about", "its_share"])
    made.insert(0, "information_bits", -0.5 * np.log2(1.0 - heard))
    made["others_share"] = heard * others_share
    if predict is not None:
        made["predicted_share"] = heard * between[predict]
    single, names = means(representative(simulated(results)), ["system_time_s"])
    constant = [name for name in names if single[name].nunique(dropna=False) == 1]
    table = single.drop(columns=constant).merge(made.reset_index(), on="point")
    order = "information_bits" if predict is None else "predicted_share"
    return table.sort_values(order, ascending=False, kind="stable", ignore_index=True)


def answer(tables: Tables) -> Answer:
    """The points whose measurement would narrow most: the costs, and each other's predictions."""
    table = tables["next_experiment"]
    table = table.sort_values("information_bits", ascending=False, kind="stable", ignore_index=True)
    told = [
        f"{_point(row)} ({number(row['information_bits'])} bits, most about {row['most_about']})"
        for row in table.head(3).to_dict("records")
    ]
    best = table.iloc[int(table["others_share"].argmax())]
    others = f"by {share(best['others_share'])} of their variance"
    return Answer([
        f"These measurements would narrow the costs most: {enumerated(told)}.",
        f"A measurement of {_point(best)} would narrow the predictions of all other points most, {others}.",
    ], table[[name for name in TOLD if name in table]])  # fmt: skip


def _point(row: Any) -> str:
    machine = f" on {row['machine']}" if "machine" in row else ""
    ceiling = row.get("ceiling", LINUX_CEILING)
    at = "" if ceiling == LINUX_CEILING else f", ceiling {ceiling:g}"
    return f"{row.get('policy', 'a build')}{machine}{of_size(row)}{at}"
