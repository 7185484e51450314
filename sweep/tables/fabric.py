"""The number of senders from which hardware broadcasts saturate their fabric, and the sentences about it."""

import pandas as pd

from sweep.tables.replicas import curves
from sweep.tables.words import Answer, Tables, banded, enumerated, number

SATURATED = 0.9  # share of the highest rate at which a fabric is saturated


def fabric(results: pd.DataFrame) -> pd.DataFrame:
    """The fewest senders that reach nine tenths of the highest rate, that rate, and rate and wait with most senders."""
    if "jobs" not in results or results["jobs"].nunique() < 3 or results["operations_per_s"].isna().all():
        return pd.DataFrame()
    rows = []
    for where, group in curves(results, ["operations_per_s", "flush_wait_ns"], "jobs"):
        ordered = group.sort_values("jobs")
        rate, last = ordered["operations_per_s"], ordered.iloc[-1]
        rows.append(where | {
            "saturated_from": float(ordered["jobs"][rate >= SATURATED * rate.max()].iloc[0]),
            "most_per_s": float(rate.max()),
            "senders": float(last["jobs"]),
            "per_s": float(last["operations_per_s"]),
            "wait_ns": float(last["flush_wait_ns"]),
        })  # fmt: skip
    return pd.DataFrame(rows)


def answer(tables: Tables) -> Answer:
    """Saturation of each fabric, also with repeated broadcasts and in a guest, and the highest rate of interrupts."""
    table = tables["fabric"]
    plain, reached, twice, guests, interrupts = [], [], [], [], []
    for row in table.to_dict("records"):
        repeats = row.get("broadcast_repeats", 1)
        name = row["machine"] + (f" with each broadcast sent {number(repeats)} times" if repeats > 1 else "")
        first, most = banded(row, "saturated_from"), banded(row, "most_per_s")
        if not row["policy"].endswith("broadcast"):
            interrupts.append(f"{name} by interrupts reaches at most {most} flushes a second")
        elif row.get("delivery", "apic") != "apic":
            guests.append(f"{name} in a guest that exits per broadcast saturates from {first} on, at {most}")
        else:
            reached.append(f"{name} reaches {banded(row, 'per_s')} a second")
            if repeats > 1:
                twice.append(f"{name} saturates from {first} on, at {most}")
            else:
                plain.append(f"{name} saturates from {first} senders on, at {most} broadcasts a second")
    sentences = [
        f"{enumerated(plain)}." if plain else "",
        f"At {table['senders'].max():g} senders {enumerated(reached)}." if reached else "",
        " ".join(f"{enumerated(said)}." for said in (twice, guests, interrupts) if said),
    ]
    keep = ["policy", "machine", "broadcast_repeats", "delivery", "saturated_from", "most_per_s", "per_s", "wait_ns"]
    names = [name for name in keep if name in table and (name == "policy" or table[name].nunique(dropna=False) > 1)]
    return Answer([each for each in sentences if each], table[names])
