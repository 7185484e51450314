"""Quantities from which parameters of the model are derived.

A machine file has one clock scale in place of twelve instruction costs, and a workload file the alloc events per kunmap
event. The formulas take scalars or arrays of one shape; NaN is a quantity that is not given.
"""

import numpy as np

from sim.parameters import PARAMETERS, Pages, Parameter

INSTRUCTION_COSTS = tuple(name for name, parameter in PARAMETERS.items() if parameter.instruction)
DERIVING = {
    "clock_scale": Parameter(
        "factor", "multiplier of all instruction costs of the machine", low=1e-3, makes=INSTRUCTION_COSTS
    ),
    "alloc_per_kunmap": Parameter("ratio", "alloc events per kunmap event", makes=("alloc_events",)),
    "large_range_share": Parameter("share", "share of alloc events above 33 pages", high=1.0, makes=("range_pages",)),
    "user_s_over_xeon": Parameter(
        "factor", "user seconds of the build on this machine divided by those on xeon_8160", low=1e-3, makes=("user_s",)
    ),
}
LARGE_RANGE = 33  # pages; a longer range counts for `large_range_share`


def fill_unknown(values: np.ndarray, otherwise: np.ndarray | float) -> np.ndarray:
    """The values, with `otherwise` in place of NaN."""
    return np.where(np.isnan(values), otherwise, values)


def factor_or_one(factor: np.ndarray) -> np.ndarray:
    """A factor, with 1 in place of NaN."""
    return fill_unknown(factor, 1.0)


def scale_instruction_cost(cost_ns: np.ndarray, clock_scale: np.ndarray) -> np.ndarray:
    """An instruction cost in ns at the clock of the machine; `clock_scale` is not NaN."""
    return np.multiply(cost_ns, clock_scale)


def scale_user_time(user_s: np.ndarray, user_s_over_xeon: np.ndarray) -> np.ndarray:
    """User CPU seconds of the build on this machine; `user_s_over_xeon` is not NaN."""
    return np.multiply(user_s, user_s_over_xeon)


def count_alloc_events(kunmap_events: np.ndarray, alloc_per_kunmap: np.ndarray) -> np.ndarray:
    """Alloc events of the whole build from its kunmap events; NaN where either factor is NaN."""
    return np.multiply(kunmap_events, alloc_per_kunmap)


def set_large_share(pages: Pages, large_range_share: float) -> Pages:
    """A mix of ranges in which ranges above LARGE_RANGE have this share, with unchanged ratios on each side.

    The mix is unchanged if the share is NaN, or if all ranges are on one side.
    """
    large = sum(weight for p, weight in pages if p > LARGE_RANGE)
    small = sum(weight for p, weight in pages if p <= LARGE_RANGE)
    if large_range_share != large_range_share or large == 0 or small == 0:
        return pages
    return tuple(
        (p, weight * (large_range_share / large if p > LARGE_RANGE else (1.0 - large_range_share) / small))
        for p, weight in pages
    )
