"""An emulator of the simulation: the log of the time added by flush events as a quadratic of the logs of costs.

It only chooses the draws to simulate, and gives Sobol indices; reported numbers of a fit are simulated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # penalties to try, relative to a feature's mean square
FOLDS = 5


@dataclass(frozen=True)
class Emulator:
    """A fitted quadratic of some columns of values [draw, key]."""

    columns: np.ndarray  # the keys that it reads
    names: np.ndarray  # of those, bool: one of two names, not a number
    middle: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    residual: float  # standard deviation of the log's error, on draws left out of the fit
    explained: float  # share of the variance there (R^2)

    def log_added(self, values: np.ndarray, block: int = 1 << 15) -> np.ndarray:
        """The log of the added time, [draw]."""
        parts = [
            _features((_logs(part[:, self.columns], self.names) - self.middle) / self.scale) @ self.coefficients
            for part in np.array_split(values, max(1, len(values) // block))
        ]
        return np.concatenate(parts)


def fit(values: np.ndarray, columns: np.ndarray, names: np.ndarray, added: np.ndarray) -> Emulator:
    """The quadratic of these columns of values [draw, key] nearest to the log of `added` [draw]."""
    raw = _logs(values[:, columns], names[columns])
    middle, scale = raw.mean(axis=0), raw.std(axis=0)
    moving = scale > 0
    columns, raw, middle, scale = columns[moving], raw[:, moving], middle[moving], scale[moving]
    features, wanted = _features((raw - middle) / scale), np.log(added)
    fold = np.arange(len(wanted)) % FOLDS
    left_out = np.empty((len(RIDGES), len(wanted)))
    for number in range(FOLDS):
        out = fold == number
        left_out[:, out] = _solve(features[~out], wanted[~out], RIDGES) @ features[out].T
    errors = left_out - wanted
    best = int(errors.var(axis=1).argmin())
    coefficients = _solve(features, wanted, RIDGES[best : best + 1])[0]
    explained = 1.0 - errors[best].var() / wanted.var()
    return Emulator(columns, names[columns], middle, scale, coefficients, float(errors[best].std()), float(explained))


def _logs(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    return np.where(names, values, np.log(np.maximum(values, 1e-9)))


def _features(x: np.ndarray) -> np.ndarray:
    """1, every x, every product of two."""
    first, second = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, first] * x[:, second]], axis=1)


def _solve(features: np.ndarray, wanted: np.ndarray, ridges: Sequence[float]) -> np.ndarray:
    """Least squares with each of these penalties, [ridge, feature]."""
    normal, right = features.T @ features, features.T @ wanted
    squares = np.diag(np.diag(normal))
    squares[0, 0] = 0.0  # the constant has no penalty
    return np.stack([np.linalg.solve(normal + ridge * squares, right) for ridge in ridges])
