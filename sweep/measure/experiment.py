"""A measurement's description: a checked file of `conf/measure/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sweep.errors import BadInput
from sweep.inputs.door import Checked, admit
from sweep.inputs.reader import question_of, read_yaml
from sweep.measure.numbers import Nanoseconds, Share, within

CALLS = ("membarrier", "dontneed", "mprotect", "munmap")
REGION_PAGES = 2048  # the most pages of a call, as in loop.c
MOST_CPUS = 4096
MOST_POINTS = 10_000


@dataclass(frozen=True)
class Point:
    """One experiment: the callers of a call with a think time, and the other CPUs, which run user code."""

    call: str
    callers: int
    spinners: int
    think_ns: float
    pages: int


@dataclass(frozen=True)
class Experiment:
    """The points to measure, and the settings of the fit."""

    title: str
    seconds: float
    passes: int
    least_calls: int
    points: tuple[Point, ...]
    fit: Mapping[str, Any]


Call = Literal["membarrier", "dontneed", "mprotect", "munmap"]


def _callers(value: Any) -> Any:
    """A number of callers, or all of them."""
    if value == "all":
        return 0
    return within(1, MOST_CPUS, whole=True).func(value)  # type: ignore[call-arg]


class Curve(Checked):
    """Experiments with a call in common: every number of callers with every think time and number of pages."""

    call: Call
    callers: list[Annotated[int, BeforeValidator(_callers)]] = Field(min_length=1)
    others: Literal["idle", "busy"]
    think_ns: list[Annotated[float, within(0, 1e9)]] = Field(min_length=1)
    pages: list[Annotated[int, within(0, REGION_PAGES, whole=True)]] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _pages(self) -> Curve:
        if self.call != "membarrier" and (self.pages is None or 0 in self.pages):
            given = "not given" if self.pages is None else "0"
            raise ValueError(f"pages={given}: must be a whole number from 1 to {REGION_PAGES}")
        return self

    def points(self, cpus: int) -> list[Point]:
        """The points on a machine of this many CPUs; larger ones are left out."""
        numbers = [cpus if callers == 0 else callers for callers in self.callers]
        return [
            Point(self.call, callers, cpus - callers if self.others == "busy" else 0, think, pages)
            for callers in numbers
            if callers <= cpus
            for think in self.think_ns
            for pages in self.pages or [0]
        ]


class Interval(Checked):
    """The interval of a system call's own time, ns."""

    low: Nanoseconds
    central: Nanoseconds
    high: Nanoseconds

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if not self.low < self.central < self.high:
            raise ValueError(f"needs low < central < high, and has {self.low:g}, {self.central:g}, {self.high:g}")
        return self


class OwnTime(Checked):
    """The own time of a call: entry and exit, and page tables by page."""

    call_ns: Interval
    page_ns: Interval | None = None


class FitSettings(Checked):
    """The `fit` part of a file."""

    prior: str
    guest_prior: str = "skylake_guest_80"
    noise: Annotated[float, within(1e-3, 1)]
    moved: Share
    virtual: Annotated[float, within(1, 100)]
    window_events: Annotated[int, within(32, 1e6, whole=True)]
    held_out: Annotated[int, within(2, 100, whole=True)]
    tolerance: Annotated[float, within(0, 10)]
    calls: dict[Call, OwnTime]

    @model_validator(mode="after")
    def _of_pages(self) -> FitSettings:
        for call, own in self.calls.items():
            if (own.page_ns is None) != (call == "membarrier"):
                raise ValueError(f"calls.{call}.page_ns: {'has no pages' if own.page_ns else 'not given'}")
        return self


class File(Checked):
    """A file of `conf/measure/`."""

    seconds: Annotated[float, within(1e-3, 60)]
    passes: Annotated[int, within(1, 1000, whole=True)]
    least_calls: Annotated[int, within(1, 1e6, whole=True)]
    curves: list[Curve] = Field(min_length=1)
    fit: FitSettings


def read_experiment(path: Path, cpus: int) -> Experiment:
    """A file of `conf/measure/` for a machine of `cpus` CPUs, every key checked; BadInput for any mistake."""
    where = f"measure/{path.stem}"
    document = read_yaml(path, where)
    file = admit(File, document)
    size = sum(len(curve.callers) * len(curve.think_ns) * len(curve.pages or [0]) for curve in file.curves)
    if size > MOST_POINTS:
        raise BadInput(f"{where}: curves: {size} points: must be at most {MOST_POINTS}")
    points = dict.fromkeys(point for curve in file.curves for point in curve.points(cpus))
    return Experiment(
        title=question_of(path),
        seconds=file.seconds,
        passes=file.passes,
        least_calls=file.least_calls,
        points=tuple(points),
        fit=document.content["fit"],
    )
