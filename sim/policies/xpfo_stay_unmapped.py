"""As xpfo_deferred, but freed pages stay unmapped: an alloc flushes only if the kernel owned the page before.

Kernel:   arch/x86/mm/xpfo.c  xpfo_alloc_pages(), xpfo_free_pages(); arch/x86/mm/tlb.c  switch_mm_irqs_off()  (XPFO v9)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task.
Context:  any; never waits, interrupts may be off.
"""

from dataclasses import replace

from sim.policy import Build, Check, Events, Line, Local, Mark, Policy, Write, every_event


def _events(build: Build) -> Events:
    all_events = every_event(build)
    return replace(all_events, alloc=all_events.alloc * build.ownership_change_share)


POLICY = Policy(
    local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL), events=_events
)
