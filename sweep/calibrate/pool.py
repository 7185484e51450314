"""All simulated draws of a calibration, and their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweep.calibrate.rows import MeasuredRow
from sweep.inputs.catalog import Quantity


@dataclass(frozen=True)
class Pool:
    """All simulated draws."""

    known: Mapping[str, Quantity]  # priors by OWNER/QUANTITY
    values: np.ndarray  # [draw, key]
    added: np.ndarray  # time added by flush events, each row in its own unit, [row, draw]
    chance: np.ndarray  # probability of choosing a draw, [draw]
    first: int  # draws of the first round, from the prior
    rows: Sequence[MeasuredRow]
    read: Sequence[np.ndarray]  # the keys that each row depends on


@dataclass(frozen=True)
class Fit:
    """Weights of the pool's draws under some rows."""

    name: str
    weights: np.ndarray  # [draw], with sum 1
    size: float  # effective draws
    k: float  # Pareto's
