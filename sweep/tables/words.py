"""Answers, and words for numbers, lists and sizes; an unknown number is `?`."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sweep.inputs.likelihood import spread

PLACE = ("machine", "workload")
MET = 0.98  # share of a rate below which it is not met
MOST = 7  # policies in a sentence, the cheapest first
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Answer:
    """Sentences and their table; `table` is None if the main one serves."""

    sentences: list[str]
    table: pd.DataFrame | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join([*self.sentences, *self.doubts])


def number(value: float) -> str:
    """Three digits, thousands separated."""
    if not math.isfinite(value):
        return "never" if value > 0 else "?"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{float(text):g}" if "e" not in text or abs(value) < 1e-4 else text


def one_length(mix: str) -> str | None:
    """The one length of all ranges of a `range_pages`; None if there are several."""
    only = re.fullmatch(r'\{"(\d+)": [\d.]+\}', mix)
    return only[1] if only else None


def duration(ns: float) -> str:
    """A time in its shortest unit."""
    if not math.isfinite(ns):
        return "for ever" if ns > 0 else "?"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{number(ns / size)} {unit}"
    return f"{number(ns)} ns"


def factor(value: float) -> str:
    """A factor; multiples of one half without decimals."""
    if not math.isfinite(value):
        return number(value)
    return f"{number(value)}x" if value >= 100 or value % 0.5 == 0 else f"{value:.2f}x"


def share(value: float) -> str:
    """A share in percent."""
    if not math.isfinite(value):
        return number(value)
    return f"{number(100.0 * value)} %"


def banded(row: Any, name: str, form: Any = number) -> str:
    """A value with its 5 to 95 % band, if the table has one: `1.44x (1.31-1.62)`; a NaN end is `never`."""
    said = form(float(row[name]))
    if f"{name}_05" not in row:
        return str(said)
    ends = [float(row[f"{name}_{end}"]) for end in ("05", "95")]
    low, high = (form(math.inf if end != end else end) for end in ends)
    unit = re.sub(r"^[\d.,]+", "", said)
    alike = unit if unit in (" s", " ms", " us", " ns") and low.endswith(unit) and high.endswith(unit) else ""
    plain_low, plain_high = (end.removesuffix(alike).removesuffix("x").removesuffix(" %") for end in (low, high))
    return f"{said} ({plain_low}-{plain_high})" if low != high else str(said)


def few(words: list[str], most: int) -> list[str]:
    """The words; of more than `most` the first ones and the number of the rest."""
    return [*words[: most - 1], f"{len(words) - most + 1} more"] if len(words) > most else words


def enumerated(words: list[str], most: int = 6) -> str:
    """`a, b and c`; of more than `most` the first ones and the number of the rest."""
    words = few(words, most)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def marked(said: str, cores: float) -> str:
    """A number, with an asterisk beyond the size of measured machines."""
    return f"{said}*" if cores > spread().cores else said


def estimate(row: Any, name: str, form: Any = number) -> str:
    """A value with its band, and an asterisk beyond the size of measured machines."""
    return marked(banded(row, name, form), float(row.get("cores", 0.0)))


def unmet(row: Any) -> str:
    """The rate that is reached in place of the given one; empty if it is met, or none was given."""
    met, done = row.get("rate_met", math.inf), row.get("operations_per_s")
    return f"only {number(done)} of {number(done / met)} operations a second" if met < MET else ""


def of_size(row: Any) -> str:
    """The CPUs and jobs of a row, each after a comma."""
    return (f", {row['cores']:g} CPUs" if "cores" in row else "") + (f", -j{row['jobs']:g}" if "jobs" in row else "")


COSTS: dict[str, Callable[[float], str]] = {
    "ratio": factor, "overhead_ns_per_operation": duration, "overhead_share": share, "sender_overhead_share": share,
    "elongation": factor,
}  # fmt: skip
