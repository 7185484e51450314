"""Every simulated draw of a calibration, and weights of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweep.inputs.catalog import Quantity


@dataclass(frozen=True)
class Pool:
    """Every simulated draw."""

    known: Mapping[str, Quantity]  # priors by OWNER/QUANTITY
    values: np.ndarray  # [draw, key]
    added: np.ndarray  # added seconds, [row, draw]
    chance: np.ndarray  # with which a draw was chosen, [draw]
    first: int  # draws of the first round, which are of the prior alone
    rows: pd.DataFrame  # the measurements


@dataclass(frozen=True)
class Fit:
    """Weights of the pool's draws under some rows."""

    name: str
    weights: np.ndarray  # [draw], they add up to 1
    size: float  # effective draws
    k: float  # Pareto's


def fitted_rows(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """What is fitted, by name, and to which measured rows, [row]: to all, and to parts that predict the others."""
    sync = (rows["policy"] == "xpfo").to_numpy()
    fits = {"all rows": np.ones(len(rows), dtype=bool)} | ({"sync rows": sync} if 0 < sync.sum() < len(rows) else {})
    machines = list(dict.fromkeys(rows["machine"]))
    return fits | {name: (rows["machine"] == name).to_numpy() for name in machines if len(machines) > 1}
