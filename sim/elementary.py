"""Functions with the same last bit on every processor: numpy's exponentials differ between AVX-512 and others.

The exponentials use only operations with one rounding in IEEE 754: sums, products and powers of two. The reduction to
|x| <= ln(2) / 2 is that of W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980, followed by a
Taylor series.
"""

from decimal import Decimal
from math import factorial
from typing import TypeVar

import numpy as np

PER_LN2 = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # sum to ln(2); products of the first are exact
SERIES = [1.0 / factorial(k) for k in range(13, -1, -1)]  # the last term is below an ulp
SHORT = [1.0 / factorial(k) for k in range(15, 1, -1)]

Real = TypeVar("Real", float, np.ndarray)


def exp_minus(x: Real) -> Real:
    """exp(-x) of a float or an array, within two ulp."""
    turns = np.rint(x * -PER_LN2)
    rest = -x - turns * LN2_HIGH - turns * LN2_LOW
    return np.ldexp(_polynomial(SERIES, rest), np.maximum(turns, -2000.0).astype(np.int64))


def excess(x: np.ndarray) -> np.ndarray:
    """x + exp(-x) - 1 of an array, precise also for small x."""
    small = np.minimum(x, 0.5)
    return np.where(x < 0.5, small * small * _polynomial(SHORT, -small), x + exp_minus(x) - 1.0)


def log(x: float) -> float:
    """The natural logarithm of a positive float."""
    return float(Decimal(x).ln())


def sum_rows(values: np.ndarray) -> np.ndarray:
    """Sum over axis 0, row by row: the order of numpy's own sums depends on the number of lanes."""
    return values.cumsum(axis=0)[-1]


def quantile(ascending: np.ndarray, share: float) -> np.ndarray:
    """Linear quantile over axis 0 of values sorted along it."""
    at = share * (len(ascending) - 1)
    low = int(at)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (at - low) * (ascending[high] - ascending[low])


def _polynomial(coefficients: list[float], x: Real) -> Real:
    """Horner's rule, the highest power first."""
    total = coefficients[0] * x
    for coefficient in coefficients[1:-1]:
        total = (total + coefficient) * x
    return total + coefficients[-1]
