"""Rows of results by cost sample: the representative one, and samples of the posterior (or the priors)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inputs.costs import REPRESENTATIVE
from sweep.store.rows import PARAMETER_COLUMNS

LEAST_DRAWS = 32  # for shares of variances


def representative(results: pd.DataFrame) -> pd.DataFrame:
    """The rows under the representative draw."""
    among = results["draw"] == REPRESENTATIVE
    return results if among.all() else results[among]  # avoids a copy


def posterior_draws(results: pd.DataFrame) -> pd.DataFrame:
    """The rows under all other draws, which are equally likely; none in a run without draws."""
    return results[results["draw"] != REPRESENTATIVE]


def setting(results: pd.DataFrame) -> pd.Series:
    """The same point under the representative draw, for each row: draws vary fastest in every plan."""
    return results["point"] - results["draw"]


def explained(a: np.ndarray, b: np.ndarray, draws: int) -> np.ndarray:
    """The share of the variance of each `a` [n, draw] that each `b` [m, draw] explains beyond chance, [n, m]."""
    a, b = (each - each.mean(axis=1, keepdims=True) for each in (a, b))
    squares = (a @ b.T) ** 2 / np.maximum(np.outer((a**2).sum(axis=1), (b**2).sum(axis=1)), 1e-300)
    return np.maximum(0.0, (squares - 1.0 / draws) / (1.0 - 1.0 / draws))


def logs_of_costs(rows: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """The quantities that vary over draws, a row each, and their logarithms, [quantity, draw].

    Of two names, one counts as 1 and the other as next to nothing. `range_pages` is left out: it is no number.
    """
    names, logs = [], []
    for name in PARAMETER_COLUMNS:
        values = rows[name]
        if name != "range_pages" and values.nunique() > 1:
            numbers = values if pd.api.types.is_numeric_dtype(values) else (values == values.iloc[0]).astype(float)
            names.append(name)
            logs.append(np.log(np.maximum(numbers.to_numpy(float), 1e-9)))
    return names, np.array(logs).reshape(len(names), len(rows))
