"""Rows of results by their cost sample: the representative one, and those of the posterior (or the priors)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.inputs.costs import REPRESENTATIVE


def representative(results: pd.DataFrame) -> pd.DataFrame:
    """The rows under the representative draw, which stands for all the others."""
    among = results["draw"] == REPRESENTATIVE
    return results if among.all() else results[among]  # rows are many: none is copied without need


def posterior_draws(results: pd.DataFrame) -> pd.DataFrame:
    """The rows under all other draws, which are equally likely; none where the run has no draws."""
    return results[results["draw"] != REPRESENTATIVE]


def setting(results: pd.DataFrame) -> pd.Series:
    """The point under the representative draw, for each row: draws vary fastest in every plan."""
    return results["point"] - results["draw"]


def explained(a: np.ndarray, b: np.ndarray, draws: int) -> np.ndarray:
    """Share of the variance of each of `a` [n, draw] that each of `b` [m, draw] explains beyond chance, [n, m]."""
    a, b = (each - each.mean(axis=1, keepdims=True) for each in (a, b))
    squares = (a @ b.T) ** 2 / np.maximum(np.outer((a**2).sum(axis=1), (b**2).sum(axis=1)), 1e-300)
    return np.maximum(0.0, (squares - 1.0 / draws) / (1.0 - 1.0 / draws))
