"""The plots as PNG and SVG, without a browser, and the page's JavaScript; alone imports vl-convert."""

import re
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert

from sweep.errors import BadInput, printable
from sweep.inputs.home import cache_folder, write_own
from sweep.report.drawing import measured_curves, rows, specification
from sweep.report.plot import PLACE, Plot
from sweep.store.folder import Folder
from sweep.tables.setting import word

MOST_PICTURES = 4  # of one plot
WIDTH, HEIGHT = 760, 400  # of the plot inside its axes, pixels
CAPTION = 118  # characters of a line below the title
PAGE = "window.vegaEmbed = vegaEmbed"  # the script's function for the page


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
    caption = [*textwrap.wrap(setting(plot, chosen), CAPTION), *textwrap.wrap(plot.note, CAPTION)]
    drawn = _printable({"height": HEIGHT, **specification(plot)} | {
        "datasets": {"rows": rows(plot, plot.shown(chosen))},
        "title": {"text": plot.title, "subtitle": caption},
        "width": WIDTH,
    })  # fmt: skip
    folder.write(f"plots/{stem}.png", vl_convert.vegalite_to_png(drawn, scale=2))
    folder.write(f"plots/{stem}.svg", vl_convert.vegalite_to_svg(drawn).encode())
    return [f"plots/{stem}.png", f"plots/{stem}.svg"]


def setting(plot: Plot, chosen: Mapping[str, Any]) -> str:
    """The values of the fixed columns, in words."""
    per_core = "jobs_per_core" in plot.fixed
    names = [name for name in dict.fromkeys([*PLACE, *plot.fixed]) if name in chosen]
    return ", ".join(said for name in names for said in word(name, chosen[name], per_core))


def _settings(plot: Plot) -> list[Mapping[str, Any]]:
    """The first setting, and a few others that differ from it in one column."""
    out: list[Mapping[str, Any]] = [plot.chosen]
    for name in plot.fixed:
        for value in sorted(plot.table[name].dropna().unique()):
            other = {**plot.chosen, name: value}
            if value != "vanilla" and other not in out and len(plot.shown(other)):
                out.append(other)
    return out[:MOST_PICTURES]


def write_measured(table: pd.DataFrame, title: str, path: Path) -> None:
    """Both curves of `sweep measure`: measured points, hollow if left out of the fit, and simulated lines."""
    write_own(path, vl_convert.vegalite_to_png(_printable(measured_curves(table, title)), scale=1.5))


def _printable(value: Any) -> Any:
    """The same with text that XML allows, since other text would end the process; names may contain anything."""
    if isinstance(value, dict):
        return {name: _printable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value


def script() -> str:
    """Vega, Vega-Lite and Vega-Embed of vl-convert, which takes seconds to bundle them: cached."""
    name = f"vega-{version('vl-convert-python')}.js.z"
    with suppress(BadInput, OSError, zlib.error):  # such as no cache folder, or nothing in it
        return zlib.decompress((cache_folder() / name).read_bytes()).decode()
    made = vl_convert.javascript_bundle(PAGE)
    with suppress(BadInput, OSError):  # such as a full disk: the page needs no cache
        write_own(cache_folder() / name, zlib.compress(made.encode()))
    return str(made)
