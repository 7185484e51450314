"""report.html from results.parquet, run.json and tables/ alone.

The page is complete, including Vega's JavaScript, and uses no network. Script and data are packed; `unpack` of page.js
unpacks them. Plots of the same points share one table.
"""

from __future__ import annotations

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
from sweep.report import vega
from sweep.report.caveats import CAVEATS, NOT_MODELLED, basis
from sweep.report.drawing import THEME, channel, looks, never, specification
from sweep.report.plot import Plot
from sweep.report.plots import Drawn, plots
from sweep.report.points import carried, read_points
from sweep.store.folder import Folder
from sweep.store.run_json import read_run
from sweep.tables.frame import open_results, reading
from sweep.tables.make import ANSWER, answer_of, measured_of

NEEDED = (
    "point",
    "policy",
    "machine",
    "workload",
    "cores",
    "jobs",
    "system_time_s",
    "added_s",
    "ratio",
    "overhead_ns_per_operation",
)
DIGITS = 6  # significant digits of the numbers on the page


def read_plots(*folders: Folder) -> list[Plot]:
    """The plots of a run's folder; for several folders, their points side by side."""
    points, own = _read_points(folders)
    if len(folders) > 1:
        return plots(points, own, {}, measured_of(folders[0]).fitted_machines, answer_of(folders[0]))
    folder = folders[0]
    with reading(folder):
        tables = {
            name: pd.read_parquet(io.BytesIO(folder.read(f"tables/{name}.parquet")))
            for name in ("reproduction", "validation", "saturation")
            if folder.exists(f"tables/{name}.parquet")
        }
    return plots(points, own, tables, measured_of(folder).fitted_machines, answer_of(folder))


def read_drawn(folder: Folder) -> Drawn:
    """All points of a run's folder, with all their metrics."""
    points, own = _read_points([folder])
    every = carried(points, own, most_rows=sys.maxsize, most_cells=sys.maxsize)
    return Drawn(every, own, measured_of(folder).fitted_machines)


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
    names, runs, said = runs_named(folders), [read_run(folder) for folder in folders], []
    for folder in folders:
        said.append(folder.read(ANSWER).decode("utf-8", "replace") if folder.exists(ANSWER) else "")
    text = page(runs[0], made, said[0]) if len(runs) == 1 else page(_beside(names, runs), made, _answers(names, said))
    into.write("report.html", text.encode("utf-8", "backslashreplace"))


def _beside(names: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of several runs, in place of one run.json."""
    each = list(zip(names, runs, strict=True))
    return {
        **runs[0],
        "grid": ", ".join(dict.fromkeys(str(run.get("grid")) for run in runs)),
        "question": " Beside it: ".join(dict.fromkeys(str(run.get("question") or run.get("grid")) for run in runs)),
        "command": "; ".join(f"{name}: {run.get('command')}" for name, run in each),
        "commit": "; ".join(f"{name}: {run.get('commit')}" for name, run in each),
        "points": {
            **runs[0]["points"],
            "machines": list(dict.fromkeys(name for run in runs for name in run["points"]["machines"])),
            "blocks": [block for run in runs for block in run["points"]["blocks"]],
        },
    }


def _answers(names: Sequence[str], said: Sequence[str]) -> str:
    return "\n".join(f"{name}: {text.strip()}" for name, text in zip(names, said, strict=True) if text.strip())


def page(run: Mapping[str, Any], made: Sequence[Plot], said: str = "") -> str:
    """The page as text; `said` is the answer to its question."""
    text, script = _text(run, made) | {"answer": said}, vega.script()
    parts = {name: html.escape(str(value)) for name, value in text.items()}
    points = run.get("points", {})
    parts |= {
        "facts": "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in _facts(run).items()),
        "axes": _axes(points),
        "not_modelled": "".join(f"<li>{html.escape(each)}</li>" for each in NOT_MODELLED),
        "caveats": "".join(f"<li>{html.escape(each)}</li>" for each in CAVEATS),
        "data": packed(_json(_drawn(made))),
        "css": _own("page.css"),
        "js": _own("page.js"),
        "vega": packed(script),
        "scripts": " ".join(f"'sha256-{_digest(each)}'" for each in (_own("page.js"), script)),
    }
    return re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], _own("page.html"))


def _digest(script: str) -> str:
    """The hash by which a browser runs only this script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def packed(text: str) -> str:
    """The deflated text in characters allowed inside a script element: those of base 85, with `,` for `<`."""
    return base64.b85encode(zlib.compress(text.encode(), 9)).decode().replace("<", ",")


def unpacked(text: str) -> str:
    """The inverse of `packed`."""
    return zlib.decompress(base64.b85decode(text.replace(",", "<"))).decode()


def _own(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _text(run: Mapping[str, Any], made: Sequence[Plot]) -> dict[str, str]:
    question = run.get("question") or f"Grid {run.get('grid')}"
    named = {plot.name: plot for plot in made}
    points = run.get("points", {})
    missing = named["points"].table.attrs.get("notes", []) if "points" in named else []
    approximate = [f"{run['approximation']}."] if run.get("approximation") else []
    on = basis(points.get("costs", []), points.get("draws", 0), points.get("measured_costs", []))
    lead = " ".join([*missing, *approximate, on])
    versions = run.get("versions", {})
    return {
        "title": f"{run.get('grid')}: {question}",
        "grid": str(run.get("grid")),
        "question": question,
        "lead": lead,
        "aggregated": "Plots show aggregated numbers, explained in their notes. results.parquet has all rows.",
        "footer": f"xpfo-sweep {versions.get('sweep', '')}. The page is complete and uses no network. "
        "Colours are Okabe and Ito's, and some of Tol's.",
    }


def _facts(run: Mapping[str, Any]) -> dict[str, str]:
    """The facts for trusting or repeating the run, in words."""
    points = run.get("points", {})
    facts = {
        "command": run.get("command") or shlex.join(["sweep", *run.get("overrides", [])]),
        "seed, replicas": f"{points.get('seed')}, {points.get('replicas')}",
        "machines": ", ".join(map(str, points.get("machines", []))),
        "workloads": ", ".join(map(str, points.get("workloads", []))),
        "commit": str(run.get("commit") or "not from a checkout"),
        "versions": ", ".join(f"{name} {value}" for name, value in run.get("versions", {}).items()),
    }
    return facts


def _axes(points: Mapping[str, Any]) -> str:
    rows = [
        (f"block {number}" if len(points["blocks"]) > 1 else "grid", name, values)
        for number, block in enumerate(points.get("blocks", []), 1)
        for name, values in block.items()
    ]
    rows += [("default", name, value) for name, value in points.get("defaults", {}).items()]
    cells = []
    for where, name, values in rows:
        text = ", ".join(map(str, values)) if isinstance(values, list) else str(values)
        cells.append("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in (where, name, text)) + "</tr>")
    return "<tr><th>where</th><th>key</th><th>values</th></tr>" + "".join(cells)


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
    """A plot without its data."""
    out: dict[str, Any] = {name: getattr(plot, name) for name in ("name", "title", "note", "kind", "x", "y", "series")}
    out |= {"fixed": plot.fixed, "lit": plot.lit, "choices": plot.choices, "columns": _columns(plot)}
    out["chosen"] = {name: _value(value) for name, value in plot.chosen.items()}
    if plot.kind == "table":
        return out
    axes = {*(plot.choices.get("x", ())), *(plot.choices.get("y", ())), plot.x, plot.y}
    numeric = [name for name in sorted(axes) if plot.table[name].dtype.kind in "fiu"]
    of_axes = {name: channel(plot, name) | {"never": never(plot, name)} for name in numeric}
    out["axes"] = {name: about | {"beyond": plot.beyond.get(name)} for name, about in of_axes.items()}
    out["spec"] = specification(plot, policies)
    return out


def _columns(plot: Plot) -> list[str]:
    """The columns of the table below a plot."""
    if plot.kind == "table" or not (plot.fixed or plot.choices):
        bands = {f"{name}_{end}" for name in METRICS for end in ("lo", "hi", "half")}
        return [str(name) for name in plot.table if plot.kind != "table" or name not in bands]
    shown = [plot.series, *plot.fixed, plot.x, plot.y, f"{plot.y}_lo", f"{plot.y}_hi", plot.z]
    return [name for name in dict.fromkeys(shown) if name in plot.table]


def _value(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.{DIGITS}g}")
    return value


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
