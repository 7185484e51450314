"""Every simulated draw of a calibration, and weights of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweep.calibrate.rows import MeasuredRow
from sweep.inputs.catalog import Quantity


@dataclass(frozen=True)
class Pool:
    """Every simulated draw."""

    known: Mapping[str, Quantity]  # priors by OWNER/QUANTITY
    values: np.ndarray  # [draw, key]
    added: np.ndarray  # what flush events add, each row in its own unit, [row, draw]
    chance: np.ndarray  # with which a draw was chosen, [draw]
    first: int  # draws of the first round, which are of the prior alone
    rows: Sequence[MeasuredRow]
    read: Sequence[np.ndarray]  # which keys move each row


@dataclass(frozen=True)
class Fit:
    """Weights of the pool's draws under some rows."""

    name: str
    weights: np.ndarray  # [draw], they add up to 1
    size: float  # effective draws
    k: float  # Pareto's
