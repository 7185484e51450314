"""As xpfo, but allocs are served from a pool of pages that are unmapped already; filling it flushes fully, once.

Kernel:   proposed for mm/page_alloc.c: free lists of pages without a direct mapping  (__GFP_UNMAPPED)
Return:   no CPU holds an old mapping: the flush was over before the page was given out. Nothing maps such a page again
          for a while, so there is no kunmap to flush for.
Stale:    no CPU, once the filling of the pool returns.
Context:  interrupts on, no spinlock held that a handler may take: filling the pool waits for other CPUs.
"""

import numpy as np

from sim.policy import ALL_PAGES, Build, Events, Local, Policy, Targets


def _events(build: Build) -> Events:
    """A full flush for each `pool_pages` pages that allocs take; one for each alloc that is larger than the pool."""
    fillings = np.zeros_like(build.alloc_events)
    for pages, weight in zip(build.pages, build.weights, strict=True):
        fillings = fillings + build.alloc_events * weight * np.minimum(pages / build.pool_pages, 1.0)
    return Events(np.zeros_like(build.kunmap_events), (ALL_PAGES,), fillings[None])


POLICY = Policy(
    targets=Targets.OTHER_ONLINE,
    local=Local.AFTER_ACKS,
    events=_events,
    presupposes="a kernel that keeps pages for this use out of its direct map",
)
