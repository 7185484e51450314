"""As xpfo, but one full flush serves all pages of a refill of the per-CPU free list.

Kernel:   mm/page_alloc.c  rmqueue_bulk(), and flush_tlb_kernel_range() for the rest  (XPFO v8 14/14 without 13/14)
Return:   no CPU holds an old mapping.
Stale:    no CPU, once it returns.
Context:  hypothetical: rmqueue_bulk() runs with interrupts off, where waiting for other CPUs is not allowed.
"""

from sim.policy import Local, Policy, Targets, batched_allocs

POLICY = Policy(targets=Targets.OTHER_ONLINE, local=Local.AFTER_ACKS, events=batched_allocs)
