"""The representative draw of a posterior, which a sweep can use in place of all draws."""

from collections.abc import Callable

import numpy as np

from sweep.calibrate.rows import Fit, Pool
from sweep.inputs.catalog import QUANTITIES
from sweep.inputs.prior import bounds, central
from sweep.inputs.weights import quantiles

STEPS = 6  # of the secant method; the times are nearly linear in the logarithms of the costs
ALIKE = 1e-9  # of the largest variance: times with less independent variance count as one


def representative_draw(pool: Pool, fit: Fit, added: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Values [key]: the most central ones that give the fitted rows their posterior predictive medians.

    Of two names the likelier. Every cost that a fitted row depends on starts at its median and follows, in logarithms,
    its regression on the rows' times over the posterior's draws, until the simulation gives the medians; the others
    have their central values. `added` simulates values [key] into the time added by flush events [row].
    """
    known = list(pool.known.items())
    middle = np.array([quantiles(each, fit.weights, (0.5,))[0] for each in np.log(pool.added)])  # [row]
    single = np.array([central(quantity) for _, quantity in known])
    kept = fit.weights.copy()
    for at, (_, quantity) in enumerate(known):
        if quantity.alternative is not None:
            single[at] = float(pool.values[:, at] @ fit.weights > 0.5)
            kept[pool.values[:, at] != single[at]] = 0.0
    moved = [at for at in np.unique(np.concatenate(pool.read)).tolist() if known[at][1].alternative is None]
    logs, times = np.log(np.maximum(pool.values[:, moved], 1e-9)).T, np.log(pool.added)
    together = np.cov(np.concatenate([logs, times]), aweights=kept)
    of_times = together[len(moved) :]
    gain = np.linalg.lstsq(of_times[:, len(moved) :], of_times[:, : len(moved)], rcond=ALIKE)[0].T  # [key, row]
    at_now = np.array([quantiles(each, kept, (0.5,))[0] for each in logs])
    low, high = np.array([bounds(*known[at]) for at in moved]).T
    whole = [QUANTITIES[known[at][0].partition("/")[2]].whole for at in moved]

    for step in range(STEPS + 1):
        now = np.clip(np.exp(at_now), low, high)
        single[moved] = np.where(whole, np.rint(now), now)
        if step < STEPS:
            at_now = at_now + gain @ (middle - np.log(added(single)))
    return single
