"""The answer of a calibration: the predictions of rows left out of a fit, and the costs moved by the data."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sweep.tables.words import Answer, enumerated, number

MOST = 4  # costs that a sentence names


def answer(tables: Mapping[str, pd.DataFrame]) -> Answer:
    """From the tables of `sweep.calibrate.tables`."""
    rows, costs = tables["validation"], tables["posterior"]
    prior, fitted = rows["fitted_on"] == "literature alone", rows["fitted_on"] == "all rows"
    sentences = []
    left_out = rows[~prior & ~fitted]
    if len(left_out):
        sentences.append(f"Of the rows left out of a fit, {_inside(left_out)}; {_worst(left_out)}.")
    sentences.append(f"With literature costs {_inside(rows[prior])}; with all rows fitted {_worst(rows[fitted])}.")
    moved = costs[costs["verdict"] == "moved by the data"]
    most = moved.loc[moved["shift"].abs().sort_values(ascending=False, kind="stable").index]
    named = [
        f"{row['parameter']} of {row['machine']} ({number(row['prior_50'])} to {number(row['posterior_50'])})"
        for _, row in most.iterrows()
    ]
    which = f": {enumerated(named, MOST)}" if named else ""
    sentences.append(f"The data moved {len(moved)} of {len(costs)} uncertain quantities{which}.")
    ends = {"predicted_50": "predicted", "predicted_05": "predicted_05", "predicted_95": "predicted_95"}
    shown = ["fitted_on", "machine", "policy", "measured", *ends, "error_pct", "setting"]
    return Answer(sentences, rows[shown].rename(columns=ends))


def _inside(rows: pd.DataFrame) -> str:
    return f"{rows['inside_90'].sum()} of {len(rows)} lie inside their 90 % prediction intervals"


def _worst(rows: pd.DataFrame) -> str:
    row = rows.iloc[int(rows["error_pct"].abs().argmax())]
    fit = "" if row["fitted_on"] == "all rows" else f", predicted from {row['fitted_on']}"
    setting = f", {row['setting']}" if row["setting"] else ""
    return f"the largest error is {row['error_pct']:+.1f} % ({row['policy']} on {row['machine']}{setting}{fit})"
