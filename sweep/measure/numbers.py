"""Checked numbers in files of `measure`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def within(low: float, high: float, whole: bool = False) -> BeforeValidator:
    """A check of a number from `low` to `high`; `1e3` is a whole one too."""

    def check(value: Any) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high or (whole and value != int(value)):
            raise ValueError(f"must be {'a whole number' if whole else 'a number'} from {low:g} to {high:g}")
        return int(value) if whole else float(value)

    return BeforeValidator(check)


Share = Annotated[float, within(0, 1)]
Nanoseconds = Annotated[float, within(1e-3, 1e9)]
