"""The machines of a run in words: CPUs by their sockets and clusters, beside the real machine's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.tables.words import enumerated

SHAPE = ["machine", "cores", "sockets", "threads_per_core", "cluster_cores"]
MOST = 4  # machines that are described


def sizes(results: pd.DataFrame) -> list[str]:
    """A sentence for each machine: sizes by sockets, and the real machine's size if that is smaller."""
    if not set(SHAPE) <= set(results):
        return []
    rows = results[SHAPE].drop_duplicates().sort_values(["cores", "sockets"])
    known = catalog([conf_dir()])["machine"]
    said = []
    for machine, mine in rows.groupby("machine", sort=False):
        own = known[str(machine)].quantities if machine in known else {}
        said.append(f"{machine}: {_sizes(mine)}{_beside(mine, {name: q.central for name, q in own.items()})}.")
    return said[:MOST]


def _sizes(rows: pd.DataFrame) -> str:
    """Sizes grouped by sockets."""
    parts = []
    for sockets, some in rows.astype({"sockets": int}).groupby("sockets", sort=False):
        cores = [f"{each:g}" for each in some["cores"].unique()]
        counts = cores[0] if len(cores) == 1 else f"{cores[0]} to {cores[-1]}"
        parts.append(f"{counts} CPUs on {sockets} socket{'' if sockets == 1 else 's'}")
    clusters = [f"{each:g} cores" for each in rows["cluster_cores"].dropna().unique()]
    return enumerated(parts) + (f", in clusters of {enumerated(clusters)}" if clusters else "")


def _beside(rows: pd.DataFrame, own: Mapping[str, Any]) -> str:
    """The real machine's CPUs and sockets, if some size is larger."""
    larger = rows[rows["cores"].astype(float) > float(own.get("cores", np.inf))]
    if larger.empty:
        return ""
    sockets = float(own.get("sockets", 1))
    kept = bool((larger["sockets"] == sockets).all())
    remedy = "; sockets= gives more" if kept else ""
    return f" (the machine itself has {own['cores']:g} on {sockets:g}{remedy})"
