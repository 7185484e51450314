"""The coordinates of a run's points, read from the metadata that the plan wrote into its results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import Field

from sim.quantities import DERIVING
from sweep.errors import BadInput
from sweep.inputs.catalog import QUANTITIES
from sweep.inputs.door import Written, admit
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS

ALWAYS = ("cores", "jobs")  # coordinates of every table


class Coordinates(Written):
    """The names that distinguish points, in the order of the plan's axes."""

    names: tuple[str, ...]
    follows: Mapping[str, str]  # names tied to another one, like sockets to cores in a zip
    relative: Mapping[str, str]  # names whose values are shares of another one, like jobs of cores

    @property
    def own(self) -> list[str]:
        """Names that are tied to no other one."""
        return [name for name in self.names if name not in self.follows]

    def columns(self, results: pd.DataFrame) -> list[str]:
        """The coordinate columns of a table: names first, then cores and jobs, then the rest."""
        return list(dict.fromkeys([*(name for name in NAMES if name in results), *ALWAYS, *self.own]))


class Attrs(Written):
    """The metadata of results."""

    units: Mapping[str, str] = Field(default_factory=dict)
    coordinates: Coordinates | None = None


def coordinates(results: pd.DataFrame) -> Coordinates:
    """The coordinates in a run's `attrs`; for rows without a plan, every varying name and parameter."""
    written: Any = results.attrs.get("coordinates")
    if written is not None:
        shown = {name: _column(name, results, written["names"]) for name in written["names"]}
        follows, relative = (
            {shown.get(name, name): shown.get(of, of) for name, of in written[key].items()}
            for key in ("follows", "relative")
        )
        return Coordinates(names=tuple(dict.fromkeys(shown.values())), follows=follows, relative=relative)
    columns = [name for name in (*NAMES, *PARAMETER_COLUMNS) if name in results]
    varying = tuple(name for name in columns if results[name].nunique(dropna=False) > 1)
    return Coordinates(names=varying, follows={}, relative={})


def columns_of(attrs: Mapping[str, Any]) -> set[str]:
    """The columns that `coordinates` needs for results with these `attrs`."""
    if "coordinates" not in attrs:
        return {*NAMES, *PARAMETER_COLUMNS}
    names = attrs["coordinates"]["names"]
    made = (DERIVING[name].makes for name in names if name in DERIVING)
    return {*NAMES, *ALWAYS, *names, *(column for makes in made for column in makes)}


def _column(name: str, results: pd.DataFrame, names: Sequence[str]) -> str:
    """The column that shows a name: itself, or for a quantity, a parameter derived from it."""
    makes = DERIVING[name].makes if name in DERIVING else ()
    made = [column for column in makes if column in results and column not in names]
    return next((column for column in made if results[column].nunique(dropna=False) > 1), made[0] if made else name)


class Shared(dict):
    """A mapping shared by all frames that are derived from one another.

    pandas makes a deep copy of `attrs` for each column read, which for one point took longer than its tables.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


def attrs_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """The metadata of results' schema for pandas: units, plan, coordinates.

    BadInput if they are damaged.
    """
    where = "results.parquet, its metadata"
    try:
        attrs = json.loads((metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: must be JSON: {' '.join(str(error).split())[:200]}") from None
    told = admit(Attrs, attrs, where).coordinates
    known = {*NAMES, *QUANTITIES}
    for name in (*told.names, *told.follows.values(), *told.relative.values()) if told else ():
        if name not in known:
            raise BadInput(f"{where}: {name!r} is no name of a parameter")
    return {name: Shared(value) if isinstance(value, dict) else value for name, value in attrs.items()}
