"""As xpfo_deferred, but freed pages stay unmapped: an alloc flushes only where the page was the kernel's before.

C:       arch/x86/mm/xpfo.c  xpfo_alloc_pages(), xpfo_free_pages(); arch/x86/mm/tlb.c  switch_mm_irqs_off()  (XPFO v9)
Return:  this CPU is clean.
Stale:   every other CPU may use the old mapping until it switches to a user task.
Legal:   interrupts off, any lock held: it waits for nobody.
"""

from dataclasses import replace

from sim.abi import Build, Events, Flush, How, Line, Look, Own, Post, every_event


def events(build: Build) -> Events:
    all_events = every_event(build)
    return replace(all_events, alloc=all_events.alloc * build.ownership_change_share)


def flush() -> Flush:
    return Flush(own=Own.BEFORE, post=Post(Line.GLOBAL, How.PLAIN))


def switch_to_user() -> Look:
    return Look(Line.GLOBAL)
