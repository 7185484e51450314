"""The parts of an answer, and words for places and for numbers beyond the measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from sweep.inputs.likelihood import spread
from sweep.tables.words import duration, factor, number, share

COSTS: dict[str, Callable[[float], str]] = {
    "ratio": factor, "overhead_ns_per_operation": duration, "overhead_share": share, "sender_overhead_share": share,
    "elongation": factor,
}  # fmt: skip
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


def marked(said: str, cores: float) -> str:
    """A number, with an asterisk beyond the size of measured machines."""
    return f"{said}*" if cores > spread().cores else said


def unmet(row: pd.Series) -> str:
    """The rate that is reached in place of the given one; empty if it is met, or none was given."""
    met = row.get("rate_met", float("nan"))
    if not met < MET:
        return ""
    done = float(row["operations_per_s"])
    return f"only {number(done)} of {number(done / met)} operations a second"


def of_size(row: pd.Series) -> str:
    words = [f"{row['cores']:g} CPUs" if "cores" in row else "", f"-j{row['jobs']:g}" if "jobs" in row else ""]
    return "".join(f", {word}" for word in words if word)
