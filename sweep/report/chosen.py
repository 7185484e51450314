"""A plot by the words of a command line: `y=flush_wait_ns x=cores by=policy jobs=60`."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from sim.metrics import METRICS
from sweep.errors import BadInput, did_you_mean
from sweep.report.page import read_drawn
from sweep.report.plot import Plot
from sweep.report.plots import lines
from sweep.store.folder import Folder


def chosen_plot(folder: Folder, words: Sequence[str]) -> Plot:
    """The plot of a run for these words, with one value of every other column."""
    asked = _asked(words)
    y, x, by = (asked.pop(name, "") for name in ("y", "x", "by"))
    drawn = read_drawn(folder)
    points = drawn.points
    metrics = [name for name in METRICS if name in points and points[name].notna().any()]
    by = by or "policy"
    for key, name, known in (("y", y, metrics), ("x", x, drawn.numeric), ("by", by, ["policy", *drawn.fixed()])):
        if name and not known:
            raise BadInput(f"{key}={name}: this run has one value of every parameter; `sweep report` draws its plots")
        if name and name not in known:
            raise BadInput(f"{key}={name}: must be one of this run's{did_you_mean(name, known)}")
    if x == by:
        raise BadInput(f"by={by}: must not be the x axis")
    for name, text in asked.items():
        if name not in points or name in METRICS:
            raise BadInput(f"unknown key {name!r}{did_you_mean(name, ['y', 'x', 'by', 'policy', *drawn.fixed()])}")
        points = points[_is_one_of(points[name], name, text)]
    made = lines(replace(drawn, points=points), x, y, by)
    if made is None or (x and made.x != x):
        raise BadInput(f"nothing to draw against {x or 'a parameter'}: every line has one point; run more values of it")
    title = f"{made.label(made.y)}, by {made.label(made.x)}"
    note = f"Simulated with sweep. {made.note}"
    fixed = tuple(dict.fromkeys([*made.fixed, *(name for name in asked if name in made.chosen and name != "policy")]))
    lit = () if "policy" in asked else made.lit  # all that are asked for are coloured
    return replace(made, title=title[:1].upper() + title[1:], note=note, fixed=fixed, lit=lit)


def _asked(words: Sequence[str]) -> dict[str, str]:
    """The words by key; BadInput if one is no pair, or is given twice."""
    out: dict[str, str] = {}
    for word in words:
        key, is_pair, value = word.partition("=")
        if not is_pair or not key or not value:
            raise BadInput(f"{word!r}: must be KEY=VALUE, like y=flush_wait_ns")
        if key in out:
            raise BadInput(f"{key}: is given twice; a list is {key}=[a,b]")
        out[key] = value
    return out


def _is_one_of(column: pd.Series, name: str, text: str) -> pd.Series:
    """Whether each row has one of the values of a word; BadInput if no row has."""
    values = [each.strip() for each in text.removeprefix("[").removesuffix("]").split(",")]
    known = {f"{value:g}" if isinstance(value, float) else str(value): value for value in column.dropna().unique()}
    for value in values:
        if value not in known:
            raise BadInput(f"{name}={value}: must be one of this run's{did_you_mean(value, known)}")
    return column.isin([known[value] for value in values])
