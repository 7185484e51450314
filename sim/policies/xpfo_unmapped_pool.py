"""As xpfo, but allocs are served from a pool of pages that are unmapped already; filling it flushes fully, once.

C:       proposed for mm/page_alloc.c: free lists of pages without a direct mapping  (__GFP_UNMAPPED)
Return:  no CPU holds an old mapping: the flush was over before the page was given out. Nothing maps such a page again
         for a while, so there is no kunmap to flush for.
Stale:   nobody, once the filling of the pool returns.
Legal:   the filling waits for other CPUs: interrupts on and no spinlock held that a handler may want.
"""

import numpy as np

from sim.abi import ALL_PAGES, Build, Events, Flush, Own, Targets


def events(build: Build) -> Events:
    """A full flush for each `pool_pages` pages that allocs take; one for each alloc that is larger than the pool."""
    fillings = np.zeros_like(build.alloc_events)
    for pages, weight in zip(build.pages, build.weights, strict=True):
        fillings = fillings + build.alloc_events * weight * np.minimum(pages / build.pool_pages, 1.0)
    return Events(np.zeros_like(build.kunmap_events), (ALL_PAGES,), fillings[None])


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.AFTER_ACKS)
