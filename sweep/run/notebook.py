"""`sweep.simulate`: a sweep in this process, as a DataFrame, without Hydra, Ray or a run's folder."""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pandas as pd

from sweep.errors import BadInput, did_you_mean
from sweep.inputs.conf import hidden_files
from sweep.inputs.home import folders_of
from sweep.messages import say
from sweep.plan.checks import check_hours
from sweep.plan.composition import KEYS, OF_POINTS, composition, read_config
from sweep.plan.open import open_plan
from sweep.plan.plan import Plan
from sweep.run.compute import compute
from sweep.store.results import schema_of
from sweep.store.rows import failures, join_tables
from sweep.tables.frame import as_frame

GRID = "notebook"
CONTENT = {"jobs": "1 x cores"}  # of that grid: all CPUs are busy by default
OF_CALLS = (*OF_POINTS, "engine", "policy_path", "points", "max_points", "max_cpu_hours")  # keys of a call
PLACES = re.compile(rf"\A(command line|grid/{GRID})[:,] ")  # not needed: every mistake is in the call
MOST_ROWS = 3_000_000
MOST_DEPTH = 8  # of lists in lists
CALLER = 4  # stack level of the user's line, from the place of a warning


def simulate(given: Mapping[str, Any], config_dir: str | os.PathLike[str] | None) -> pd.DataFrame:
    """The rows of the sweep described by `given`; ValueError in one line for any mistake.

    Warnings tell of failed points, of an approximation, and of a user's file in place of ours.
    """
    try:
        plan = _plan(given, None if config_dir is None else os.fspath(config_dir))
    except BadInput as error:
        raise ValueError(PLACES.sub("", str(error))) from None
    if plan.engine == "compiled" and plan.engine_because:
        say(f"sweep: {plan.engine_because}, only once on this machine")
    chunks = pairwise(plan.chunks.tolist())
    table = join_tables([compute(plan, range(begin, end)) for begin, end in chunks])
    frame = as_frame(table.cast(schema_of(plan)))
    _warn(plan, failures(table))
    return frame


def _plan(given: Mapping[str, Any], config_dir: str | None) -> Plan:
    """The plan of a call, checked; BadInput if it cannot be."""
    for key in given:
        if key in KEYS and key not in OF_CALLS:
            raise BadInput(f"{key}: needs a run into a folder, and a call writes none; leave it out")
        if key not in OF_CALLS:
            raise BadInput(f"unknown key {key!r}{did_you_mean(key, OF_CALLS)}")
    folders = folders_of(config_dir, "config_dir")
    values = {key: _plain(value) for key, value in given.items()}
    composed, settings = composition(GRID, "", CONTENT, values, read_config(folders), folders)
    plan = open_plan(replace(composed, again=True))
    check_hours(plan, settings.max_cpu_hours)
    rows = len(plan) * plan.replicas
    if rows > MOST_ROWS:
        raise BadInput(f"{rows} rows: must be at most {MOST_ROWS} in a call; else run a grid file into a folder")
    own = [*hidden_files(folders), *(f"policy {name}" for name in composed.policies.hidden)]
    for name in own:
        warnings.warn(f"{name}: your own file replaces the one of sweep", stacklevel=CALLER)
    return plan


def _plain(value: Any, deep: int = 0) -> Any:
    """A value as in a file: arrays, columns of pandas, tuples and ranges become lists."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bytes | bytearray):
        raise BadInput(f"{value!r:.60}: bytes: must be text, a number, a list or a mapping")
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if (count := len(value) if is_list else getattr(value, "size", 1)) > MOST_ROWS:
        raise BadInput(f"{count} values: must be at most {MOST_ROWS} rows in a call")
    if hasattr(value, "tolist"):  # numpy's arrays and numbers, and columns of pandas
        value = value.tolist()
    if deep > MOST_DEPTH:
        raise BadInput(f"lists in lists: must be at most {MOST_DEPTH} deep")
    if isinstance(value, Mapping):
        return {_plain(key, deep + 1): _plain(inner, deep + 1) for key, inner in value.items()}
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    return [_plain(inner, deep + 1) for inner in value]


def _warn(plan: Plan, failed: Sequence[tuple[int, str, str]]) -> None:
    """Warn of failed points and of an approximation."""
    if failed:
        point, error, _ = failed[0]
        warnings.warn(
            f"{len(failed)} of {len(plan)} points failed and have NaN metrics: point {point}: {error}",
            stacklevel=CALLER,
        )
    if plan.is_approximate:
        warnings.warn(plan.engine_because, stacklevel=CALLER)
