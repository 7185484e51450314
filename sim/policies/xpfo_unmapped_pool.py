"""As xpfo, but allocs take unmapped pages from a pool; each refill of the pool flushes fully once.

Kernel:   mm/page_alloc.c  free lists of pages outside the direct map  (__GFP_UNMAPPED, a proposal)
Return:   no CPU holds an old mapping: the flush ended before the alloc. The kernel does not map such a page for a
          while, so there is no kunmap.
Stale:    no CPU, once the refill of the pool returns.
Context:  interrupts on, no spinlock held that a handler may take: a refill of the pool waits for other CPUs.
"""

import numpy as np

from sim.policy import ALL_PAGES, Build, Events, Local, Policy, Targets


def _events(build: Build) -> Events:
    """A full flush for each `pool_pages` pages of allocs, and for each alloc that is larger than the pool."""
    fillings = np.zeros_like(build.alloc_events)
    for pages, weight in zip(build.pages, build.weights, strict=True):
        fillings = fillings + build.alloc_events * weight * np.minimum(pages / build.pool_pages, 1.0)
    return Events(np.zeros_like(build.kunmap_events), (ALL_PAGES,), fillings[None])


POLICY = Policy(
    targets=Targets.OTHER_ONLINE,
    local=Local.AFTER_ACKS,
    events=_events,
    presupposes="a kernel with a pool of pages outside its direct map",
)
