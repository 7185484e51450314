"""What is measured: a checked file of `conf/measure/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweep.errors import BadInput, did_you_mean

CALLS = ("membarrier", "dontneed", "mprotect", "munmap")
REGION_PAGES = 2048  # the most pages of a call, as in loop.c
MOST = {"callers": 4096, "think_ns": 1e9, "pages": REGION_PAGES}


@dataclass(frozen=True)
class Point:
    """One experiment: so many callers of a call with a think time, and so many other CPUs that run user code."""

    call: str
    callers: int
    spinners: int
    think_ns: float
    pages: int


@dataclass(frozen=True)
class Experiment:
    """What is measured, and how it is fitted."""

    title: str
    seconds: float
    passes: int
    least_calls: int
    points: tuple[Point, ...]
    fit: Mapping[str, Any]


def read_experiment(path: Path, cpus: int) -> Experiment:
    """A file of `conf/measure/` for a machine of `cpus` CPUs, every key checked; BadInput names what is off."""
    where = f"measure/{path.stem}"
    text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{where}: {' '.join(str(error).split())}") from None
    keys(content, {"seconds", "passes", "least_calls", "curves", "fit"}, where)
    points: dict[Point, None] = {}
    if not isinstance(content["curves"], list):
        raise BadInput(f"{where}: curves={content['curves']!r}: must be a list")
    for number, curve in enumerate(content["curves"], 1):
        points |= dict.fromkeys(_curve(curve, cpus, f"{where}, curve {number}"))
    return Experiment(
        title=text.partition("\n")[0].removeprefix("#").strip(),
        seconds=number_in(content["seconds"], 1e-3, 60, f"{where}: seconds"),
        passes=int(number_in(content["passes"], 1, 1000, f"{where}: passes", whole=True)),
        least_calls=int(number_in(content["least_calls"], 1, 1e6, f"{where}: least_calls", whole=True)),
        points=tuple(points),
        fit=content["fit"],
    )


def _curve(curve: Any, cpus: int, where: str) -> list[Point]:
    optional = {"pages": [0]} if isinstance(curve, Mapping) and curve.get("call") == "membarrier" else {}
    if isinstance(curve, Mapping) and "call" in curve and curve["call"] not in CALLS:
        raise BadInput(f"{where}: call={curve['call']!r}: must be one of {', '.join(CALLS)}")
    keys(curve, {"call", "callers", "others", "think_ns", "pages"} - set(optional), where)
    if curve["others"] not in ("idle", "busy"):
        raise BadInput(f"{where}: others={curve['others']!r}: must be idle or busy")
    lists = {}
    for key in ("callers", "think_ns", "pages"):
        values = curve[key] if key in curve else optional[key]
        if not isinstance(values, list) or not values:
            raise BadInput(f"{where}: {key}={values!r}: must be a list")
        least = 0 if key == "think_ns" or key in optional else 1
        whole = key != "think_ns"
        lists[key] = [
            cpus
            if key == "callers" and value == "all"
            else number_in(value, least, MOST[key], f"{where}: {key}", whole)
            for value in values
        ]
    return [
        Point(curve["call"], int(callers), cpus - int(callers) if curve["others"] == "busy" else 0, think, int(pages))
        for callers in lists["callers"]
        if callers <= cpus  # a file for larger machines as well
        for think in lists["think_ns"]
        for pages in lists["pages"]
    ]


def keys(content: Any, needed: set[str], where: str) -> None:
    """BadInput unless `content` is a mapping of exactly these keys."""
    if not isinstance(content, Mapping):
        raise BadInput(f"{where}: {content!r}: must be a mapping of {', '.join(sorted(needed))}")
    for key in content:
        if key not in needed:
            raise BadInput(f"{where}: unknown key {key!r}{did_you_mean(str(key), needed)}")
    missing = sorted(needed - set(content))
    if missing:
        raise BadInput(f"{where}: {missing[0]}: not given")


def number_in(value: Any, low: float, high: float, where: str, whole: bool = False) -> float:
    """A checked number; BadInput where it is none or out of range."""
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadInput(f"{where}={value!r}: must be {kind} from {low:g} to {high:g}")
    if whole and value != int(value):
        raise BadInput(f"{where}={value!r}: must be {kind} from {low:g} to {high:g}")
    return value
