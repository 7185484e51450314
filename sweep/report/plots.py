"""The plots of a report: each is a table with a row per mark, and the roles of its columns.

The page and the pictures have the same plots. A plot of points shows one chosen machine, workload and size at a time,
and never averages over varying parameters. A sweep with too many values or points for a page is cut to fewer, with a
note.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics import METRICS
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.likelihood import is_beyond, spread
from sweep.report.drawing import colours
from sweep.report.plot import PLACE, Plot, same
from sweep.report.points import FIXED, carried
from sweep.tables.setting import settings, word
from sweep.tables.why import RESOURCES

PARTS = [name for name, metric in METRICS.items() if metric.part]
CHOICES = ("tick_hz",)  # choices of the administrator, like the policy: one front has them all
MOST_BARS = 24  # in the plot of parts
MOST_LIT = 6  # coloured policies of a plot of lines, by default
COSTS = {False: "ratio", True: "overhead_ns_per_operation"}  # the cost in plots of builds, and of loops
IN_SECONDS = {False: "added_s", True: "overhead_ns_per_operation"}  # the same against the stale window
COUNTED = "90 % prediction intervals, with cost samples, run spread and the model's error."


@dataclass(frozen=True)
class DrawnPoints:
    """The points of a run on a page."""

    points: pd.DataFrame  # common rows of plots of points
    own: Sequence[str]  # parameters that vary independently
    fitted: Collection[str]  # fitted machines: one of them is shown first

    @cached_property
    def is_of_loops(self) -> bool:
        """Whether no point is a build, so that there is no system time."""
        has_builds = np.isfinite(self.points["ratio"]).any()
        return not has_builds and bool(self.points["overhead_share"].notna().any())

    @cached_property
    def numeric(self) -> list[str]:
        """Parameters that can be an axis, the sizes of a machine and its load first."""
        names = [n for n in self.own if n != "jobs_per_core" and self.points[n].dtype.kind in "fi"]
        first = [name for name in ("cores", "jobs", "ceiling") if name in names]
        return first + [name for name in names if name not in first]

    def fixed(self, *shown: str) -> tuple[str, ...]:
        """The fixed columns of a plot with these columns."""
        twice = "jobs_per_core" if "jobs" in shown else "jobs" if "jobs_per_core" in self.own else ""
        names = [n for n in dict.fromkeys([*PLACE, *self.own]) if n not in (*shown, twice)]
        return tuple(name for name in names if self.points[name].nunique(dropna=False) > 1)

    @cached_property
    def spoken_of(self) -> dict[str, Any]:
        """A value of every column: those of the point in the answer's sentences."""
        some = self.points[self.points["policy"] != "vanilla"]
        some = self.points if some.empty else some
        order = np.argsort(~some["machine"].isin(self.fitted).to_numpy(), kind="stable")
        names = list(dict.fromkeys([*FIXED, *self.own]))
        row = next(settings(some.iloc[order][names], (), 1))[1].iloc[0]
        return {str(name): row[name].item() if hasattr(row[name], "item") else row[name] for name in names}


def plots(
    points: pd.DataFrame, own: Sequence[str], tables: Mapping[str, pd.DataFrame], fitted: Collection[str] = (),
    answer: str = "points",
) -> list[Plot]:  # fmt: skip
    """Every plot of a run's points and some of its tables, the one of the answer first.

    `points` and `own` are those of `read_points`, with a column `run` for several runs. Of several machines a `fitted`
    one is shown first. `answer` is the name of the grid's answer.
    """
    drawn = DrawnPoints(carried(points, own), own, fitted)
    if "validation" in tables:
        return [*predicted(tables["validation"]), listing(drawn)]
    x = {"jobs": "jobs", "best_ceiling": "ceiling"}.get(answer, "cores")
    made: list[Plot | None] = [parts(points, own), lines(drawn, x), heat(drawn), front(drawn), listing(drawn)]
    if "saturation" in tables:
        made.append(in_use(tables["saturation"], own))
    if len(tables.get("reproduction", ())):
        made.append(measured(tables["reproduction"]))
    shown = {
        "reproduction": "measured", "crossover": "lines", "why": "in_use", "jobs": "lines", "best_ceiling": "ceiling",
        "pareto": "front",
    }  # fmt: skip
    first = shown.get(answer, "parts")
    return sorted(filter(None, made), key=lambda plot: (plot.name != first, plot.name == "points"))


def measured(table: pd.DataFrame) -> Plot:
    """The published system times beside every prediction of the table (`<name>_s`, `<name>_lo_s`, ...)."""
    columns = list(map(str, table.columns))
    names = [name.removesuffix("_s") for name in columns]
    predictions = [name for name in names if f"{name}_lo" in names]
    settings = columns[columns.index("jobs") + 1 : columns.index("measured_s")]  # unknown in the measurement
    rows = []
    for _, row in table.iterrows():
        setting = "".join(f", {said}" for name in settings for said in word(name, row[name]))
        what = f"{row['machine']}, {row['cores']} CPUs, -j{row['jobs']}{setting}: {row['policy']}"
        for name in ["measured", *predictions]:
            rows.append({key: row[key] for key in ("machine", "policy", "cores", "jobs")} | {
                "what": what,
                "source": name,
                "system_time_s": row[f"{name}_s"],
                "system_time_s_lo": row.get(f"{name}_lo_s", math.nan),
                "system_time_s_hi": row.get(f"{name}_hi_s", math.nan),
                "error_pct": 100.0 * (row[f"{name}_s"] / row["measured_s"] - 1.0) if name in predictions else math.nan,
            })  # fmt: skip
    note = (
        "Simulated: mean and 95 % interval over replicas; with cost samples, the 90 % prediction interval. The spread "
        "of the measurements was never published."
    )
    return Plot(
        "measured", "Measured against simulated", note, "dots", pd.DataFrame(rows), "system_time_s", "what",
        labels={"system_time_s": "system time of the build, s"}, series="source", log=("system_time_s",),
    )  # fmt: skip


def parts(points: pd.DataFrame, own: Sequence[str]) -> Plot | None:
    """The parts of the added system time, for a few points."""
    known = [name for name in PARTS if name in points]
    some = points[(points["policy"] != "vanilla") & points[known].notna().any(axis=1)]
    if not 0 < len(some) <= MOST_BARS:
        return None
    rows = _long(some, own, {name: name.removesuffix("_s") for name in known}, "part", "seconds")
    note = _note(some, "Means over replicas. If handlers are accounted as interrupt time, their part is negative.")
    return Plot(
        "parts", "Parts of the added system time", note, "stack", rows, "seconds", "what", series="part",
        labels={"seconds": "added system time, s"},
    )  # fmt: skip


def in_use(table: pd.DataFrame, own: Sequence[str]) -> Plot | None:
    """The share of the time in which each resource is in use, for a few points."""
    if not 0 < len(table) <= MOST_BARS:
        return None
    rows = _long(table, own, RESOURCES, "resource", "share").dropna(subset=["share"])
    saturated = "A resource in use nearly all of the time is saturated."
    note = _note(table, saturated, "Shares of cache lines are upper estimates.")
    return Plot(
        "in_use", "Saturated resources", note, "dots", rows, "share", "what", series="resource",
        labels={"share": "share of the time in use"},
    )  # fmt: skip


def _long(
    points: pd.DataFrame, own: Sequence[str], columns: Mapping[str, str], series: str, value: str
) -> pd.DataFrame:
    """A row for each of these columns and each point, with the point's policy, machine and varying setting in words."""
    names = [name for name in dict.fromkeys(["cores", "jobs", *own]) if name in points and name != "jobs_per_core"]
    varied = points.groupby(["machine", "workload"], sort=False)[names].nunique(dropna=False).max() > 1
    names = [name for name in names if name in ("cores", "jobs") or varied[name]]
    what = [
        f"{row['policy']} on {row['machine']}, " + ", ".join(said for name in names for said in word(name, row[name]))
        for _, row in points.iterrows()
    ]
    named = points[[*FIXED]].assign(what=what)
    frames = [
        named.assign(**{series: columns[name]}).assign(**{value: points[name]}) for name in columns if name in points
    ]
    return pd.concat(frames, ignore_index=True)


def lines(drawn: DrawnPoints, x: str = "", y: str = "", by: str = "policy") -> Plot | None:
    """One metric against one parameter, a line for each value of `by`; the page offers a choice of both."""
    points = drawn.points
    ys = [name for name in METRICS if name in points and np.isfinite(points[name]).any()]
    others = () if by == "policy" or points["policy"].nunique() < 2 else ("policy",)
    numeric = [name for name in drawn.numeric if name != by]
    fixed = {x: (*others, *(n for n in drawn.fixed(x) if n not in (by, "run"))) for x in numeric}
    counts = {name: points.groupby([by, *rest], sort=False, dropna=False)[name] for name, rest in fixed.items()}
    fixed = {name: rest for name, rest in fixed.items() if (counts[name].nunique() > 1).any()}
    if not fixed or not ys:
        return None
    x = x if x in fixed else next(iter(fixed))
    cost = COSTS[drawn.is_of_loops]
    y = y or (cost if cost in ys else ys[0])
    wide = [n for n in fixed if (points[n] >= 0).all() and points[n].max() >= 8 * max(points[n].min(), 1e-9)]
    positive = [name for name in ys if (points[name].dropna() > 0).all()]
    said = beyond_measured(points)
    if points[by].dtype.kind in "fi":  # as names of lines
        points = points.assign(**{by: points[by].map("{:g}".format)})
    beyond = {"cores": spread().cores} if said else {}
    shaded = f"Shaded: {said[0].lower()}{said[1:]}" if said else ""
    note = " ".join(filter(None, [points.attrs["band"], points.attrs["carried"], shaded]))
    made = Plot(
        "lines", "Cost against a parameter", note, "lines", points, x, y, series=by, log=(*wide, *positive),
        fixed=fixed[x], chosen=drawn.spoken_of, beyond=beyond,
        choices={"y": dict.fromkeys(ys, ()), "x": fixed},
    )  # fmt: skip
    made = replace(made, chosen=longest(made, x))
    return replace(made, lit=lit(made)) if by == "policy" else made


def _note(points: pd.DataFrame, *sentences: str) -> str:
    """Sentences below a plot, with those on values left out and on points beyond the measurements."""
    return " ".join(filter(None, [*sentences, points.attrs.get("carried"), beyond_measured(points)]))


def beyond_measured(points: pd.DataFrame) -> str:
    """That some points are beyond the measurements; empty where none is."""
    some = "cores" in points and is_beyond(points["cores"]).any()
    return f"No build was measured beyond {spread().cores:g} CPUs." if some else ""


def longest(plot: Plot, along: str) -> dict[str, Any]:
    """The setting of the answer's sentences; without a line, the nearest one with most values along an axis."""
    if plot.shown(plot.chosen)[along].nunique() > 1 or not plot.fixed:
        return dict(plot.chosen)
    lengths = plot.table.groupby(list(plot.fixed), sort=False, dropna=False)[along].nunique()
    settings = lengths[lengths == lengths.max()].index.to_frame(index=False)
    alike = sum(same(settings[name], plot.chosen[name]).astype(int) for name in plot.fixed)
    return {**plot.chosen, **{str(n): v for n, v in settings.iloc[int(np.argmax(alike))].items()}}


def lit(plot: Plot) -> tuple[str, ...]:
    """The coloured series: the patch's, and the cheapest others at the end of the axis."""
    rows = plot.shown(plot.chosen)
    last = (rows if plot.kind == "front" else rows[rows[plot.x] == rows[plot.x].max()]).sort_values(plot.y)
    known = colours()
    first = [name for name in (*known["ink"], *known["first"]) if (rows[plot.series] == name).any()]
    return tuple(dict.fromkeys([*first, *map(str, last[plot.series])]))[:MOST_LIT]


def heat(drawn: DrawnPoints) -> Plot | None:
    """System time over ceiling and a second parameter, with the best ceiling of every row."""
    points = drawn.points
    down = next((name for name in drawn.numeric if name != "ceiling"), None)
    if "ceiling" not in drawn.own or down is None or not np.isfinite(points["ratio"]).any():
        return None
    means = points.attrs["band"].partition(";")[0]
    ring = "A ring marks the best ceiling of its row: the smallest within the best one's 95 % interval over replicas."
    note = _note(points, f"{means}.", ring)
    made = Plot(
        "ceiling", "The best ceiling of single-page flushes", note, "heat", points, "ceiling", down,
        "ratio", fixed=("policy", *drawn.fixed("ceiling", down)),
        chosen=drawn.spoken_of,
    )  # fmt: skip
    return replace(made, chosen=longest(made, down))


def front(drawn: DrawnPoints) -> Plot | None:
    """Cost against the stale window, and the Pareto front."""
    x, y, points = "stale_window_p99_ns", IN_SECONDS[drawn.is_of_loops], drawn.points
    if x not in points or y not in points or not ((points[x] > 0) & (points[y] > 0)).any():
        return None
    stairs = "The dashed line is the Pareto front: no other policy is better in both."
    note = _note(points, stairs)
    made = Plot(
        "front", "Cost against the stale window", note, "front", points, x, y, log=(x, y),
        fixed=tuple(name for name in drawn.fixed() if name not in CHOICES), chosen=drawn.spoken_of,
    )  # fmt: skip
    return replace(made, lit=lit(made))


def listing(drawn: DrawnPoints) -> Plot:
    """The points themselves, up to the page's limit."""
    points = drawn.points
    note = " ".join([*points.attrs.get("notes", []), points.attrs["carried"]]).strip()
    return Plot("points", "The points", note, "table", points, series="policy")


def predicted(validation: pd.DataFrame) -> list[Plot]:
    """The plots of the table `validation`, under its first costs: predictions beside measurements, and the table."""
    one = validation[validation["costs"] == validation["costs"].iloc[0]]
    curves = [_curve(str(name), table) for name, table in one[one["at"].notna()].groupby("table", sort=False)]
    inside = validation["inside_90"].map({True: "yes", False: "no"}).astype(object).fillna("")
    listed = Plot(
        "validation", "Every measured value", "", "table", validation.assign(inside_90=inside), series="table"
    )  # fmt: skip
    some = one[one["role"] == "predict"].reset_index(drop=True)
    if some.empty:
        return [*curves, listed]
    rows = some[["machine", "policy", "table", "metric", "unit", "measured"]].assign(
        predicted=some["predicted_50"], predicted_lo=some["predicted_05"], predicted_hi=some["predicted_95"]
    )
    note = (
        f"{some['inside_90'].sum()} of {len(some)} measured values lie inside their prediction intervals. Bars are "
        f"{COUNTED} Each value is in its own unit, and none of them was fitted."
    )
    all_rows = Plot(
        "predicted", "Predicted and measured", note, "scatter", rows, "measured", "predicted",
        labels={"measured": "measured, in its own unit", "predicted": "predicted, in the same unit"}, series="table",
        log=("measured", "predicted"),
    )  # fmt: skip
    return [all_rows, *curves, listed]


def _curve(name: str, table: pd.DataFrame) -> Plot:
    metric, unit = str(table["metric"].iloc[0]), str(table["unit"].iloc[0])
    keep = table[["machine", "policy", "at"]].assign(workload=name)
    band = {f"{metric}_lo": table["predicted_05"], f"{metric}_hi": table["predicted_95"]}
    shown = keep.assign(source="predicted").assign(**{metric: table["predicted_50"], **band})
    rows = pd.concat([shown, keep.assign(source="measured", **{metric: table["measured"]})], ignore_index=True)
    note = f"The band shows {COUNTED} The first point is an input of the prediction."
    return Plot(
        name, f"{name}: {metric} by threads", note, "lines", rows, "at", metric,
        labels={"at": "threads", metric: f"{metric}, {unit}"}, series="source",
    )  # fmt: skip


def chosen_plot(drawn: DrawnPoints, words: Sequence[str]) -> Plot:
    """The plot for words like `y=flush_wait_ns x=cores by=policy jobs=60`, with one value of every other column."""
    asked = _asked(words)
    y, x, by = asked.pop("y", ""), asked.pop("x", ""), asked.pop("by", "policy")
    points = drawn.points
    metrics = [name for name in METRICS if name in points and points[name].notna().any()]
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
    for pair in words:
        key, is_pair, value = pair.partition("=")
        if not is_pair or not key or not value:
            raise BadInput(f"{pair!r}: must be KEY=VALUE, like y=flush_wait_ns")
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
