"""Words for numbers and lists; an unknown number is `?`."""

from __future__ import annotations

import math
import re
from typing import Any

NEVER = math.inf


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
    low, high = (form(NEVER if end != end else end) for end in ends)
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
