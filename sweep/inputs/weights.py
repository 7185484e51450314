"""Weighted draws: quantiles, scores, and whether they are reliable."""

import numpy as np


def effective_size(weights: np.ndarray) -> float:
    """Effective sample size of importance weights, [draw] (Kish)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def pareto_k(weights: np.ndarray) -> float:
    """Shape of a generalised Pareto distribution fitted to the largest weights; above 0.7 they are unreliable.

    Ref: Vehtari, Simpson, Gelman, Yao, Gabry, Pareto smoothed importance sampling. Not positive: a bounded tail.
    """
    from scipy.stats import genpareto

    tail = int(min(0.2 * len(weights), 3.0 * np.sqrt(len(weights))))
    ordered = np.sort(weights)
    excess = ordered[-tail:] - ordered[-tail - 1]
    if not excess[-1] > 1e-12 * ordered[-1]:
        return -np.inf  # equal weights
    return float(genpareto.fit(excess[excess > 0] / excess.mean(), floc=0.0)[0])


def quantiles(values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...] = (0.05, 0.5, 0.95)) -> np.ndarray:
    """Weighted quantiles, linear between the middles of the weights."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    middle = (cumulative - 0.5 * weights[order]) / cumulative[-1]
    return np.interp(shares, middle, values[order])


def median_error(values: np.ndarray, weights: np.ndarray) -> float:
    """Standard error of the weighted median from the number of draws: an interval of ranks, converted to values."""
    half = 0.5 / np.sqrt(effective_size(weights))
    low, high = quantiles(values, weights, (0.5 - half, 0.5 + half))
    return float(0.5 * (high - low))


def crps(values: np.ndarray, weights: np.ndarray, measured: float) -> float:
    """Continuous ranked probability score of a weighted sample, in its unit; smaller is better."""
    order = np.argsort(values, kind="stable")
    x, w = values[order], weights[order] / weights.sum()
    apart = 2.0 * np.sum(w * x * (2.0 * np.cumsum(w) - w - 1.0))
    return float(np.sum(w * np.abs(x - measured)) - 0.5 * apart)


def resample(weights: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Indices of as many draws of equal weight, in random order (systematic resampling)."""
    random = np.random.default_rng(seed)
    at = (np.arange(draws) + random.random()) / draws
    chosen = np.searchsorted(np.cumsum(weights) / weights.sum(), at).clip(max=len(weights) - 1)
    return random.permutation(chosen)
