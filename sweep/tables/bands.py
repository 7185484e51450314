"""5/50/95 % bands of a run's tables over cost samples."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from sim.metrics import METRICS
from sweep.tables.best_ceiling import best_ceiling
from sweep.tables.crossover import crossover
from sweep.tables.fabric import fabric
from sweep.tables.selection import posterior_draws, representative, setting

SHARES = {"05": 0.05, "50": 0.5, "95": 0.95}
BY_DRAW: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = {
    "crossover": (crossover, ("cores",)),
    "best_ceiling": (best_ceiling, ("best_from", "best_to", "best_system_time_s", "price_of_33_pct")),
    "fabric": (fabric, ("saturated_from", "most_per_s", "per_s", "wait_ns")),
}  # tables that are not means over points, rebuilt for every draw: the function, and its values


def over_draws(results: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Quantiles of these metrics' means over replicas, indexed by point: columns METRIC_05, METRIC_50, METRIC_95."""
    others = posterior_draws(results[["point", "draw", *metrics]])
    means = others.groupby([setting(others).rename("point"), "draw"])[metrics].mean().dropna(how="all")
    by = means.groupby("point")
    return pd.concat([by.quantile(share).add_suffix(f"_{name}") for name, share in SHARES.items()], axis="columns")


def add_bands(tables: dict[str, pd.DataFrame], results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of the representative draw, with bands beside their values."""
    metrics = sorted({name for table in tables.values() for name in map(str, table.columns) if name in METRICS})
    spread, out = over_draws(results, metrics), {}
    for name, table in tables.items():
        values = [str(column) for column in table.columns if column in METRICS]
        if name in BY_DRAW:
            table = _by_draw(*BY_DRAW[name], table, results)
        elif "point" in table:
            table = table.join(spread[[f"{value}_{share}" for value in values for share in SHARES]], on="point")
        out[name] = table
    return out


def _by_draw(
    make: Callable[[pd.DataFrame], pd.DataFrame], values: tuple[str, ...], table: pd.DataFrame, results: pd.DataFrame
) -> pd.DataFrame:
    keys = ["point", "replica"]
    single = representative(results).set_index(keys)
    metrics = [name for name in METRICS if name in results]
    others = posterior_draws(results[[*keys, "draw", *metrics]].assign(point=setting(results)))
    made = []
    for _, rows in others.groupby("draw"):
        mine = rows.set_index(keys)[metrics]
        if single.index.isin(mine.index).all():  # else a point failed under this draw, so the table is incomplete
            frame = single.copy()  # the coordinates of the representative draw, the metrics of this one
            frame[metrics] = mine.reindex(frame.index)
            made.append(make(frame.reset_index())[list(values)].to_numpy(float))
    # A policy that never passes a ratio passes it at infinity.
    filled = np.array([np.where(np.isnan(each), np.inf, each) for each in made])  # [draw, row, value]
    for at, value in enumerate(values):
        for name, share in SHARES.items():
            ends = np.quantile(filled[..., at], share, axis=0, method="inverted_cdf") if made else np.nan
            table = table.assign(**{f"{value}_{name}": np.where(np.isinf(ends), np.nan, ends)})
    return table
