"""The drawing of a plot: one Vega-Lite specification for the page, the pictures and notebooks.

The data are separate, under the name `rows`: the plot's columns, and also `x`, `y`, `lo`, `hi`, `series` and `lit`,
from `rows()` here and `drawn()` of page.js. Colours of THEME follow the reader's theme.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sweep.report.plot import Plot

THEME = {"ink": "#1b1f24", "soft": "#59636e", "line": "#d5dae0", "grid": "#e8ebee", "card": "#ffffff"}
INK, SOFT = THEME["ink"], THEME["soft"]
GREY = "#9aa3ad"  # of series without a colour
DASHES = ([1, 0], [6, 4], [2, 3], [8, 3, 2, 3])
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross")
BAR = "M-.2,-1.3h.4v2.6h-.4z"  # a shape: upright
MOST_TICKS = 12  # up to this number, every value of a parameter gets a tick
NEVER = 10.0  # "for ever" is drawn at this factor of the largest finite value
LABELLED = {"condition": {"test": "datum.label !== ''", "value": 1}, "value": 0}  # of an axis: no lines in between
DURATION = (
    " : ".join(
        f"datum.value >= {size} ? format(datum.value / {size}, '~') + ' {unit}'"
        for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "\u00b5s"))
    )
    + " : format(datum.value, '~') + ' ns'"
)
CONFIG: dict[str, Any] = {
    "background": THEME["card"], "font": "sans-serif", "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "gridColor": THEME["grid"], "domainColor": THEME["line"],
        "tickColor": THEME["line"], "labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal",
        "titlePadding": 10, "labelLimit": 320, "labelOverlap": "greedy", "labelSeparation": 6,
    },
    "legend": {
        "labelColor": INK, "titleColor": INK, "labelFontSize": 12, "orient": "top", "title": None, "labelLimit": 260,
        "columns": 4, "symbolSize": 90, "symbolStrokeWidth": 2, "symbolOpacity": 1,
    },
    "title": {
        "color": INK, "subtitleColor": SOFT, "anchor": "start", "fontSize": 15, "subtitleFontSize": 11, "offset": 12,
        "subtitlePadding": 6,
    },
}  # fmt: skip


@cache
def colours() -> dict[str, Any]:
    """Colours by name, on the page and in the pictures: Okabe and Ito's, and some of Tol's."""
    return json.loads(Path(__file__).with_name("colours.json").read_text(encoding="utf-8"))


def looks(plot: Plot, names: Sequence[str] = ()) -> dict[str, tuple[str, list[int], str]]:
    """Colour, dash and shape of every name of a plot's series, the same in every plot with these `names`."""
    known = colours()
    names = list(names) or [str(each) for each in plot.table[plot.series].unique()]
    others = sorted(each for each in names if each not in known["first"] and each not in known["ink"])
    out = {}
    for name in names:
        if name in known["ink"]:
            out[name] = INK, DASHES[2], BAR if name == "measured" else "cross"
        elif plot.series in known["coloured"]:
            at = known["first"][name] if name in known["first"] else known["others_from"] + others.index(name)
            turn = at // len(known["palette"])
            out[name] = known["palette"][at % len(known["palette"])], DASHES[turn % 4], SHAPES[(at + turn) % 5]
        else:  # tones of the ink, since colours mean policies
            nth = [each for each in names if each not in known["ink"]].index(name)
            out[name] = known["tones"].get(name, known["tone"]), DASHES[nth % 4], SHAPES[nth % 5]
    return out


def rows(plot: Plot, table: pd.DataFrame) -> list[dict[str, Any]]:
    """The table's rows with the specification's names; unknown values are null, and "for ever" is far out."""
    value = plot.x if plot.kind == "dots" else plot.y
    drawn = {"x": table[plot.x], "y": table[plot.y]} | {e: table.get(f"{value}_{e}", math.nan) for e in ("lo", "hi")}
    frame = table.assign(
        **drawn, series=table[plot.series], lit=table[plot.series].isin(plot.lit or table[plot.series])
    )
    for at, name in (("x", plot.x), ("y", plot.y)):
        if frame[at].dtype.kind == "f":
            frame[at] = frame[at].replace(np.inf, never(plot, name))
    frame = frame.replace({np.inf: "inf", -np.inf: "-inf"})
    frame = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def never(plot: Plot, name: str) -> float:
    """The position of an infinite value of a column."""
    finite = plot.table[name][np.isfinite(plot.table[name])]
    return NEVER * float(finite.max()) if len(finite) else 1.0


def channel(plot: Plot, name: str) -> dict[str, Any]:
    """Title, scale and ticks of a column, for a channel of Vega-Lite."""
    column = plot.table[name]
    made: dict[str, Any] = {"title": plot.label(name), "scale": {"type": "linear", "zero": False}, "axis": {}}
    if column.dtype.kind not in "fiu":
        return made
    known = np.unique(column[np.isfinite(column)])
    if name in plot.log and (plot.kind == "front" or (len(known) and known[0] > 0)):
        made["scale"] = {"type": "log", "nice": False, "padding": 14}
        made["axis"] = {"gridOpacity": LABELLED, "tickOpacity": LABELLED}
    elif name in plot.log and len(known) > 2:  # a zero has no place on a logarithmic axis
        made["scale"] = {"type": "symlog", "constant": float(known[known > 0].min()) / 2, "padding": 14}
    if name in plot.choices.get("x", {}) and len(known) <= MOST_TICKS:
        made["axis"] |= {"values": [float(each) for each in known]}
    if name.endswith("_ns"):
        text = f"datum.value >= {0.99 * never(plot, name)!r} ? 'for ever' : {DURATION}"
        made["axis"] |= {"labelExpr": f"datum.label === '' ? '' : {text}"}
    elif len(known) and known[-1] >= 1e5:
        made["axis"] |= {"format": "~s"}
    return made


def specification(plot: Plot, names: Sequence[str] = ()) -> dict[str, Any]:
    """The plot in Vega-Lite, without its data; its legend has the coloured series.

    `names` are all policies of a page, on which all plots have the same colours, and any policy may be coloured.
    """
    looked = looks(plot, names)
    if plot.lit and not names:
        looked = {name: looked[name] for name in looked if name in plot.lit}
    made = DRAW[plot.kind](plot, alt.Chart(alt.NamedData("rows")), _coloured(looked))
    return made.configure(**CONFIG).to_dict(validate=False)


def _coloured(looked: Mapping[str, tuple[str, list[int], str]]) -> dict[str, Any]:
    colour, dash, shape = (
        alt.Scale(domain=list(looked), range=[look[at] for look in looked.values()]) for at in range(3)
    )
    return {
        "color": alt.Color("series:N", scale=colour),
        "strokeDash": alt.StrokeDash("series:N", scale=dash),
        "shape": alt.Shape("series:N", scale=shape),
    }


def _hover(plot: Plot) -> list[alt.Tooltip]:
    shown = [plot.series, *plot.fixed, plot.x, plot.y, f"{plot.y}_lo", f"{plot.y}_hi", *([plot.z] if plot.z else [])]
    shown += ["machine", "policy", "run", "error_pct"]
    return [
        alt.Tooltip(field=name, type="quantitative" if plot.table[name].dtype.kind in "fiu" else "nominal")
        for name in dict.fromkeys(shown)
        if name in plot.table
    ]


def _axes(plot: Plot) -> dict[str, Any]:
    return {"x": alt.X("x:Q", **channel(plot, plot.x)), "y": alt.Y("y:Q", **channel(plot, plot.y))}


def _points(plot: Plot, base: alt.Chart, coloured: Mapping[str, Any], size: int) -> alt.Chart:
    points = base.mark_point(filled=True, size=size, opacity=1)
    return points.encode(color=coloured["color"], shape=coloured["shape"], tooltip=_hover(plot))


def _lines(plot: Plot, base: alt.Chart, coloured: Mapping[str, Any]) -> alt.LayerChart:
    """A line per series on its band; other series thin and grey, with their names if there is room."""
    shade = (
        base.transform_filter("beyond != null && datum.x > beyond")
        .transform_aggregate(to="max(x)")
        .transform_calculate(start="beyond")
        .mark_rect(color=SOFT, opacity=0.12)
        .encode(x=alt.X("start:Q"), x2="to:Q", y=alt.value(0), y2=alt.value("height"))
    )
    band = (
        base.transform_filter("datum.lit && isValid(datum.lo) && isValid(datum.hi)")
        .mark_area(opacity=0.2, clip=True)
        .encode(y="lo:Q", y2="hi:Q", color=coloured["color"], detail="run:N")
    )
    others = base.transform_filter("!datum.lit")
    thin = others.mark_line(color=GREY, strokeWidth=1).encode(detail=["series:N", "run:N"], tooltip=_hover(plot))
    ends = (
        others.transform_joinaggregate(last="max(x)")
        .transform_filter("datum.x === datum.last")
        .transform_window(below="lag(y)", sort=[alt.SortField("y")])
        .transform_filter("!isValid(datum.below) || datum.y / datum.below > 1.06")
        .mark_text(align="left", dx=5, fontSize=10, color=SOFT)
        .encode(text="series:N")
    )
    lit = base.transform_filter("datum.lit")
    dash = alt.StrokeDash("run:N", title="run") if "run" in plot.table else coloured["strokeDash"]
    line = lit.mark_line(strokeWidth=2.25).encode(color=coloured["color"], strokeDash=dash, detail="run:N")
    layers = alt.layer(shade, band, thin, ends, line, _points(plot, lit, coloured, 45))
    return layers.encode(**_axes(plot)).add_params(alt.param("beyond", value=plot.beyond.get(plot.x)))


def _front(plot: Plot, base: alt.Chart, coloured: Mapping[str, Any]) -> alt.LayerChart:
    """Two costs against each other, and their Pareto front."""
    base = base.transform_filter("datum.x > 0 && datum.y > 0 && datum.series !== 'vanilla'")
    order: Any = [alt.SortField("x"), alt.SortField("y")]
    front = (
        base.transform_window(least="min(y)", frame=[None, 0], sort=order)
        .transform_window(before="lag(least)", sort=order)
        .transform_filter("!isValid(datum.before) || datum.y < datum.before")
    )
    others = base.transform_filter("!datum.lit").mark_point(filled=True, size=50, color=GREY, opacity=1)
    dots = _points(plot, base.transform_filter("datum.lit"), coloured, 110)
    names = front.mark_text(align="left", dx=8, dy=-8, fontSize=11, color=INK).encode(text="series:N")
    stairs = front.mark_line(interpolate="step-after", strokeDash=[6, 4], color=SOFT)
    return alt.layer(stairs, others.encode(tooltip=_hover(plot)), dots, names).encode(**_axes(plot))


def _scatter(plot: Plot, base: alt.Chart, coloured: Mapping[str, Any]) -> alt.LayerChart:
    """One measure against another; they are equal on the line."""
    equal = (
        base.transform_aggregate(low="min(x)", high="max(x)")
        .transform_fold(["low", "high"])
        .mark_line(strokeDash=[6, 4], color=SOFT)
        .encode(x="value:Q", y="value:Q")
    )
    bars = base.mark_rule().encode(y="lo:Q", y2="hi:Q", color=coloured["color"])
    return alt.layer(equal, bars, _points(plot, base, coloured, 80)).encode(**_axes(plot))


def _what() -> alt.Y:
    """The axis of a plot with a row of marks for each name; a name breaks after a colon."""
    label = alt.Axis(labelExpr="split(datum.label, /: | on (?=[^ ]+, )/)", labelLimit=300, ticks=False, domain=False)
    return alt.Y("what:N", sort=None, title=None, axis=label)


def _dots(plot: Plot, base: alt.Chart, coloured: Mapping[str, Any]) -> alt.LayerChart:
    """A value and its interval for each name and series."""
    bars = base.mark_rule(strokeWidth=2).encode(x=alt.X("lo:Q"), x2="hi:Q", color=coloured["color"])
    dots = base.mark_point(filled=True, size=95, opacity=1, strokeWidth=2.5).encode(
        x=_axes(plot)["x"], color=coloured["color"], shape=coloured["shape"], tooltip=_hover(plot)
    )
    layers = alt.layer(bars, dots).encode(y=_what(), yOffset=alt.YOffset("series:N", sort=None))
    return layers.properties(height=alt.Step(44, **{"for": "position"}))


def _stack(plot: Plot, base: alt.Chart, coloured: Mapping[str, Any]) -> alt.Chart:
    """Parts of a value, one after the other."""
    x = alt.X("x:Q", title=plot.label(plot.x), stack="zero", axis=alt.Axis(format="~s"))
    bars = base.mark_bar(height={"band": 0.65})
    bars = bars.encode(x=x, y=_what(), color=coloured["color"], tooltip=_hover(plot))
    return bars.properties(height=alt.Step(40))


def _heat(plot: Plot, base: alt.Chart, coloured: Mapping[str, Any]) -> alt.LayerChart:
    """A value over two parameters, with the best one of every row: the smallest that is no worse than the best."""
    cells = base.mark_rect().encode(
        color=alt.Color(
            f"{plot.z}:Q", title=plot.label(plot.z), scale=alt.Scale(scheme="cividis"),
            legend=alt.Legend(title=plot.label(plot.z), gradientLength=260),
        ),
        tooltip=_hover(plot),
    )  # fmt: skip
    best = (
        base.transform_joinaggregate(least=f"argmin({plot.z})", groupby=["y"])
        .transform_filter(f"datum.{plot.z} <= datum.least.{plot.z} + (datum.least.{plot.z}_half || 0)")
        .transform_window(nth="row_number()", sort=[alt.SortField("x")], groupby=["y"])
        .transform_filter("datum.nth === 1")
    )
    rings = [best.mark_point(size=size, color=color, strokeWidth=2) for size, color in ((130, "#fff"), (240, "#000"))]
    x = alt.X("x:O", title=plot.label(plot.x), axis=alt.Axis(labelAngle=0))
    y = alt.Y("y:O", title=plot.label(plot.y), sort="descending")
    return alt.layer(cells, *rings).encode(x=x, y=y).properties(height=alt.Step(28))


def measured_curves(table: pd.DataFrame, title: str) -> dict[str, Any]:
    """Both curves of `sweep measure` in Vega-Lite, with their data: measured points and simulated lines."""
    callers, others = table["callers"].astype(str), table["spinners"].astype(str)
    table = table.assign(curve=table["call"] + ", " + callers + " callers, " + others + " others busy")
    broadcasts = table["call"] == "membarrier"
    shown = ((table[broadcasts], "think_ns", "mean think time, ns"), (table[~broadcasts], "pages", "pages of a call"))
    made = alt.hconcat(*(_curves(some, along, words) for some, along, words in shown if len(some)))
    about = alt.TitleParams(title, subtitle="Lines: simulated. Points: measured; hollow: left out of the fit.")
    return made.resolve_scale(color="independent").properties(title=about).configure(**CONFIG).to_dict()


def _curves(some: pd.DataFrame, along: str, words: str) -> Any:
    scale = alt.Scale(type="log" if (some[along] > 0).all() else "symlog", nice=False)
    columns = [along, "simulated_p50_ns", "measured_p50_ns", "used", "curve"]
    colour = alt.Color("curve:N", legend=alt.Legend(columns=1))
    base = alt.Chart(some[columns]).encode(x=alt.X(f"{along}:Q", title=words, scale=scale), color=colour)
    wait = alt.Y("simulated_p50_ns:Q", title="p50 of a call, ns", scale=alt.Scale(type="log"))
    dots = base.mark_point(size=45).encode(
        y="measured_p50_ns:Q", fill=alt.condition("datum.used === 'fitted'", colour, alt.value("transparent"))
    )
    return alt.layer(base.mark_line().encode(y=wait), dots).properties(width=430, height=320)


DRAW: dict[str, Callable[[Plot, alt.Chart, Mapping[str, Any]], Any]] = {
    "lines": _lines, "dots": _dots, "stack": _stack, "heat": _heat, "front": _front, "scatter": _scatter,
}  # fmt: skip
