"""The rows of results in tables: every point once, without failed points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd

from sweep.inputs.costs import REPRESENTATIVE
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS

OK = "ok"


def copies(columns: Iterable[pd.Series]) -> np.ndarray:
    """Whether a row equals an earlier one in all of these columns, [row]: blocks of a grid may overlap.

    Only one column is in memory at a time.
    """
    alike: Any = 0
    for column in columns:
        values, distinct = pd.factorize(column, use_na_sentinel=False)
        alike = pd.factorize(alike * len(distinct) + values)[0]
    return pd.Series(alike).duplicated().to_numpy()


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

    `column` gives a column by its name, one of `names`.
    """
    points = column("point")
    first = ~points.duplicated().to_numpy()
    copied = copies(column(name)[first] for name in (*NAMES, *PARAMETER_COLUMNS, "draw") if name in names)
    every = points[first][copied]
    counted = every[column("draw")[first][copied] == REPRESENTATIVE] if "draw" in names else every
    return ~points.isin(every).to_numpy(), len(counted)


def simulated(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of points that did not fail."""
    good = results["status"] == OK if "status" in results else pd.Series(True, results.index)
    return results if good.all() else results[good]


def failed_points(results: pd.DataFrame) -> pd.DataFrame:
    """The first row of each point that failed."""
    failed = results[results["status"] != OK] if "status" in results else results.iloc[:0]
    return failed.drop_duplicates("point")


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
