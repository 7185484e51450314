"""Priors of uncertain quantities: a log-normal split at the central value, cut off at its hard bounds."""

from collections.abc import Mapping

import numpy as np

from sweep.inputs.catalog import QUANTITIES, Quantity

Z95 = 1.6448536269514722  # of the normal distribution: its 95th percentile


def sobol(keys: int, draws: int, seed: int) -> np.ndarray:
    """The first points of a scrambled Sobol sequence, [draw, key] in (0, 1)."""
    from scipy.stats import qmc

    bits = max(1, int(draws - 1).bit_length())
    points = qmc.Sobol(max(1, keys), scramble=True, rng=np.random.default_rng(seed)).random_base2(bits)
    return np.clip(points[:draws, :keys], 1e-12, 1.0 - 1e-12)


def central(quantity: Quantity) -> float:
    """The central value; of two names, the code of the central one."""
    return 0.0 if quantity.alternative is not None else float(quantity.central)


def values_at(known: Mapping[str, Quantity], uniform: np.ndarray) -> np.ndarray:
    """Values at these cumulative probabilities of each key's prior, [draw, key]."""
    columns = [quantile(key, quantity, uniform[:, at]) for at, (key, quantity) in enumerate(known.items())]
    return np.stack(columns, axis=1)


def quantile(key: str, quantity: Quantity, uniform: np.ndarray) -> np.ndarray:
    """The inverse distribution function of a quantity's prior, [draw]."""
    from scipy.special import ndtr, ndtri

    if quantity.alternative is not None:
        return (uniform >= (quantity.share if quantity.share is not None else 0.5)).astype(float)
    least, most = bounds(key, quantity)
    below, above = (float(ndtr(_score(quantity, bound))) for bound in (least, most))  # of the unbounded distribution
    score = ndtri(below + uniform * (above - below))
    value = np.where(score < 0, _branch(quantity, score, quantity.low), _branch(quantity, score, quantity.high))
    value = np.clip(value, least, most)  # removes rounding errors
    parameter = QUANTITIES[key.partition("/")[2]]
    return np.rint(value) if parameter.whole else value


def bounds(key: str, quantity: Quantity) -> tuple[float, float]:
    """The hard bounds: the quantity's own, else those of the parameter."""
    parameter = QUANTITIES[key.partition("/")[2]]
    return (
        parameter.low if quantity.least is None else quantity.least,
        parameter.high if quantity.most is None else quantity.most,
    )


def _branch(quantity: Quantity, score: np.ndarray, end: float | None) -> np.ndarray:
    """One side of the split distribution at these normal scores; linear if there is no logarithm."""
    middle, end = float(quantity.central), float(quantity.central if end is None else end)
    width = np.abs(score) / Z95
    if middle > 0 and end > 0:
        return middle * (end / middle) ** width
    return middle + (end - middle) * width


def _score(quantity: Quantity, value: float) -> float:
    """The normal score at which the unbounded distribution has this value."""
    middle = float(quantity.central)
    end = quantity.low if value < middle else quantity.high
    sign = -1.0 if value < middle else 1.0
    if value == middle or end is None or end == middle:
        return 0.0 if value == middle else sign * np.inf
    if middle > 0 and end > 0:
        inside = 0 < value < np.inf
        return sign * Z95 * np.log(value / middle) / np.log(end / middle) if inside else sign * np.inf
    return sign * np.inf if np.isinf(value) else sign * Z95 * (value - middle) / (end - middle)
