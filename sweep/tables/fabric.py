"""The number of senders from which hardware broadcasts saturate their fabric, and the sentences about it."""

from __future__ import annotations

import pandas as pd

from sweep.tables.replicas import means
from sweep.tables.sentences import Answer, Tables
from sweep.tables.words import banded, enumerated, number

SATURATED = 0.9  # share of the highest rate at which a fabric is saturated
METRICS = ["operations_per_s", "flush_wait_ns"]


def fabric(results: pd.DataFrame) -> pd.DataFrame:
    """The fewest senders that reach nine tenths of the highest rate, that rate, and rate and wait with most senders."""
    if "jobs" not in results or results["jobs"].nunique() < 3 or results["operations_per_s"].isna().all():
        return pd.DataFrame()
    table, names = means(results, METRICS)
    where = [name for name in names if name != "jobs"]
    rows = []
    for key, group in table.groupby(where, sort=False, dropna=False):
        ordered = group.sort_values("jobs")
        rate = ordered["operations_per_s"]
        last = ordered.iloc[-1]
        rows.append(
            dict(zip(where, key, strict=True))
            | {
                "saturated_from": float(ordered["jobs"][rate >= SATURATED * rate.max()].iloc[0]),
                "most_per_s": float(rate.max()),
                "senders": float(last["jobs"]),
                "per_s": float(last["operations_per_s"]),
                "wait_ns": float(last["flush_wait_ns"]),
            }
        )
    return pd.DataFrame(rows)


def answer(tables: Tables) -> Answer | None:
    """Saturation of each fabric, also with repeated broadcasts and in a guest, and the highest rate of interrupts."""
    table = tables.get("fabric")
    if table is None or table.empty:
        return None
    guest, twice = (_differs(table, name, usual) for name, usual in (("delivery", "apic"), ("broadcast_repeats", 1)))
    hardware = table["policy"].str.endswith("broadcast")
    said = [
        _sentence(
            table[hardware & ~guest & ~twice], "saturates from {from_} senders on, at {most} broadcasts a second"
        ),
        _sentence(table[hardware & twice & ~guest], "saturates from {from_} on, at {most}"),
        _sentence(
            table[hardware & guest & ~twice], "in a guest that exits per broadcast saturates from {from_} on, at {most}"
        ),
        _sentence(table[~hardware], "by interrupts reaches at most {most} flushes a second"),
    ]
    last = table["senders"].max()
    falls = [f"{_name(row)} reaches {banded(row, 'per_s')} a second" for _, row in table[hardware & ~guest].iterrows()]
    sentences = [
        said[0],
        f"At {last:g} senders {enumerated(falls)}." if falls else "",
        " ".join(filter(None, said[1:])),
    ]
    keep = ["policy", "machine", "broadcast_repeats", "delivery", "saturated_from", "most_per_s", "per_s", "wait_ns"]
    names = [name for name in keep if name in table and (name == "policy" or table[name].nunique(dropna=False) > 1)]
    return Answer([each for each in sentences if each], table[names])


def _differs(table: pd.DataFrame, name: str, usual: object) -> pd.Series:
    """Rows with another value than the usual one."""
    return table[name] != usual if name in table else pd.Series(False, index=table.index)


def _sentence(rows: pd.DataFrame, form: str) -> str:
    """A sentence about these rows; empty without rows."""
    said = [
        f"{_name(row)} {form.format(from_=banded(row, 'saturated_from'), most=banded(row, 'most_per_s'))}"
        for _, row in rows.iterrows()
    ]
    return f"{enumerated(said)}." if said else ""


def _name(row: pd.Series) -> str:
    """The fabric of a row."""
    repeats = row.get("broadcast_repeats", 1)
    times = f" with each broadcast sent {number(float(repeats))} times" if repeats == repeats and repeats != 1 else ""
    return f"{row.get('machine', row['policy'])}{times}"
