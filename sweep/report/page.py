"""report.html from results.parquet, run.json and tables/ alone.

The page holds everything it shows, Plotly's JavaScript included, and asks no network. Plotly is not imported: its
script is read as text, and the page builds its figures from plain tables in JSON. Both are packed, since the script
alone is 4.8 MB; `unpack` of page.js unpacks them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.util
import io
import json
import math
import re
import shlex
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sweep.report.caveats import CAVEATS, NOT_MODELLED, basis
from sweep.report.plot import Plot
from sweep.report.plots import colours, plots
from sweep.report.points import DRAWN
from sweep.store.folder import Folder
from sweep.store.run_json import read_run
from sweep.tables.frame import open_results, reading
from sweep.tables.make import ANSWER, answer_of, measured_of

NEEDED = ("point", "policy", "machine", "workload", "cores", "jobs", "system_time_s", "added_s", *DRAWN)
DIGITS = 6  # significant digits of the numbers on the page


def read_plots(folder: Folder) -> list[Plot]:
    """The plots of a run's folder."""
    with reading(folder):
        read = {
            name: pd.read_parquet(io.BytesIO(folder.read(f"tables/{name}.parquet")))
            for name in ("reproduction", "validation")
            if folder.exists(f"tables/{name}.parquet")
        }
        return plots(open_results(folder, NEEDED), read, measured_of(folder).fitted_machines, answer_of(folder))


def write_page(folder: Folder, made: Sequence[Plot], into: Folder | None = None) -> None:
    """Write report.html, into another folder if told."""
    said = folder.read(ANSWER).decode("utf-8", "replace") if folder.exists(ANSWER) else ""
    text = page(read_run(folder), made, said)
    (into or folder).write("report.html", text.encode("utf-8", "backslashreplace"))


def page(run: Mapping[str, Any], made: Sequence[Plot], said: str = "") -> str:
    """The page as text; `said` is the answer to its question."""
    text, plotly = _text(run, made) | {"answer": said}, plotly_script()
    parts = {name: html.escape(str(value)) for name, value in text.items()}
    points = run.get("points", {})
    drawn = {"policies": _policies(made), "plots": [_plain(plot) for plot in made], "colours": colours()}
    parts |= {
        "facts": "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in _facts(run).items()),
        "axes": _axes(points),
        "not_modelled": "".join(f"<li>{html.escape(each)}</li>" for each in NOT_MODELLED),
        "caveats": "".join(f"<li>{html.escape(each)}</li>" for each in CAVEATS),
        "data": packed(_json(drawn)),
        "css": _own("page.css"),
        "js": _own("page.js"),
        "plotly": packed(plotly),
        "scripts": " ".join(f"'sha256-{_digest(each)}'" for each in (_own("page.js"), plotly)),
    }
    return re.sub(r"@@(\w+)@@", lambda match: parts[match[1]], _own("page.html"))


def plotly_script() -> str:
    """Plotly's JavaScript as it comes with the Python package, which is found but not imported."""
    found = importlib.util.find_spec("plotly")
    assert found is not None
    assert found.origin is not None
    return (Path(found.origin).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """By which a browser is told to run this script and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def packed(text: str) -> str:
    """The text, deflated, in characters that may stand inside a script element: those of base 85, with `,` for `<`."""
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
        "aggregated": "Every number was aggregated before it was drawn, as the notes say. results.parquet has all.",
        "footer": f"xpfo-sweep {versions.get('sweep', '')}. The page is complete in itself and asks no network. "
        "Colours are Okabe and Ito's, and some of Tol's.",
    }


def _facts(run: Mapping[str, Any]) -> dict[str, str]:
    """What a reader needs to trust or repeat the run, in words."""
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


def _policies(made: Sequence[Plot]) -> list[str]:
    names = [name for plot in made if "policy" in plot.table for name in plot.table["policy"].tolist()]
    return list(dict.fromkeys(map(str, names)))


def _plain(plot: Plot) -> dict[str, Any]:
    columns = [{"name": str(name), "values": [_value(v) for v in plot.table[name].tolist()]} for name in plot.table]
    keys = ("name", "title", "note", "kind", "x", "y", "z", "labels", "series", "log", "panel", "chosen", "beyond")
    return {key: getattr(plot, key) for key in keys} | {"columns": columns}


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
