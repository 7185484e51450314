"""The plots of a report as PNG and SVG, for a slide or a mail, by the only module that imports matplotlib."""

from __future__ import annotations

import importlib.util
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweep.inputs.home import write_own
from sweep.report.plot import PLACE, Plot
from sweep.report.plots import colours
from sweep.store.folder import Folder

INK = "#1b1f24"
MOST_PICTURES = 4  # of one plot
MARKERS, DASHES = "osD^X", ("-", "--", ":", "-.")
STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.edgecolor": "#59636e", "axes.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e8ebee",
    "axes.axisbelow": True,
    "text.usetex": False, "text.parse_math": False,  # names are text, whatever dollars they hold
    "legend.frameon": False, "svg.hashsalt": "xpfo-sweep", "svg.fonttype": "none",
}  # fmt: skip


def write_pictures(folder: Folder, made: Sequence[Plot]) -> list[str]:
    """Write plots/<name>.png and .svg, a pair per plot and setting of it; their names."""
    figure_of, rc_context = _matplotlib()
    names = []
    for plot in made:
        if plot.kind == "table":
            continue
        for suffix, table in _settings(plot):
            with rc_context(STYLE):
                figure = figure_of(figsize=(8, _height(plot, table)), layout="constrained")
                axes = figure.subplots()
                DRAW[plot.kind](plot, table, figure, axes)
                title = plot.title + (f"\n{suffix}" if suffix else "")
                figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
                stem = re.sub(r"[^a-z0-9]+", "-", f"{plot.name}-{suffix}".lower()).strip("-")[:120]
                for form, about in (("png", {}), ("svg", {"Date": None})):
                    sink = io.BytesIO()
                    figure.savefig(sink, format=form, dpi=160, metadata=about)
                    names.append(f"plots/{stem}.{form}")
                    folder.write(names[-1], sink.getvalue())
    return names


def _matplotlib() -> tuple[Any, Any]:
    """Figures that belong to no window, and the context of a style.

    pyplot is left out: it would choose a backend, which is a matter of the process around this one. So is the variable
    by which a notebook names its own, and which stops the import where that backend is not installed. A matplotlibrc of
    the working folder is not read: the same run has the same pictures everywhere.
    """
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    before = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ["MATPLOTLIBRC"] = str(Path(found.origin).parent / "mpl-data" / "matplotlibrc")
    here = os.open(".", os.O_RDONLY)
    os.chdir("/")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    finally:
        os.fchdir(here)
        os.close(here)
        del os.environ["MATPLOTLIBRC"]
        os.environ.update({name: value for name, value in before.items() if value is not None})
    return Figure, rc_context


def _settings(plot: Plot) -> list[tuple[str, pd.DataFrame]]:
    """What the page offers in a list, a picture each, but no more than MOST_PICTURES."""
    groups = list(plot.table.groupby(plot.panels(), sort=True))
    first = [each for each in groups if each[0] == plot.chosen]
    return [*first, *(each for each in groups if each[0] != plot.chosen)][:MOST_PICTURES]


def _height(plot: Plot, table: pd.DataFrame) -> float:
    return 1.7 + 0.42 * table["what"].nunique() if plot.kind in ("dots", "stack") else 4.5


def _look(plot: Plot, name: str) -> dict[str, Any]:
    """Colour, line and marker of a name, the same in every picture; `style` of page.js."""
    names, known = list(plot.table[plot.series].unique()), colours()
    if name in known["ink"]:
        return {"color": INK, "linestyle": ":", "marker": "|" if name == "measured" else "P"}
    if plot.series not in known["coloured"]:  # so that a colour is always the same policy
        nth = [each for each in names if each not in known["ink"]].index(name)
        tone = known["tones"].get(name, known["tone"])
        grey = [round(tone * int(INK[at : at + 2], 16) + (1 - tone) * 255) / 255 for at in (1, 3, 5)]
        return {"color": grey, "linestyle": DASHES[nth % 4], "marker": MARKERS[nth % len(MARKERS)]}
    first, palette = known["first"], known["palette"]
    others = sorted(each for each in names if each not in first and each not in known["ink"])
    at = first[name] if name in first else known["others_from"] + others.index(name)
    turn = at // len(palette)
    return {
        "color": palette[at % len(palette)],
        "linestyle": DASHES[turn % 4],
        "marker": MARKERS[(at + turn) % len(MARKERS)],
    }


def _label(plot: Plot, name: str) -> str:
    return plot.labels.get(name, name)


def _log(plot: Plot, axes: Any, x: bool, values: pd.Series) -> None:
    """A logarithmic axis with ticks one can read: the values themselves where they are few, else 1, 2 and 5."""
    from matplotlib import ticker

    axis = axes.xaxis if x else axes.yaxis
    (axes.set_xscale if x else axes.set_yscale)("log")
    known = np.unique(values[(values > 0) & np.isfinite(values)])
    if not len(known):
        return
    if not (x and plot.kind == "lines" and len(known) <= 14):
        powers = np.arange(np.floor(np.log10(known[0])), np.ceil(np.log10(known[-1])) + 1)
        digits = (1,) if known[-1] / known[0] > 300 else (1, 2, 5)
        known = np.array([digit * 10.0**power for power in powers for digit in digits])
        low, high = (axes.get_xlim if x else axes.get_ylim)()
        known = known[(known >= low) & (known <= high)]
    if len(known) < 2:
        axis.set_major_locator(ticker.MaxNLocator(6))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    else:
        name = plot.x if x else plot.y
        axis.set_ticks(known, [_tick(name, each) for each in known])
    axis.set_minor_locator(ticker.NullLocator())


def _tick(name: str, value: float) -> str:
    if name.startswith("stale_window"):
        scale, unit = next((each for each in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")) if value >= each[0]), (1.0, "ns"))
        return f"{value / scale:g} {unit}"
    return f"{value:,.0f}".replace(",", " ") if 1 <= value < 1e6 and value == int(value) else f"{value:g}"


def _lines(plot: Plot, table: pd.DataFrame, figure: Any, axes: Any) -> None:
    places = list(dict.fromkeys(zip(table["machine"], table["workload"], strict=True)))
    differ = [name for name in PLACE if table[name].nunique() > 1]
    xs = np.unique(table[plot.x])
    steps = bool(xs[0] == 0 and len(xs) > 2 and xs[-1] / xs[1] >= 8)
    for (machine, workload, policy), mine in table.groupby([*PLACE, plot.series], sort=False):
        look = _look(plot, str(policy))
        if len(places) > 1:
            look["linestyle"] = DASHES[places.index((machine, workload)) % 4]
        label = ", ".join([str(policy), *mine.iloc[0][differ]])
        x = np.searchsorted(xs, mine[plot.x]) if steps else mine[plot.x]
        axes.plot(x, mine[plot.y], label=label, linewidth=2, markersize=5, **look)
        if mine[f"{plot.y}_lo"].notna().all():
            low = mine[f"{plot.y}_lo"].clip(lower=1e-9) if plot.y in plot.log else mine[f"{plot.y}_lo"]
            axes.fill_between(x, low, mine[f"{plot.y}_hi"], color=look["color"], alpha=0.2, linewidth=0)
    if steps:
        axes.set_xticks(range(len(xs)), [f"{each:g}" for each in xs])
    elif plot.x in plot.log:
        _log(plot, axes, True, table[plot.x])
    if plot.y in plot.log:
        axes.set_ylim(table[plot.y].min() * 0.9, table[plot.y].max() * 1.15)
        _log(plot, axes, False, table[plot.y])
    axes.set(xlabel=_label(plot, plot.x) + (" (not to scale)" if steps else ""), ylabel=_label(plot, plot.y))
    if plot.beyond is not None and not steps:
        axes.axvspan(plot.beyond, table[plot.x].max(), color="0.5", alpha=0.12, linewidth=0, zorder=0)
    axes.legend()


def _dots(plot: Plot, table: pd.DataFrame, figure: Any, axes: Any) -> None:
    names, whats = list(table[plot.series].unique()), list(dict.fromkeys(table["what"]))
    for name in names:
        mine, look = table[table[plot.series] == name], _look(plot, str(name))
        y = [whats.index(each) for each in mine["what"]]
        size = {"markersize": 17, "markeredgewidth": 2.5} if name == "measured" else {"markersize": 7}
        error = None
        if f"{plot.x}_lo" in mine and mine[f"{plot.x}_lo"].notna().any():
            error = np.array([mine[plot.x] - mine[f"{plot.x}_lo"], mine[f"{plot.x}_hi"] - mine[plot.x]])
        look["linestyle"] = "none"
        axes.errorbar(mine[plot.x], y, xerr=error, label=str(name), capsize=3, **look, **size)
    axes.set_yticks(range(len(whats)), whats)
    axes.invert_yaxis()
    if plot.x in plot.log:
        _log(plot, axes, True, table[plot.x])
    axes.set_xlabel(_label(plot, plot.x))
    figure.legend(loc="outside lower center", ncols=6, columnspacing=1.2, handletextpad=0.5)


def _stack(plot: Plot, table: pd.DataFrame, figure: Any, axes: Any) -> None:
    names, whats = list(table[plot.series].unique()), list(dict.fromkeys(table["what"]))
    ends = {sign: np.zeros(len(whats)) for sign in (True, False)}  # right of zero, left of it
    for name in names:
        mine = table[table[plot.series] == name].set_index("what")[plot.x].reindex(whats).fillna(0.0).to_numpy()
        left = np.where(mine >= 0, ends[True], ends[False])
        axes.barh(whats, mine, left=left, label=str(name), color=_look(plot, str(name))["color"], height=0.6)
        ends[True] += np.maximum(mine, 0)
        ends[False] += np.minimum(mine, 0)
    axes.invert_yaxis()
    axes.set_xlabel(_label(plot, plot.x))
    figure.legend(loc="outside lower center", ncols=6, columnspacing=1.2, handletextpad=0.5)


def _heat(plot: Plot, table: pd.DataFrame, figure: Any, axes: Any) -> None:
    grid = table.pivot_table(index=plot.y, columns=plot.x, values=plot.z)
    image = axes.imshow(grid, aspect="auto", origin="lower", cmap="cividis")
    best = table[table["best"]]
    x, y = grid.columns.get_indexer(pd.Index(best[plot.x])), grid.index.get_indexer(pd.Index(best[plot.y]))
    for size, color in ((11, "white"), (14, "black")):
        axes.plot(x, y, "o", markersize=size, markerfacecolor="none", markeredgecolor=color, markeredgewidth=2)
    axes.grid(visible=False)
    for values, place in ((grid.columns, axes.set_xticks), (grid.index, axes.set_yticks)):
        at = np.unique(np.linspace(0, len(values) - 1, min(len(values), 14)).astype(int))
        place(at, [f"{values[each]:g}" for each in at])
    axes.set(xlabel=_label(plot, plot.x), ylabel=_label(plot, plot.y))
    figure.colorbar(image, ax=axes, label=_label(plot, plot.z))


def _scatter(plot: Plot, table: pd.DataFrame, figure: Any, axes: Any) -> None:
    finite = table[np.isfinite(table[plot.x])][plot.x]
    never = 10 * finite.max() if len(finite) else 1.0
    table = table.assign(**{plot.x: table[plot.x].replace(np.inf, never)})
    table = table[(table[plot.x] > 0) & (table[plot.y] > 0)]
    for name, mine in table.groupby(plot.series, sort=False):
        look = _look(plot, str(name)) | {"linestyle": "none"}
        error = None
        if f"{plot.y}_lo" in mine:
            error = np.array([mine[plot.y] - mine[f"{plot.y}_lo"], mine[f"{plot.y}_hi"] - mine[plot.y]])
        axes.errorbar(mine[plot.x], mine[plot.y], error, label=str(name), markersize=7, elinewidth=1, **look)
    if "front" in table:
        front = table[table["front"]].sort_values(plot.x)
        axes.step(front[plot.x], front[plot.y], where="post", color="#59636e", linestyle="--", label="Pareto front")
    else:  # one measure against another: equal on the line
        ends = [table[plot.x].min(), table[plot.x].max()]
        axes.plot(ends, ends, color="#59636e", linestyle="--", label="equal")
    _log(plot, axes, True, table[plot.x])
    _log(plot, axes, False, table[plot.y])
    if (table[plot.x] == never).any():
        axes.annotate(
            "for ever", (never, 0), (0, 4), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center"
        )
    axes.set(xlabel=_label(plot, plot.x), ylabel=_label(plot, plot.y))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


DRAW: dict[str, Callable[[Plot, pd.DataFrame, Any, Any], None]] = {
    "lines": _lines, "dots": _dots, "stack": _stack, "heat": _heat, "scatter": _scatter,
}  # fmt: skip


def write_measured(table: pd.DataFrame, title: str, path: Path) -> None:
    """Both curves of `sweep measure`: measured points and simulated lines; hollow: not seen by the fit."""
    figure_of, rc_context = _matplotlib()
    sink = io.BytesIO()
    with rc_context({"text.usetex": False, "text.parse_math": False}):
        figure = figure_of(figsize=(12, 5), layout="constrained")
        left, right = figure.subplots(1, 2)
        broadcasts = table["call"] == "membarrier"
        for axis, along, rows in ((left, "think_ns", table[broadcasts]), (right, "pages", table[~broadcasts])):
            _curves(axis, along, rows)
        left.set_title("lines: simulated; points: measured, hollow: not seen by the fit", fontsize=9)
        right.set_title(title, fontsize=9)
        figure.savefig(sink, format="png", dpi=120)
    write_own(path, sink.getvalue())


def _curves(axis: Any, along: str, rows: pd.DataFrame) -> None:
    from matplotlib import ticker

    for number, (key, some) in enumerate(rows.groupby(["call", "callers", "spinners"])):
        call, callers, spinners = key
        curve, color = some.sort_values(along), f"C{number}"
        label = f"{call}, {callers} callers, {spinners} others busy"
        axis.plot(curve[along], curve["simulated_p50_ns"], color=color, label=label)
        for used, face in (("fitted", color), ("predicted", "none")):
            shown = curve[curve["used"] == used]
            axis.scatter(shown[along], shown["measured_p50_ns"], edgecolors=color, facecolors=face, zorder=3)
    named = {"think_ns": "mean think time, ns"}.get(along, along)
    axis.set(xscale="log", yscale="log", ylabel="p50 of a call, ns", xlabel=named)
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(ticker.FormatStrFormatter("%g"))
        each.set_minor_formatter(ticker.NullFormatter())
    if len(rows):
        axis.legend(fontsize=7)
