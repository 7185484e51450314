"""The machines of a run in words: CPUs by their sockets and clusters, beside the real machine's."""

from __future__ import annotations

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
