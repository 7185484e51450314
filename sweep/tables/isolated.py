"""The effect of housekeeping CPUs' flush events on isolated CPUs, and the sentences about it."""

import pandas as pd

from sweep.tables.replicas import means
from sweep.tables.setting import settings
from sweep.tables.words import Answer, Tables, banded, duration, enumerated, number, share

METRICS = [
    "interrupts_per_cpu_s_isolated", "disturbed_share_isolated", "disturbance_max_ns_isolated",
    "stale_window_p99_ns_isolated", "flush_wait_ns",
]  # fmt: skip
RATE, LOST, LONGEST, WINDOW, WAIT = METRICS
QUIET = 0.01  # of the interrupts that the most disturbing policy sends


def isolated(results: pd.DataFrame) -> pd.DataFrame:
    """Isolated CPUs under each policy: interrupts, time lost, longest disturbance, stale window."""
    if not set(METRICS) <= set(results) or results[RATE].isna().all():
        return pd.DataFrame()
    table, names = means(results, METRICS)
    table["isolated"] = table["point"].map(results.groupby("point")["isolated"].first())
    return table[["point", *names, *(["isolated"] if "isolated" not in names else []), *METRICS]]


def answer(tables: Tables) -> Answer:
    """Policies that interrupt isolated CPUs, policies that hardly do, and the stale windows of the latter."""
    where, rows = next(settings(tables["isolated"], ("isolated",), 1))
    said = pd.DataFrame([
        {"policy": row["policy"], "interrupts a second": banded(row, RATE), "time lost": banded(row, LOST, share),
         "longest": duration(row[LONGEST]), "window p99": banded(row, WINDOW, duration),
         "flush takes": banded(row, WAIT, duration)}
        for row in rows.to_dict("records")
    ], index=rows.index)  # fmt: skip
    rates = rows[RATE].sort_values(ascending=False)
    limit = QUIET * rates.max()
    loud, quiet = rates[rates > limit], rates[rates <= limit]
    disturbing = [
        f"{often} times a second under {policy} ({lost} of its time, {longest} at most, p99 stale window {window})"
        for policy, often, lost, longest, window, _ in said.loc[loud.index].itertuples(index=False)
    ]
    which = f"{where}, {rows['isolated'].iloc[0]:g} of them isolated"
    sentences = [f"{which}: each of these is interrupted {enumerated(disturbing)}."]
    if len(quiet):
        hardly = [f"{said['policy'][at]} {f'{number(rate)} times a second' if rate else 'never'}"
                  for at, rate in quiet.items()]  # fmt: skip
        longest = duration(rows.loc[quiet.index, LONGEST].max())
        sentences.append(
            f"The others hardly interrupt them: {enumerated(hardly)}. Their longest disturbance is {longest}."
        )
        by_window = said.loc[rows.loc[quiet.index, WINDOW].sort_values().index]
        windows = enumerated(list(by_window["policy"] + " " + by_window["window p99"]), 8)
        sentences.append(f"Their cost is the p99 stale window on isolated CPUs: {windows}.")
    return Answer(sentences, said)
