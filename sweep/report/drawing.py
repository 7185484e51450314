"""The drawing of a plot: one Vega-Lite specification for the page, the pictures and notebooks.

The data are separate, under the name `rows`: the plot's columns, and also `x`, `y`, `lo`, `hi`, `series` and `lit`,
from `rows()` here and `drawn()` of page.js. Colours of THEME follow the reader's theme.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweep.report.plot import Plot

Spec = dict[str, Any]  # a part of a Vega-Lite specification
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
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
    "background": THEME["card"], "font": "sans-serif",
    "view": {"stroke": None, "continuousWidth": 300, "continuousHeight": 300},
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


def specification(plot: Plot, names: Sequence[str] = ()) -> Spec:
    """The plot in Vega-Lite, without its data; its legend has the coloured series.

    `names` are all policies of a page, on which all plots have the same colours, and any policy may be coloured.
    """
    looked = looks(plot, names)
    if plot.lit and not names:
        looked = {name: looked[name] for name in looked if name in plot.lit}
    scales: list[Spec] = [
        {"domain": list(looked), "range": [look[at] for look in looked.values()]} for at in range(3)
    ]  # fmt: skip
    color, dash, shape = (nominal("series", scale=scale) for scale in scales)
    shown = [*plot.columns(), *(name for name in ("machine", "policy", "run", "error_pct") if name in plot.table)]
    hover = [
        quantitative(name) if plot.table[name].dtype.kind in "fiu" else nominal(name) for name in dict.fromkeys(shown)
    ]
    drawn = DRAW[plot.kind](plot, {"color": color}, {"color": color, "shape": shape, "tooltip": hover}, dash)
    return {"$schema": SCHEMA, "config": CONFIG, "data": {"name": "rows"}, **drawn}


def quantitative(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def nominal(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "nominal", **more}


def layer(mark: Spec, *transform: Spec, **encoding: Any) -> Spec:
    return {"mark": mark, "transform": list(transform), "encoding": encoding}


def _axes(plot: Plot) -> Spec:
    return {"x": quantitative("x", **channel(plot, plot.x)), "y": quantitative("y", **channel(plot, plot.y))}


def _lines(plot: Plot, color: Spec, looks: Spec, dash: Spec) -> Spec:
    """A line per series on its band; other series thin and grey, with their names if there is room."""
    others, lit = {"filter": "!datum.lit"}, {"filter": "datum.lit"}
    run = nominal("run")
    shade = layer(
        {"type": "rect", "color": SOFT, "opacity": 0.12},
        {"filter": "beyond != null && datum.x > beyond"},
        {"aggregate": [{"op": "max", "field": "x", "as": "to"}]},
        {"calculate": "beyond", "as": "start"},
        x=quantitative("start"), x2={"field": "to"}, y={"value": 0}, y2={"value": "height"},
    )  # fmt: skip
    band = layer(
        {"type": "area", "opacity": 0.2, "clip": True},
        {"filter": "datum.lit && isValid(datum.lo) && isValid(datum.hi)"},
        y=quantitative("lo"), y2={"field": "hi"}, detail=run, **color,
    )  # fmt: skip
    thin = layer(
        {"type": "line", "color": GREY, "strokeWidth": 1}, others,
        detail=[nominal("series"), run], tooltip=looks["tooltip"],
    )  # fmt: skip
    ends = layer(
        {"type": "text", "align": "left", "dx": 5, "fontSize": 10, "color": SOFT},
        others,
        {"joinaggregate": [{"op": "max", "field": "x", "as": "last"}]},
        {"filter": "datum.x === datum.last"},
        {"window": [{"op": "lag", "field": "y", "as": "below"}], "sort": [{"field": "y"}]},
        {"filter": "!isValid(datum.below) || datum.y / datum.below > 1.06"},
        text=nominal("series"),
    )
    dash = nominal("run", title="run") if "run" in plot.table else dash
    line = layer({"type": "line", "strokeWidth": 2.25}, lit, strokeDash=dash, detail=run, **color)
    dots = layer({"type": "point", "filled": True, "size": 45, "opacity": 1}, lit, **looks)
    beyond = {"name": "beyond", "value": plot.beyond.get(plot.x)}
    return {"layer": [shade, band, thin, ends, line, dots], "encoding": _axes(plot), "params": [beyond]}


def _front(plot: Plot, color: Spec, looks: Spec, dash: Spec) -> Spec:
    """Two costs against each other, and their Pareto front."""
    costly = {"filter": "datum.x > 0 && datum.y > 0 && datum.series !== 'vanilla'"}
    order = [{"field": "x"}, {"field": "y"}]
    front: list[Spec] = [
        costly,
        {"window": [{"op": "min", "field": "y", "as": "least"}], "frame": [None, 0], "sort": order},
        {"window": [{"op": "lag", "field": "least", "as": "before"}], "sort": order},
        {"filter": "!isValid(datum.before) || datum.y < datum.before"},
    ]
    point = {"type": "point", "filled": True, "opacity": 1}
    name = {"type": "text", "align": "left", "dx": 8, "dy": -8, "fontSize": 11, "color": INK}
    return {
        "layer": [
            layer({"type": "line", "interpolate": "step-after", "strokeDash": [6, 4], "color": SOFT}, *front),
            layer(point | {"size": 50, "color": GREY}, costly, {"filter": "!datum.lit"}, tooltip=looks["tooltip"]),
            layer(point | {"size": 110}, costly, {"filter": "datum.lit"}, **looks),
            layer(name, *front, text=nominal("series")),
        ],
        "encoding": _axes(plot),
    }


def _scatter(plot: Plot, color: Spec, looks: Spec, dash: Spec) -> Spec:
    """One measure against another; they are equal on the line."""
    ends = [{"op": op, "field": "x", "as": name} for op, name in (("min", "low"), ("max", "high"))]
    equal = layer(
        {"type": "line", "strokeDash": [6, 4], "color": SOFT},
        {"aggregate": ends}, {"fold": ["low", "high"]},
        x=quantitative("value"), y=quantitative("value"),
    )  # fmt: skip
    bars = layer({"type": "rule"}, y=quantitative("lo"), y2={"field": "hi"}, **color)
    dots = layer({"type": "point", "filled": True, "size": 80, "opacity": 1}, **looks)
    return {"layer": [equal, bars, dots], "encoding": _axes(plot)}


def _what() -> Spec:
    """The axis of a plot with a row of marks for each name; a name breaks after a colon."""
    label = "split(datum.label, /: | on (?=[^ ]+, )/)"
    axis = {"labelExpr": label, "labelLimit": 300, "ticks": False, "domain": False}
    return nominal("what", sort=None, title=None, axis=axis)


def _dots(plot: Plot, color: Spec, looks: Spec, dash: Spec) -> Spec:
    """A value and its interval for each name and series."""
    bars = layer({"type": "rule", "strokeWidth": 2}, x=quantitative("lo"), x2={"field": "hi"}, **color)
    x = quantitative("x", **channel(plot, plot.x))
    dots = layer({"type": "point", "filled": True, "size": 95, "opacity": 1, "strokeWidth": 2.5}, x=x, **looks)
    rows = {"y": _what(), "yOffset": nominal("series", sort=None)}
    return {"layer": [bars, dots], "encoding": rows, "height": {"step": 44, "for": "position"}}


def _stack(plot: Plot, color: Spec, looks: Spec, dash: Spec) -> Spec:
    """Parts of a value, one after the other."""
    x = quantitative("x", title=plot.label(plot.x), stack="zero", axis={"format": "~s"})
    bars = layer({"type": "bar", "height": {"band": 0.65}}, x=x, y=_what(), tooltip=looks["tooltip"], **color)
    return bars | {"height": {"step": 40}}


def _heat(plot: Plot, color: Spec, looks: Spec, dash: Spec) -> Spec:
    """A value over two parameters, with the best one of every row: the smallest that is no worse than the best."""
    label = plot.label(plot.z)
    legend = {"title": label, "gradientLength": 260}
    value = quantitative(plot.z, title=label, scale={"scheme": "cividis"}, legend=legend)
    best: list[Spec] = [
        {"joinaggregate": [{"op": "argmin", "field": plot.z, "as": "least"}], "groupby": ["y"]},
        {"filter": f"datum.{plot.z} <= datum.least.{plot.z} + (datum.least.{plot.z}_half || 0)"},
        {"window": [{"op": "row_number", "field": "", "as": "nth"}], "sort": [{"field": "x"}], "groupby": ["y"]},
        {"filter": "datum.nth === 1"},
    ]
    rings = [
        layer({"type": "point", "size": size, "color": ring, "strokeWidth": 2}, *best)
        for size, ring in ((130, "#fff"), (240, "#000"))
    ]
    x = {"field": "x", "type": "ordinal", "title": plot.label(plot.x), "axis": {"labelAngle": 0}}
    y = {"field": "y", "type": "ordinal", "title": plot.label(plot.y), "sort": "descending"}
    cells = layer({"type": "rect"}, color=value, tooltip=looks["tooltip"])
    return {"layer": [cells, *rings], "encoding": {"x": x, "y": y}, "height": {"step": 28}}


def measured_curves(table: pd.DataFrame, title: str) -> Spec:
    """Both curves of `sweep measure` in Vega-Lite, with their data: measured points and simulated lines."""
    callers, others = table["callers"].astype(str), table["spinners"].astype(str)
    table = table.assign(curve=table["call"] + ", " + callers + " callers, " + others + " others busy")
    broadcasts = table["call"] == "membarrier"
    shown = ((table[broadcasts], "think_ns", "mean think time, ns"), (table[~broadcasts], "pages", "pages of a call"))
    about = {"text": title, "subtitle": "Lines: simulated. Points: measured; hollow: left out of the fit."}
    return {
        "$schema": SCHEMA, "config": CONFIG, "title": about, "resolve": {"scale": {"color": "independent"}},
        "hconcat": [_curves(some, along, words) for some, along, words in shown if len(some)],
    }  # fmt: skip


def _curves(some: pd.DataFrame, along: str, words: str) -> Spec:
    colour = nominal("curve", legend={"columns": 1})
    wait = quantitative("simulated_p50_ns", title="p50 of a call, ns", scale={"type": "log"})
    fill = {"condition": {"test": "datum.used === 'fitted'", **colour}, "value": "transparent"}
    dots = layer({"type": "point", "size": 45}, y=quantitative("measured_p50_ns"), fill=fill)
    scale = {"type": "log" if (some[along] > 0).all() else "symlog", "nice": False}
    columns = [along, "simulated_p50_ns", "measured_p50_ns", "used", "curve"]
    return {
        "data": {"values": json.loads(some[columns].to_json(orient="records", double_precision=15))},
        "layer": [layer({"type": "line"}, y=wait), dots],
        "encoding": {"x": quantitative(along, title=words, scale=scale), "color": colour},
        "width": 430, "height": 320,
    }  # fmt: skip


DRAW: dict[str, Callable[[Plot, Spec, Spec, Spec], Spec]] = {
    "lines": _lines, "dots": _dots, "stack": _stack, "heat": _heat, "front": _front, "scatter": _scatter,
}  # fmt: skip
