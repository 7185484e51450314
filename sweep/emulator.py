"""A quick stand-in for the simulation: log added seconds as a quadratic of the logarithms of the costs.

It only chooses which draws are worth simulating, and spreads Sobol indices; what is reported of a fit is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 1e-3
FOLDS = 5


@dataclass(frozen=True)
class Emulator:
    """A fitted quadratic of some columns of values [draw, key]."""

    columns: np.ndarray  # which keys it reads
    names: np.ndarray  # of those, bool: one of two names, not a number
    middle: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    residual: float  # standard deviation of log added seconds on draws it was not fitted to
    explained: float  # share of the variance there (R^2)

    def log_added(self, values: np.ndarray, block: int = 1 << 15) -> np.ndarray:
        """Log added seconds, [draw]."""
        parts = [
            _features((_logs(part[:, self.columns], self.names) - self.middle) / self.scale) @ self.coefficients
            for part in np.array_split(values, max(1, len(values) // block))
        ]
        return np.concatenate(parts)


def fit(values: np.ndarray, columns: np.ndarray, names: np.ndarray, added_s: np.ndarray) -> Emulator:
    """The quadratic of these columns of values [draw, key] nearest to log added seconds [draw]."""
    raw = _logs(values[:, columns], names[columns])
    middle, scale = raw.mean(axis=0), raw.std(axis=0)
    moving = scale > 0
    columns, raw, middle, scale = columns[moving], raw[:, moving], middle[moving], scale[moving]
    features, wanted = _features((raw - middle) / scale), np.log(added_s)
    left_out = np.empty(len(wanted))
    fold = np.arange(len(wanted)) % FOLDS
    for each in range(FOLDS):
        out = fold == each
        left_out[out] = features[out] @ _solve(features[~out], wanted[~out])
    error = left_out - wanted
    return Emulator(
        columns, names[columns], middle, scale, _solve(features, wanted), float(error.std()),
        float(1.0 - error.var() / wanted.var()),
    )  # fmt: skip


def _logs(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    return np.where(names, values, np.log(np.maximum(values, 1e-9)))


def _features(x: np.ndarray) -> np.ndarray:
    """1, every x, every product of two."""
    first, second = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, first] * x[:, second]], axis=1)


def _solve(features: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    normal = features.T @ features + RIDGE * len(features) / features.shape[1] * np.eye(features.shape[1])
    return np.linalg.solve(normal, features.T @ wanted)
