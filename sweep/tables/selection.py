"""The rows of results in tables: every point once, without failed points, and by cost sample."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd

from sweep.inputs.costs import REPRESENTATIVE
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS

OK = "ok"
LEAST_DRAWS = 32  # for shares of variances


def without_copies(results: pd.DataFrame) -> pd.DataFrame:
    """Results without points that equal an earlier one in every parameter and draw; `attrs["copies"]` counts them.

    The same point simulated twice gives the same numbers twice: it is one observation, not two.
    """
    kept, copied = rows_kept(results.columns, results.__getitem__)
    if kept.all():
        return results
    frame = results[kept]
    frame.attrs = results.attrs | {"copies": copied}
    return frame


def rows_kept(names: Collection[str], column: Callable[[str], pd.Series]) -> tuple[np.ndarray, int]:
    """Whether a row's point equals no earlier one, [row], and the number of equal ones under the representative draw.

    Blocks of a grid may overlap. `column` gives a column by its name, one of `names`; one is in memory at a time.
    """
    points = column("point")
    first = ~points.duplicated().to_numpy()
    alike: Any = 0
    for name in (*NAMES, *PARAMETER_COLUMNS, "draw"):
        if name in names:
            values, distinct = pd.factorize(column(name)[first], use_na_sentinel=False)
            alike = pd.factorize(alike * len(distinct) + values)[0]
    copied = pd.Series(alike).duplicated().to_numpy()
    every = points[first][copied]
    return ~points.isin(every).to_numpy(), int((column("draw")[first][copied] == REPRESENTATIVE).sum())


def simulated(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of points that did not fail."""
    good = results["status"] == OK
    return results if good.all() else results[good]  # avoids a copy


def failed_points(results: pd.DataFrame) -> pd.DataFrame:
    """The first row of each point that failed."""
    return results[results["status"] != OK].drop_duplicates("point")


def notes(points: int, failed: int, copied: int) -> list[str]:
    """A sentence each on failed and on repeated points, which are not in a table."""
    said = []
    if failed == points and points:
        said.append(f"All {points} points failed; failures.parquet has the reasons.")
    elif failed:
        said.append(f"{failed} of {points} points failed and have no numbers; failures.parquet has the reasons.")
    if copied:
        said.append(f"{copied} points equal an earlier one in every parameter; each counts once.")
    return said


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
