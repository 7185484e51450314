"""As xpfo, but one full flush serves all pages of a refill of the per-CPU free list.

C:       mm/page_alloc.c  rmqueue_bulk(), and flush_tlb_kernel_range() for the rest  (XPFO v8 14/14 without 13/14)
Return:  no CPU holds an old mapping.
Stale:   nobody, once it returns.
Legal:   hypothetical: rmqueue_bulk() runs with interrupts off, where waiting for other CPUs is not allowed.
"""

from sim.abi import Build, Events, Flush, Own, Targets, batched_allocs


def events(build: Build) -> Events:
    return batched_allocs(build)


def flush() -> Flush:
    return Flush(tell=Targets.OTHER_ONLINE, own=Own.AFTER_ACKS)
