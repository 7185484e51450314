"""The plots of a report as PNG and SVG, drawn by vl-convert, without a browser."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vl_convert

from sweep.errors import printable
from sweep.inputs.home import write_own
from sweep.report.drawing import measured_curves, rows, specification
from sweep.report.plot import PLACE, Plot
from sweep.report.points import FIXED
from sweep.store.folder import Folder
from sweep.tables.setting import word

MOST_PICTURES = 4  # of one plot
WIDTH, HEIGHT = 760, 400  # of the plot inside its axes, pixels
CAPTION = 118  # characters of a line below the title


def write_pictures(folder: Folder, made: Sequence[Plot]) -> list[str]:
    """Write plots/<name>.png and .svg, a pair per plot, and more for some settings; return their names."""
    names = []
    for plot in made:
        if plot.kind != "table" and len(plot.table):
            for chosen in _settings(plot):
                said = setting(plot, chosen)
                stem = re.sub(r"[^a-z0-9]+", "-", f"{plot.name}-{said}".lower()).strip("-")[:120]
                names += write_picture(folder, plot, chosen, stem)
    return names


def write_picture(folder: Folder, plot: Plot, chosen: Mapping[str, Any], stem: str) -> list[str]:
    """Write one plot with these values of its fixed columns as plots/STEM.png and .svg; return their names."""
    drawn = _printable(picture(plot, chosen))
    folder.write(f"plots/{stem}.png", vl_convert.vegalite_to_png(drawn, scale=2))
    folder.write(f"plots/{stem}.svg", vl_convert.vegalite_to_svg(drawn).encode())
    return [f"plots/{stem}.png", f"plots/{stem}.svg"]


def picture(plot: Plot, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The specification with data, title and caption."""
    made = specification(plot)
    made["datasets"] = {"rows": rows(plot, plot.shown(chosen))}
    caption = [setting(plot, chosen), plot.note]
    lines = [line for text in caption if text for line in textwrap.wrap(text, CAPTION)]
    made["title"] = {"text": plot.title, "subtitle": lines}
    made["width"] = WIDTH
    made.setdefault("height", HEIGHT)
    for param in made.get("params", []):
        if param["name"] == "beyond":
            param["value"] = plot.beyond.get(plot.x)
    return made


def _printable(value: Any) -> Any:
    """The same with text allowed in XML: a name may have any characters."""
    if isinstance(value, dict):
        return {name: _printable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def setting(plot: Plot, chosen: Mapping[str, Any]) -> str:
    """The values of the fixed columns, in words."""
    per_core = "jobs_per_core" in plot.fixed
    names = [name for name in dict.fromkeys([*PLACE, *plot.fixed]) if name in chosen]
    words = ([str(chosen[name])] if name in FIXED else word(name, chosen[name], per_core) for name in names)
    return ", ".join(said for each in words for said in each)


def _settings(plot: Plot) -> list[Mapping[str, Any]]:
    """The first setting, and a few others that differ from it in one column."""
    out: list[Mapping[str, Any]] = [plot.chosen]
    for name in plot.fixed:
        values = plot.table[name].dropna().unique()
        for value in np.sort(values) if values.dtype.kind in "fiu" else sorted(values):
            other = {**plot.chosen, name: value}
            if value != "vanilla" and other not in out and len(plot.shown(other)):
                out.append(other)
    return out[:MOST_PICTURES]


def write_measured(table: pd.DataFrame, title: str, path: Path) -> None:
    """Both curves of `sweep measure`: measured points, hollow if left out of the fit, and simulated lines."""
    write_own(path, vl_convert.vegalite_to_png(measured_curves(table, title), scale=1.5))
