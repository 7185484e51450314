"""Which rows of results tables are made of: every point once, and those that were simulated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.draws import representative

OK = "ok"


def copies(points: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Whether a row equals an earlier one in all of these names, [row]: blocks of a grid may overlap."""
    varying = [name for name in names if name in points and points[name].nunique(dropna=False) > 1]
    if not varying:
        return np.arange(len(points)) > 0
    return points.duplicated(varying).to_numpy()


def without_copies(results: pd.DataFrame) -> pd.DataFrame:
    """Results without points that equal an earlier one in every parameter and draw; `attrs["copies"]` of them.

    The same point simulated twice gives the same numbers twice: it is one observation, not two.
    """
    once = results.drop_duplicates("point")
    names = [*NAMES, *PARAMETER_COLUMNS, *(["draw"] if "draw" in once else [])]
    copied = once[copies(once, names)]
    if copied.empty:
        return results
    kept = results[~results["point"].isin(copied["point"])]
    kept.attrs = results.attrs | {"copies": len(representative(copied)) if "draw" in copied else len(copied)}
    return kept


def simulated(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of points that did not fail."""
    good = results["status"] == OK if "status" in results else pd.Series(True, results.index)
    return results if good.all() else results[good]


def failed_points(results: pd.DataFrame) -> pd.DataFrame:
    """The first row of each point that failed."""
    failed = results[results["status"] != OK] if "status" in results else results.iloc[:0]
    return failed.drop_duplicates("point")


def notes(points: int, failed: int, copied: int) -> list[str]:
    """What a reader of a table must know of the points that are not in it, a sentence each."""
    said = []
    if failed == points and points:
        said.append(f"All {points} points failed: failures.parquet says why.")
    elif failed:
        said.append(f"{failed} of {points} points failed and have no numbers: failures.parquet says why.")
    if copied:
        said.append(f"{copied} points equal an earlier one in every parameter and are counted once.")
    return said
