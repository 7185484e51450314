"""Points of a finished run, simulated again by the exact rule: what `sweep check` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sim import PARAMETERS, simulate
from sim.machine.engines import check_engine
from sim.policies import use_policies
from sweep.errors import BadInput
from sweep.plan.code import code_hash
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.rule_gap import GAPS, choose_points, coarse_points, rule_gap


def check_rule(
    results: pd.DataFrame, run: Mapping[str, Any], count: int, advance: Callable[[int], object]
) -> pd.DataFrame:
    """The table of `rule_gap` of so many points of a run; `advance(1)` is called after each.

    BadInput where numba is missing, or this version of the program simulates another model.
    """
    try:
        check_engine("auto", "exact", interrupts=True)
    except ValueError as error:
        raise BadInput(str(error)) from None
    folder = next((each.partition("=")[2] for each in run["overrides"] if each.startswith("policy_path=")), None)
    use_policies(folder)
    if run["code"] != code_hash(folder):
        raise BadInput("this run was simulated by another version of the model; run it again to check it")
    points = choose_points(coarse_points(results), count)
    rows = []
    for _, point in points.iterrows():
        rows.append(_simulate_exactly(point, run["points"]))
        advance(1)
    return rule_gap(points, pd.DataFrame(rows, index=points.index))


def _simulate_exactly(point: pd.Series, run: Mapping[str, Any]) -> dict[str, float]:
    """Means over replicas of one point of the results."""
    parameters: dict[str, Any] = {
        name: point[name]
        for name in PARAMETER_COLUMNS
        if point[name] is not None and point[name] == point[name]  # neither null nor NaN: not given
    }
    parameters = {name: int(value) if PARAMETERS[name].whole else value for name, value in parameters.items()}
    if "range_pages" in parameters:
        weights = json.loads(parameters["range_pages"])
        parameters["range_pages"] = {int(pages): weight for pages, weight in weights.items()}
    parameters |= {"policy": point["policy"], "seed": run["seed"], "replicas": run["replicas"], "rule": "exact"}
    found = simulate(**parameters)
    return {name: float(np.mean(found[name])) for name in GAPS}
