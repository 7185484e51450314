"""Rows of results by their draw of the costs: the representative one, and those of the posterior (or the priors)."""

from __future__ import annotations

import pandas as pd

from sweep.inputs.costs import REPRESENTATIVE


def representative(results: pd.DataFrame) -> pd.DataFrame:
    """The rows under the representative draw, which stands for all the others."""
    among = results["draw"] == REPRESENTATIVE
    return results if among.all() else results[among]  # rows are many: none is copied without need


def posterior_draws(results: pd.DataFrame) -> pd.DataFrame:
    """The rows under all other draws, which are equally likely; none where the run has no draws."""
    return results[results["draw"] != REPRESENTATIVE]
