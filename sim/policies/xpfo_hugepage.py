"""As xpfo, but the direct map changes by whole 2 MiB leaves: one flush event for 512 pages of allocs.

Kernel:   arch/x86/mm/pat/set_memory.c  a large page that is unmapped as a whole, not split  (requested on the list)
Return:   no CPU holds the old mapping.
Stale:    no CPU, once it returns.
Context:  interrupts on, no spinlock held that a handler may take: it waits for other CPUs.
"""

import numpy as np

from sim.policy import Build, Events, Local, Policy, Targets

_LEAF = 512  # pages


def _events(build: Build) -> Events:
    """One flush event for allocs of 512 pages together."""
    leaves = np.zeros_like(build.alloc_events)
    for pages, weight in zip(build.pages, build.weights, strict=True):
        leaves = leaves + build.alloc_events * weight * (pages / _LEAF)
    return Events(build.kunmap_events, (_LEAF,), leaves[None])


POLICY = Policy(
    targets=Targets.OTHER_ONLINE,
    local=Local.AFTER_ACKS,
    events=_events,
    presupposes="allocs and frees of whole leaves of 512 pages",
)
