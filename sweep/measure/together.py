"""Draws of fitted costs that vary together: under each of them the measured curves come out as measured, within noise.

Randomised maximum likelihood: each draw is the best fit to what was measured and to the priors, both moved by their own
noise. Near the fit a latency is a sum of costs, so it is linear in them, not in their logarithms.
Ref: Oliver, Reynolds, Liu, Inverse Theory for Petroleum Reservoir Characterization (2008), 10.7.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from sweep.inputs.prior import sobol

STEPS, LONGEST = 40, 0.5  # of Gauss and Newton, and how far one of them may go in logarithms
LEAST = 0.1  # of a simulated latency, below which the sum is not trusted


def draw_together(
    measured: np.ndarray,
    simulated: np.ndarray,
    slopes: np.ndarray,
    centre: np.ndarray,
    prior: tuple[np.ndarray, np.ndarray],
    noise: float,
    draws: int,
) -> np.ndarray:
    """Logarithms of the costs, [draw, cost]; all that is given is of logarithms.

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
