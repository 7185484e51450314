"""What tells the points of a run apart: read from its results, where the plan has written it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS

ALWAYS = ("cores", "jobs")  # coordinates of every table


@dataclass(frozen=True)
class Coordinates:
    """The names that tell points apart, in the order of the plan's axes."""

    names: tuple[str, ...]
    follows: Mapping[str, str]  # names that go with another one, as sockets do with cores where the grid ties them
    relative: Mapping[str, str]  # names whose values are shares of another one, as jobs of cores

    @property
    def own(self) -> list[str]:
        """Names that follow no other one."""
        return [name for name in self.names if name not in self.follows]

    def columns(self, results: pd.DataFrame) -> list[str]:
        """The columns of results that make a table's coordinates: names first, then cores and jobs, then the rest."""
        return list(dict.fromkeys([*(name for name in NAMES if name in results), *ALWAYS, *self.own]))


def coordinates(results: pd.DataFrame) -> Coordinates:
    """Of a run's results, from `attrs`; of rows without a plan, every name and parameter that varies."""
    written: Any = results.attrs.get("coordinates")
    if written is not None:
        return Coordinates(tuple(written["names"]), written["follows"], written["relative"])
    columns = [name for name in (*NAMES, *PARAMETER_COLUMNS) if name in results]
    return Coordinates(tuple(name for name in columns if results[name].nunique(dropna=False) > 1), {}, {})


def attrs_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What results say of themselves in their schema's metadata, as pandas reads it: units, plan, coordinates."""
    attrs: dict[str, Any] = json.loads((metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
    return attrs
