"""One setting of a table out of many, the one in the sentences, and the machines of a run, in words."""

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from sim.parameters import PARAMETERS
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.plan.points import NAMES
from sweep.tables.words import PLACE, enumerated, one_length

LINUX_CEILING = 33
ONE_OF = "1 of"  # N settings, in words
LOADS = ("jobs_per_core", "jobs", "cores")  # sentences are about their largest value
BARE = ("machine", "workload", "policy")  # names that stand for themselves in words
OTHERS = ("policy", "costs")  # no part of a setting
SHAPE = ["machine", "cores", "sockets", "threads_per_core", "cluster_cores"]
MOST = 4  # machines that are described


def settings(table: pd.DataFrame, apart: Collection[str], most: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each of the first machines and workloads: a setting in words, and its rows of the table.

    `apart` are columns that the sentence names itself.
    """
    if table.empty:
        return
    if "costs" in table:
        table = table[table["costs"] == min(table["costs"].astype(str), key=lambda name: (name == "literature", name))]
    keys = [name for name in PLACE if name in table]
    groups = list(table.groupby(keys, sort=False)) if keys else [((), table)]
    for place, rows in groups[:most]:
        named = dict(zip(keys, place, strict=True))
        words = [str(named[key]) for key in keys if key == "machine" or table[key].nunique() > 1]
        names = [str(name) for name in rows if is_coordinate(str(name)) and name not in (*apart, *keys, *OTHERS)]
        there_are = len(rows[names].astype(str).drop_duplicates()) if names else 1
        for name in sorted(names, key=lambda name: name not in LOADS):
            if rows[name].nunique(dropna=False) > 1:
                rows = rows[rows[name] == _spoken_of(rows, name)]
            elif name not in LOADS:
                continue
            words += word(name, rows[name].iloc[0], "jobs_per_core" in names)
        of_several = f" ({ONE_OF} {there_are} settings)" if there_are > 1 else ""
        yield ", ".join(words) + of_several, rows


def is_coordinate(name: str) -> bool:
    """Whether a column of a table distinguishes points."""
    return name in PARAMETERS or name in NAMES or name == "jobs_per_core"


def _spoken_of(rows: pd.DataFrame, name: str) -> object:
    """The value of a column in a sentence: the largest load, Linux's ceiling, else the middle one."""
    values = rows[name].dropna().drop_duplicates()
    if name in LOADS:
        return values.max()
    if name == "ceiling" and (values == LINUX_CEILING).any():
        return LINUX_CEILING
    ordered = values.sort_values() if values.dtype.kind in "fi" else values
    return ordered.iloc[(len(ordered) - 1) // 2]


def word(name: str, value: object, per_core: bool = False) -> list[str]:
    """The words for a column's value; empty if it is not given, or another column shows it."""
    if value != value or (name == "jobs" and per_core):
        return []
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    text = one_length(text) or text
    if name in BARE:
        return [text]
    if name == "jobs_per_core":
        return [f"-j{'' if text == '1' else f'{text} x '}cores"]
    return [f"{text} CPUs" if name == "cores" else f"-j{text}" if name == "jobs" else f"{name} {text}"]


def sizes(results: pd.DataFrame) -> list[str]:
    """A sentence for each machine: sizes by sockets, and the real machine's size if that is smaller."""
    if not set(SHAPE) <= set(results):
        return []
    rows = results[SHAPE].drop_duplicates().sort_values(["cores", "sockets"])
    known = catalog([conf_dir()])["machine"]
    said = []
    for machine, mine in list(rows.groupby("machine", sort=False))[:MOST]:
        parts = []
        for sockets, some in mine.astype({"sockets": int}).groupby("sockets", sort=False):
            ends = dict.fromkeys(f"{each:g}" for each in (some["cores"].min(), some["cores"].max()))
            parts.append(f"{' to '.join(ends)} CPUs on {sockets} socket{'' if sockets == 1 else 's'}")
        clusters = enumerated([f"{each:g} cores" for each in mine["cluster_cores"].dropna().unique()])
        quantities = known[str(machine)].quantities if machine in known else {}
        own = {name: quantity.central for name, quantity in quantities.items()}
        larger = mine[mine["cores"] > float(own.get("cores", np.inf))]
        beside = ""
        if len(larger):
            sockets = float(own.get("sockets", 1))
            remedy = "; sockets= gives more" if (larger["sockets"] == sockets).all() else ""
            beside = f" (the machine itself has {own['cores']:g} on {sockets:g}{remedy})"
        within = f", in clusters of {clusters}" if clusters else ""
        said.append(f"{machine}: {enumerated(parts)}{within}{beside}.")
    return said
