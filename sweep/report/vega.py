"""Vega, by the only module that imports vl-convert: a specification as PNG or SVG, and the page's JavaScript."""

import zlib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import vl_convert

from sweep.errors import BadInput, printable
from sweep.inputs.home import cache_folder, write_own

PAGE = "window.vegaEmbed = vegaEmbed"  # the script's function for the page


def png(specification: dict[str, Any], scale: float) -> bytes:
    """The plot of a Vega-Lite specification as PNG, with so many pixels for each of its own."""
    return bytes(vl_convert.vegalite_to_png(_printable(specification), scale=scale))


def svg(specification: dict[str, Any]) -> str:
    """The same as SVG."""
    return str(vl_convert.vegalite_to_svg(_printable(specification)))


def script() -> str:
    """Vega, Vega-Lite and Vega-Embed of vl-convert, which takes seconds to bundle them: cached."""
    with suppress(BadInput, OSError, zlib.error):  # such as no cache folder, or nothing in it
        return zlib.decompress(_kept().read_bytes()).decode()
    made = vl_convert.javascript_bundle(PAGE)
    with suppress(BadInput, OSError):  # such as a full disk: the page needs no cache
        write_own(_kept(), zlib.compress(made.encode()))
    return made


def _kept() -> Path:
    return cache_folder() / f"vega-{version('vl-convert-python')}.js.z"


def _printable(value: Any) -> Any:
    """The same with text that XML allows, since other text would end the process; names may contain anything."""
    if isinstance(value, dict):
        return {name: _printable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value
