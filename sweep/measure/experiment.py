"""A measurement's description: a checked file of `conf/measure/`."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from sweep.errors import did_you_mean
from sweep.inputs.catalog import Entry, catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.door import Checked, admit
from sweep.inputs.reader import read_yaml
from sweep.measure.machine import Facts
from sweep.measure.simulate import OF_GUEST
from sweep.measure.topology import MOST_CPUS

Call = Literal["membarrier", "dontneed", "mprotect", "munmap"]
REGION_PAGES = 2048  # the most pages of a call, as in loop.c


def within(low: float, high: float, whole: bool = False, text: bool = False, unknown: bool = False) -> BeforeValidator:
    """A check of a number from `low` to `high`; `1e3` is a whole one too.

    `text`: a number in text is one as well. `unknown`: an empty text or NaN stands for a number that is not known.
    """

    def check(value: Any) -> float:
        number = math.inf
        with suppress(ValueError):
            if type(value) in ((int, float, str) if text else (int, float)):
                number = math.nan if value == "" else float(value)
        if not (low <= number <= high or (unknown and math.isnan(number))) or (whole and number % 1):
            raise ValueError(f"must be {'a whole number' if whole else 'a number'} from {low:g} to {high:g}")
        return int(number) if whole else number

    return BeforeValidator(check)


Nanoseconds = Annotated[float, within(1e-3, 1e9)]


class Point(NamedTuple):
    """One experiment: the callers of a call with a think time, and the other CPUs, which run user code."""

    call: str
    callers: int
    spinners: int
    think_ns: float
    pages: int


def _callers(value: Any) -> Any:
    """A number of callers; 0 for all."""
    return 0 if value == "all" else within(1, MOST_CPUS, whole=True).func(value)  # type: ignore[call-arg]


class Curve(Checked):
    """Experiments with a call in common: every number of callers with every think time and number of pages."""

    call: Call
    callers: list[Annotated[int, BeforeValidator(_callers)]] = Field(min_length=1)
    others: Literal["idle", "busy"]
    think_ns: list[Annotated[float, within(0, 1e9)]] = Field(min_length=1)
    pages: list[Annotated[int, within(0, REGION_PAGES, whole=True)]] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _pages(self) -> Self:
        if self.call != "membarrier" and (self.pages is None or 0 in self.pages):
            given = "not given" if self.pages is None else "0"
            raise ValueError(f"pages={given}: must be a whole number from 1 to {REGION_PAGES}")
        return self


class Interval(Checked):
    """The interval of a system call's own time, ns."""

    low: Nanoseconds
    central: Nanoseconds
    high: Nanoseconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
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
    guest_prior: str = "skylake_guest_80"  # for guests whose interrupts exit
    noise: Annotated[float, within(1e-3, 1)]
    moved: Annotated[float, within(0, 1)]
    virtual: Annotated[float, within(1, 100)]
    window_events: Annotated[int, within(32, 1e6, whole=True)]
    held_out: Annotated[int, within(2, 100, whole=True)]
    tolerance: Annotated[float, within(0, 10)]
    calls: dict[Call, OwnTime]

    @field_validator("prior", "guest_prior")
    @classmethod
    def _machine(cls, name: str, info: ValidationInfo) -> str:
        known = catalog([conf_dir()])["machine"]
        if name not in known:
            raise ValueError(f"no such machine{did_you_mean(name, known)}")
        needed, quantities = OF_GUEST if info.field_name == "guest_prior" else (), known[name].quantities
        if missing := [each for each in needed if each not in quantities or not quantities[each].low]:
            raise ValueError(f"has no interval of {missing[0]}; give a guest's machine")
        return name

    @model_validator(mode="after")
    def _of_pages(self) -> Self:
        for call, own in self.calls.items():
            if (own.page_ns is None) != (call == "membarrier"):
                raise ValueError(f"calls.{call}.page_ns: {'has no pages' if own.page_ns else 'not given'}")
        return self

    def prior_of(self, machine: Facts) -> Entry:
        """The machine with the prior costs of this one."""
        return catalog([conf_dir()])["machine"][self.guest_prior if machine.leaves else self.prior]


class Experiment(Checked):
    """A file of `conf/measure/`."""

    seconds: Annotated[float, within(1e-3, 60)]
    passes: Annotated[int, within(1, 1000, whole=True)]
    least_calls: Annotated[int, within(1, 1e6, whole=True)]
    curves: list[Curve] = Field(min_length=1)
    fit: FitSettings

    def points(self, cpus: int) -> list[Point]:
        """The different points on a machine of this many CPUs; larger ones are left out."""
        points = [
            Point(curve.call, callers, cpus - callers if curve.others == "busy" else 0, think, pages)
            for curve in self.curves
            for callers in [each or cpus for each in curve.callers]
            if callers <= cpus
            for think in curve.think_ns
            for pages in curve.pages or [0]
        ]
        return list(dict.fromkeys(points))


def read_experiment(path: Path) -> Experiment:
    """A file of `conf/measure/`, every key checked; BadInput for any mistake."""
    return admit(Experiment, read_yaml(path, f"measure/{path.stem}"))
