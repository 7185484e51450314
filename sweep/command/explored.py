"""What the page of `sweep explore` shows of a setting: a row a policy, a picture, a table and a few sentences.

An answer takes less than a second, so policies that send interrupts or act at kernel entries are simulated with less
effort the more CPUs there are. Effort does not depend on the other policies: numbers stay when another one is added.
"""

import math
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

import sweep
from sim.policies import Policies
from sweep.inputs.catalog import Entry, catalog
from sweep.inputs.home import folders_of
from sweep.inputs.likelihood import is_beyond, spread
from sweep.inputs.measured import published
from sweep.report.caveats import basis
from sweep.report.drawing import rows, specification
from sweep.report.plots import IN_SECONDS, DrawnPoints, front
from sweep.tables.words import banded, duration, enumerated, factor, number, share

BUILD, RANGES = "kernel_build", "kernel_ranges"  # workloads: a build, and flush events at a rate
FIRST = ("xpfo_no_flush", "xpfo", "xpfo_deferred", "xpfo_deferred_bounded", "xpfo_kernel_entry")  # shown at first
RATES = [m * 10**e for e in range(3, 6) for m in (1, 2, 5)]  # flush events a second
MOST_POLICIES = 6  # at a time
MOST_CPUS = 448
DRAWS = 8  # of the costs
BUDGET_NS = 0.05e9  # of a policy
ENTRIES_PER_S = 10_000  # of a CPU into the kernel, and how long one is simulated:
ENTRY_NS = 280
LEAST_EVENTS = 128  # that a lane measures
ONE_AT_A_TIME = Lock()  # of several open pages; warnings are caught for a whole process


@dataclass(frozen=True)
class Setting:
    """The values of the controls."""

    machine: str = "xeon_8160"
    cores: int = 96
    jobs: int | None = 60  # of a build; None: flush events at a rate
    rate_per_s: float = 5000
    senders: int = 96  # CPUs that make the flush events
    config_dir: str | None = None

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of `sweep.simulate`, and of the command line."""
        of_build = {"workload": BUILD, "jobs": self.jobs}
        of_rate = {"workload": RANGES, "rate_per_s": self.rate_per_s, "senders": self.senders}
        return {"machine": self.machine, "cores": self.cores, **(of_rate if self.jobs is None else of_build)}

    @property
    def cost(self) -> str:
        """The metric that is drawn against the stale window."""
        return IN_SECONDS[self.jobs is None]


@cache
def machines(config_dir: str | None) -> dict[str, Entry]:
    return dict(catalog(folders_of(config_dir))["machine"])


def size(machine: Entry, name: str) -> int:
    """How many CPUs, sockets or threads a core a machine has."""
    return int(machine.quantities[name].central) if name in machine.quantities else 1


def sockets(machine: Entry) -> str:
    count = size(machine, "sockets")
    return f"{count} socket{'s' if count > 1 else ''}"


def cpu_counts(machine: Entry) -> list[int]:
    """The numbers of CPUs that can be chosen: whole cores on every socket, up to twice what the machine has."""
    step, own = size(machine, "sockets") * size(machine, "threads_per_core"), size(machine, "cores")
    return sorted({own, *range(step, max(own, min(2 * own, MOST_CPUS)) + 1, step)})


def policies() -> list[str]:
    """The policies that both workloads can have."""
    return [name for name in Policies() if name == "vanilla" or name.startswith("xpfo")]


def effort(policy: str, setting: Setting) -> dict[str, Any]:
    """How long a policy is simulated, and under how many draws of the costs."""
    known, cores = Policies()[policy], setting.cores
    made = {"replicas": 1, "precision": 0.01, "window_events": 2048, "draws": DRAWS}
    event_ns = cores * (100 + 0.4 * cores) if known.targets.interrupts else 0.0
    if known.kernel_entry is not None and setting.jobs is None:  # each entry between two flush events is simulated
        event_ns += ENTRY_NS * ENTRIES_PER_S * cores / setting.rate_per_s
    if not event_ns:
        return made
    before, events = cores if known.targets.interrupts else LEAST_EVENTS // 4, BUDGET_NS / event_ns
    drawn = events >= (DRAWS + 1) * (before + LEAST_EVENTS)
    of_lane = events / (DRAWS + 1 if drawn else 1)
    window = int(np.clip(of_lane / 2, LEAST_EVENTS, 4096))
    warmup = int(np.clip(of_lane - window, before, max(window // 3, 16 * cores)))
    return {**made, "window_events": window, "warmup_events": warmup, "draws": DRAWS if drawn else None}


@lru_cache(maxsize=4096)
def simulated(setting: Setting, policy: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The policy's row under the representative draw, with the other draws' 5 and 95 %, or none; what is to be said."""
    with ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            keys: Any = setting.keys | effort(policy, setting)
            frame = sweep.simulate(policy=policy, config_dir=setting.config_dir, **keys)
        except ValueError as error:
            return pd.DataFrame(), (f"{policy} is left out: {str(error).removeprefix('point 0: ')}",)
    row, others = frame[frame["draw"] == 0].iloc[[0]], frame.loc[frame["draw"] > 0, setting.cost]
    ends = {f"{setting.cost}_{end}": others.quantile(at) for end, at in (("lo", 0.05), ("hi", 0.95))}
    return row.assign(**ends), tuple(str(each.message) for each in caught)


def points(setting: Setting, chosen: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """A row a policy, and a line for each policy without one and for each warning."""
    found = [simulated(setting, policy) for policy in chosen]
    there = [row for row, _ in found if len(row)]
    said = list(dict.fromkeys(line for _, lines in found for line in lines))
    return pd.concat(there, ignore_index=True) if there else pd.DataFrame(), said


def picture(table: pd.DataFrame, setting: Setting) -> dict[str, Any] | None:
    """Cost against the stale window in Vega-Lite, with its data; None where no policy has both."""
    plot = front(DrawnPoints(table, (), ())) if len(table) else None
    if plot is None:
        return None
    unit = ", ns" if setting.jobs is None else ""
    plot = replace(plot, lit=(), labels={**plot.labels, plot.y: plot.label(plot.y) + unit})
    made = specification(plot)
    made["config"]["legend"]["columns"] = 2
    made |= {"datasets": {"rows": rows(plot, table)}, "width": "container", "height": 340}
    made["padding"] = {"left": 5, "top": 5, "bottom": 5, "right": 60}  # for a name beside the last point
    return made | {"usermeta": {"embedOptions": {"actions": False}}}  # one of which opens a page of Vega's


def listed(table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """The main metrics in words, a row a policy."""
    rows = []
    for _, row in table.iterrows():
        cost = {setting.cost: row[setting.cost]}
        if row[f"{setting.cost}_lo"] == row[f"{setting.cost}_lo"]:
            cost |= {f"{setting.cost}_05": row[f"{setting.cost}_lo"], f"{setting.cost}_95": row[f"{setting.cost}_hi"]}
        half = row["system_time_half_s"] / row["system_time_s"]
        of_cost = {
            "added system time": banded(cost, setting.cost, lambda value: f"{number(value)} s"),
            "over vanilla's": factor(row["ratio"]),
            "±": "" if math.isnan(half) else f"{100 * half:.1f} %",
        } if setting.jobs is not None else {
            "CPU time a flush event": banded(cost, setting.cost, duration),
            "of the machine": share(row["overhead_share"]),
            "events done": f"{number(row['operations_per_s'])}/s",
        }  # fmt: skip
        tails = {"stale window, p99": row["stale_window_p99_ns"], "flush wait, p99": row["flush_wait_p99_ns"]}
        of_tails = {name: "none" if math.isnan(value) else duration(value) for name, value in tails.items()}
        rows.append({"policy": row["policy"], **of_cost, **of_tails})
    return pd.DataFrame(rows)


def sentences(table: pd.DataFrame, setting: Setting) -> list[str]:
    """What was simulated, with which costs, how precisely, and whether anything like it was measured."""
    if table.empty:
        return ["Nothing was simulated."]
    entry, cores = machines(setting.config_dir)[setting.machine], setting.cores
    what = f"A kernel build under make -j{setting.jobs}"
    if setting.jobs is None:
        what = f"{number(setting.rate_per_s)} flush events a second of kernel ranges, made by {setting.senders} CPUs,"
    bare = table.loc[table[f"{setting.cost}_lo"].isna(), "policy"].tolist()
    without = f" Without a band, which would take longer than a second: {enumerated(bare)}." if bare else ""
    there = sorted(published().builds["machine"].unique())
    known = setting.machine in there and setting.jobs is not None
    error = share(math.expm1(spread().discrepancy(cores, known)))
    where = f"Builds were measured on {enumerated(there)} alone."
    if is_beyond(pd.Series([cores])).any():
        where = f"Beyond the measurements: no build was measured on more than {spread().cores:g} CPUs."
    events = table.loc[table["events_simulated"] > 0, "events_simulated"]
    precise = f"Rough numbers, of {number(events.min())} to {number(events.max())} measured flush events a policy"
    return [
        f"{what} on {setting.machine} ({entry.title}) with {cores} CPUs in {sockets(entry)}.",
        basis(sorted(table["costs"].unique()), 0 if len(bare) == len(table) else DRAWS) + without,
        f"{where} The model's error in the added time is estimated at {error} here (standard deviation).",
        f"{precise if len(events) else 'No flush event was simulated'}"
        f"{'' if setting.jobs is None else '; ± is the 95 % half-width of the system time'}.",
    ]


def command(setting: Setting, chosen: Sequence[str]) -> str:
    """The command that simulates the same with the usual precision."""
    own = [] if setting.config_dir is None else ["--config-dir", setting.config_dir]
    keys = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in setting.keys.items()
    ]
    return shlex.join(["sweep", *own, "+grid=point", *keys, f"policy=[{','.join(chosen)}]"])
