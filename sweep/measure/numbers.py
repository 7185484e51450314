"""Checked numbers in files of `measure`."""

import math
from contextlib import suppress
from typing import Any

from pydantic import BeforeValidator

MOST_CPUS = 4096


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
