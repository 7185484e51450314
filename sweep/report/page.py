"""report.html from results.parquet, run.json and tables/ alone.

The page is complete, including Vega's JavaScript, and uses no network. Script and data are packed; `unpack` of page.js
unpacks them. Plots of the same points share one table.
"""

import base64
import hashlib
import html
import io
import json
import math
import re
import shlex
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sim.metrics import METRICS
from sweep.errors import BadInput
from sweep.report.caveats import CAVEATS, NOT_MODELLED, basis
from sweep.report.drawing import THEME, channel, looks, never, specification
from sweep.report.pictures import script
from sweep.report.plot import Plot
from sweep.report.plots import DrawnPoints, plots
from sweep.report.points import FIXED, carried, read_points
from sweep.store.folder import Folder
from sweep.store.run_json import read_run
from sweep.tables.coordinates import ALWAYS
from sweep.tables.frame import open_results, reading
from sweep.tables.make import ANSWER, answer_of, measured_of

NEEDED = ("point", *FIXED, *ALWAYS, "system_time_s", "added_s", "ratio", "overhead_ns_per_operation")
DIGITS = 6  # significant digits of the numbers on the page


def read_plots(*folders: Folder) -> list[Plot]:
    """The plots of a run's folder; for several folders, their points side by side."""
    points, own = _read_points(folders)
    first, tables = folders[0], {}
    for name in ("reproduction", "validation", "saturation") if len(folders) == 1 else ():
        with reading(first):
            if first.exists(f"tables/{name}.parquet"):
                tables[name] = pd.read_parquet(io.BytesIO(first.read(f"tables/{name}.parquet")))
    return plots(points, own, tables, measured_of(first).fitted_machines, answer_of(first))


def read_drawn(folder: Folder) -> DrawnPoints:
    """All points of a run's folder, with all their metrics."""
    points, own = _read_points([folder])
    every = carried(points, own, most_rows=sys.maxsize, most_cells=sys.maxsize)
    return DrawnPoints(every, own, measured_of(folder).fitted_machines)


def _read_points(folders: Sequence[Folder]) -> tuple[pd.DataFrame, list[str]]:
    """The points of these runs, with a column `run` if there are several."""
    read = []
    for folder in folders:
        with reading(folder):
            read.append(read_points(open_results(folder, NEEDED), constants=len(folders) > 1))
    if len(read) == 1:
        return read[0]
    names = runs_named(folders)
    points = pd.concat([each.assign(run=name) for (each, _), name in zip(read, names, strict=True)], ignore_index=True)
    notes = [f"{n}: {note}" for (each, _), n in zip(read, names, strict=True) for note in each.attrs["notes"]]
    bands = " ".join(dict.fromkeys(each.attrs["band"] for each, _ in read))  # of runs with cost samples, and without
    points.attrs = {**read[0][0].attrs, "notes": notes, "band": bands}
    own = list(dict.fromkeys([*(name for _, own in read for name in own), "run"]))
    return points, [name for name in own if points[name].nunique(dropna=False) > 1]


def runs_named(folders: Sequence[Folder]) -> list[str]:
    """A short name for each run: the shortest unique ends of their paths."""
    paths = [str(folder).rstrip("/").split("/") for folder in folders]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise BadInput(f"{folders[0]}: is given twice")


def write_page(folders: Sequence[Folder], made: Sequence[Plot], into: Folder) -> None:
    """Write report.html of one run, or of several beside each other, into a folder."""
    runs = [read_run(folder) for folder in folders]
    said = [folder.read(ANSWER).decode("utf-8", "replace") if folder.exists(ANSWER) else "" for folder in folders]
    run, answer = runs[0], said[0]
    if len(runs) > 1:
        names = runs_named(folders)
        run = _beside(names, runs)
        answer = "\n".join(f"{name}: {text.strip()}" for name, text in zip(names, said, strict=True) if text.strip())
    into.write("report.html", page(run, made, answer).encode("utf-8", "backslashreplace"))


def _beside(names: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of several runs, in place of one run.json."""
    together = {
        name: list(dict.fromkeys(each for run in runs for each in run["points"][name]))
        for name in ("machines", "workloads", "costs", "measured_costs")
    }
    blocks = [block for run in runs for block in run["points"]["blocks"]]
    return {
        **runs[0],
        "grid": ", ".join(dict.fromkeys(run["grid"] for run in runs)),
        "question": " Beside it: ".join(dict.fromkeys(run["question"] or run["grid"] for run in runs)),
        "command": "; ".join(f"{name}: {run['command']}" for name, run in zip(names, runs, strict=True)),
        "commit": "; ".join(f"{name}: {run['commit']}" for name, run in zip(names, runs, strict=True)),
        "points": {**runs[0]["points"], **together, "blocks": blocks},
    }


def page(run: Mapping[str, Any], made: Sequence[Plot], answer: str) -> str:
    """The page of a checked run.json as text, with the `answer` to its question."""
    points, own, vega = run["points"], _own("page.js"), script()
    missing = [note for plot in made if plot.name == "points" for note in plot.table.attrs.get("notes", [])]
    approximate = [f"{run['approximation']}."] if run.get("approximation") else []
    on = basis(points["costs"], points["draws"], points["measured_costs"])
    text = {
        "grid": run["grid"],
        "question": run["question"] or f"Grid {run['grid']}",
        "answer": answer,
        "lead": " ".join([*missing, *approximate, on]),
        "version": run["versions"].get("sweep", ""),
    }
    facts = {
        "command": run["command"] or shlex.join(["sweep", *run["overrides"]]),
        "seed, replicas": f"{points['seed']}, {points['replicas']}",
        "machines": ", ".join(points["machines"]),
        "workloads": ", ".join(points["workloads"]),
        "commit": run["commit"] or "not from a checkout",
        "versions": ", ".join(f"{name} {value}" for name, value in run["versions"].items()),
    }
    parts = {name: html.escape(str(value)) for name, value in text.items()} | {
        "facts": "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items()),
        "axes": _axes(points),
        "not_modelled": "".join(f"<li>{html.escape(each)}</li>" for each in NOT_MODELLED),
        "caveats": "".join(f"<li>{html.escape(each)}</li>" for each in CAVEATS),
        "data": packed(json.dumps(_drawn(made), separators=(",", ":"), allow_nan=False)),
        "css": _own("page.css"),
        "js": own,
        "vega": packed(vega),
        "scripts": f"{_source(own)} {_source(vega)}",
    }
    return re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], _own("page.html"))


def _own(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _source(script: str) -> str:
    """The hash by which a browser runs only this script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def packed(text: str) -> str:
    """The deflated text in base 64, which cannot end a script element."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _axes(points: Mapping[str, Any]) -> str:
    """The rows of a table of all axes and constants, in HTML."""
    blocks = points["blocks"]
    places = ["grid"] if len(blocks) == 1 else [f"block {number}" for number in range(1, len(blocks) + 1)]
    made = "<tr><th>where</th><th>key</th><th>values</th></tr>"
    for where, values in zip([*places, "default"], [*blocks, points["defaults"]], strict=True):
        for name, value in values.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            made += "<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in (where, name, text)) + "</tr>"
    return made


def _drawn(made: Sequence[Plot]) -> dict[str, Any]:
    """The data for page.js: tables of columns, and plots that refer to them."""
    tables = list({id(plot.table): plot.table for plot in made}.values())
    at = {id(table): number for number, table in enumerate(tables)}
    names = [str(name) for plot in made if "policy" in plot.table for name in plot.table["policy"].unique()]
    policies = list(dict.fromkeys(names))
    out = [_plain(plot, policies if plot.series == "policy" else ()) | {"table": at[id(plot.table)]} for plot in made]
    of_policies = Plot("", "", "", "", pd.DataFrame({"policy": policies}))
    return {
        "plots": out,
        "tables": [{str(n): [_value(v) for v in table[n].tolist()] for n in table} for table in tables],
        "colours": {name: look[0] for name, look in looks(of_policies).items()},
        "theme": THEME,
    }


def _plain(plot: Plot, policies: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {name: getattr(plot, name) for name in ("name", "title", "note", "kind", "x", "y", "series")}
    bands = {f"{name}_{end}" for name in METRICS for end in ("lo", "hi", "half")} if plot.kind == "table" else ()
    every = plot.kind == "table" or not (plot.fixed or plot.choices)
    columns = [str(name) for name in plot.table if name not in bands] if every else plot.columns()
    out |= {"fixed": plot.fixed, "lit": plot.lit, "choices": plot.choices, "columns": columns}
    out["chosen"] = {name: _value(value) for name, value in plot.chosen.items()}
    if plot.kind == "table":
        return out
    axes = {*(plot.choices.get("x", ())), *(plot.choices.get("y", ())), plot.x, plot.y}
    numeric = [name for name in sorted(axes) if plot.table[name].dtype.kind in "fiu"]
    of_axes = {name: channel(plot, name) | {"never": never(plot, name)} for name in numeric}
    out["axes"] = {name: about | {"beyond": plot.beyond.get(name)} for name, about in of_axes.items()}
    out["spec"] = specification(plot, policies)
    return out


def _value(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.{DIGITS}g}")
    return value
