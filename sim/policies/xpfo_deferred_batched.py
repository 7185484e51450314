"""As xpfo_deferred, but one full flush serves all pages of a refill of the per-CPU free list.

Kernel:   mm/page_alloc.c  rmqueue_bulk(), xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8 13/14, 14/14)
Return:   this CPU holds no stale entry.
Stale:    other CPUs until they switch to a user task.
Context:  any; never waits, interrupts may be off.
"""

from sim.policy import Check, Line, Local, Mark, Policy, Write, batched_allocs

POLICY = Policy(
    local=Local.FIRST, mark=Mark(Line.GLOBAL, Write.PLAIN), switch_to_user=Check(Line.GLOBAL), events=batched_allocs
)
