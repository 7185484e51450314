"""Pending flushes: what is looked at milliseconds apart, against a posting rate of microseconds.

C:   arch/x86/mm/tlb.c  switch_mm_irqs_off(): cpumask_test_and_clear_cpu(), __flush_tlb_all()  (XPFO v8 13/14)
Ref: hyperexponential with balanced means (Tijms, Stochastic Models, appendix B)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def switches_per_s(cost: Mapping[str, np.ndarray], cores: int, jobs: np.ndarray) -> np.ndarray:
    """Switches to a user task per busy CPU second, [lane]: the workload's, and time slices if jobs outnumber CPUs."""
    shared = np.clip((jobs - cores) / cores, 0.0, 1.0)
    return cost["user_switches_per_s"] + 1000.0 / cost["timeslice_ms"] * shared


def set_at_switch(per_s: np.ndarray, cv2: np.ndarray, posts_per_s: np.ndarray) -> np.ndarray:
    """Share of switches that find the CPU's bit set: at least one foreign post since the switch before, [lane].

    Switch intervals are exponential at cv2 = 1, else a two-phase hyperexponential with balanced means; foreign posts
    are Poisson on this time scale, so the share is one minus the Laplace transform of the interval at their rate.
    """
    short = 0.5 * (1.0 + np.sqrt((cv2 - 1.0) / (cv2 + 1.0)))
    missed = np.zeros_like(per_s)
    for share in (short, 1.0 - short):
        phase_per_s = 2.0 * share * per_s
        missed = missed + share * phase_per_s / (phase_per_s + posts_per_s)
    return 1.0 - missed
