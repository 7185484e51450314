"""As xpfo_deferred, and one full flush serves all pages of a refill of the per-CPU free list.

C:       mm/page_alloc.c  rmqueue_bulk(), xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8 13/14 and 14/14)
Return:  this CPU is clean.
Stale:   every other CPU may use the old mapping until it switches to a user task.
Legal:   interrupts off, any lock held: it waits for nobody.
"""

from sim.abi import Build, Events, Flush, How, Line, Look, Own, Post, batched_allocs


def events(build: Build) -> Events:
    return batched_allocs(build)


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN))


def switch_to_user() -> Look:
    return Look(Line.GLOBAL)
