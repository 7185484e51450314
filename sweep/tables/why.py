"""The causes of a policy's cost: the share of the time in which each resource is in use, and the costs that matter.

A resource in use nearly all of the time is saturated: more senders wait longer and flush no more often. Its share is
the rate of flush events times the time for which each of them uses it. Lines travel between busy CPUs at random, as if
no neighbour were preferred, so the share of a contended line is an upper estimate.
"""

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from sim.cache_lines import CROSS, SAME, distances, line_times_ns
from sim.parameters import Kind, busy_cpus
from sim.policies import Policies
from sim.policy import Line, Policy, Targets, Write
from sim.reading import reads
from sim.topology import Shape
from sweep.errors import BadInput
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.replicas import means
from sweep.tables.selection import LEAST_DRAWS, explained, logs_of_costs, posterior_draws, representative, setting
from sweep.tables.setting import settings
from sweep.tables.words import Answer, Tables, enumerated, marked, share

MOST = 4  # policies in a sentence
TOLD = 3  # costs in a sentence
MOST_POINTS = 2000  # of a run that gets a table of its resources without asking
SATURATED = 0.9  # of the time in use
RESOURCES = {  # by column
    "sending": "senders in flush events",
    "handlers": "busy CPUs in handlers",
    "mask_line": "the line of the pending bits",
    "queue_line": "the line of each CPU's queue",
    "generation_line": "the line of the generation",
    "fabric": "the fabric of hardware broadcasts",
    "lock": "the lock",
}
METRICS = ["flush_wait_ns", "flush_interval_ns", "handler_share", "marks_per_flush", "operations_per_s"]


def saturation(results: pd.DataFrame) -> pd.DataFrame:
    """The share of the time in which each resource is in use, point by point, and the most used resource."""
    table, names = means(results, METRICS)
    columns = ["point", *(name for name in PARAMETER_COLUMNS if name not in names)]
    table = table.merge(results[columns].drop_duplicates("point"), on="point")
    known, rows = Policies(), []
    for row in table[table["flush_wait_ns"].notna()].to_dict("records"):
        used = _in_use(known.get(row["policy"]), row)
        most = max(used, key=lambda name: used[name], default="")
        rows.append({name: row[name] for name in ("point", *names)} | used | {"most": most})
    made = pd.DataFrame(rows)
    return made[[name for name in ("point", *names, *RESOURCES, "most") if name in made]]


def _in_use(policy: Policy | None, row: Any) -> dict[str, float]:
    """The share of the time in which each resource of a policy is in use; `row` is a row of a table.

    Of a policy of one's own, None, only resources that every policy uses are known: its file is not run.
    """
    shape, interval = _shape(row), row["flush_interval_ns"]
    line = _mean_line_ns(shape, row)
    used = {"sending": row["flush_wait_ns"] / (interval * shape.senders), "handlers": row["handler_share"]}
    if row["locks_per_operation"] > 0.0:  # a closed loop's lock is held or handed over
        locks = len(np.unique(shape.socket[: shape.busy])) if row["lock_per"] == "socket" else 1  # those in use
        held = row["lock_hold_ns"] + (line if shape.busy > locks else 0.0)
        used["lock"] = min(1.0, row["operations_per_s"] * row["locks_per_operation"] * held * 1e-9 / locks)
    if policy is None:
        return used
    if policy.mark is not None and policy.mark.line in (Line.GLOBAL, Line.NODE):
        lines = shape.sockets if policy.mark.line is Line.NODE else 1
        clears = shape.busy / lines / row["marks_per_flush"] if row["marks_per_flush"] > 0.0 else 0.0
        marks = clears if policy.mark.write is Write.TEST_FIRST else 1.0
        used["mask_line"] = (marks + clears) * line / interval
    if policy.targets.interrupts:
        used["queue_line"] = row["queue_lines"] * line / interval
    if policy.run.catches_up:
        used["generation_line"] = line / interval
    if policy.targets is Targets.HARDWARE:
        waiting = max(0.0, row["flush_wait_ns"] / interval - 1.0)  # Little's law, without the one that is served
        longer = 1.0 + waiting * np.nan_to_num(row["broadcast_per_waiter"])
        used["fabric"] = _broadcast_ns(row) * np.nan_to_num(row["broadcast_repeats"], nan=1.0) * longer / interval
    return {name: min(1.0, used[name]) for name in used if used[name] == used[name]}


def _broadcast_ns(row: Any) -> float:
    """The mean time of an uncontended hardware broadcast over the lengths of ranges."""
    pages, weights = np.array([(int(pages), weight) for pages, weight in json.loads(row["range_pages"]).items()]).T
    by_page = row["broadcast_ns"] + pages * row["broadcast_page_ns"]
    return float(np.average(np.where(pages > row["ceiling"], row["broadcast_all_ns"], by_page), weights=weights))


def _shape(row: Any) -> Shape:
    busy = int(busy_cpus(row["jobs"], row["cores"]))
    senders, cluster = (row[name] if pd.notna(row[name]) else None for name in ("senders", "cluster_cores"))
    return Shape(
        cores=int(row["cores"]), sockets=int(row["sockets"]), busy=busy, threads_per_core=int(row["threads_per_core"]),
        senders=min(busy, int(senders or busy)), apic="auto", seed=0, fill=str(row["fill"]),
        cluster_cores=int(cluster) if cluster else None,
    )  # fmt: skip


def _mean_line_ns(shape: Shape, row: Any) -> float:
    """The mean time of a line over all pairs of busy CPUs; for one busy CPU, the time of its own cache."""
    cost = {name: np.array([row[name]]) for name in row if name.startswith("line_") and name.endswith("_ns")}
    by_distance = line_times_ns(shape, cost)[0]
    return float(sum(part * ns for part, ns in zip(_apart(shape), by_distance, strict=True) if part))


@lru_cache(maxsize=4096)
def _apart(shape: Shape) -> tuple[float, ...]:
    """The share of pairs of busy CPUs at each distance."""
    counts = np.bincount(distances(shape)[: shape.busy, : shape.busy].ravel(), minlength=CROSS + 1)
    if shape.busy > 1:
        counts[SAME] = 0
    return tuple(counts / counts.sum())


def influence(results: pd.DataFrame) -> pd.DataFrame:
    """The costs that matter: the share of a point's variance over draws that each cost explains alone, largest first.

    The cost of a point's flush events and the quantities that its policy reads are logarithms; for a policy of one's
    own, all varying quantities count. BadInput if there are fewer than LEAST_DRAWS draws.
    """
    first, names = means(representative(results), [])
    others = posterior_draws(results)
    others = others.assign(point=setting(others))
    if others["draw"].nunique() < LEAST_DRAWS:
        raise BadInput(f"{LEAST_DRAWS} cost samples are needed for their influence: give the sweep draws=64")
    known, rows = Policies(), []
    for point, mine in others[others["policy"] != "vanilla"].groupby("point", sort=False):
        of_loop = mine["added_s"].isna().all()
        added = mine.groupby("draw")["overhead_ns_per_operation" if of_loop else "added_s"].mean()
        added = added[added > 0]
        policy = str(mine["policy"].iloc[0])
        read = reads(known[policy], Kind.LOOP if of_loop else Kind.BUILD) if policy in known else PARAMETER_COLUMNS
        if len(added) < LEAST_DRAWS:
            continue
        costs, logs = logs_of_costs(mine.drop_duplicates("draw").set_index("draw").loc[added.index])
        shares = explained(logs, np.log(added.to_numpy())[None], len(added))[:, 0]
        found = zip(costs, shares, strict=True)
        rows += [{"point": point, "cost": name, "share": each} for name, each in found if name in read]
    made = pd.DataFrame(rows, columns=["point", "cost", "share"])
    made = made.sort_values(["point", "share"], ascending=[True, False], kind="stable")
    return first[["point", *names]].merge(made[made["share"] > 0.0], on="point")


def answer(tables: Tables) -> Answer:
    """The saturated or most used resources under each policy, and the costs that matter most."""
    table, costs = tables.get("saturation"), tables.get("influence")
    if table is None or table.empty:
        return Answer(["No policy of this run makes flush events, so they use no resource."])
    sentences = []
    for where, rows in settings(table, (), 2):
        told = rows.drop_duplicates("policy").head(MOST).to_dict("records")
        sentences.append(f"{where}, share of the time in use: {enumerated([_use(row) for row in told], MOST)}.")
        for row in told:
            mine = pd.DataFrame() if costs is None else costs[costs["point"] == row["point"]].head(TOLD)
            said = [f"{each['cost']} ({share(each['share'])})" for each in mine.to_dict("records")]
            said[:1] = [each.replace(")", " of the variance)") for each in said[:1]]
            sentences += [f"The cost of {row['policy']} varies most with {enumerated(said)}."] if said else []
    if own := [name for name in table["policy"].unique() if name not in Policies()]:
        sentences.append(f"The lines and fabrics of policies of your own are not known: {enumerated(own)}.")
    if costs is None:
        sentences.append(f"A run with {LEAST_DRAWS} draws or more (draws=64) also shows the costs that matter.")
    return Answer(sentences, table)


def _use(row: Any) -> str:
    used = sorted(((row[name], name) for name in RESOURCES if row.get(name, 0.0) > 0.0), reverse=True)
    if not used:
        return f"{row['policy']} uses none"
    said = [
        f"{RESOURCES[name]} ({'up to ' if name.endswith('line') else ''}{marked(share(part), row['cores'])})"
        for part, name in used[:2]
    ]
    return f"{row['policy']} {'saturates' if used[0][0] >= SATURATED else 'mostly uses'} {', then '.join(said)}"
