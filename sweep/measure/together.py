"""Joint draws of fitted costs: each of them reproduces the measured curves within noise.

Randomised maximum likelihood: each draw is the best fit to the measurements and to the priors, both perturbed by their
own noise. Near the fit a latency is a sum of costs, so it is linear in them, not in their logarithms.
Ref: Oliver, Reynolds, Liu, Inverse Theory for Petroleum Reservoir Characterization (2008), 10.7.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from sweep.inputs.prior import sobol

STEPS, LONGEST = 40, 0.5  # Gauss-Newton steps, and the longest one in logarithms
LEAST = 0.1  # share of a simulated latency below which the sum is unreliable


def draw_together(
    measured: np.ndarray,
    simulated: np.ndarray,
    slopes: np.ndarray,
    centre: np.ndarray,
    prior: tuple[np.ndarray, np.ndarray],
    noise: float,
    draws: int,
) -> np.ndarray:
    """Logarithms of the costs, [draw, cost]; all arguments are logarithms.

    `slopes` are of `simulated` at `centre`, [point, cost]; `prior` has mean and standard deviation of every cost.
    """
    mean, deviation = prior
    scores = ndtri(sobol(len(measured) + len(mean), draws, 0))
    target = measured + noise * scores[:, : len(measured)]
    believed = mean + deviation * scores[:, len(measured) :]
    latency, each = np.exp(simulated), np.exp(centre)
    linear = slopes * latency[:, None] / each
    logs = np.tile(centre, (draws, 1))
    for _ in range(STEPS):
        costs = np.exp(logs)
        found = np.maximum(latency + (costs - each) @ linear.T, LEAST * latency)
        slope = linear * costs[:, None, :] / found[:, :, None] / noise
        away = (np.log(found) - target) / noise
        gradient = np.einsum("dpc,dp->dc", slope, away) + (logs - believed) / deviation**2
        curvature = slope.transpose(0, 2, 1) @ slope + np.diag(deviation**-2.0)
        logs -= np.clip(np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0], -LONGEST, LONGEST)
    return logs
